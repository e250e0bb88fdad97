"""How long to wait before a process that has ended is started again."""

from __future__ import annotations

import asyncio
import time

from ..limits import WorkerLimits


class Backoff:
    """Doubles the pause for a process that dies young, again and again.

    Args:
        limits: The pauses, and what young means.
    """

    def __init__(self, limits: WorkerLimits) -> None:
        self._limits = limits
        self._began: float | None = None
        self._deaths = 0

    def begin(self) -> None:
        """Note that it is started now."""
        self._began = time.monotonic()

    async def wait(self) -> None:
        """Wait as long as it must be waited since it has ended. The first start is at once."""
        if self._began is None:
            return
        lived = time.monotonic() - self._began
        if lived >= self._limits.worker_stable_time:
            self._deaths = 0
            return
        pause = self._limits.worker_backoff_initial * 2.0 ** min(self._deaths, 32)
        self._deaths += 1
        await asyncio.sleep(min(pause, self._limits.worker_backoff_max))
