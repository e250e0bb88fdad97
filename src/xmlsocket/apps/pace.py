"""How much is published in one turn of the event loop.

All that a room's members are sent in a turn leaves in one write for each of them. Event loops hand over all that has
arrived, which can be megabytes from each of hundreds of clients; published at one go it would pass ``max_send_backlog``
of members that read as fast as they can, and they would be dropped as slow readers. So what is beyond
``publish_high_water`` waits for the next turn, and those who sent it are not read from meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pace:
    """Counts what is published in a turn.

    Args:
        high_water: Bytes; beyond them the rest waits.
        next_turn: Called when the turn's messages have been written, and there may be more.
    """

    __slots__ = ("_high_water", "_is_counting", "_next_turn", "_spent")

    def __init__(self, high_water: int, next_turn: Callable[[], None]) -> None:
        self._high_water = high_water
        self._next_turn = next_turn
        self._spent = 0
        self._is_counting = False

    @property
    def is_exhausted(self) -> bool:
        """Whether no more is to be published in this turn."""
        return self._spent > self._high_water

    def spend(self, size: int) -> None:
        """Count so many bytes."""
        self._spent += size
        if not self._is_counting:
            self._is_counting = True
            loop = asyncio.get_running_loop()
            # Connections write in a callback of this turn, which may have been scheduled before this one or after it.
            loop.call_soon(loop.call_soon, self._begin)

    def _begin(self) -> None:
        self._spent = 0
        self._is_counting = False
        self._next_turn()
