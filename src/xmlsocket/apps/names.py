"""What people and rooms may be called, and which names are the same to the eye.

A name is text that can be seen and typed: letters of any script with their marks, digits, punctuation, symbols, and
single blanks between them. Nothing invisible (controls, zero-width and direction characters, fillers), nothing that is
not assigned, no mark without its letter. Names are kept in the composed form (NFC), so that it does not matter how a
keyboard makes an accent.

Two people cannot have names that differ only in upper and lower case, in width or in other compatibility forms (the
fold below). Letters of different scripts that look alike, as a Latin and a Cyrillic a do, are different letters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Letters, marks and symbols by their category, and yet nothing is to be seen: joiners, fillers, the blank Braille cell,
# the empty note head, the place of an object, and the selectors of letter variants.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\ufffc"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
# The first two choose between the textual and the coloured form of a symbol, and keyboards of phones put them in.
# The last is an i without its dot, whose capital is a plain I.
_SAME: Final = {0xFE0E: None, 0xFE0F: None, 0x0131: "i"}
_PLAIN: Final = re.compile(r"[!-~]+(?: [!-~]+)*")


def clean(name: str, max_length: int) -> str:
    """Compose a name, and refuse one that breaks the rules.

    Raises:
        ValueError: What is wrong with it, as the end of a sentence.
    """
    if not name:
        raise ValueError("is empty")
    if len(name) > 4 * max_length:  # composing makes it shorter by that much at most; do not even try
        raise ValueError(f"is longer than {max_length} characters")
    if not _PLAIN.fullmatch(name):
        name = unicodedata.normalize("NFC", name)
        _check_characters(name)
    if len(name) > max_length:
        raise ValueError(f"is longer than {max_length} characters")
    return name


def _check_characters(name: str) -> None:
    if name[0] == " " or name[-1] == " " or "  " in name:
        raise ValueError("has a blank at its start or end, or two in a row")
    before = " "
    for character in name:
        category = unicodedata.category(character)
        if category[0] == "M" and before == " ":
            raise ValueError("has a mark that belongs to a letter, and no letter before it")
        before = character
        if category[0] == "C" or (category[0] == "Z" and character != " ") or _INVISIBLE.match(character):
            raise ValueError(f"has the character U+{ord(character):04X}, which cannot be seen")


def fold(name: str) -> str:
    """Make of a clean name what it has in common with all names that are to count as the same."""
    if name.isascii():
        return name.lower()
    composed = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", composed).translate(_SAME)
