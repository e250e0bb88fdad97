"""How the daemon logs: to standard error, with time and level, one line for each event."""

from __future__ import annotations

import logging
import sys

from .console import printable


class LineFormatter(logging.Formatter):
    """Keep each event to its line: what peers put into it cannot make a second one, or move the cursor.

    A traceback follows its event, each line of it indented, so that whoever reads the log by lines can tell.
    """

    def __init__(self, layout: str = "%(asctime)s %(levelname)s %(name)s: %(message)s") -> None:
        super().__init__(layout, "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that logging calls
        return printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802  # the name that logging calls
        text = super().formatException(ei)  # type: ignore[arg-type]  # handed through
        return "\n".join("    " + printable(line) for line in text.splitlines())


def show_warnings() -> None:
    """Show what the library warns of on standard error, for commands that keep no log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def start_logging(level: str, process: str = "") -> None:
    """Log everything from ``level`` on to standard error.

    Args:
        level: The least one.
        process: Which of several processes this is; every line says so.
    """
    handler = logging.StreamHandler(sys.stderr)
    which = f" {process.replace('%', '%%')}:" if process else ""
    handler.setFormatter(LineFormatter(f"%(asctime)s %(levelname)s{which} %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
