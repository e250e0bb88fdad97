"""How received messages are shown: in colours and indented on a terminal, one on a line in a pipe."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable
from typing import Final
from xml.parsers import expat

from rich.text import Text

from .console import out, printable, write_lines


class Style(enum.Enum):
    """One way to show messages."""

    TERMINAL = "terminal"
    """For people: XML in colours, indented where it is too long for a line. Control characters are escaped."""
    LINES = "lines"
    r"""One message on a line. Control characters are escaped, so a line break inside a message shows as ``\n``."""
    JSON = "json"
    """One JSON string on a line: any message, exactly."""
    NUL = "nul"
    """Each message exactly, and a NUL after it, as on the wire."""


def show(messages: Iterable[str], style: Style) -> None:
    """Print messages on standard output, and let nothing wait in a buffer."""
    if style is Style.TERMINAL:
        for message in messages:
            out.print(render(message, out.width))
    elif style is Style.NUL:
        write_lines(messages, end="\0")
    elif style is Style.JSON:
        write_lines(map(json.dumps, messages))
    else:
        write_lines(printable(message, keep="\t") for message in messages)


_PIECES: Final = re.compile(
    r"""(?P<aside><!--.*?-->|<\?.*?\?>)
      | (?P<cdata><!\[CDATA\[.*?\]\]>)
      | (?P<end></[^>]*>)
      | (?P<empty><(?:[^<>"'/]|/(?!>)|"[^"]*"|'[^']*')*/>)
      | (?P<start><(?:[^<>"']|"[^"]*"|'[^']*')*>)
      | (?P<text>[^<]+)""",
    re.VERBOSE | re.DOTALL,
)
_PARTS_OF_TAG: Final = re.compile(
    r"""(?P<name></?[^\s/>=]+)|(?P<value>"[^"]*"|'[^']*')|(?P<attribute>[^\s=/>]+)|(?P<rest>.)""", re.DOTALL
)
_STYLES: Final = {"name": "bold cyan", "attribute": "cyan", "value": "green", "aside": "dim", "cdata": "yellow"}
_LONGEST: Final = 65_536
"""Characters beyond which a message is shown as it is: nobody reads that much, and a terminal should not wait."""

_DEEPEST: Final = 64
"""Elements inside each other beyond which a message is shown as it is: indented, it could be as long as its square."""

_Piece = tuple[str, str]


def render(message: str, width: int) -> Text:
    """Write a message for people.

    XML that does not fit into ``width`` is indented, a tag on a line, but for elements that hold text: those stay as
    they are, with all that is in them. What is no XML, or deeper than anybody could follow, stays as it is too.
    """
    if len(message) > _LONGEST or not is_well_formed(message):
        return Text(printable(message))
    pieces = [(match.lastgroup or "", match[0]) for match in _PIECES.finditer(message)]
    lines = _find_lines(pieces) if len(message) > width else {}
    if max(lines.values(), default=0) > _DEEPEST:
        lines = {}
    text = Text()
    for index, (kind, piece) in enumerate(pieces):
        if index in lines:
            if kind == "text":
                continue  # only blanks, and the line break replaces them
            text.append("\n" * bool(text) + "  " * lines[index])
        if kind in ("start", "empty", "end"):
            for part in _PARTS_OF_TAG.finditer(piece):
                text.append(printable(part[0]), _STYLES.get(part.lastgroup or "", ""))
        else:
            text.append(printable(piece), _STYLES.get(kind, ""))
    return text


def is_well_formed(message: str) -> bool:
    """Whether it is XML, one element or a document, without a document type."""
    if "<!DOCTYPE" in message or not message.lstrip().startswith("<"):
        return False
    parser = expat.ParserCreate("utf-8")
    try:
        parser.Parse(message.encode("utf-8"), True)
    except (expat.ExpatError, UnicodeEncodeError):
        return False
    return True


def _find_lines(pieces: list[_Piece]) -> dict[int, int]:
    """Find the pieces that get a line of their own, and how deep it is indented."""
    outside = -1
    owners: list[int] = []  # for each piece the index of the start tag around it; for an end tag, of its own
    with_text: set[int] = set()
    with_children: set[int] = {outside}
    around = [outside]
    for index, (kind, piece) in enumerate(pieces):
        owners.append(around.pop() if kind == "end" else around[-1])
        if kind == "start":
            around.append(index)
        if kind in ("text", "cdata"):
            if piece.strip():
                with_text.add(owners[-1])
        elif kind != "end":
            with_children.add(owners[-1])
    depths: dict[int, int] = {}
    for index, owner in enumerate(owners):
        if owner in with_children and owner not in with_text and (owner == outside or owner in depths):
            depths[index] = depths.get(owner, outside) + (pieces[index][0] != "end")
    return depths
