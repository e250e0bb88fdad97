"""Become another program that ends when the process that started this one ends, whatever ended that (Linux).

Run as ``python bound_to_parent.py PARENT PROGRAM [ARGUMENT ...]``. It imports nothing of the package: it is a start of
some 20 ms for a program that cannot watch its parent itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); kept when another program takes the process over


def become(parent: int, command: list[str]) -> None:
    """Ask the kernel for a SIGKILL when the parent ends, and become the program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
