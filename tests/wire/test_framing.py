"""The decoder gives the same messages for any cutting of the stream; the encoder never breaks the framing."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket import (
    EmbeddedNulError,
    InvalidTextError,
    MessageTooLargeError,
    OversizedMessageError,
    UnencodableMessageError,
)
from xmlsocket.wire import MessageDecoder, MessageEncoder, check_whole, text_codec

MIB = 1_048_576

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
messages_lists = st.lists(texts, max_size=12)


def decoder(errors="strict", limit=MIB, encoding="utf-8"):
    return MessageDecoder(text_codec(encoding, errors), limit)


def cut(data, places):
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def feed_all(target, pieces):
    return [message for piece in pieces for message in target.feed(piece)]


@st.composite
def streams(draw, elements=messages_lists):
    """Messages, and their bytes cut anywhere, with an unfinished one at the end."""
    messages = draw(elements)
    tail = draw(texts).encode()
    data = b"".join(message.encode() + b"\0" for message in messages) + tail
    places = draw(st.lists(st.integers(0, len(data)), max_size=10))
    return messages, tail, cut(data, places)


@given(streams())
def test_any_cutting_of_the_stream_gives_the_same_messages(stream):
    messages, tail, pieces = stream
    target = decoder()
    assert feed_all(target, pieces) == messages
    assert target.unfinished == len(tail)
    assert target.error is None


@given(streams())
def test_a_stream_fed_byte_by_byte_gives_the_same_messages(stream):
    messages, tail, pieces = stream
    target = decoder()
    data = b"".join(pieces)
    assert feed_all(target, [data[i : i + 1] for i in range(len(data))]) == messages
    assert target.unfinished == len(tail)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_bytes_messages_are_handed_on_unchanged_for_any_cutting(data, places):
    target = MessageDecoder[bytes](None, None)
    pieces = cut(data, [min(place, len(data)) for place in places])
    *whole, tail = data.split(b"\0")
    assert feed_all(target, pieces) == whole
    assert target.unfinished == len(tail)


@given(
    data=st.binary(max_size=120)
    | st.lists(st.sampled_from([b"a\0", b"\xff", b"\xe3\x81", b"\0", b"abcdef"])).map(b"".join),
    places=st.lists(st.integers(0, 120), max_size=8),
    limit=st.integers(0, 8) | st.none(),
    errors=st.sampled_from(["strict", "replace", "flash"]),
)
def test_the_outcome_with_faults_is_the_same_for_any_cutting(data, places, limit, errors):
    whole = decoder(errors, limit)
    expected = whole.feed(data)
    pieces = decoder(errors, limit)
    assert feed_all(pieces, cut(data, [min(place, len(data)) for place in places])) == expected
    assert type(pieces.error) is type(whole.error)


@given(messages_lists)
def test_decoding_what_was_encoded_gives_the_messages_back(messages):
    encoder = MessageEncoder(text_codec(), None)
    assert decoder().feed(encoder.encode([encoder.check(message) for message in messages])) == messages


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("shift_jis", "日本語 ソ 表 \\ ~"),  # their second bytes are those of ASCII characters
        ("cp932", "①髙ー"),
        ("gbk", "简体 中文 丂"),
        ("gb18030", "𠀀 €"),
        ("big5", "繁體 許功蓋"),
        ("euc_kr", "한국어"),
        ("cp1252", "naïve – “quoted” €"),
        ("iso2022_jp", "日本語と ASCII"),
        ("cp037", "EBCDIC has another A"),
    ],
)
def test_the_code_pages_of_old_movies_survive_any_cutting(encoding, message):
    encoder = MessageEncoder(text_codec(encoding), None)
    data = encoder.encode([encoder.check(message), encoder.check("plain"), encoder.check(message)])
    for place in range(len(data) + 1):
        target = decoder(encoding=encoding)
        assert feed_all(target, [data[:place], data[place:]]) == [message, "plain", message]


def test_the_segments_that_a_peer_tests_with_give_the_messages_it_expects():
    # The segments of Ruffle's avm1/xml_socket_segmented.
    pieces = [b"\0First\0", b"Hello", b"World!", b"\0", b"This", b" is", b" a ", b"test\0"]
    pieces += [b"One\0Two\0Three\0", b"\0\0\0", b"AA\0BB\0CC", b"DD\0"]
    expected = ["", "First", "HelloWorld!", "This is a test", "One", "Two", "Three", "", "", "", "AA", "BB", "CCDD"]
    assert feed_all(decoder(), pieces) == expected


def test_a_character_cut_at_every_byte_arrives_whole():
    data = "<a>ü€🐌</a>".encode() + b"\0"
    for first in range(len(data)):
        for second in range(first, len(data)):
            assert feed_all(decoder(), cut(data, [first, second])) == ["<a>ü€🐌</a>"]


def test_ten_million_nuls_are_ten_million_empty_messages():
    target = decoder()
    count = 0
    for _ in range(10):
        messages = target.feed(bytes(1_000_000))
        count += len(messages)
        assert not any(messages)
    assert count == 10_000_000
    assert target.unfinished == 0


def peak_while_feeding(target, pieces):
    tracemalloc.start()
    try:
        messages = feed_all(target, pieces)
        return messages, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_mebibyte_in_pieces_of_one_byte_arrives_whole():
    target = decoder()
    for _ in range(MIB):
        assert target.feed(b"x") == []
    assert target.unfinished == MIB
    assert target.error is None
    assert target.feed(b"\0") == ["x" * MIB]


@pytest.mark.parametrize("size", [1, 7, 4095, 4096, 65_536])
def test_what_an_unfinished_message_costs_does_not_depend_on_its_pieces(size):
    target = decoder()
    total = MIB // 8 - MIB // 8 % size
    pieces = [b"x" * size] * (total // size)
    messages, peak = peak_while_feeding(target, [*pieces, b"\0"])
    assert messages == ["x" * total]
    assert peak < 4.5 * total  # the tail and its growth, then the joined bytes and the text: no object for each piece


class CountingBytes(bytes):
    """Counts how often its content is looked at."""

    looks = 0

    def rfind(self, *args):
        CountingBytes.looks += 1
        return super().rfind(*args)

    def split(self, *args):
        CountingBytes.looks += 1
        return super().split(*args)

    def find(self, *args):
        CountingBytes.looks += 1
        return super().find(*args)


def test_each_piece_is_searched_once_however_long_the_message_already_is():
    target = decoder(limit=None)
    pieces = [CountingBytes(b"y" * 10) for _ in range(1000)]
    CountingBytes.looks = 0
    assert feed_all(target, pieces) == []
    assert CountingBytes.looks == 1000


@pytest.mark.parametrize("piece", [1, 1000, 70_000])
def test_an_endless_message_ends_the_stream_at_the_limit_and_is_not_kept(piece):
    target = decoder(limit=100_000)
    fed = 0
    tracemalloc.start()
    while target.error is None:
        assert target.feed(b"z" * piece) == []
        fed += piece
    for _ in range(20):
        assert target.feed(b"z" * 100_000) == []
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert isinstance(target.error, MessageTooLargeError)
    assert 100_000 < target.error.seen <= 100_000 + piece
    assert fed <= 100_000 + piece
    assert held < 20_000


def test_messages_before_one_over_the_limit_are_delivered_and_nothing_after_it():
    target = decoder(limit=5)
    assert target.feed(b"one\0two\0toolong\0three\0") == ["one", "two"]
    assert isinstance(target.error, MessageTooLargeError)
    assert (target.error.seen, target.error.limit) == (7, 5)
    assert target.feed(b"four\0") == []


def test_messages_before_an_invalid_one_are_delivered_and_nothing_after_it():
    target = decoder()
    assert target.feed(b"one\0t\xffwo\0three\0") == ["one"]
    assert isinstance(target.error, InvalidTextError)
    assert (target.error.encoding, target.error.offset) == ("utf-8", 1)
    assert target.feed(b"four\0") == []


@pytest.mark.parametrize("cut_at", range(1, 9))
def test_a_message_that_stops_inside_a_character_is_invalid_and_takes_nothing_of_the_next(cut_at):
    data = b"ab\xe3\x81\0cd\0"
    target = decoder()
    assert feed_all(target, [data[:cut_at], data[cut_at:]]) == []
    assert isinstance(target.error, InvalidTextError)
    assert feed_all(decoder("replace"), [data[:cut_at], data[cut_at:]]) == ["ab\ufffd", "cd"]
    assert feed_all(decoder("flash"), [data[:cut_at], data[cut_at:]]) == ["ab\xe3\x81", "cd"]


@pytest.mark.parametrize("errors", ["strict", "replace", "flash"])
def test_one_invalid_message_does_not_change_its_neighbours(errors):
    target = decoder(errors)
    expected = {"strict": ["é"], "replace": ["é", "\ufffd", "ü"], "flash": ["é", "\xff", "ü"]}
    assert target.feed("é".encode() + b"\0\xff\0" + "ü".encode() + b"\0") == expected[errors]


def test_empty_pieces_change_nothing():
    target = decoder()
    assert feed_all(target, [b"", b"a", b"", b"b\0", b""]) == ["ab"]


@given(texts.filter(bool), st.data())
def test_a_nul_in_a_message_is_refused_with_its_place(text, data):
    place = data.draw(st.integers(0, len(text)))
    broken = text[:place] + "\0" + text[place:]
    encoder = MessageEncoder(text_codec(), None)
    with pytest.raises(EmbeddedNulError, match=f"at index {place};") as caught:
        encoder.check(broken)
    assert caught.value.offset == place


@pytest.mark.parametrize("message", [b"a\0b", bytearray(b"a\0b"), memoryview(b"a\0b")])
def test_a_nul_in_bytes_is_refused_too(message):
    with pytest.raises(EmbeddedNulError, match="at index 1"):
        check_whole(message)


def test_bytes_like_messages_are_copied_so_that_changing_them_later_changes_nothing():
    buffer = bytearray(b"before")
    checked = check_whole(buffer)
    buffer[:] = b"after!"
    assert checked == b"before"


def test_a_message_that_is_neither_text_nor_bytes_nor_markup_is_refused_with_advice():
    with pytest.raises(TypeError, match=r"str, bytes or an XML element.*not int.*str\(value\)"):
        MessageEncoder(text_codec(), None).check(17)
    with pytest.raises(TypeError, match="not NoneType"):
        check_whole(None)


@pytest.mark.parametrize("message", ["ééé", b"123456", "abcdef"])
def test_the_limit_on_sent_messages_counts_encoded_bytes(message):
    MessageEncoder(text_codec(), 6).check(message)
    with pytest.raises(OversizedMessageError) as caught:
        MessageEncoder(text_codec(), 5).check(message)
    assert (caught.value.size, caught.value.limit) == (6, 5)


def test_a_character_that_the_encoding_lacks_is_refused_with_its_place():
    with pytest.raises(UnencodableMessageError) as caught:
        MessageEncoder(text_codec("cp1252"), None).check("ab語")
    assert (caught.value.encoding, caught.value.offset, caught.value.character) == ("cp1252", 2, "語")
    assert str(caught.value) == "the character '\\u8a9e' at index 2 does not exist in cp1252"


def test_a_lone_surrogate_is_refused_when_strict_and_replaced_by_the_players_rule():
    with pytest.raises(UnencodableMessageError):
        MessageEncoder(text_codec(), None).check("a\ud83d")
    assert MessageEncoder(text_codec(errors="flash"), None).check("a\ud83d") == "a\ufffd".encode()


def test_messages_to_many_receivers_never_fail_for_one_old_code_page():
    assert MessageEncoder(text_codec("cp1252"), None).encode(["ab語", "ü", b"\x81"]) == b"ab?\0\xfc\0\x81\0"


@given(st.lists(texts | st.binary().filter(lambda message: b"\0" not in message)))
def test_text_and_bytes_can_be_mixed(messages):
    expected = b"".join((m if isinstance(m, bytes) else m.encode()) + b"\0" for m in messages)
    assert MessageEncoder(text_codec(), None).encode(messages) == expected


def test_no_messages_are_no_bytes():
    assert MessageEncoder(text_codec(), None).encode([]) == b""
