"""Two parsers of WebSocket frames on the same bytes: ours, and the sans-I/O one of ``websockets``.

The differences, all on purpose:

- A close frame inside a fragmented message: ours ends the stream in good order (RFC 6455, section 5.4: control frames
  may stand there), theirs fails with 1002.
- UTF-8: theirs leaves it to the layer above, whose work ``theirs`` does here.
- A frame that is wrong and too big as well: ours says 1002 as soon as the header is there, theirs 1009.
- Control frames: theirs counts them for the limit of messages, so a small limit forbids them.
- A frame that is wrong and not yet complete: ours fails at once, theirs mostly when the payload is there.
- A text message that is one byte over the limit without ending with a NUL: ours says 1009.
- Compressed data that cannot be decompressed: ours says 1007 (the data is at fault), theirs 1002.
"""

from __future__ import annotations

import logging

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from xmlsocket.wire.deflate import Inflater
from xmlsocket.wire.websocket import Close, FrameDecoder, Ping, Pong, Received

Verdict = tuple[list[Received], int | None]
"""What was received, binary messages whole, and the close code of the failure, if it failed."""

_CODES: dict[type[Exception], int] = {PayloadTooBig: 1009, ProtocolError: 1002, UnicodeDecodeError: 1007}
_silence = logging.Logger("differential", logging.CRITICAL + 1)


def ours(data: bytes, limit: int | None, *, is_client: bool = False, inflater: Inflater | None = None) -> Verdict:
    """Decode with :class:`FrameDecoder`."""
    decoder = FrameDecoder(limit, is_client=is_client, whole_messages=True, inflater=inflater)
    items = decoder.feed(data)
    while decoder.has_more:
        items += decoder.feed(b"")
    return items, decoder.error.close_code if decoder.error else None


def theirs(
    data: bytes, limit: int | None, *, is_client: bool = False, deflate: PerMessageDeflate | None = None
) -> Verdict:
    """Decode with :class:`Protocol`, and check the UTF-8 of text."""
    side = Side.CLIENT if is_client else Side.SERVER
    protocol = Protocol(side, max_size=None if limit is None else limit + 1, logger=_silence)
    if deflate is not None:
        protocol.extensions = [deflate]
    protocol.receive_data(data)
    code = None if protocol.parser_exc is None else _CODES[type(protocol.parser_exc)]
    items: list[Received] = []
    opcode, payload = Opcode.CONT, b""
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.PING:
            items.append(Ping(bytes(frame.data)))
        elif frame.opcode is Opcode.PONG:
            items.append(Pong(bytes(frame.data)))
        elif frame.opcode is Opcode.CLOSE:
            assert protocol.close_rcvd is not None
            items.append(Close(int(protocol.close_rcvd.code), protocol.close_rcvd.reason))
        else:
            if frame.opcode is not Opcode.CONT:
                opcode, payload = frame.opcode, b""
            payload += bytes(frame.data)
            if not frame.fin:
                continue
            try:
                items.append(payload if opcode is Opcode.BINARY else payload.decode())
            except UnicodeDecodeError:
                return items, 1007
    return items, code


def compare(data: bytes, limit: int, *, is_client: bool) -> None:
    """Assert that both say the same of any bytes, but for the differences above."""
    our_items, our_code = ours(data, limit, is_client=is_client)
    if our_code is not None:
        data += bytes(limit + 200)  # completes the frame that ours found wrong at its header
    their_items, their_code = theirs(data, limit, is_client=is_client)
    unlimited_items, unlimited_code = theirs(data, None, is_client=is_client)
    if our_code == 1009:
        assert our_items == unlimited_items[: len(our_items)]
        last = unlimited_items[len(our_items) : len(our_items) + 1]
        is_text_without_nul = last and isinstance(last[0], str) and len(last[0].encode()) == limit + 1
        assert is_text_without_nul or their_code in (1009, 1007)
        return
    if their_code == 1009:
        # Without a limit it may wait for more than there will ever be.
        their_items, their_code = unlimited_items, unlimited_code or our_code
    if our_code is None and their_code == 1002 and our_items and isinstance(our_items[-1], Close):
        our_items.pop()
        our_code = 1002
    assert (our_items, our_code) == (their_items, their_code)
