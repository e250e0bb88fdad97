"""Where policy files are asked for, and what came back."""

from __future__ import annotations

import dataclasses
import enum
from urllib.parse import urlsplit

from ..errors import ConfigurationError, PolicyError
from ..limits import PolicyLimits
from .matching import Host, format_host, parse_host
from .model import Policy
from .parsing import parse_policy

MASTER_PORT = 843
"""Where players look first, and the only place whose meta-policy counts."""

HTTP_PATH = "/crossdomain.xml"

_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21}


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """A place that may hold a policy file. Two hosts that compare alike are the same host.

    Attributes:
        host: Name or address, in the form of :func:`~xmlsocket.policy.parse_host`.
        port: Its port.
        scheme: ``xmlsocket``, or for the files that players before 9.0.124 used, ``http``.
        path: Path of an HTTP file.
    """

    host: Host
    port: int
    scheme: str = "xmlsocket"
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read a URL as ``Security.loadPolicyFile`` takes it, such as ``xmlsocket://chat.example.com:2525``.

        Raises:
            ConfigurationError: It has no known scheme, no host, or no port where there is no usual one.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigurationError(f"{url!r} is no location of a policy file: {error}") from error
        if parts.scheme not in ("xmlsocket", *_DEFAULT_PORTS) or not host:
            raise ConfigurationError(f"{url!r} is no location of a policy file; write xmlsocket://host:port")
        port = _DEFAULT_PORTS.get(parts.scheme) if port is None else port
        if not port:
            raise ConfigurationError(f"{url!r} has no port; write xmlsocket://host:port")
        return cls(parse_host(host), port, parts.scheme, "" if parts.scheme == "xmlsocket" else parts.path or "/")

    @property
    def is_http_default(self) -> bool:
        """Whether it is the HTTP file that once granted sockets: ``/crossdomain.xml`` on port 80."""
        return (self.scheme, self.port, self.path) == ("http", 80, HTTP_PATH)

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{format_host(self.host)}{port}{self.path}"


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """What to do next: ask this location for its policy file, and say what came back.

    Attributes:
        location: Whom to ask: for ``xmlsocket`` send ``<policy-file-request/>`` and a NUL over plain TCP,
            for ``http`` get the path.
        address: The address to connect to, the same for all locations of one search.
        timeout: Seconds from now until the whole answer must be there; ``None`` is no limit.
        max_size: Stop reading after that many bytes without NUL; ``None`` is no limit.
    """

    location: Location
    address: str
    timeout: float | None
    max_size: int | None


class Ending(enum.Enum):
    """How asking a location ended, as the network sees it."""

    ANSWERED = "a NUL arrived"
    CLOSED = "the connection was closed"
    TIMED_OUT = "the time was up"
    REFUSED = "the connection was refused"
    FAILED = "the network failed"
    OVERFLOWED = "more bytes than allowed arrived without NUL"


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What came back from a location.

    Attributes:
        ending: How it ended.
        data: The bytes that arrived, the NUL and what followed included; for ``http`` the body.
        detail: For ``FAILED``, what the system says.
    """

    ending: Ending
    data: bytes = b""
    detail: str = ""


class Outcome(enum.Enum):
    """What a location contributed. Everything but ``OK`` counts as "no policy file there"."""

    OK = "ok"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CLOSED_EMPTY = "closed-empty"
    TOO_BIG = "too-big"
    MALFORMED = "malformed"
    FAILED = "failed"
    NOT_ASKED = "not-asked"


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """What a reply means: a policy, or why there is none.

    Attributes:
        outcome: What came of it.
        policy: The policy if the outcome is ``OK``.
        detail: What is wrong with the file, or what the network said; else empty.
    """

    outcome: Outcome
    policy: Policy | None = None
    detail: str = ""


def read_reply(reply: Reply, limits: PolicyLimits, *, strict: bool = False, is_http: bool = False) -> Fetched:
    """Make sense of a reply.

    A NUL completes the answer whatever happened afterwards. Without one, the end of the connection
    does, unless ``strict``; nothing else does.
    """
    if b"\0" not in reply.data or is_http:
        if reply.ending in _FAILURES:
            return Fetched(_FAILURES[reply.ending], detail=reply.detail)
        if not reply.data:
            return Fetched(Outcome.CLOSED_EMPTY)
    try:
        return Fetched(Outcome.OK, parse_policy(reply.data, strict=strict and not is_http, limits=limits))
    except PolicyError as error:
        return Fetched(Outcome.TOO_BIG if error.rule == "SP006" else Outcome.MALFORMED, detail=str(error))


_FAILURES = {
    Ending.TIMED_OUT: Outcome.TIMEOUT,
    Ending.REFUSED: Outcome.REFUSED,
    Ending.FAILED: Outcome.FAILED,
    Ending.OVERFLOWED: Outcome.TOO_BIG,
}
