# Invariant: whatever bytes come, in whatever pieces, the handshake raises nothing, decides the same as for one piece,
# never holds more than its limit undecided, and answers with one well-formed HTTP response of a status that we know; it
# agrees to nothing that was not offered, and never upgrades without the right version and a key of 16 bytes.
"""Fuzz the HTTP side of the port."""

from __future__ import annotations

import base64
import re

from xmlsocket.net.forwarding import client_address, trusted_networks
from xmlsocket.net.handshake import Answer, Handshake, HandshakeOptions, Page, Upgrade
from xmlsocket.wire.deflate import DeflateOptions

_LIMIT = 2000
_ORIGIN = "http://example.org"
_STATUSES = {200, 400, 403, 404, 405, 426, 431}
_RESPONSE = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9] [ -~]+\r\n(?:[!#-'*+.0-9A-Z^_`a-z|~-]+: [ -~]*\r\n)+\r\n")
_PROXIES = trusted_networks(["127.0.0.1", "10.0.0.0/8"])


def check(data: bytes) -> None:
    """The first byte chooses options, the second how to cut; the rest is the request."""
    if len(data) < 2:
        return
    choice, step, stream = data[0], data[1] + 1, data[2:]
    options = HandshakeOptions(
        allowed_origins=frozenset({_ORIGIN}) if choice & 1 else None,
        deflate=DeflateOptions() if choice & 2 else None,
        pages={"/": Page(b"<p>hello</p>")},
        max_size=_LIMIT,
    )
    expected = Handshake(options).feed(stream)
    handshake = Handshake(options)
    outcome = None
    for at in range(0, len(stream), step):
        outcome = handshake.feed(stream[at : at + step])
        if outcome is not None:
            break
    assert _essence(outcome) == _essence(expected)
    if expected is None:
        assert len(stream) < _LIMIT
    else:
        _check_response(expected, options, stream)


def _essence(outcome: Upgrade | Answer | None) -> object:
    if isinstance(outcome, Answer):
        return outcome.status, outcome.detail
    return outcome and (outcome.response, outcome.request)


def _check_response(outcome: Upgrade | Answer, options: HandshakeOptions, stream: bytes) -> None:
    head = _RESPONSE.match(outcome.response)
    assert head is not None, f"malformed response {outcome.response!r}"
    if isinstance(outcome, Answer):
        assert outcome.status in _STATUSES
        return
    request = outcome.request
    assert stream.endswith(outcome.rest)
    assert request.header("Sec-WebSocket-Version") == "13"
    assert len(base64.b64decode(request.header("Sec-WebSocket-Key") or "", validate=True)) == 16
    if options.allowed_origins is not None:
        assert outcome.origin in (None, _ORIGIN)
    assert outcome.subprotocol is None or outcome.subprotocol in (request.header("Sec-WebSocket-Protocol") or "")
    if outcome.deflate is not None:
        assert options.deflate is not None
        assert "permessage-deflate" in (request.header("Sec-WebSocket-Extensions") or "")
    for header in ("X-Forwarded-For", "Forwarded"):
        assert client_address("127.0.0.1", request.headers, _PROXIES, header=header)
