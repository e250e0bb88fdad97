"""What a process that serves thousands of connections asks of its system: descriptors, heap, garbage collector, loop.

A library must not do such things behind its user's back, so ``serve`` does none of them. The daemon does all; a program
of your own may call the same functions, each once, before and after it starts to serve.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import sys
from typing import Final, NamedTuple

logger = logging.getLogger("xmlsocket.process")

# The numbers of M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD in glibc's malloc.h, their values, and the variables
# by which the environment sets the same.
_HEAP_SETTINGS: Final = (
    # Buffers come from the heap, which is reused, rather than from pages mapped, zeroed and unmapped for each.
    (-3, 32 * 1024 * 1024, "MALLOC_MMAP_THRESHOLD_"),
    # glibc gives the top of the heap back after each large block and faults it in again for the next: with messages of
    # 256 KiB that is two thirds of the time.
    (-1, 128 * 1024 * 1024, "MALLOC_TRIM_THRESHOLD_"),
    (-2, 8 * 1024 * 1024, "MALLOC_TOP_PAD_"),
)


class Tuning(NamedTuple):
    """What :func:`tune_process` achieved."""

    descriptors: int | None
    """How many files and sockets the process may have open; ``None`` where the system does not say."""
    has_heap_settings: bool
    """Whether the allocator was told to keep its memory (glibc only)."""


def tune_process() -> Tuning:
    """Prepare the process for many connections and large messages; call it once, before serving.

    The soft limit on open descriptors is raised to the hard one. On glibc the allocator is told to keep freed memory
    for the next message (``mallopt``): 2.3 to 2.6 times the messages of 256 KiB, nothing for small ones, up to 128 MiB
    not given back. What the environment sets by ``MALLOC_…_`` variables is left alone. Elsewhere that is left out.
    """
    return Tuning(_raise_descriptor_limit(), _keep_heap())


def settle_process() -> None:
    """Take what lives now out of the garbage collector's sight; call it once, when everything has started.

    Modules, classes and tables stay as long as the process, so looking at them again and again only makes pauses.
    """
    gc.collect()
    gc.freeze()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop: uvloop's where it is installed, otherwise the standard library's.

    Use it as ``asyncio.Runner(loop_factory=new_event_loop)``. The same code runs on both; uvloop is 1.2 to 1.5 times as
    fast in rooms and in accepting.
    """
    try:
        import uvloop  # not at the top: the extra may not be installed
    except ImportError:
        logger.debug("event loop: asyncio's own (uvloop is not installed)")
        return asyncio.new_event_loop()
    logger.debug("event loop: uvloop")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _raise_descriptor_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # not at the top: Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS says "unlimited" and accepts less
            logger.debug("the limit of %d descriptors stays: %s", soft, error)
    return None if soft == resource.RLIM_INFINITY else soft


def _keep_heap() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):  # musl, for one, has other ways
        return False
    results = [
        libc.mallopt(number, value) == 1 for number, value, variable in _HEAP_SETTINGS if variable not in os.environ
    ]
    return bool(results) and all(results)
