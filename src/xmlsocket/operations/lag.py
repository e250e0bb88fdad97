"""How late the event loop is: a timer that notes when it runs against when it should have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from .samples import Sample

_INTERVAL: Final = 0.5
_WINDOW: Final = 30.0
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds in seconds. A healthy loop is below 0.01; people notice from 0.1 on."""


class LoopLag:
    """Looks twice a second, which costs nothing that can be measured."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0
        self._worst = 0.0
        self._worst_before = 0.0
        self._window_ends = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._window_ends = time.monotonic() + _WINDOW
        self._schedule()

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = time.monotonic() + _INTERVAL
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self.note(max(0.0, now - self._due), now)
        self._schedule()

    def note(self, lag: float, now: float) -> None:
        """Count one observation, in seconds; ``now`` is of the monotonic clock."""
        index = next((index for index, bound in enumerate(BUCKETS) if lag <= bound), len(BUCKETS))
        self._counts[index] += 1
        self._sum += lag
        if now >= self._window_ends:
            self._window_ends = now + _WINDOW
            self._worst_before, self._worst = self._worst, 0.0
        self._worst = max(self._worst, lag)

    def samples(self) -> Iterator[Sample]:
        """Give the histogram, and the worst of the last half minute to minute."""
        count = 0
        for bound, number in zip((*BUCKETS, None), self._counts, strict=True):
            count += number
            label = "+Inf" if bound is None else f"{bound:g}"
            yield Sample("xmlsocket_loop_lag_seconds_bucket", count, {"le": label})
        yield Sample("xmlsocket_loop_lag_seconds_count", count)
        yield Sample("xmlsocket_loop_lag_seconds_sum", self._sum)
        yield Sample("xmlsocket_loop_lag_max_seconds", max(self._worst, self._worst_before))
