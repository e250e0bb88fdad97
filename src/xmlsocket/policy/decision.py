"""Whether a connection is allowed, and how the player came to that."""

from __future__ import annotations

import dataclasses
import enum

from .answers import Location, Outcome
from .matching import format_host, parse_host
from .model import Grant, Policy
from .quoting import quote
from .requester import Requester

_MAX_OBJECTIONS = 5


class Rule(enum.Enum):
    """The rule that decided, in words that follow "because"."""

    NETWORKING_FORBIDDEN = "the HTML parameter allowNetworking is none"
    LOCAL_WITH_FILE = "local-with-filesystem content is not permitted to use sockets"
    INVALID_PORT = "ports go from 1 to 65535"
    APPLICATION = "AIR application content may connect anywhere, without a policy file"
    LOCAL_TRUSTED = "trusted local content may connect anywhere, without a policy file"
    OWN_HOST = "this player lets content connect to its own host on ports from 1024 up, without a policy file"
    MASTER_NONE = "the meta-policy on port 843 is none, which makes every policy file of the host void"
    MASTER_GRANTS = "the policy file on port 843 grants it"
    MASTER_ONLY = "the meta-policy on port 843 is master-only, and the policy file there does not grant it"
    EXPLICIT_GRANTS = "a policy file named with loadPolicyFile grants it"
    DESTINATION_GRANTS = "the policy file on the destination port grants it"
    HTTP_GRANTS = "the HTTP policy file grants it, which counted for sockets before player 9.0.124"
    NOTHING_GRANTS = "no policy file grants it"


_THROWN = {Rule.NETWORKING_FORBIDDEN: 2146, Rule.LOCAL_WITH_FILE: 2010, Rule.INVALID_PORT: 2003}
_REFUSALS = frozenset({Rule.MASTER_NONE, Rule.MASTER_ONLY, Rule.NOTHING_GRANTS})
_OUTCOME_WORDS = {
    Outcome.REFUSED: "refused the connection",
    Outcome.TIMEOUT: "did not answer in time",
    Outcome.CLOSED_EMPTY: "closed the connection without an answer",
    Outcome.TOO_BIG: "sent more than a policy file may have",
    Outcome.MALFORMED: "sent no usable policy file",
    Outcome.FAILED: "could not be asked",
    Outcome.NOT_ASKED: "was not asked",
}


def _format_time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(seconds * 1000, 1):.0f} ms"


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One location on the way to a decision.

    Attributes:
        location: Whom.
        outcome: What came of it.
        elapsed: Seconds that this search waited for it; 0 if it was known already or not asked.
        timeout: Seconds that were allowed; ``None`` is no limit.
        is_cached: It was asked by another search of the session.
        policy: The policy, if it sent one.
        detail: What is wrong with the answer, or why it was not asked; else empty.
        grant: The grant in it that allows the connection, or ``None``.
        objections: For each grant in the file, why it does not allow the connection.
    """

    location: Location
    outcome: Outcome
    elapsed: float = 0.0
    timeout: float | None = None
    is_cached: bool = False
    policy: Policy | None = None
    detail: str = ""
    grant: Grant | None = None
    objections: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What happened there, in plain words."""
        time = f" after {_format_time(self.elapsed)}" if self.elapsed else " (known already)" if self.is_cached else ""
        if self.policy is None:
            detail = f": {self.detail}" if self.detail else ""
            return f"{self.location} {_OUTCOME_WORDS[self.outcome]}{time}{detail}"
        return f"{self.location} sent a policy file{time}: {self._verdict(self.policy)}"

    def _verdict(self, policy: Policy) -> str:
        if self.grant is not None:
            place = f" (line {self.grant.position.line})" if self.grant.position else ""
            ports = f", to-ports {quote(self.grant.to_ports)}" if self.grant.to_ports else ""
            return f"domain {quote(self.grant.domain or '')}{ports} grants it{place}"
        if self.detail:
            return self.detail
        if not policy.entries:
            return "it has no allow-access-from"
        shown = "; ".join(self.objections[:_MAX_OBJECTIONS])
        more = len(self.objections) - _MAX_OBJECTIONS
        return shown + (f"; and {more} more do not match either" if more > 0 else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Whether content may open a socket.

    Attributes:
        allowed: Whether it may.
        rule: The rule that decided.
        requester: Who asked.
        host: The host it wants, as it was given.
        port: The port it wants.
        address: What to connect to: the same address that the policy files came from.
        trail: The locations in the order in which they came up.
    """

    allowed: bool
    rule: Rule
    requester: Requester
    host: str
    port: int
    address: str
    trail: tuple[Step, ...] = ()

    @property
    def error(self) -> int | None:
        """Adobe's error number: 2003, 2010 or 2146 thrown by ``connect``, 2048 as an event, ``None`` if allowed."""
        if self.rule in _REFUSALS:
            return 2048
        return _THROWN.get(self.rule)

    @property
    def is_thrown(self) -> bool:
        """Whether ``connect`` itself throws the error; otherwise it comes as a ``securityError`` event."""
        return self.rule in _THROWN

    @property
    def grant(self) -> Grant | None:
        """The grant that allows it, or ``None`` where none was needed or found."""
        return self.trail[-1].grant if self.allowed and self.trail else None

    @property
    def explanation(self) -> str:
        """Everything in plain words, one sentence a line: the decision, then each location."""
        target = f"{format_host(parse_host(self.host))}:{self.port}"
        verb = "may" if self.allowed else "may not"
        first = f"{self.requester} {verb} connect to {target}, because {self.rule.value}."
        return "\n".join([first, *(f"{step.sentence}." for step in self.trail)])
