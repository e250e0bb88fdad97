"""Who accepts from the slots that have no worker for a while: another worker, so that no client waits in vain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from .channel import AnswerError, ChannelClosedError
from .worker_process import Slot, WorkerProcess

logger = logging.getLogger("xmlsocket.workers")


class Covering:
    """Tells workers from which other slots to accept.

    Args:
        slots: All of them.
        is_shared: Whether they have one socket, from which every worker accepts anyway.
    """

    def __init__(self, slots: Sequence[Slot], *, is_shared: bool) -> None:
        self._slots = slots
        self._is_shared = is_shared
        self._orders: set[asyncio.Task[None]] = set()

    def update(self) -> None:
        """Have somebody accept from slots without a worker, and nobody else from the others."""
        if self._is_shared:
            return
        standby = next((slot.worker for slot in self._slots if slot.is_served), None)
        for slot in self._slots:
            if slot.cover is not None and (slot.is_served or not slot.cover.serves):
                self._order(slot.cover, "uncover", slot.number)
                slot.cover = None
            if not slot.is_served and slot.cover is None and standby is not None:
                slot.cover = standby
                self._order(standby, "cover", slot.number)

    def find_unserved(self) -> list[int]:
        """The numbers of the slots, from 1, whose clients wait, as nobody accepts there."""
        if self._is_shared and any(slot.is_served for slot in self._slots):
            return []
        covered = (slot.cover is not None and slot.cover.serves for slot in self._slots)
        return [
            slot.number + 1
            for slot, is_covered in zip(self._slots, covered, strict=True)
            if not (slot.is_served or is_covered)
        ]

    def _order(self, worker: WorkerProcess, what: str, number: int) -> None:
        async def order() -> None:
            try:
                await worker.ask(what, slot=number)
            except (ChannelClosedError, AnswerError) as error:
                logger.debug("%r does not %s slot %d: %s", worker, what, number + 1, error)

        task = asyncio.get_running_loop().create_task(order())
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
