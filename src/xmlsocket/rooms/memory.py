"""The broker of a single process: everything in memory, nothing to set up, gone when the process ends."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Generator
from itertools import islice
from typing import Any, Generic, TypeVar

from ..limits import RoomLimits
from .broker import KeptMessage, Receiver

_T = TypeVar("_T")


class Done(Awaitable[_T], Generic[_T]):
    """A result that is there already, for those who await it; cheaper than a future, and needs no loop."""

    __slots__ = ("value",)

    def __init__(self, value: _T) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, _T]:
        yield from ()
        return self.value


class MemoryBroker:
    """One order for all members, exactly once, and as much history as ``RoomLimits`` lets it hold.

    Args:
        limits: ``history_size`` messages a room and ``max_history_bytes`` in all; beyond that the room that was spoken
            in least recently forgets its history, and numbers from 1 again.
        clock: Seconds since 1970; for tests.
    """

    def __init__(self, limits: RoomLimits | None = None, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits or RoomLimits()
        self._clock = clock
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._bytes = 0
        self._names: set[str] = set()

    def attach(self, receiver: Receiver) -> None:
        """See :class:`Broker`."""
        self._receiver = receiver

    async def start(self) -> None:
        """See :class:`Broker`."""

    async def close(self) -> None:
        """See :class:`Broker`."""
        self._rings.clear()
        self._names.clear()

    def subscribe(self, room: str) -> None:
        """See :class:`Broker`."""

    def unsubscribe(self, room: str) -> None:
        """See :class:`Broker`."""

    def publish(self, room: str, message: str | bytes) -> None:
        """See :class:`Broker`."""
        self._receiver.receive(room, message)

    def keep(self, room: str, sender: str, text: str) -> Done[KeptMessage]:
        """See :class:`Broker`."""
        ring = self._rings.get(room)
        if ring is None:
            ring = self._rings[room] = _Ring(self._limits.history_size)
        else:
            self._rings.move_to_end(room)
        message = KeptMessage(ring.last_id + 1, self._clock(), sender, text)
        self._bytes += ring.append(message)
        while self._bytes > self._limits.max_history_bytes and len(self._rings) > 1:
            self._bytes -= self._rings.popitem(last=False)[1].bytes
        self._receiver.receive_kept(room, message)
        return Done(message)

    def history(self, room: str, after: int | None, limit: int) -> Done[list[KeptMessage]]:
        """See :class:`Broker`."""
        ring = self._rings.get(room)
        return Done([] if ring is None else ring.find(after, limit))

    def claim(self, name: str) -> Done[bool]:
        """See :class:`Broker`."""
        is_free = name not in self._names
        self._names.add(name)
        return Done(is_free)

    def release(self, name: str) -> None:
        """See :class:`Broker`."""
        self._names.discard(name)


class _Ring:
    """The latest messages of one room."""

    __slots__ = ("bytes", "last_id", "messages")

    def __init__(self, size: int) -> None:
        self.messages: deque[KeptMessage] = deque(maxlen=size)
        self.last_id = 0
        self.bytes = 0

    def append(self, message: KeptMessage) -> int:
        """Add a message, the oldest going if there are too many; returns how many bytes more are held."""
        before = self.bytes
        if len(self.messages) == self.messages.maxlen and self.messages:
            self.bytes -= len(self.messages[0].text)
        self.messages.append(message)
        if self.messages:
            self.bytes += len(message.text)
        self.last_id = message.id
        return self.bytes - before

    def find(self, after: int | None, limit: int) -> list[KeptMessage]:
        if after is None:
            start = max(0, len(self.messages) - limit)
        else:
            first = self.last_id - len(self.messages) + 1  # numbers count up by one, so the place follows
            start = max(0, after + 1 - first)
        return list(islice(self.messages, start, start + limit))
