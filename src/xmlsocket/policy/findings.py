"""What the linter says, and what it wants to know beside the file."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from .answers import MASTER_PORT


class Severity(enum.Enum):
    """How bad a finding is."""

    ERROR = "error"
    """Players will not do what the author wants."""
    WARNING = "warning"
    """It works, and it is risky."""
    NOTE = "note"
    """It works; it could be clearer."""


RULES: Mapping[str, str] = MappingProxyType(
    {
        "SP001": "Players treat a file that is not well-formed XML as if it were not there.",
        "SP002": "Players take nothing but a cross-domain-policy for a policy file.",
        "SP003": "The NUL ends the answer; a player that does not see it waits until its time is up.",
        "SP004": "Players stop at the first NUL and ignore what follows.",
        "SP005": "The first NUL ends the document, so players read only the part before it.",
        "SP006": "Players have no documented limit, but Adobe's own servers refuse above 10,000 bytes.",
        "SP007": "No player fetches a document type, and declarations in it can be made to exhaust memory.",
        "SP010": "Without a domain the element matches nobody.",
        "SP011": "Socket policies must name the ports; without them the element grants nothing.",
        "SP012": "Players ignore attributes that they do not know.",
        "SP013": "Players match nothing with such a domain, so the element grants nothing.",
        "SP014": "One invalid part makes the whole element void.",
        "SP015": "A policy file from a port of 1024 or above grants nothing below 1024.",
        "SP016": "Anything but true and false counts as true here, so content from http:// is shut out.",
        "SP017": "The file travels in the clear: whoever can listen can also take the attribute out.",
        "SP018": "Players are refused on a port that no element names.",
        "SP020": "Sockets know only none, master-only and all; another value counts as none.",
        "SP021": "The meta-policy counts on port 843 only and is ignored elsewhere.",
        "SP022": "The most restrictive of several counts.",
        "SP023": "Without a meta-policy any port of this host may serve a policy file: an upload, echo or log "
        "service can be made to grant ports.",
        "SP024": "Any port of this host may serve a policy file: an upload, echo or log service can be made to "
        "grant ports.",
        "SP025": "The meta-policy none makes every grant void, those in this file included.",
        "SP030": "Every web page may use its visitors' machines to connect, from inside their networks too.",
        "SP031": "The grant reaches every service on this host, not only yours.",
        "SP032": "Every web page may reach every service of this host through its visitors, those behind a "
        "firewall included.",
        "SP033": "Everybody can register a name under a public suffix.",
        "SP034": "Content that may connect to other services can attack them from inside the visitor's network.",
        "SP035": "It matches only content whose URL has exactly this host; players do not look names up.",
        "SP036": "Since player 9.0.124 content needs a grant even for the host that it came from.",
        "SP040": "Grants are a union; an element that others cover changes nothing.",
        "SP041": "Players accept any order; validators that use Adobe's document type do not.",
        "SP042": "Players skip what they do not know.",
        "SP043": "It has a meaning for HTTP or Acrobat only, never for sockets.",
        "SP044": "Players are thought to compare without case; not all of them are known to.",
        "SP045": "To a player a host with a trailing dot is another host.",
        "SP046": "Players compare the ASCII form; not all of them are known to convert.",
        "SP050": "A reset caused by the unread request can destroy the answer.",
        "SP051": "The service tells strangers what it is, and on a shared port it disturbs other protocols.",
        "SP052": "Players read the greeting as the policy file and find it malformed.",
        "SP053": "Players give up on port 843 and the destination port after that time.",
        "SP054": "Every first connection of a player waits the full 3 seconds.",
        "SP055": "Which file counts depends on whether port 843 answers in time.",
    }
)
"""Why each rule matters, by its identifier."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the linter has to say.

    Attributes:
        rule: Its identifier, ``SP001`` and so on.
        severity: How bad it is.
        what: What was found, with the value.
        fix: What to do.
        line: Line in the file, from 1; ``None`` where it concerns the file as a whole, or the server.
        column: Column in characters, from 1, or ``None``.
    """

    rule: str
    severity: Severity
    what: str
    fix: str
    line: int | None = None
    column: int | None = None

    @property
    def why(self) -> str:
        """Why it matters."""
        return RULES[self.rule]

    @property
    def message(self) -> str:
        """What was found, why it matters and what to do, in three sentences."""
        return f"{self.what}. {self.why} {self.fix}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """What was seen of a live server.

    Attributes:
        answers_unasked: It sent a policy file before it was asked.
        answers_anything: It sent one for something that was no request.
        speaks_first: It greeted with something else than a policy file.
        seconds: Time from connecting to the end of the answer.
        is_master_filtered: Port 843 neither accepts nor refuses.
        grants_differ: Port 843 and the destination port grant the destination port to different
            requesters (see :func:`grants_differ`).
    """

    answers_unasked: bool = False
    answers_anything: bool = False
    speaks_first: bool = False
    seconds: float | None = None
    is_master_filtered: bool = False
    grants_differ: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LintContext:
    """How a file is used.

    Attributes:
        serving_port: The port that serves it. Behind a port redirect, the one that players see.
        service_ports: Ports of the services that content shall reach, if they are known.
        is_captured: The bytes are a whole answer from a server, so they must end in a NUL.
        own_host: Host that serves both the content and the socket, if there is one.
        is_local_service: Only clients on the same machine connect.
        allows_everybody: It is meant that everybody may reach every port.
        probe: What was seen of the server, if it was asked.
    """

    serving_port: int = MASTER_PORT
    service_ports: frozenset[int] = frozenset()
    is_captured: bool = False
    own_host: str | None = None
    is_local_service: bool = False
    allows_everybody: bool = False
    probe: ProbeFacts | None = None

    @property
    def is_master(self) -> bool:
        """Whether the file is the one whose meta-policy counts."""
        return self.serving_port == MASTER_PORT


def find_worst(findings: Iterable[Finding]) -> Severity | None:
    """Find the highest severity; ``None`` if there is no finding."""
    return min((finding.severity for finding in findings), key=list(Severity).index, default=None)
