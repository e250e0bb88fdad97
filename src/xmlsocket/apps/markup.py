"""The chat's answers, written as XML. Whatever is said comes out the same at the parser of the other side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from ..rooms import KeptMessage

_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def escape_text(text: str) -> str:
    """Write text for between two tags. What XML cannot say, which comes from imports only, becomes U+FFFD."""
    if not text.isprintable():
        text = _FORBIDDEN.sub("\ufffd", text)
    # A parser turns a carriage return into a line feed unless it is written as a reference.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def escape_attribute(value: str) -> str:
    """Write text for between two double quotes."""
    value = escape_text(value).replace('"', "&quot;")
    # A parser turns these into blanks unless they are written as references.
    return value.replace("\t", "&#9;").replace("\n", "&#10;")


def element(tag: str, attributes: Iterable[tuple[str, str | None]], content: str = "") -> str:
    """Write an element; its content is markup already. An attribute whose value is ``None`` is left out."""
    written = "".join([f' {name}="{escape_attribute(value)}"' for name, value in attributes if value is not None])
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def timestamp(at: float) -> str:
    """Write seconds since 1970 as ISO 8601 in UTC with milliseconds and Z; years are from 1 to 9999."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):  # a clock that was wrong, or a history that came from elsewhere
        moment = _FIRST if at < 0 else _LAST
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def said(room: str, message: KeptMessage, ref: str | None = None) -> str:
    """Write what was said in a room."""
    reference = "" if ref is None else f' ref="{escape_attribute(ref)}"'
    return (
        f'<said room="{escape_attribute(room)}" id="{message.id}" from="{escape_attribute(message.sender)}" '
        f'at="{timestamp(message.at)}"{reference}>{escape_text(message.text)}</said>'
    )


def told(sender: str, to: str, at: float, text: str, ref: str | None = None) -> str:
    """Write what was told to one person."""
    reference = "" if ref is None else f' ref="{escape_attribute(ref)}"'
    return (
        f'<told from="{escape_attribute(sender)}" to="{escape_attribute(to)}" at="{timestamp(at)}"{reference}>'
        f"{escape_text(text)}</told>"
    )


@lru_cache(maxsize=50_000)
def member(name: str) -> str:
    """Write somebody in the list of a room. Remembered, for who joins a full room needs them all at once."""
    return element("member", [("name", name)])


@lru_cache(maxsize=50_000)
def room(name: str, members: int) -> str:
    """Write a room in the list of rooms. Remembered, for every page asks for the list again and again."""
    return element("room", [("name", name), ("members", str(members))])


def error(code: str, sentence: str, line: int, column: int, ref: str | None = None) -> str:
    """Write why a request was refused."""
    place = (("code", code), ("line", str(line)), ("column", str(column)), ("ref", ref))
    return element("error", place, escape_text(sentence))


def listing(
    tag: str, attributes: Sequence[tuple[str, str | None]], entries: Sequence[str], max_size: int | None = None
) -> str:
    """Write a list. If it would be longer than ``max_size`` bytes, the attribute ``more`` counts those left out."""
    if max_size is None:
        return element(tag, attributes, "".join(entries))
    left = max_size - len(element(tag, [*attributes, ("more", str(len(entries)))], "-").encode())
    fitting = 0
    for entry in entries:
        left -= len(entry.encode())
        if left < 0:
            break
        fitting += 1
    more = len(entries) - fitting
    return element(tag, [*attributes, ("more", str(more) if more else None)], "".join(entries[:fitting]))
