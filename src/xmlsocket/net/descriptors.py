"""How many more files and sockets this process may open."""

from __future__ import annotations

import os
import sys


def free_descriptors() -> int | None:
    """Count the descriptors that are still free under the soft limit; ``None`` where there is no limit to be known."""
    if sys.platform == "win32":
        return None
    import resource  # not at the top: Windows has none

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return soft - len(os.listdir(folder))
        except OSError:
            continue  # this system has the other one
    return soft
