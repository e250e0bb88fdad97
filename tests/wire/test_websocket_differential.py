"""Our decoder and the sans-I/O parser of ``websockets`` come to the same verdict on the same bytes.

The differences, all on purpose:

- A close frame inside a fragmented message: ours ends the stream in good order (RFC 6455, section 5.4: control frames
  may stand there), theirs fails with 1002.
- UTF-8: theirs leaves it to the layer above, so the comparison does that layer's work.
- A frame that is wrong and too big as well: ours says 1002 as soon as the header is there, theirs 1009. Streams of the
  first test have no limit, those of the second no wrong header.
- A length of more than 63 bits: ours says 1002, theirs waits for the payload or says 1009.
- A text message that is one byte over the limit without ending with a NUL: ours says 1009.
- Compressed data that cannot be decompressed: ours says 1007 (the data is at fault), theirs 1002.
"""

from __future__ import annotations

import logging

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from xmlsocket.wire.deflate import Inflater
from xmlsocket.wire.websocket import Close, FrameDecoder, Ping, Pong, Received

Verdict = tuple[list[Received], int | None]

_silent = logging.getLogger("websockets.differential")
_silent.setLevel(logging.CRITICAL)


def ours(data: bytes, limit: int | None, *, is_client: bool = False, inflater: Inflater | None = None) -> Verdict:
    decoder = FrameDecoder(limit, is_client=is_client, whole_messages=True, inflater=inflater)
    items = decoder.feed(data)
    while decoder.has_more:
        items += decoder.feed(b"")
    return items, decoder.error.close_code if decoder.error else None


def theirs(
    data: bytes, limit: int | None, *, is_client: bool = False, deflate: PerMessageDeflate | None = None
) -> Verdict:
    side = Side.CLIENT if is_client else Side.SERVER
    protocol = Protocol(side, max_size=None if limit is None else limit + 1, logger=_silent)
    if deflate is not None:
        protocol.extensions = [deflate]
    protocol.receive_data(data)
    code = None
    if protocol.parser_exc is not None:
        code = {PayloadTooBig: 1009, ProtocolError: 1002, UnicodeDecodeError: 1007}[type(protocol.parser_exc)]
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
            if frame.fin and opcode is Opcode.BINARY:
                items.append(payload)
            elif frame.fin:
                try:
                    items.append(payload.decode())
                except UnicodeDecodeError:
                    return items, 1007
    return items, code


def frame(first: int, payload: bytes, key: bytes | None, *, spare: bool = False) -> bytes:
    size = len(payload)
    length_bytes = (2 if size < 65_536 else 8) if spare or size > 125 else 0
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    extended = size.to_bytes(length_bytes, "big") if length_bytes else b""
    if key is None:
        return bytes((first, short)) + extended + payload
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((first, short | 0x80)) + extended + key + masked


keys = st.binary(min_size=4, max_size=4)
payloads = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(str.encode),
    st.integers(100, 300).map(lambda size: b"p" * size),
    st.sampled_from([1000, 1004, 1005, 1015, 2999, 3000, 4999, 5000]).map(
        lambda code: code.to_bytes(2, "big") + b"why"
    ),
)
usual_first_bytes = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A])


@settings(max_examples=600)
@given(
    st.lists(
        st.tuples(
            st.one_of(usual_first_bytes, usual_first_bytes, usual_first_bytes, st.integers(0, 255)),
            payloads,
            keys,
            st.sampled_from([True] * 15 + [False]),
            st.booleans(),
        ),
        max_size=10,
    ),
    st.booleans(),
)
def test_right_and_broken_streams_get_the_same_verdict(
    frames: list[tuple[int, bytes, bytes, bool, bool]], is_client: bool
) -> None:
    data = b"".join(
        frame(first, payload, None if is_client == is_right_way else key, spare=spare)
        for first, payload, key, is_right_way, spare in frames
    )
    our_items, our_code = ours(data, None, is_client=is_client)
    their_items, their_code = theirs(data, None, is_client=is_client)
    if our_code is None and our_items and isinstance(our_items[-1], Close) and their_code == 1002:
        our_items.pop()  # a close frame inside a fragmented message
        our_code = 1002
    assert (our_items, our_code) == (their_items, their_code)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.lists(st.one_of(st.integers(0, 60), st.integers(90, 130)), min_size=1, max_size=4),
            keys,
        ),
        max_size=6,
    ),
    st.sampled_from([None, 0, 50, 100, 125, 126, 200]),
)
def test_the_limit_is_met_at_the_same_byte(messages: list[tuple[int, list[int], bytes]], limit: int | None) -> None:
    data = b""
    for opcode, sizes, key in messages:
        for index, size in enumerate(sizes):
            first = (0 if index else opcode) | (0x80 if index == len(sizes) - 1 else 0)
            # Ends with a NUL, so that the last byte over the limit is one that we allow too.
            data += frame(first, b"x" * (size - 1) + b"\0" if size else b"", key)
    if all(sizes[-1] or opcode == 2 for opcode, sizes, _ in messages):
        assert ours(data, limit) == theirs(data, limit)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
            st.one_of(st.text(max_size=50), st.integers(0, 300).map(lambda count: "many " * count)),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.booleans(),
    st.sampled_from([None, 1000]),
)
def test_compressed_streams_get_the_same_verdict(
    messages: list[tuple[Opcode, str, bool]], is_alone: bool, limit: int | None
) -> None:
    sender = PerMessageDeflate(is_alone, is_alone, 15, 15)
    data = b"".join(
        Frame(opcode, (text + "\0").encode()).serialize(mask=True, extensions=[sender] if is_compressed else [])
        for opcode, text, is_compressed in messages
    )
    expected = theirs(data, limit, deflate=PerMessageDeflate(is_alone, is_alone, 15, 15))
    assert ours(data, limit, inflater=Inflater(no_context_takeover=is_alone)) == expected
