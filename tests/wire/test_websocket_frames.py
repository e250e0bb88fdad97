"""The encoder: bytes as the RFC has them, one message in each frame, text that a browser accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import EmbeddedNulError, OversizedMessageError
from xmlsocket.wire import MessageEncoder, text_codec
from xmlsocket.wire.deflate import Deflater, Inflater
from xmlsocket.wire.frames import (
    FrameEncoder,
    encode_binary,
    encode_close,
    encode_ping,
    encode_pong,
    encode_text,
    is_close_code,
)
from xmlsocket.wire.websocket import Close, FrameDecoder, Received


def received(data: bytes, *, inflater: Inflater | None = None) -> list[Received]:
    decoder = FrameDecoder(None, is_client=True, whole_messages=True, inflater=inflater)
    items = decoder.feed(data)
    while decoder.has_more:
        items += decoder.feed(b"")
    assert decoder.error is None
    return items


def test_the_frames_are_those_of_the_rfc() -> None:
    # RFC 6455, section 5.7
    assert encode_text([b"Hello"]) == bytes.fromhex("810548656c6c6f")
    assert encode_text([b"Hello"], keys=lambda: bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert encode_ping(b"Hello") == bytes.fromhex("890548656c6c6f")
    assert encode_pong(b"Hello", keys=lambda: bytes.fromhex("37fa213d")) == bytes.fromhex("8a8537fa213d7f9f4d5158")
    assert encode_binary([bytes(256)]) == bytes.fromhex("827e0100") + bytes(256)
    assert encode_binary([bytes(65_536)]) == bytes.fromhex("827f0000000000010000") + bytes(65_536)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 255, 256, 4095, 4096, 65_535, 65_536])
@pytest.mark.parametrize("key", [None, b"\x01\x02\x03\x04"])
def test_a_length_takes_no_more_bytes_than_it_needs(size: int, key: bytes | None) -> None:
    # RFC 6455, section 5.2
    data = encode_binary([bytes(size)], keys=None if key is None else lambda: key)
    header = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(data) == header + (4 if key else 0) + size


def test_many_payloads_become_as_many_frames_in_one_bytes() -> None:
    payloads = [b"", b"a\0", b"b" * 5000, b"c" * 70_000]
    assert received(encode_binary(iter(payloads))) == payloads
    assert received(encode_text(iter(payloads))) == [payload.decode() for payload in payloads]
    assert encode_binary([]) == b""


def test_each_frame_of_a_client_has_a_fresh_key() -> None:
    keys = iter([b"abcd", b"efgh"])
    data = encode_binary([b"x", b"y"], keys=lambda: next(keys))
    assert (data[2:6], data[9:13]) == (b"abcd", b"efgh")


def test_a_close_frame_carries_code_and_reason() -> None:
    assert encode_close(1000, "ok") == b"\x88\x04\x03\xe8ok"
    assert received(encode_close(4001, "größer")) == [Close(4001, "größer")]


@pytest.mark.parametrize("code", [None, 1005])
def test_a_close_frame_without_code_is_empty(code: int | None) -> None:
    assert encode_close(code, "not sent") == b"\x88\x00"


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 70_000])
def test_a_code_that_must_not_be_sent_is_refused(code: int) -> None:
    assert not is_close_code(code)
    with pytest.raises(ValueError, match=str(code)):
        encode_close(code)


@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "€" * 41 + "xx", "😀" * 40])
def test_a_long_reason_is_cut_between_characters(reason: str) -> None:
    data = encode_close(1001, reason)
    assert len(data) <= 127
    (close,) = received(data)
    assert isinstance(close, Close)
    assert reason.startswith(close.reason)
    assert len(close.reason.encode()) > 119


@pytest.mark.parametrize("encode", [encode_ping, encode_pong])
def test_a_control_frame_takes_125_bytes_and_no_more(encode: object) -> None:
    assert callable(encode)
    assert len(encode(bytes(125))) == 127
    with pytest.raises(ValueError, match="126"):
        encode(bytes(126))


messages = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        st.text(st.characters(min_codepoint=1, max_codepoint=127)),
        st.binary().map(lambda data: data.replace(b"\0", b"")),
        st.integers(100, 140).map(lambda size: "x" * size),
    ),
    max_size=20,
)


@given(messages)
def test_a_frame_holds_exactly_one_message_with_its_nul(items: list[str | bytes]) -> None:
    expected = [(item if isinstance(item, bytes) else item.encode()) + b"\0" for item in items]
    assert received(FrameEncoder(text_codec(), None).encode(items)) == expected


@given(messages, st.sampled_from(["utf-8", "cp1252", "shift_jis", "cp037"]))
def test_the_payloads_are_the_bytes_that_tcp_would_carry(items: list[str | bytes], encoding: str) -> None:
    codec = text_codec(encoding)
    frames = received(FrameEncoder(codec, None).encode(items))
    assert b"".join(frame for frame in frames if isinstance(frame, bytes)) == (
        MessageEncoder(codec, None).encode(items) if items else b""
    )


@given(messages)
def test_a_text_frame_holds_exactly_one_message_without_nul(items: list[str | bytes]) -> None:
    expected = [item if isinstance(item, str) else item.decode("utf-8", "replace") for item in items]
    assert received(FrameEncoder(text_codec(), None, as_text=True).encode(items)) == expected


def test_a_text_frame_is_utf_8_whatever_the_movies_use() -> None:
    encoder = FrameEncoder(text_codec("cp1252"), None, as_text=True)
    assert received(encoder.encode(["é", b"\xe9", "a", "\ud800"])) == ["é", "é", "a", "?"]


def test_what_cannot_be_sent_is_refused_as_over_tcp() -> None:
    encoder = FrameEncoder(text_codec(), 3)
    assert encoder.check("abc") == "abc"
    with pytest.raises(EmbeddedNulError):
        encoder.check("a\0")
    with pytest.raises(OversizedMessageError):
        encoder.check("abcd")


@pytest.mark.parametrize("as_text", [False, True])
def test_long_messages_are_compressed_and_short_ones_are_not(as_text: bool) -> None:
    deflater = Deflater(12, no_context_takeover=True, min_size=20)
    encoder = FrameEncoder(text_codec(), None, as_text=as_text, deflater=deflater)
    data = encoder.encode(["short", "long " * 1000, b"bytes " * 1000])
    first = 0x81 if as_text else 0x82
    assert data[0] == first
    assert len(data) < 200
    texts = ["short", "long " * 1000, "bytes " * 1000]
    expected: list[Received] = list(texts) if as_text else [(text + "\0").encode() for text in texts]
    assert received(data, inflater=Inflater(12, no_context_takeover=True)) == expected
