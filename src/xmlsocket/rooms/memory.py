"""The broker of a single process: everything in memory, nothing to set up, gone when the process ends."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import islice

from ..limits import RoomLimits
from .broker import BrokerState, Done, KeptMessage
from .process import ProcessBroker

# What CPython takes beside the texts, measured with tracemalloc: a message with its number, its time and its place in
# the ring, and a room's ring.
_MESSAGE_SIZE = 170
_RING_SIZE = 950


class MemoryBroker(ProcessBroker):
    """One order for all members, exactly once, and as much history as ``RoomLimits`` lets it hold.

    A room holds its latest ``history_size`` messages. When all rooms together hold more than ``max_history_bytes``, the
    one spoken in least recently is forgotten first. A room that was forgotten goes on with numbers above its old ones,
    as does a room that was not known before, since nobody remembers which of the two it is.

    Args:
        limits: See above.
        clock: Seconds since 1970; for tests.
    """

    def __init__(self, limits: RoomLimits | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._limits = limits or RoomLimits()
        self._clock = clock
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._size = 0
        self._highest_forgotten = 0

    @property
    def history_bytes(self) -> int:
        """Memory that the history takes, estimated to within a tenth or so."""
        return self._size

    async def start(self) -> None:
        """See :class:`Broker`."""

    async def close(self) -> None:
        """See :class:`Broker`."""
        self._rings.clear()
        self._size = 0
        self._forget_everybody()

    @property
    def state(self) -> BrokerState:
        """See :class:`Broker`."""
        return BrokerState(True, "in memory, for this process alone", {"history_bytes": self._size})

    def keep(self, room: str, sender: str, text: str, origin: object = None) -> Done[KeptMessage]:
        """See :class:`Broker`."""
        ring = self._rings.get(room)
        if ring is None:
            ring = self._rings[room] = _Ring(room, self._highest_forgotten)
            self._size += ring.size
        else:
            self._rings.move_to_end(room)
        message = KeptMessage(ring.last_id + 1, self._clock(), sender, text)
        self._size += ring.append(message)
        if len(ring.messages) > self._limits.history_size:
            self._size -= ring.forget_oldest()
        if self._size > self._limits.max_history_bytes:
            self._forget(ring)
        self._receiver.receive_kept(room, message, origin)
        return Done(message)

    def _forget(self, latest: _Ring) -> None:
        while self._size > self._limits.max_history_bytes:
            name, oldest = next(iter(self._rings.items()))
            if oldest is latest and oldest.messages:
                self._size -= oldest.forget_oldest()
            elif oldest is latest:
                return
            else:
                del self._rings[name]
                self._size -= oldest.size
                self._highest_forgotten = max(self._highest_forgotten, oldest.last_id)

    def history(self, room: str, after: int | None, limit: int) -> Done[list[KeptMessage]]:
        """See :class:`Broker`."""
        ring = self._rings.get(room)
        return Done([] if ring is None else ring.find(after, limit))


class _Ring:
    """The latest messages of one room."""

    __slots__ = ("last_id", "messages", "size")

    def __init__(self, room: str, last_id: int) -> None:
        self.messages: deque[KeptMessage] = deque()
        self.last_id = last_id
        self.size = _RING_SIZE + sys.getsizeof(room)

    def append(self, message: KeptMessage) -> int:
        """Add a message; returns how many bytes it takes."""
        self.messages.append(message)
        self.last_id = message.id
        size = _size_of(message)
        self.size += size
        return size

    def forget_oldest(self) -> int:
        """Drop a message; returns how many bytes that frees."""
        size = _size_of(self.messages.popleft())
        self.size -= size
        return size

    def find(self, after: int | None, limit: int) -> list[KeptMessage]:
        """See ``Broker.history``."""
        held = len(self.messages)
        if after is None:
            start = max(0, held - max(limit, 0))
        else:
            first = self.last_id - held + 1  # numbers count up by one, so the place follows
            start = max(0, after + 1 - first)
        return list(islice(self.messages, min(start, held), min(start + max(limit, 0), held)))


def _size_of(message: KeptMessage) -> int:
    # One sender's messages mostly share the name, but they need not.
    return _MESSAGE_SIZE + sys.getsizeof(message.text) + len(message.sender)
