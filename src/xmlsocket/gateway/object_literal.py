"""Object literals of JavaScript, JSON among them: find a property and change it, and leave every other byte alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from ..errors import ConfigurationError

_BLANK: Final = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"' + r"|'(?:[^'\\\n]|\\.)*'", re.DOTALL)
_TEMPLATE: Final = re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL)
_REGEX: Final = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w$.])")
_WORDS: Final = {"true": True, "false": False, "null": None}
_OPEN: Final = {"{": "}", "[": "]", "(": ")"}
_BEFORE_REGEX: Final = frozenset("(,=:[!&|?{};+-*%<>~^") | {""}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}


class NotLiteralError(ConfigurationError):
    """What stands there is code, not a value."""


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an object literal.

    Attributes:
        name: Its key; ``None`` where that is computed or spread.
        start: Where the key begins.
        value: Where its value begins; ``None`` for a method or a name alone.
        end: Where it ends, without a comma.
    """

    name: str | None
    start: int
    value: int | None
    end: int


def line_of(text: str, at: int) -> int:
    """Count lines from 1."""
    return text.count("\n", 0, at) + 1


def skip_blank(text: str, at: int) -> int:
    """Skip white space and comments."""
    match = _BLANK.match(text, at)
    return match.end() if match else at


def step(text: str, at: int, before: str = "") -> int:
    """Skip one thing of code: a comment, a string, a template, a regular expression, a name, or a character.

    Args:
        text: The code.
        at: Where the thing begins.
        before: The last character of code before it, which tells a regular expression from a division.
    """
    for pattern in (_STRING, _TEMPLATE, _NAME):
        if match := pattern.match(text, at):
            return match.end()
    if (end := skip_blank(text, at)) > at:
        return end
    if text[at] == "/" and before in _BEFORE_REGEX and (match := _REGEX.match(text, at)):
        return match.end()
    return at + 1


def skip_value(text: str, at: int) -> int:
    """Find the end of an expression: the comma or bracket after it.

    Raises:
        ConfigurationError: Brackets do not match.
    """
    expected: list[str] = []
    before, end = "", at
    while at < len(text):
        character = text[at]
        if not expected and character in ",}])":
            return end
        if character in _OPEN:
            expected.append(_OPEN[character])
        elif character in "}])" and character != expected.pop():
            break
        blank = skip_blank(text, at)
        if blank > at:
            at = blank
            continue
        at = end = step(text, at, before)
        before = text[at - 1]
    raise ConfigurationError(f"line {line_of(text, min(at, len(text) - 1))}: brackets do not match")


def read_properties(text: str, at: int) -> tuple[list[Property], int]:
    """List the properties of the object literal that begins at ``at``.

    Returns:
        The properties, and where the closing bracket is.

    Raises:
        ConfigurationError: It is not an object literal as far as one can tell without running it.
    """
    found: list[Property] = []
    at = skip_blank(text, at + 1)
    while text[at : at + 1] != "}":
        item = _read_property(text, at)
        found.append(item)
        at = skip_blank(text, item.end)
        if text[at : at + 1] == ",":
            at = skip_blank(text, at + 1)
        elif text[at : at + 1] != "}":
            raise ConfigurationError(f"line {line_of(text, at)}: this is no object literal")
    return found, at


def _read_property(text: str, at: int) -> Property:
    name = None
    end = at
    if match := _STRING.match(text, at):
        name, end = _unquote(match[0]), match.end()
    elif match := _NAME.match(text, at):
        name, end = match[0], match.end()
    after = skip_blank(text, end)
    if end > at and text[after : after + 1] == ":":
        value = skip_blank(text, after + 1)
        return Property(name, at, value, skip_value(text, value))
    stop = skip_value(text, at)
    if stop == at:
        raise ConfigurationError(f"line {line_of(text, at)}: this is no object literal")
    return Property(name if end == stop else None, at, None, stop)


def read_value(text: str, at: int) -> tuple[Any, int]:
    """Read a value of JSON as JavaScript writes it: names without quotes, either kind of quotes, a comma too many.

    Returns:
        The value, and where it ends.

    Raises:
        NotLiteralError: There is code in it.
        ConfigurationError: It is broken.
    """
    if text[at : at + 1] == "{":
        items = {}
        properties, end = read_properties(text, at)
        for item in properties:
            if item.value is None or item.name is None:
                raise NotLiteralError(f"line {line_of(text, item.start)}: there is code in place of a value")
            items[item.name], stop = read_value(text, item.value)
            if skip_blank(text, stop) < item.end:
                raise NotLiteralError(f"line {line_of(text, stop)}: there is code in place of a value")
        return items, end + 1
    if text[at : at + 1] == "[":
        return _read_array(text, at)
    if match := _STRING.match(text, at):
        return _unquote(match[0]), match.end()
    if match := _NUMBER.match(text, at):
        return json.loads(match[0]), match.end()
    if (match := _NAME.match(text, at)) and match[0] in _WORDS:
        return _WORDS[match[0]], match.end()
    raise NotLiteralError(f"line {line_of(text, at)}: there is code in place of a value")


def read_items(text: str, at: int) -> tuple[list[tuple[int, int]], int]:
    """Find where the items of the array that begins at ``at`` begin and end, and where its closing bracket is.

    Raises:
        ConfigurationError: As :func:`read_value`.
    """
    spans: list[tuple[int, int]] = []
    _, end = _read_array(text, at, spans)
    return spans, end - 1


def _read_array(text: str, at: int, spans: list[tuple[int, int]] | None = None) -> tuple[list[Any], int]:
    values = []
    at = skip_blank(text, at + 1)
    while text[at : at + 1] != "]":
        start = at
        value, at = read_value(text, at)
        values.append(value)
        if spans is not None:
            spans.append((start, at))
        at = skip_blank(text, at)
        if text[at : at + 1] == ",":
            at = skip_blank(text, at + 1)
        elif text[at : at + 1] != "]":
            raise NotLiteralError(f"line {line_of(text, at)}: there is code in place of a value")
    return values, at + 1


def _unquote(literal: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] or match[2]:
            return chr(int(match[1] or match[2], 16))
        return _ESCAPES.get(match[3], match[3])

    text = re.sub(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", replace, literal[1:-1], flags=re.DOTALL)
    # Two escapes for one character beyond the first 65,536 are put together.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
