"""Keys of a terminal one by one, not shown, while something is drawn there."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import IO, Any


class Keys:
    """A context in which single keys are read; afterwards the terminal is as it was.

    Where there is no terminal, or it cannot be set so, :meth:`wait_until` only waits. Ctrl-C stays what it is.

    Args:
        file: What the terminal writes to.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Keys:
        if sys.platform != "win32" and self._file is not None and not self._file.closed and self._file.isatty():
            import termios  # not at the top: Windows has none
            import tty

            self._descriptor = self._file.fileno()
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform != "win32" and self._descriptor is not None:
            import termios  # not at the top: Windows has none

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._descriptor = None

    def wait_until(self, due: float, ending: str = "q") -> str:
        """Wait until a time of the monotonic clock, or until a certain key is pressed, which it then gives."""
        while (left := due - time.monotonic()) > 0:
            if self._descriptor is None:
                time.sleep(left)
            elif select.select([self._descriptor], [], [], left)[0]:
                data = os.read(self._descriptor, 64)
                if not data:  # the terminal is gone
                    self._descriptor = None
                elif ending in data.decode("utf-8", "replace").lower():
                    return ending
        return ""
