"""How text from policy files, which is hostile, is shown in messages."""

from __future__ import annotations

SHOWN_LENGTH = 60


def quote(text: str, length: int = SHOWN_LENGTH) -> str:
    """Show text in quotes, cut to ``length`` characters, with everything unprintable escaped.

    Control characters and those that turn the direction of writing would let a file rewrite the
    terminal or the log that shows it.
    """
    shown = text if len(text) <= length else text[:length] + "…"
    return '"' + "".join(map(_escape, shown)) + '"'


def make_printable(text: str) -> str:
    """Escape everything unprintable in text of any length; nothing is cut and quotes stay as they are."""
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
