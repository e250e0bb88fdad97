"""What is logged of clients that are turned away: a flood of them must not flood the log as well."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

_PERIOD: Final = 60.0  # seconds


class RefusalLog:
    """Logs the first refusal at once, and once a minute how many there were since, until there are none.

    Args:
        loop: The event loop, for its clock.
        logger: Where to report; each single refusal is there at ``DEBUG``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, logger: logging.Logger) -> None:
        self._loop = loop
        self.logger = logger
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0

    def add(self, who: object, why: str) -> None:
        """Note that a client was turned away."""
        if self._timer is not None:
            self._count += 1
            self.logger.debug("refused %s: %s", who, why)
            return
        self.logger.warning("refused %s: %s", who, why)
        self._timer = self._loop.call_later(_PERIOD, self._report)

    def stop(self) -> None:
        """Report what has not been reported yet, and end the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell()

    def _report(self) -> None:
        self._timer = self._loop.call_later(_PERIOD, self._report) if self._count else None
        self._tell()

    def _tell(self) -> None:
        if self._count:
            self.logger.warning("refused %d more within a minute", self._count)
            self._count = 0
