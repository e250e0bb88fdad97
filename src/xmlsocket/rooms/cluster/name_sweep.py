"""Deleting the records of names that dead nodes have left and nobody takes over: without it they stay for ever."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from ...errors import BrokerUnavailableError
from .jetstream import JetStreamError
from .name_records import NameRecords, owner_of

logger = logging.getLogger("xmlsocket.cluster")

_PAUSE: Final = 0.05  # seconds between requests: nobody waits for this


class NameSweep:
    """Looks through all records once after the start, and after each death of a node.

    Attributes:
        swept: How many records were deleted.

    Args:
        records: The records.
        is_dead: Whether a node is, beyond doubt.
        is_alive: Whether a node has given a sign of life of late.
        tell: Called with a node that came back while its records were being deleted: it has to look its names up.
        delay: Seconds from a death until no lease of that node is left; the nodes begin between one and two of them
            later, so that the first leaves the others little to do.
    """

    def __init__(
        self,
        records: NameRecords,
        is_dead: Callable[[str], Awaitable[bool]],
        is_alive: Callable[[str], bool],
        tell: Callable[[str], None],
        delay: float,
    ) -> None:
        self.swept = 0
        self._records = records
        self._is_dead = is_dead
        self._is_alive = is_alive
        self._tell = tell
        self._delay = delay
        self._is_due = False
        self._task: asyncio.Task[None] | None = None

    def begin_soon(self) -> None:
        """Look through all records, later."""
        self._is_due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="names: sweep")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._is_due:
            self._is_due = False
            await asyncio.sleep(self._delay * random.uniform(1.1, 2.0))
            try:
                await self._sweep()
            except (BrokerUnavailableError, JetStreamError) as error:
                logger.debug("names of dead nodes are looked for later: %s", error)
                self._is_due = True

    async def _sweep(self) -> None:
        await self._records.prepare()
        dead: dict[str, bool] = {}
        sequence = 1
        while records := await self._records.some(sequence):
            robbed: set[str] = set()
            try:
                for record in records:
                    owner = owner_of(record)
                    if owner not in dead:
                        dead[owner] = await self._is_dead(owner)
                    if dead[owner] and not self._is_alive(owner):
                        robbed.add(owner)
                        await self._records.delete(record.sequence)
                        self.swept += 1
            finally:
                # Who was heard of again meanwhile may have looked its names up before they were deleted.
                for owner in filter(self._is_alive, robbed):
                    self._tell(owner)
            sequence = records[-1].sequence + 1
            await asyncio.sleep(_PAUSE)
