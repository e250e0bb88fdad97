"""Decision vectors: one case each of who asks, which files there are, and what must come of it."""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Mapping
from typing import TypeVar

from ..errors import ConfigurationError
from .answers import HTTP_PATH, MASTER_PORT, Ending, Location, Reply
from .decision import Decision
from .matching import Host, parse_host
from .players import CURRENT_PLAYER, parse_player
from .rehearsal import KnownAnswer, rehearse
from .requester import AllowNetworking, Requester, Sandbox
from .search import PolicySearch, choose_host

_Choice = TypeVar("_Choice", bound=enum.Enum)


class Expectation(enum.Enum):
    """What a vector expects."""

    ALLOW = "allow"
    DENY = "deny"


class MasterState(enum.Enum):
    """What port 843 does when it serves nothing."""

    REFUSED = "refused"
    TIMEOUT = "timeout"


class Terminator(enum.Enum):
    """What follows a document: a NUL, the end of the connection, or nothing while it stays open."""

    NUL = "nul"
    EOF = "eof"
    NONE = "none"


class Transport(enum.Enum):
    """How the policy of a vector is served: as a socket policy file, under either name, or by another protocol."""

    XMLSOCKET = "xmlsocket"
    SOCKET = "socket"
    HTTP = "http"
    HTTPS = "https"
    FTP = "ftp"
    TLS = "tls"

    @property
    def is_socket(self) -> bool:
        """Whether a policy request on the port is answered."""
        return self in (Transport.XMLSOCKET, Transport.SOCKET)


class Runtime(enum.Enum):
    """What runs the content."""

    FLASH = "flash"
    AIR = "air"


_TEXT = (str,)
_OPTIONAL_TEXT = (str, type(None))
_NUMBER = (int, float)
_FIELDS: dict[str, tuple[type, ...]] = {
    "id": (str, int),
    "why": _TEXT,
    "confidence": _TEXT,
    "source": _TEXT,
    "policy": _OPTIONAL_TEXT,
    "policy_port": (int,),
    "policy_host": _OPTIONAL_TEXT,
    "policy_transport": _TEXT,
    "others": (list,),
    "load_policy_file": (list,),
    "master_state": _TEXT,
    "delay_s": _NUMBER,
    "terminator": _TEXT,
    "encoding": _TEXT,
    "swf_domain": _OPTIONAL_TEXT,
    "swf_scheme": _TEXT,
    "sandbox": _TEXT,
    "allow_networking": _TEXT,
    "player": _TEXT,
    "runtime": _TEXT,
    "host": _OPTIONAL_TEXT,
    "port": (int,),
    "expect": _TEXT,
    "error": (int, type(None)),
}
_REQUIRED = ("swf_domain", "host", "port", "expect")
_OTHER_FIELDS: dict[str, tuple[type, ...]] = {"port": (int,), "policy": _OPTIONAL_TEXT}


@dataclasses.dataclass(frozen=True, slots=True)
class VectorResult:
    """How one vector went.

    Attributes:
        passed: Whether the decision is the expected one.
        decision: The decision.
        failure: What differs; empty if it passed.
    """

    passed: bool
    decision: Decision
    failure: str


def run_vector(fields: Mapping[str, object]) -> VectorResult:
    """Run one vector through the same search that asks real servers.

    One policy is served by the destination host on ``policy_port`` (default 843), others by ``others``; no
    other port answers, and ``master_state`` says what port 843 does (it prevails over a policy there). A
    ``policy_port`` that is neither 843 nor the destination port counts as named with ``loadPolicyFile``.
    ``delay_s`` is how long the policy on ``policy_port`` takes to arrive.

    Args:
        fields: The fields of the vector, as JSON has them.

    Raises:
        ConfigurationError: A field is unknown, missing, or has a value that means nothing.
    """
    _check_fields(fields, _FIELDS, _REQUIRED)
    requester = _read_requester(fields)
    host = choose_host(_text(fields, "host"), requester)
    expected = _choose(Expectation, fields, "expect", None)
    search = PolicySearch(requester, host, _number(fields, "port", 0), explicit=_read_explicit(fields, host))
    decision = rehearse(search, _read_answers(fields, host))
    failure = _compare(decision, expected, fields.get("error"))
    return VectorResult(not failure, decision, failure)


def _compare(decision: Decision, expected: Expectation, error: object) -> str:
    found = Expectation.ALLOW if decision.allowed else Expectation.DENY
    if found is not expected:
        return f"expected {expected.value}, got {found.value}: {decision.explanation.splitlines()[0]}"
    if error is not None and error != decision.error:
        return f"expected error {error}, got {decision.error}"
    return ""


def _check_fields(
    fields: Mapping[str, object], known: Mapping[str, tuple[type, ...]], required: tuple[str, ...]
) -> None:
    for name, value in fields.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigurationError(f"unknown field {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise ConfigurationError(f"the field {name} cannot be {value!r:.60}")
    for name in required:
        if name not in fields:
            raise ConfigurationError(f"the field {name} is missing")


def _text(fields: Mapping[str, object], name: str, default: str = "") -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else default


def _number(fields: Mapping[str, object], name: str, default: int) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else default


def _choose(kind: type[_Choice], fields: Mapping[str, object], name: str, default: _Choice | None) -> _Choice:
    if name not in fields and default is not None:
        return default
    try:
        return kind(fields[name])
    except ValueError:
        values = ", ".join(str(member.value) for member in kind)
        raise ConfigurationError(f"the field {name} cannot be {fields[name]!r:.60}; it is one of {values}") from None


def _read_requester(fields: Mapping[str, object]) -> Requester:
    runtime = _choose(Runtime, fields, "runtime", Runtime.FLASH)
    player = parse_player(_text(fields, "player", "10"))
    return Requester(
        _text(fields, "swf_domain") or None,
        _text(fields, "swf_scheme", "http"),
        _choose(Sandbox, fields, "sandbox", Sandbox.REMOTE),
        _choose(AllowNetworking, fields, "allow_networking", AllowNetworking.ALL),
        CURRENT_PLAYER if runtime is Runtime.AIR else player,
    )


def _read_explicit(fields: Mapping[str, object], host: str) -> list[Location]:
    target = parse_host(host)
    locations = []
    transport = _choose(Transport, fields, "policy_transport", Transport.XMLSOCKET)
    port = _number(fields, "policy_port", MASTER_PORT)
    if transport.is_socket and port not in (MASTER_PORT, fields["port"]):
        locations.append(Location(_policy_host(fields, target), port))
    named = fields.get("load_policy_file")
    for location in named if isinstance(named, list) else ():
        if isinstance(location, int) and not isinstance(location, bool):
            locations.append(Location(target, location))
        elif isinstance(location, str):
            locations.append(Location.parse(location))
        else:
            raise ConfigurationError(f"load_policy_file holds {location!r:.60}; it takes ports and URLs")
    return locations


def _policy_host(fields: Mapping[str, object], target: Host) -> Host:
    named = _text(fields, "policy_host")
    return parse_host(named) if named else target


def _read_answers(fields: Mapping[str, object], host: str) -> dict[Location, KnownAnswer]:
    target = parse_host(host)
    answers: dict[Location, KnownAnswer] = {}
    if fields.get("policy") is not None:
        transport = _choose(Transport, fields, "policy_transport", Transport.XMLSOCKET)
        place = ("xmlsocket", "") if transport.is_socket else (transport.value, HTTP_PATH)
        port = _number(fields, "policy_port", MASTER_PORT)
        answers[Location(_policy_host(fields, target), port, *place)] = _read_main_answer(fields)
    others = fields.get("others")
    for other in others if isinstance(others, list) else ():
        if not isinstance(other, dict):
            raise ConfigurationError(f"others holds {other!r:.60}; it takes objects with port and policy")
        _check_fields(other, _OTHER_FIELDS, ("port", "policy"))
        if other["policy"] is not None:
            location = Location(target, other["port"])
            if location in answers:
                raise ConfigurationError(f"two policies are served on port {other['port']}")
            answers[location] = KnownAnswer(_terminate(other["policy"].encode(errors="surrogatepass"), Terminator.NUL))
    if "master_state" in fields:
        state = _choose(MasterState, fields, "master_state", None)
        ending = Ending.REFUSED if state is MasterState.REFUSED else Ending.TIMED_OUT
        answers[Location(target, MASTER_PORT)] = KnownAnswer(
            Reply(ending), None if state is MasterState.TIMEOUT else 0.0
        )
    return answers


def _read_main_answer(fields: Mapping[str, object]) -> KnownAnswer:
    encoding = _text(fields, "encoding", "utf-8")
    text = _text(fields, "policy")
    try:
        document = text.encode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except (LookupError, UnicodeError) as error:
        raise ConfigurationError(f"the policy cannot be encoded as {encoding!r:.60}: {error}") from error
    terminator = _choose(Terminator, fields, "terminator", Terminator.NUL)
    delay = fields.get("delay_s")
    waited = float(delay) if isinstance(delay, (int, float)) else 0.0
    return KnownAnswer(_terminate(document, terminator), None if terminator is Terminator.NONE else waited)


def _terminate(document: bytes, terminator: Terminator) -> Reply:
    if terminator is Terminator.NUL:
        return Reply(Ending.ANSWERED, document + b"\0")
    return Reply(Ending.CLOSED if terminator is Terminator.EOF else Ending.TIMED_OUT, document)
