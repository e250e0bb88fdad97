"""The first bytes of a connection tell which protocol it speaks.

One port serves several kinds of client: movies that talk XMLSocket, players that ask for a policy file first, browsers
that open a WebSocket, and all of them inside TLS.
"""

from __future__ import annotations

import enum
from typing import Final


class Protocol(enum.Enum):
    """What a client speaks."""

    XMLSOCKET = "xmlsocket"
    """Messages ended by NUL: everything that is none of the others."""
    POLICY = "policy"
    """``<policy-file-request/>`` and a NUL as the first message: a player asks whether it may connect."""
    HTTP = "http"
    """A request line of HTTP: a WebSocket upgrade, or somebody with a browser."""
    TLS = "tls"
    """A TLS handshake record."""


POLICY_REQUESTS: Final = (b"<policy-file-request/>\0", b"<policy-file-request />\0")
"""What players send (the first), and the spelling with a blank in some of Adobe's own texts."""

# A browser can be made to post a form anywhere, so every method counts: its lines must never become messages.
_HTTP_STARTS: Final = tuple(
    method + b" "
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE")
)
# A record with a handshake, of version 3 (SSL 3.0 to TLS 1.3). The first byte alone may also begin a message.
_TLS_STARTS: Final = (b"\x16\x03",)

DETECTION_SIZE: Final = max(map(len, (*POLICY_REQUESTS, *_HTTP_STARTS)))
"""Bytes after which the answer is certain."""


def detect(start: bytes) -> Protocol | None:
    """Tell the protocol from all bytes received so far.

    Returns:
        The protocol, or ``None`` while the bytes could still become more than one of them. Bytes that stop half-way
        into a policy request or a method are XMLSocket if nothing follows them.
    """
    if not start:
        return None
    first = start[0]
    if first == 0x16:
        return _match(start, _TLS_STARTS, Protocol.TLS)
    if first == 0x3C:
        return _match(start, POLICY_REQUESTS, Protocol.POLICY)
    return _match(start, _HTTP_STARTS, Protocol.HTTP)


def _match(start: bytes, expected: tuple[bytes, ...], protocol: Protocol) -> Protocol | None:
    if start.startswith(expected):
        return protocol
    if any(candidate.startswith(start) for candidate in expected):
        return None
    return Protocol.XMLSOCKET
