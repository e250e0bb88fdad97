"""Our decoder and the sans-I/O parser of ``websockets`` come to the same verdict on the same bytes.

The differences, all on purpose, are listed in ``fuzz/differential.py``.
"""

from __future__ import annotations

from fuzz.differential import compare, ours, theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from xmlsocket.wire.deflate import Inflater
from xmlsocket.wire.websocket import Close


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
        st.one_of(
            st.binary(max_size=10),
            st.builds(frame, usual_first_bytes, payloads, st.one_of(keys, st.none())),
        ),
        max_size=8,
    ).map(b"".join),
    st.sampled_from([0, 10, 125, 1000]),
    st.booleans(),
)
def test_any_bytes_get_the_same_verdict_but_for_listed_differences(data: bytes, limit: int, is_client: bool) -> None:
    compare(data, limit, is_client=is_client)


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
