"""Encodings: strict UTF-8, the player's own rule, and code pages; none of them can cut a message in two."""

from __future__ import annotations

import contextlib
import encodings
import pkgutil
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket import ConfigurationError, InvalidTextError, UnencodableMessageError
from xmlsocket.wire import decode_like_flash, text_codec


@pytest.mark.parametrize(
    ("data", "text"),
    [
        # Recorded from the player (reference: its open virtual machine, and the output that Ruffle compares with).
        (b"\xed\x80", "\xed\x80"),
        (b"\xedp\x80", "\xedp\x80"),
        (b"\xed\x80p", "\xed\x80p"),
        (b"\xc1\x80", "\xc1\x80"),
        (b"\xf9\x80\x80\x80\x80", "\U00040000\x80"),
        (b"\xed\xa0\xbd", "\ud83d"),
        (b"\xed\xa0\xbd\xed\xb0\x8c", "\U0001f40c"),
        # One byte order mark at the start is dropped, any other stays.
        (b"\xef\xbb\xbfText", "Text"),
        (b"\xef\xbb\xbf\xef\xbb\xbfText", "\ufeffText"),
        (b"a\xef\xbb\xbf", "a\ufeff"),
        (b"\xef\xbb\xbf\xff", "\xff"),
        # Overlong forms: the lead byte alone, then go on.
        (b"\xc0\x80", "\xc0\x80"),
        (b"\xe0\x80\x80", "\xe0\x80\x80"),
        (b"\xe0\x9f\xbf", "\xe0\x9f\xbf"),
        (b"\xe0\xa0\x80", "\u0800"),
        (b"\xf0\x80\x80\x80", "\xf0\x80\x80\x80"),
        (b"\xf0\x90\x80\x80", "\U00010000"),
        # Beyond Unicode.
        (b"\xf4\x8f\xbf\xbf", "\U0010ffff"),
        (b"\xf4\x90\x80\x80", "\xf4\x90\x80\x80"),
        # F8 to FF are leads of four bytes with their low three bits.
        (b"\xf8\x90\x80\x80", "\U00010000"),
        (b"\xff\x80\x80\x80", "\xff\x80\x80\x80"),
        (b"\xfc\x8f\xbf\xbf", "\U0010ffff"),
        # Cut off, or continued by nothing.
        (b"\x80", "\x80"),
        (b"a\xbf", "a\xbf"),
        (b"\xe3\x81", "\xe3\x81"),
        (b"\xe3\x81\x82\xe3", "あ\xe3"),
        (b"\xc3\xc3\xa9", "\xc3é"),
        (b"", ""),
    ],
)
def test_the_players_rule_never_fails_and_gives_what_the_player_gives(data, text):
    assert decode_like_flash(data) == text
    assert text_codec(errors="flash").decode(data) == text


@given(st.text())
def test_the_players_rule_changes_no_valid_text_but_the_byte_order_mark(text):
    assert decode_like_flash(text.encode("utf-8", "surrogatepass")) == join_pairs(text).removeprefix("\ufeff")


def join_pairs(text):
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def decode_by_the_letter(data):
    """The player's rule, written down byte by byte."""
    units = []
    position = 0
    while position < len(data):
        lead = code = data[position]
        used = 1
        if lead >= 0xC0:
            extra, least = (1, 0x80) if lead < 0xE0 else (2, 0x800) if lead < 0xF0 else (3, 0x10000)
            tail = data[position + 1 : position + 1 + extra]
            if len(tail) == extra and all(0x80 <= byte <= 0xBF for byte in tail):
                value = lead & (0x3F >> extra)
                for byte in tail:
                    value = value << 6 | byte & 0x3F
                if least <= value <= 0x10FFFF:
                    code, used = value, 1 + extra
        units.append(chr(code))
        position += used
    return join_pairs("".join(units)).removeprefix("\ufeff")


# Bytes at the edges of what the rule tells apart.
edges = st.sampled_from(
    b"A\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xed\xef\xbb\xf0\xf1\xf4\xf5\xf7\xf8\xf9\xfc\xfd\xff"
)


@given(st.binary() | st.lists(edges, max_size=24).map(bytes))
def test_the_players_rule_is_followed_to_the_letter(data):
    text = decode_like_flash(data)
    assert text == decode_by_the_letter(data)
    assert len(text) <= len(data)
    assert text.isascii() == data.isascii()


@given(st.binary().filter(lambda data: b"\0" not in data))
def test_no_rule_makes_a_nul_out_of_other_bytes(data):
    for errors in ("replace", "flash"):
        assert "\0" not in text_codec(errors=errors).decode(data)


@given(st.lists(st.binary().filter(lambda data: b"\0" not in data)), st.sampled_from(["replace", "flash"]))
def test_splitting_a_run_equals_decoding_one_by_one(parts, errors):
    codec = text_codec(errors=errors)
    run = b"".join(part + b"\0" for part in parts)
    try:
        texts = codec.split(run)
    except UnicodeDecodeError:
        return  # the decoder then goes one by one
    assert texts == [codec.decode(part) for part in parts]


def test_strict_decoding_names_the_first_invalid_byte():
    with pytest.raises(InvalidTextError) as caught:
        text_codec().decode(b"abc\xc3(")
    assert (caught.value.encoding, caught.value.offset) == ("utf-8", 3)
    assert str(caught.value).startswith("a message is not valid utf-8 at byte 3; ")
    assert 'errors="flash"' in str(caught.value)


def test_strict_decoding_keeps_a_byte_order_mark_because_it_is_text():
    assert text_codec().decode(b"\xef\xbb\xbfx") == "\ufeffx"


def test_surrogates_are_invalid_when_strict():
    with pytest.raises(InvalidTextError):
        text_codec().decode(b"\xed\xa0\xbd")


def test_replacing_puts_one_character_in_the_place_of_what_does_not_fit():
    assert text_codec(errors="replace").decode(b"a\xffb\xe3\x81") == "a\ufffdb\ufffd"
    assert text_codec("cp1252", "replace").encode("a語") == b"a?"
    assert text_codec("shift_jis", "replace").decode(b"\x82\xa0\xff\x82\xa2") == "あ\ufffdい"


@pytest.mark.parametrize(
    "name", ["shift_jis", "SHIFT-JIS", "sjis", "cp932", "gbk", "gb18030", "big5", "cp1252", "koi8-r"]
)
def test_code_pages_are_found_by_any_of_their_names(name):
    assert text_codec(name).encoding == name
    assert text_codec(name).encode("plain") == b"plain"


@pytest.mark.parametrize("name", ["utf8", "UTF-8", "U8", "utf_8"])
def test_utf_8_is_utf_8_by_any_name(name):
    assert text_codec(name).encoding == "utf-8"
    text_codec(name, "flash")


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "UTF16", "utf-32", "utf-32-le", "utf-32-be"])
def test_encodings_that_can_put_a_zero_byte_inside_a_character_are_refused(name):
    with pytest.raises(ConfigurationError, match=re.escape(f"{name} can put a zero byte inside a character")):
        text_codec(name)


@pytest.mark.parametrize("name", ["utf-7", "unicode_escape", "utf-8-sig", "punycode"])
def test_encodings_that_write_more_than_the_text_are_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name} adds bytes of its own to every message, or writes a NUL as"):
        text_codec(name)


@pytest.mark.parametrize("name", ["no-such", "base64", "rot13", "hex", "zlib", "undefined", "idna", "", "\0", 17])
def test_what_is_no_text_encoding_is_refused_by_name(name):
    with pytest.raises(ConfigurationError, match=re.escape(f"{name!r} is not a text encoding")):
        text_codec(name)


def accepted_encodings():
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ConfigurationError):
            yield text_codec(module.name)


def test_no_accepted_encoding_puts_a_zero_byte_into_any_character():
    everything = "".join(chr(code) for code in range(1, 0x30000) if not 0xD800 <= code < 0xE000)
    names = []
    for codec in accepted_encodings():
        assert b"\0" not in everything.encode(codec.encoding, "ignore"), codec.encoding
        names.append(codec.encoding)
    assert {"utf-8", "shift_jis", "gbk", "cp1252", "latin_1", "big5", "euc_kr"} <= set(names)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "gbk"])
def test_the_players_rule_is_for_utf_8_only(encoding):
    with pytest.raises(ConfigurationError, match="works with no other encoding"):
        text_codec(encoding, "flash")


@pytest.mark.parametrize("errors", ["ignore", "", "Strict", None])
def test_an_unknown_rule_is_refused_with_the_known_ones(errors):
    with pytest.raises(ConfigurationError, match='"strict", "replace" or "flash"'):
        text_codec("utf-8", errors)


def test_encoding_anyhow_uses_question_marks():
    assert text_codec("cp1252").encode_anyhow("ü語") == b"\xfc?"
    assert text_codec().encode_anyhow("a\ud800") == b"a?"


def test_a_strict_encoder_names_the_character_that_is_missing():
    with pytest.raises(UnencodableMessageError, match="at index 1 does not exist in ascii"):
        text_codec("ascii").encode("aü")
