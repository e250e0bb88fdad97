"""permessage-deflate (RFC 7692): what may be compressed, and that a bomb stays small."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import ConfigurationError, FrameError
from xmlsocket.wire.deflate import DeflateOptions, Deflater, Inflater
from xmlsocket.wire.frames import encode_binary, encode_text
from xmlsocket.wire.websocket import FrameDecoder, Received


def frame(first: int, payload: bytes) -> bytes:
    """A frame with a key of zeros, so that the payload can be seen."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 65_536 else 127
    extended = b"" if size < 126 else size.to_bytes(2 if size < 65_536 else 8, "big")
    return bytes((first, 0x80 | short)) + extended + bytes(4) + payload


def compressed(data: bytes, level: int = 9) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def drain(decoder: FrameDecoder, data: bytes) -> list[Received]:
    items = decoder.feed(data)
    while decoder.has_more:
        items += decoder.feed(b"")
    return items


def decode(data: bytes, limit: int | None = 1000, *, takeover: bool = True) -> tuple[list[Received], FrameError | None]:
    decoder = FrameDecoder(limit, inflater=Inflater(no_context_takeover=not takeover))
    return drain(decoder, data), decoder.error


def test_the_examples_of_the_rfc_are_read() -> None:
    # RFC 7692, section 7.2.3: one block, fragments, the window of the message before, no compression, a final block,
    # two blocks.
    whole = frame(0xC1, bytes.fromhex("f248cdc9c90700"))
    fragments = frame(0x41, bytes.fromhex("f248cd")) + frame(0x80, bytes.fromhex("c9c90700"))
    again = frame(0xC1, bytes.fromhex("f200110000"))
    stored = frame(0xC1, bytes.fromhex("000500faff48656c6c6f00"))
    final = frame(0xC1, bytes.fromhex("f348cdc9c9070000"))
    two_blocks = frame(0xC1, bytes.fromhex("f248050000 00ffff cac9c90700"))
    assert decode(whole + fragments + again + stored + final + two_blocks) == (["Hello"] * 6, None)


def test_a_message_that_is_not_compressed_may_stand_between() -> None:
    # RFC 7692, section 6
    assert decode(frame(0x81, b"a") + frame(0xC1, compressed(b"b")) + frame(0x82, b"c")) == (["a", "b", b"c"], None)


def test_an_empty_compressed_message_is_empty() -> None:
    # RFC 7692, section 7.2.3.6
    assert decode(frame(0xC1, b"\0") + frame(0xC1, b"")) == (["", ""], None)


@pytest.mark.parametrize("first", [0xC8, 0xC9, 0xCA, 0xA1, 0x91, 0xE1])
def test_only_the_first_bit_of_a_first_data_frame_means_compression(first: int) -> None:
    # RFC 7692, section 6
    items, error = decode(frame(first, b""))
    assert items == []
    assert error is not None
    assert error.close_code == 1002


def test_a_continuation_must_not_have_the_bit() -> None:
    # RFC 7692, section 6.1
    items, error = decode(frame(0x41, compressed(b"a")) + frame(0xC0, b""))
    assert items == []
    assert error is not None
    assert error.close_code == 1002


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff",
        compressed(b"Hello")[:-1] + b"\x07\xff",
        bytes.fromhex("f348cdc9c907000000"),
        b"\x03\x00\x00\x41",
    ],
)
def test_what_no_compressor_makes_fails(payload: bytes) -> None:
    for data in (frame(0xC1, payload), frame(0x41, payload[:-1]) + frame(0x80, payload[-1:])):
        items, error = decode(data)
        assert items == []
        assert error is not None
        assert error.close_code == 1007


def test_without_context_takeover_every_message_stands_by_itself() -> None:
    # RFC 7692, section 7.1.1.2
    again = frame(0xC1, bytes.fromhex("f200110000"))
    items, error = decode(frame(0xC1, bytes.fromhex("f248cdc9c90700")) + again, takeover=False)
    assert items == ["Hello"]
    assert error is not None


@pytest.mark.parametrize("size", [999, 1000, 1001, 1002, 5000, 5_000_000])
@pytest.mark.parametrize("opcode", [1, 2])
def test_the_limit_counts_bytes_after_decompression(size: int, opcode: int) -> None:
    plain = b"x" * size
    items, error = decode(frame(0xC0 | opcode, compressed(plain)))
    if size <= 1000 + (opcode == 2):
        assert items == [plain.decode() if opcode == 1 else plain]
        assert error is None
    else:
        assert items == []
        assert error is not None
        assert error.close_code == 1009


def test_what_does_not_compress_may_come_in_more_bytes_than_the_limit() -> None:
    noise = bytes(index * index * 31 % 251 for index in range(1000))
    payload = compressed(noise, level=0)
    assert len(payload) > 1001
    assert decode(frame(0xC2, payload)) == ([noise], None)


def test_a_bomb_in_fragments_is_refused() -> None:
    bomb = compressed(bytes(index * index % 251 for index in range(1002)), level=1)
    data = frame(0x42, bomb[:100]) + frame(0x00, bomb[100:-1]) + frame(0x80, bomb[-1:])
    items, error = decode(data)
    assert items == []
    assert error is not None
    assert error.close_code == 1009


@pytest.mark.parametrize("limit", [100_000, None])
def test_many_small_bombs_in_one_read_are_decompressed_little_by_little(limit: int | None) -> None:
    bombs = frame(0xC2, compressed(b"x" * 100_000)) * 300
    decoder = FrameDecoder(limit, inflater=Inflater(no_context_takeover=True))
    tracemalloc.start()
    try:
        total = sum(len(item) for item in decoder.feed(bombs))
        rounds = 1
        while decoder.has_more:
            total += sum(len(item) for item in decoder.feed(b""))
            rounds += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert decoder.error is None
    assert total == 30_000_000
    assert rounds > 20
    assert peak < 5_000_000


def test_without_the_extension_the_bit_is_an_error() -> None:
    decoder = FrameDecoder(1000)
    assert decoder.feed(frame(0xC1, compressed(b"a"))) == []
    assert decoder.error is not None
    assert decoder.error.close_code == 1002


@given(
    st.lists(st.one_of(st.binary(max_size=400), st.integers(0, 5000).map(lambda size: b"abc" * size)), max_size=6),
    st.sampled_from([9, 12, 15]),
    st.booleans(),
    st.sampled_from([0, 100]),
    st.integers(1, 5000),
)
def test_what_is_compressed_is_decompressed_in_any_cutting(
    payloads: list[bytes], bits: int, is_alone: bool, min_size: int, step: int
) -> None:
    deflater = Deflater(bits, no_context_takeover=is_alone, min_size=min_size)
    data = encode_binary(payloads, deflater=deflater, keys=lambda: b"\x01\x02\x03\x04")
    inflater = Inflater(bits, no_context_takeover=is_alone)
    decoder = FrameDecoder(20_000, whole_messages=True, inflater=inflater)
    assert [item for at in range(0, len(data), step) for item in drain(decoder, data[at : at + step])] == payloads
    assert decoder.error is None


def test_with_context_a_repeated_phrase_costs_almost_nothing() -> None:
    phrase = bytes(index * 37 % 256 for index in range(200))
    deflater = Deflater(15)
    first, second = (len(encode_text([phrase], deflater=deflater)) for _ in range(2))
    assert second < first / 4


@pytest.mark.parametrize(
    "options",
    [{"server_max_window_bits": 8}, {"client_max_window_bits": 16}, {"level": 0}, {"memory_level": 10}],
)
def test_options_that_cannot_work_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        DeflateOptions(**options)  # type: ignore[arg-type]  # options by name
