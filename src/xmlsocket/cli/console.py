"""The one place that prints: what was asked for on standard output, everything else on standard error.

Nothing here understands rich's markup or emoji codes, for most of what is shown comes from elsewhere. What comes from a
peer or a file goes through :func:`printable` first, so that it cannot move the cursor, rename the window or write
backwards.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import IO

from rich.console import Console
from rich.text import Text

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=True)


def tolerate_any_text() -> None:
    """Let characters that the terminal's encoding lacks appear as escapes rather than end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str, keep: str = "") -> str:
    r"""Show text as one line that harms no terminal: ``\n``, ``\x1b``, ``\u202e`` for what is not printable.

    Blanks of every width stay, and so do the joiners that Persian and emoji need.

    Args:
        text: What a peer or a file says.
        keep: Characters to leave as they are.
    """
    if text.isprintable():
        return text
    return _SUSPECTS.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


_SUSPECTS = re.compile("[^ -~]")  # so that a function is called for few characters of most texts


def _escape(character: str) -> str:
    if character.isprintable() or character in "\u200c\u200d" or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")


def write_lines(lines: Iterable[str], end: str = "\n") -> None:
    """Write many lines at once, exactly as they are, and flush: for pipes, where rich would cost most of the time."""
    with standard_output() as file:
        file.write("".join(line + end for line in lines))


@contextlib.contextmanager
def standard_output() -> Iterator[IO[str]]:
    """Give standard output to write to, and end the program, with a sentence, when it cannot be written to."""
    try:
        yield out.file
        out.file.flush()
    except OSError as error:
        end_output(error)
        raise SystemExit(1) from error


def end_output(error: OSError) -> None:
    """Write nothing more to standard output, and say why it failed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered would fail again at the end
    if not isinstance(error, BrokenPipeError):  # whoever read our output has gone, and does not want to hear of it
        complain(f"cannot write to standard output: {error.strerror}")


def announce(text: Text | str) -> None:
    """Print on standard output what is nice to know; it is no reason to stop that nobody reads it any more."""
    with contextlib.suppress(OSError, SystemExit):  # rich ends the program when a pipe is broken
        out.print(text)


def complain(sentence: str) -> None:
    """Say on standard error what went wrong."""
    err.print(Text.assemble(("error: ", "bold red"), printable(sentence)))


def note(sentence: str) -> None:
    """Say on standard error what a person at the terminal wants to know, and a script does not."""
    err.print(printable(sentence), style="dim")
