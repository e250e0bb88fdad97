# Invariant: whatever bytes come, in whatever pieces, the frame decoder raises nothing, returns the same payloads and
# the same error as for one piece, holds no more than one message within the limit, and agrees with the parser of
# websockets.
"""Fuzz the WebSocket frame decoder."""

from __future__ import annotations

from fuzz.differential import compare
from xmlsocket.wire.deflate import Inflater
from xmlsocket.wire.websocket import FrameDecoder, Received

_LIMITS = (0, 10, 200, 3000)


def check(data: bytes) -> None:
    """The first byte chooses options, the second how to cut; the rest are frames."""
    if len(data) < 2:
        return
    options, step, stream = data[0], data[1] + 1, data[2:]
    is_client, portable, is_compressed, whole_messages = (bool(options & 1 << bit) for bit in range(4))
    limit = _LIMITS[options >> 4 & 3]

    def new_decoder(*, portable: bool) -> FrameDecoder:
        return FrameDecoder(
            limit,
            is_client=is_client,
            whole_messages=whole_messages,
            portable=portable,
            inflater=Inflater(no_context_takeover=bool(options & 0x40)) if is_compressed else None,
        )

    one, many = new_decoder(portable=False), new_decoder(portable=portable)
    expected = _feed(one, stream)
    items: list[Received] = []
    for at in range(0, len(stream), step):
        items += _feed(many, stream[at : at + step])
        _check_memory(many, limit + 200)
    assert (items if whole_messages else _joined(items)) == (expected if whole_messages else _joined(expected))
    assert (many.error and many.error.args, many.is_closed) == (one.error and one.error.args, one.is_closed)
    if not is_compressed:
        compare(stream, limit, is_client=is_client)


def _feed(decoder: FrameDecoder, data: bytes) -> list[Received]:
    items = decoder.feed(data)
    while decoder.has_more:
        items += decoder.feed(b"")
    return items


def _check_memory(decoder: FrameDecoder, bound: int) -> None:
    values = (getattr(decoder, name) for name in decoder.__slots__)
    held = sum(len(value) for value in values if isinstance(value, (bytes, bytearray)))
    assert held <= bound, f"{held} bytes are held, allowed are {bound}"


def _joined(items: list[Received]) -> list[Received]:
    result: list[Received] = []
    for item in items:
        if isinstance(item, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += item
        else:
            result.append(item)
    return result
