"""Markup cut into tags and text, by the rules of the player's own parser.

That parser is no XML parser: line ends and white space in attributes stay as they are, an unknown entity or a lone
``&`` is just text, ``</a/>`` closes ``<a>``. The bytes that a player sends follow from this, so a real XML parser,
which is right where the player is lax, would change them. Nothing here declares, loads or expands anything: a document
type is refused, and the only entities are the six below and character references.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, cast

WHITE_SPACE: Final = " \t\n\r"

_ENTITIES: Final = {"amp": "&", "apos": "'", "gt": ">", "lt": "<", "nbsp": "\xa0", "quot": '"'}

_CHARACTER = re.compile(r"#(?:x([0-9A-Fa-f]{1,8})|([0-9]{1,8}))")
_TAG_NAME = re.compile(r"(?:[^>/ \t\n\r]|/(?!>))+")
_ATTRIBUTE_START = re.compile(r"([^=> \t\n\r]+)[ \t\n\r]*=[ \t\n\r]*([\"'])")
_QUOTED: Final = {'"': re.compile(r'([^"<]*)"'), "'": re.compile(r"([^'<]*)'")}
_SPACE = re.compile(r"[ \t\n\r]*")
_DOCUMENT_TYPE = re.compile(r"<!DOCTYPE", re.IGNORECASE)


class TokenKind(enum.Enum):
    """What a piece of markup is."""

    DECLARATION = enum.auto()
    TEXT = enum.auto()
    CDATA = enum.auto()
    COMMENT = enum.auto()
    INSTRUCTION = enum.auto()
    OPENING = enum.auto()
    CLOSING = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """One tag or run of text.

    Attributes:
        kind: What it is.
        value: The text with its references replaced, the name of a tag, the inside of anything else.
        attributes: Names and values of an opening tag, in order.
        is_empty: Whether an opening tag closes itself.
    """

    kind: TokenKind
    value: str
    attributes: tuple[tuple[str, str], ...] = ()
    is_empty: bool = False


class MarkupError(ValueError):
    """The player's parser stops here.

    Attributes:
        errorID: The number of Adobe's error for it: 1090 to 1095 or 1097.
        detail: What was refused here though the player lets it pass; empty for Adobe's own errors.
    """

    def __init__(self, errorID: int, detail: str = "") -> None:
        super().__init__(errorID, detail)
        self.errorID = errorID
        self.detail = detail


Unescape: TypeAlias = "Callable[[str], str]"


def unescape_as3(text: str) -> str:
    """Replace references as ActionScript 3 does: after an ``&`` everything up to the next ``;`` is one reference.

    So ``&&amp;`` stays as it is. What is no reference is text.
    """
    return _unescape(text, str.find)


def unescape_as2(text: str) -> str:
    """Replace references as ActionScript 1 and 2 do: a reference has no ``&`` inside, so ``&&amp;`` is ``&&``."""
    return _unescape(text, str.rfind)


def _unescape(text: str, find: Callable[[str, str], int]) -> str:
    if "&" not in text:
        return text
    # Each piece but the last ends at a ";", so the work is proportional to the text whatever is in it.
    *pieces, rest = text.split(";")
    done: list[str] = []
    for piece in pieces:
        start = find(piece, "&")
        character = _resolve(piece[start + 1 :]) if start >= 0 else None
        done.append(f"{piece};" if character is None else piece[:start] + character)
    # Two references to the halves of a pair are one character, as in the player, whose text is UTF-16.
    return "".join((*done, rest)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _resolve(reference: str) -> str | None:
    match = _CHARACTER.fullmatch(reference)
    if match is None:
        return _ENTITIES.get(reference)
    code = int(match[1], 16) if match[1] else int(match[2])
    return chr(code) if code <= 0x10FFFF else None


class Tokenizer:
    """Cuts markup into tokens, by iterating over it.

    Args:
        text: The markup.
        unescape: How references are replaced.
        condense: Take white space off both ends of every text, and leave out text that is nothing else, as
            ActionScript 3 does with ``XML.ignoreWhitespace``.

    Raises:
        MarkupError: While iterating, after all tokens before the fault.
    """

    def __init__(self, text: str, unescape: Unescape, *, condense: bool) -> None:
        self._text = text
        self._unescape = unescape
        self._condense = condense
        self._position = 0

    def __iter__(self) -> Iterator[Token]:
        size = len(self._text)
        while self._position < size:
            if self._condense:
                self._skip_space()
                if self._position == size:
                    return
            yield self._read_markup() if self._text[self._position] == "<" else self._read_text()

    def _read_text(self) -> Token:
        start = self._position
        end = self._text.find("<", start)
        self._position = len(self._text) if end < 0 else end
        value = self._unescape(self._text[start : self._position])
        return Token(TokenKind.TEXT, value.strip(WHITE_SPACE) if self._condense else value)

    def _read_markup(self) -> Token:
        if _DOCUMENT_TYPE.match(self._text, self._position):
            detail = "a document type is refused, for it can declare entities; send the element alone"
            raise MarkupError(1093, detail if ">" in self._text[self._position :] else "")
        for opening, closing, kind, errorID in _SECTIONS:
            if match := opening.match(self._text, self._position):
                end = self._text.find(closing, match.end())
                if end < 0:
                    raise MarkupError(errorID)
                self._position = end + len(closing)
                return Token(kind, self._text[match.end() : end])
        return self._read_tag()

    def _read_tag(self) -> Token:
        text = self._text
        name = _TAG_NAME.match(text, self._position + 1)
        if name is None or name.end() == len(text):
            raise MarkupError(1090)
        self._position = name.end()
        self._skip_space()
        attributes: list[tuple[str, str]] = []
        while not text.startswith((">", "/>"), self._position):
            attributes.append(self._read_attribute())
            self._skip_space()
        is_empty = text[self._position] == "/"
        self._position += 2 if is_empty else 1
        value = self._unescape(name[0])
        if value.startswith("/"):
            return Token(TokenKind.CLOSING, value[1:])
        return Token(TokenKind.OPENING, value, tuple(attributes), is_empty)

    def _read_attribute(self) -> tuple[str, str]:
        opening = _ATTRIBUTE_START.match(self._text, self._position)
        if opening is None:
            raise MarkupError(1090)
        value = _QUOTED[opening[2]].match(self._text, opening.end())
        if value is None:
            raise MarkupError(1095)
        self._position = value.end()
        return self._unescape(opening[1]), self._unescape(value[1])

    def _skip_space(self) -> None:
        self._position = cast("re.Match[str]", _SPACE.match(self._text, self._position)).end()


_SECTIONS: Final = (
    (re.compile(r"<\?xml ", re.IGNORECASE), "?>", TokenKind.DECLARATION, 1092),
    (re.compile(r"<!\[CDATA\[", re.IGNORECASE), "]]>", TokenKind.CDATA, 1091),
    (re.compile(r"<\?"), "?>", TokenKind.INSTRUCTION, 1097),
    (re.compile(r"<!--"), "-->", TokenKind.COMMENT, 1094),
)
