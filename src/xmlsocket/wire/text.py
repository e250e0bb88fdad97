"""Bytes to text and back: UTF-8 by default, the player's own rule, and the code pages of old movies.

Where a rule is the player's, its source is the decoder of Adobe's open virtual machine: bytes that are not
UTF-8 never fail there, each becomes the character with that number.
"""

from __future__ import annotations

import codecs
import functools
import re
from typing import Final, Literal, TypeAlias

from ..errors import ConfigurationError, InvalidTextError, UnencodableMessageError

ErrorRule: TypeAlias = Literal["strict", "replace", "flash"]

NUL: Final = b"\0"
_BOM: Final = "\ufeff"


class TextCodec:
    """One encoding together with what happens to text that does not fit it.

    Get one from :func:`text_codec`; they are shared and hold no state.
    """

    __slots__ = ("_error_handler", "encoding", "errors", "is_utf8")

    def __init__(self, encoding: str, errors: ErrorRule) -> None:
        self.encoding = encoding
        self.errors = errors
        self.is_utf8 = encoding == "utf-8"
        self._error_handler = "replace" if errors == "replace" else "strict"

    def split(self, data: bytes) -> list[str]:
        """Decode a run of whole messages, each ended by its NUL, in one pass.

        Raises:
            UnicodeDecodeError: Some message is not valid; decode one by one to find it.
        """
        if not self.is_utf8:
            # A code page may keep state or use the bytes of ASCII inside a character, so each message by itself.
            return [self.decode(part) for part in data[:-1].split(NUL)]
        if self.errors == "flash":
            return [message.removeprefix(_BOM) for message in self._split_utf8(data)]
        return self._split_utf8(data)

    def _split_utf8(self, data: bytes) -> list[str]:
        # No multi-byte sequence contains a zero byte, so decoding first and splitting after is the same and faster.
        messages = data.decode("utf-8", self._error_handler).split("\0")
        del messages[-1]
        return messages

    def decode(self, data: bytes) -> str:
        """Decode one message without its NUL.

        Raises:
            InvalidTextError: It is not valid in the encoding and the rule is ``"strict"``.
        """
        try:
            text = data.decode(self.encoding, self._error_handler)
        except UnicodeDecodeError as error:
            if self.errors == "flash":
                return decode_like_flash(data)
            raise InvalidTextError(self.encoding, error.start) from None
        return text.removeprefix(_BOM) if self.errors == "flash" else text

    def encode(self, text: str) -> bytes:
        """Encode one message; the NUL is not added.

        Raises:
            UnencodableMessageError: A character does not exist in the encoding and the rule is ``"strict"``.
        """
        try:
            return text.encode(self.encoding, self._error_handler)
        except UnicodeEncodeError as error:
            if self.errors == "flash":
                return _replace_lone_surrogates(text).encode("utf-8")
            raise UnencodableMessageError(self.encoding, error.start, text[error.start]) from None

    def encode_anyhow(self, text: str) -> bytes:
        """Encode one message, with a question mark for every character that the encoding lacks."""
        try:
            return self.encode(text)
        except UnencodableMessageError:
            return text.encode(self.encoding, "replace")


@functools.lru_cache(maxsize=64)
def text_codec(encoding: str = "utf-8", errors: ErrorRule = "strict") -> TextCodec:
    """Find the codec for an encoding by any of its Python names.

    Args:
        encoding: ``"utf-8"``, or a code page that a movie was made with: ``"shift_jis"``, ``"gbk"``, ``"cp1252"``.
        errors: ``"strict"`` refuses text that does not fit. ``"replace"`` puts U+FFFD (or ``?`` when sending) in its
            place. ``"flash"`` does what the player does: a byte order mark at the start of a message is dropped and an
            undecodable byte becomes the character with that number; only for UTF-8.

    Raises:
        ConfigurationError: The encoding is unknown, is no text encoding, or can put a zero byte inside a character, so
            that its text could be cut anywhere.
    """
    if errors not in ("strict", "replace", "flash"):
        raise ConfigurationError(f'errors must be "strict", "replace" or "flash", not {errors!r}')
    try:
        info = codecs.lookup(encoding)
        probe = b"".join(chr(code).encode(info.name, "ignore") for code in _PROBES)
        is_text = isinstance(b"a".decode(info.name, "replace"), str)
    except (LookupError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{encoding!r} is not a text encoding that Python knows") from error
    if is_text and NUL not in probe and "\0".encode(info.name, "replace") != NUL:
        raise ConfigurationError(
            f"{encoding} adds bytes of its own to every message, or writes a NUL as text; use utf-8"
        )
    if not is_text or NUL in probe:
        raise ConfigurationError(
            f"{encoding} can put a zero byte inside a character, and a zero byte ends a message; use utf-8"
        )
    name = "utf-8" if info.name == "utf-8" else encoding
    if errors == "flash" and name != "utf-8":
        raise ConfigurationError('errors="flash" is the player\'s rule for UTF-8 and works with no other encoding')
    return TextCodec(name, errors)


# Characters whose encoding has a zero byte in every encoding that has one for any character (UTF-16 and UTF-32 in all
# their orders, and their variants): one of each number of bytes.
_PROBES: Final = (0x41, 0xE9, 0x100, 0x3042, 0x4E00, 0x1F40C)


def decode_like_flash(data: bytes) -> str:
    """Decode UTF-8 as the player's virtual machine does, which never fails.

    A lead byte C0-DF takes one continuation byte, E0-EF two, F0-FF three (F8-FF with their low three bits, a bug that
    the players kept). Where continuation bytes are missing, or the number is smaller than the length allows or beyond
    Unicode, the lead byte alone becomes the character with its number and decoding goes on at the next byte. Surrogates
    are taken as they are and a pair joins into one character. One byte order mark at the start is dropped.
    """
    return _join_surrogates(_SEQUENCES.sub(_decode_sequences, data.decode("latin-1"))).removeprefix(_BOM)


# Runs of what the player's rule takes as characters, so that hostile text costs little more than any other. What is
# left over are single bytes: a lead byte that is refused is followed by continuation bytes, which never lead. ASCII is
# taken along behind a sequence, for the runs to be long.
_SEQUENCES: Final = re.compile(
    "(?:[\xc2-\xdf][\x80-\xbf]"
    "|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}"
    "|[\xf0\xf8][\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3\xf9-\xfb][\x80-\xbf]{3}|[\xf4\xfc][\x80-\x8f][\x80-\xbf]{2}"
    "|(?<=[\x80-\xbf])[\0-\x7f]++)++"
)
_LOW_THREE_BITS: Final = bytes(byte - 8 if 0xF8 <= byte <= 0xFC else byte for byte in range(256))


def _decode_sequences(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").translate(_LOW_THREE_BITS).decode("utf-8", "surrogatepass")


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _replace_lone_surrogates(text: str) -> str:
    joined = _join_surrogates(text)
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in joined)
