"""The decoder: RFC 6455 rule by rule, any cutting of the stream, limits, and order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import FrameError
from xmlsocket.wire.frames import encode_binary, encode_close, encode_ping, encode_pong, encode_text
from xmlsocket.wire.websocket import Close, FrameDecoder, Ping, Pong, Received

KEY = b"\x37\xfa\x21\x3d"


def keys() -> bytes:
    return KEY


def frame(first: int, payload: bytes, *, key: bytes | None = KEY, length_bytes: int | None = None) -> bytes:
    """One frame, right or wrong, written from the RFC and not from our encoder."""
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 65_536 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    extended = size.to_bytes(length_bytes, "big") if length_bytes else b""
    if key is None:
        return bytes((first, short)) + extended + payload
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((first, short | 0x80)) + extended + key + masked


def decode(data: bytes, **options: object) -> tuple[list[Received], FrameError | None]:
    options.setdefault("max_message_size", 1000)
    decoder = FrameDecoder(**options)  # type: ignore[arg-type]  # options of the decoder by name
    return decoder.feed(data), decoder.error


def test_the_masked_hello_of_the_rfc_is_read() -> None:
    # RFC 6455, section 5.7
    assert decode(bytes.fromhex("818537fa213d7f9f4d5158")) == (["Hello"], None)


def test_the_unmasked_examples_of_the_rfc_are_read_by_a_client() -> None:
    # RFC 6455, section 5.7: a fragmented text message, a ping, and 256 bytes with a 16 bit length
    data = bytes.fromhex("010348656c 80026c6f 890548656c6c6f 827e0100") + bytes(256)
    assert decode(data, is_client=True) == (["Hello", Ping(b"Hello"), bytes(256)], None)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 128, 65_535, 65_536, 65_537])
@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("is_client", [False, True])
def test_every_form_of_length_is_read(size: int, portable: bool, is_client: bool) -> None:
    payload = bytes(index * 7 % 256 for index in range(size))
    data = frame(0x82, payload, key=None if is_client else KEY) * 3
    decoder = FrameDecoder(None, is_client=is_client, portable=portable, whole_messages=True)
    assert decoder.feed(data) == [payload] * 3


def test_binary_frames_are_a_stream_and_neighbours_are_joined() -> None:
    data = frame(0x82, b"one\0tw") + frame(0x82, b"") + frame(0x82, b"o\0")
    assert decode(data) == ([b"one\0two\0"], None)


def test_a_binary_frame_without_payload_says_nothing() -> None:
    assert decode(frame(0x82, b"")) == ([], None)
    assert decode(frame(0x82, b"") + frame(0x89, b"")) == ([Ping(b"")], None)


def test_part_of_a_binary_frame_is_handed_on_before_the_rest_is_there() -> None:
    decoder = FrameDecoder(None)
    data = frame(0x82, b"abcdefgh")
    assert decoder.feed(data[:9]) == [b"abc"]
    assert decoder.feed(data[9:]) == [b"defgh"]


def test_what_lies_between_binary_frames_keeps_its_place() -> None:
    data = frame(0x82, b"a") + frame(0x89, b"!") + frame(0x82, b"b") + frame(0x81, b"t") + frame(0x82, b"c")
    assert decode(data) == ([b"a", Ping(b"!"), b"b", "t", b"c"], None)


def test_a_text_frame_is_one_message() -> None:
    assert decode(frame(0x81, "é€😀".encode()) + frame(0x81, b"")) == (["é€😀", ""], None)


def test_a_fragmented_text_is_one_message_even_with_control_frames_between() -> None:
    # RFC 6455, section 5.4: control frames may be injected in the middle of a fragmented message.
    euro = "€".encode()
    data = (
        frame(0x01, euro[:1]) + frame(0x89, b"p") + frame(0x00, euro[1:2]) + frame(0x8A, b"q") + frame(0x80, euro[2:])
    )
    assert decode(data) == ([Ping(b"p"), Pong(b"q"), "€"], None)


def test_fragments_of_a_binary_message_are_handed_on_at_once() -> None:
    decoder = FrameDecoder(None)
    assert decoder.feed(frame(0x02, b"ab")) == [b"ab"]
    assert decoder.feed(frame(0x00, b"cd")) == [b"cd"]
    assert decoder.feed(frame(0x80, b"ef") + frame(0x82, b"gh")) == [b"efgh"]


def test_whole_messages_can_be_asked_for() -> None:
    data = frame(0x02, b"ab") + frame(0x00, b"") + frame(0x89, b"") + frame(0x80, b"cd") + frame(0x82, b"") * 2
    assert decode(data, whole_messages=True) == ([Ping(b""), b"abcd", b"", b""], None)


@pytest.mark.parametrize("reserved", [0x40, 0x20, 0x10])
@pytest.mark.parametrize("opcode", [0x1, 0x2, 0x8, 0x9, 0xA])
def test_reserved_bits_must_be_zero(reserved: int, opcode: int) -> None:
    # RFC 6455, section 5.2
    assert_fails(frame(0x80 | reserved | opcode, b""), 1002, "reserved bit")


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_unknown_opcodes_fail(opcode: int) -> None:
    # RFC 6455, section 5.2
    assert_fails(frame(0x80 | opcode, b""), 1002, f"unknown opcode {opcode}")


def test_a_server_refuses_frames_that_are_not_masked() -> None:
    # RFC 6455, section 5.1
    for payload in (b"", b"x", b"x" * 300, b"x" * 70_000):
        assert_fails(frame(0x82, payload, key=None), 1002, "not masked", max_message_size=None)


def test_a_client_refuses_frames_that_are_masked() -> None:
    # RFC 6455, section 5.1
    for payload in (b"", b"x", b"x" * 300, b"x" * 70_000):
        assert_fails(frame(0x82, payload), 1002, "is masked", max_message_size=None, is_client=True)


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames_must_not_be_fragmented(opcode: int) -> None:
    # RFC 6455, section 5.5
    assert_fails(frame(opcode, b""), 1002, "fragmented")


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames_have_at_most_125_bytes(opcode: int) -> None:
    # RFC 6455, section 5.5
    payload = (1000).to_bytes(2, "big") + b"x" * 123
    items, error = decode(frame(0x80 | opcode, payload))
    assert len(items) == 1
    assert error is None
    assert_fails(frame(0x80 | opcode, payload + b"x"), 1002, "126 bytes")


def test_a_continuation_needs_a_beginning() -> None:
    # RFC 6455, section 5.4
    assert_fails(frame(0x80, b"x"), 1002, "nothing began")
    assert_fails(frame(0x01, b"a") + frame(0x80, b"b") + frame(0x80, b"c"), 1002, "nothing began", before=["ab"])


@pytest.mark.parametrize("first", [0x81, 0x82, 0x01, 0x02])
def test_messages_must_not_be_interleaved(first: int) -> None:
    # RFC 6455, section 5.4
    assert_fails(frame(0x01, b"a") + frame(first, b"b"), 1002, "before the fragmented one has ended")
    assert_fails(frame(0x02, b"a") + frame(first, b"b"), 1002, "before the fragmented one has ended", before=[b"a"])


def test_the_highest_bit_of_a_length_must_be_zero() -> None:
    # RFC 6455, section 5.2
    data = b"\x82\xff\x80" + bytes(7) + KEY
    assert_fails(data, 1002, "highest bit", max_message_size=None)
    assert_fails(data, 1002, "highest bit")


def test_a_length_in_more_bytes_than_needed_is_read_all_the_same() -> None:
    # RFC 6455, section 5.2 forbids the sender to do this; every common server reads it, and devices do it.
    data = frame(0x82, b"ab", length_bytes=2) + frame(0x81, b"cd", length_bytes=8) + frame(0x89, b"", length_bytes=8)
    assert decode(data) == ([b"ab", "cd", Ping(b"")], None)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        "€".encode()[:2],  # ends inside a character
        b"\xc0\x80",  # an overlong NUL
        b"\xed\xa0\x80",  # a surrogate
        b"\xf4\x90\x80\x80",  # beyond Unicode
    ],
)
def test_text_must_be_utf_8(payload: bytes) -> None:
    # RFC 6455, section 8.1
    assert_fails(frame(0x81, b"a") + frame(0x81, b"ok" + payload), 1007, "not valid UTF-8 at byte 2", before=["a"])
    assert_fails(frame(0x01, b"ok" + payload[:1]) + frame(0x80, payload[1:]), 1007, "not valid UTF-8 at byte 2")


def test_binary_payload_may_be_anything() -> None:
    assert decode(frame(0x82, bytes(range(256)))) == ([bytes(range(256))], None)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_close_frame_with_a_code_that_may_be_sent_is_read(code: int) -> None:
    # RFC 6455, section 7.4
    payload = code.to_bytes(2, "big") + "adiós".encode()
    assert decode(frame(0x88, payload)) == ([Close(code, "adiós")], None)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_a_close_frame_with_a_code_that_must_not_be_sent_fails(code: int) -> None:
    # RFC 6455, section 7.4
    assert_fails(frame(0x88, code.to_bytes(2, "big")), 1002, f"the code {code}")


def test_a_close_frame_of_one_byte_fails() -> None:
    # RFC 6455, section 5.5.1
    assert_fails(frame(0x88, b"\x03"), 1002, "one byte")


def test_the_reason_of_a_close_frame_must_be_utf_8() -> None:
    # RFC 6455, section 5.5.1
    assert_fails(frame(0x88, (1000).to_bytes(2, "big") + b"\xff"), 1007, "reason")


def test_a_close_frame_without_payload_stands_for_1005() -> None:
    # RFC 6455, section 7.1.5
    assert decode(frame(0x88, b"")) == ([Close(1005, "")], None)


def test_nothing_is_read_after_a_close_frame() -> None:
    # RFC 6455, sections 1.4 and 5.5.1
    decoder = FrameDecoder(1000)
    data = frame(0x82, b"a") + frame(0x88, b"") + frame(0x82, b"b") + b"\xff\xff"
    assert decoder.feed(data) == [b"a", Close(1005, "")]
    assert decoder.is_closed
    assert decoder.feed(frame(0x82, b"c")) == []
    assert decoder.error is None


def test_a_close_frame_ends_the_stream_even_inside_a_fragmented_message() -> None:
    # RFC 6455, section 5.4: control frames may be injected in the middle of a fragmented message.
    assert decode(frame(0x01, b"a") + frame(0x88, b"")) == ([Close(1005, "")], None)


def test_after_an_error_nothing_is_read() -> None:
    decoder = FrameDecoder(1000)
    assert decoder.feed(frame(0x82, b"a") + frame(0x83, b"")) == [b"a"]
    error = decoder.error
    assert error is not None
    assert error.close_code == 1002
    assert decoder.feed(frame(0x82, b"b")) == []
    assert decoder.error is error


@pytest.mark.parametrize("limit", [0, 1, 10, 124, 125, 126, 1000, 65_534, 65_535, 65_536])
@pytest.mark.parametrize("portable", [False, True])
def test_a_binary_message_may_have_one_byte_more_than_the_limit(limit: int, portable: bool) -> None:
    payload = b"x" * limit + b"\0"
    options = {"max_message_size": limit, "portable": portable}
    assert decode(frame(0x82, payload), **options) == ([payload], None)
    assert_fails(frame(0x82, b"x" + payload), 1009, f"max_message_size ({limit} bytes", **options)
    assert_fails(frame(0x82, b"x" + payload)[:14], 1009, f"{limit + 2} bytes or more", **options)


@pytest.mark.parametrize("limit", [1, 10, 125, 1000, 65_536])
def test_a_text_message_may_have_one_byte_more_than_the_limit_only_for_a_nul(limit: int) -> None:
    text = "x" * limit
    for cut in (0, 1, limit):
        data = text.encode()
        assert decode(split_frame(data, cut), max_message_size=limit) == ([text], None)
        assert decode(split_frame(data + b"\0", cut), max_message_size=limit) == ([text + "\0"], None)
        assert_fails(split_frame(data + b"x", cut), 1009, "max_message_size", max_message_size=limit)
        assert_fails(split_frame(data + b"x\0", cut), 1009, "max_message_size", max_message_size=limit)


def split_frame(payload: bytes, cut: int) -> bytes:
    if not cut:
        return frame(0x81, payload)
    return frame(0x01, payload[:cut]) + frame(0x80, payload[cut:])


def test_fragments_count_together_for_the_limit() -> None:
    data = frame(0x02, b"x" * 600) + frame(0x00, b"x" * 401)
    assert_fails(data + frame(0x80, b"x"), 1009, "1002 bytes or more", before=[b"x" * 1001])
    assert decode(data + frame(0x80, b"")) == ([b"x" * 1001], None)


def test_a_frame_that_declares_too_much_is_refused_before_its_payload_is_there() -> None:
    assert_fails(b"\x82\xff\x7f" + b"\xff" * 7, 1009, f"{2**63 - 1} bytes or more")


def test_without_a_limit_any_size_is_read() -> None:
    decoder = FrameDecoder(None)
    assert decoder.feed(b"\x82\xff\x7f" + b"\xff" * 7 + KEY + KEY) == [bytes(4)]
    assert decoder.error is None


def test_endless_empty_fragments_cost_no_memory() -> None:
    decoder = FrameDecoder(1000)
    decoder.feed(frame(0x01, b"a"))
    for _ in range(50):
        assert decoder.feed(frame(0x00, b"") * 1000) == []
    held = sum(
        len(value) for name in decoder.__slots__ if isinstance(value := getattr(decoder, name), (bytes, bytearray))
    )
    assert held < 20
    assert decoder.feed(frame(0x80, b"b")) == ["ab"]


def assert_fails(
    data: bytes, close_code: int, detail: str, *, before: list[Received] | None = None, **options: object
) -> None:
    """The data fails with that code after what came before it, in one piece and byte by byte."""
    items, error = decode(data, **options)
    assert error is not None
    assert (error.close_code, items) == (close_code, before or [])
    assert detail in str(error)
    options.setdefault("max_message_size", 1000)
    decoder = FrameDecoder(**options)  # type: ignore[arg-type]  # options of the decoder by name
    slowly = [item for index in range(len(data)) for item in decoder.feed(data[index : index + 1])]
    assert joined(slowly) == joined(items)
    assert decoder.error is not None
    assert decoder.error.args == error.args


def joined(items: list[Received]) -> list[Received]:
    """What a reader of the stream makes of the items: pieces of bytes run together."""
    result: list[Received] = []
    for item in items:
        if isinstance(item, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += item
        else:
            result.append(item)
    return result


# Any stream, right or wrong, in any cutting

payloads = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=10).map(str.encode),
    st.integers(120, 140).map(lambda size: b"p" * size),
    st.sampled_from([b"x" * 65_535, b"y" * 65_536]),
)
right_frames = st.one_of(
    st.builds(lambda payload: frame(0x82, payload), payloads),
    st.builds(lambda payload: frame(0x81, payload), st.text(max_size=30).map(str.encode)),
    st.builds(lambda payload: frame(0x89, payload), st.binary(max_size=125)),
    st.builds(
        lambda first, parts: (
            frame(first, parts[0]) + b"".join(frame(0, part) for part in parts[1:]) + frame(0x80, b"\0")
        ),
        st.sampled_from([1, 2]),
        st.lists(st.text(max_size=5).map(str.encode), min_size=1, max_size=4),
    ),
)
any_frames = st.builds(
    lambda first, payload, key: frame(first, payload, key=key),
    st.one_of(st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]), st.integers(0, 255)),
    payloads,
    st.one_of(st.binary(min_size=4, max_size=4), st.none()),
)
streams = st.lists(st.one_of(right_frames, right_frames, any_frames, st.binary(max_size=12)), max_size=8).map(b"".join)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


@given(
    data=streams,
    cuts=st.lists(st.integers(0, 200_000), max_size=12),
    portable=st.booleans(),
    whole_messages=st.booleans(),
    limit=st.sampled_from([None, 10, 130, 70_000]),
)
def test_any_cutting_of_any_stream_gives_the_same(
    data: bytes, cuts: list[int], portable: bool, whole_messages: bool, limit: int | None
) -> None:
    whole = FrameDecoder(limit, whole_messages=whole_messages)
    expected = whole.feed(data)
    decoder = FrameDecoder(limit, portable=portable, whole_messages=whole_messages)
    items = [item for piece in cut(data, cuts) for item in decoder.feed(piece)]
    if whole_messages:
        assert items == expected
    else:
        assert joined(items) == joined(expected)
    assert decoder.is_closed == whole.is_closed
    assert (decoder.error and decoder.error.args) == (whole.error and whole.error.args)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.text(max_size=200),
            st.builds(Ping, st.binary(max_size=125)),
            st.builds(Pong, st.binary(max_size=125)),
        )
    ),
    st.builds(Close, st.sampled_from([1000, 1001, 3000, 4999]), st.text(max_size=30)),
    st.booleans(),
)
def test_what_is_encoded_is_decoded(items: list[Received], close: Close, is_client: bool) -> None:
    source = None if is_client else keys
    data = b"".join(
        encode_binary([item], keys=source)
        if isinstance(item, bytes)
        else encode_text([item.encode()], keys=source)
        if isinstance(item, str)
        else encode_ping(item.payload, keys=source)
        if isinstance(item, Ping)
        else encode_pong(item.payload, keys=source)
        for item in items
        if not isinstance(item, Close)
    )
    data += encode_close(close.code, close.reason, keys=source)
    decoder = FrameDecoder(1000, is_client=is_client, whole_messages=True)
    assert decoder.feed(data) == [*items, close]
