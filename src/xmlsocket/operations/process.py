"""What the system knows of this process, and what it is made of.

prometheus-client has a collector for this, but it lists all descriptors: with ten thousand of them that stole five
milliseconds at a time from the event loop, even from a thread of its own.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .samples import Sample

_PROC: Final = Path("/proc/self")


def build_info(loop: asyncio.AbstractEventLoop) -> Sample:
    """Name the versions, and the event loop."""
    labels = {
        "version": importlib.metadata.version("xmlsocket"),
        "python": platform.python_version(),
        "loop": type(loop).__module__.partition(".")[0],
    }
    return Sample("xmlsocket_build_info", 1, labels)


def process_samples() -> Iterator[Sample]:
    """Ask the system for processor time, memory and descriptors. Elsewhere than on Linux it tells only the first."""
    yield Sample("process_cpu_seconds_total", time.process_time())
    if not (_PROC / "stat").exists():
        return
    pages, resident = (int(number) for number in (_PROC / "statm").read_text().split()[:2])
    page = os.sysconf("SC_PAGE_SIZE")
    yield Sample("process_virtual_memory_bytes", pages * page)
    yield Sample("process_resident_memory_bytes", resident * page)
    yield Sample("process_start_time_seconds", _start_time())
    yield Sample("process_open_fds", _count_descriptors())
    import resource  # not at the top: Windows has none

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY:
        yield Sample("process_max_fds", limit)


def _count_descriptors() -> int:
    folder = _PROC / "fd"
    return folder.stat().st_size or len(os.listdir(folder))  # Linux tells the number since 6.2


@functools.cache
def _start_time() -> float:
    """When the process started, in seconds since 1970; the same at every call, also when the clock is set."""
    ticks = int((_PROC / "stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age
