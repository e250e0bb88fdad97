"""A broker whose results are pending, as those of a disk or a network are; for tests of what waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from xmlsocket import BrokerUnavailableError, RoomLimits
from xmlsocket.rooms import BrokerState, KeptMessage, MemoryBroker, Receiver

T = TypeVar("T")


class SlowBroker:
    """The broker in memory, with every result coming later: by itself, or when the test lets it.

    Args:
        is_held: Whether results wait for :meth:`let_go`.
    """

    def __init__(self, *, is_held: bool = False, limits: RoomLimits | None = None) -> None:
        self.memory = MemoryBroker(limits)
        self.is_held = is_held
        self.is_down = False
        self.released: list[str] = []
        self._steps: deque[Callable[[], None]] = deque()

    def attach(self, receiver: Receiver) -> None:
        self.memory.attach(receiver)

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.let_go()
        await self.memory.close()

    def subscribe(self, room: str) -> None: ...

    def unsubscribe(self, room: str) -> None: ...

    def publish(self, room: str, message: str | bytes) -> None:
        self.memory.publish(room, message)

    def keep(self, room: str, sender: str, text: str, origin: object = None) -> asyncio.Future[KeptMessage]:
        return self._later(lambda: self.memory.keep(room, sender, text, origin).value)

    def history(self, room: str, after: int | None, limit: int) -> asyncio.Future[list[KeptMessage]]:
        return self._later(lambda: self.memory.history(room, after, limit).value)

    def claim(self, name: str) -> asyncio.Future[bool]:
        return self._later(lambda: self.memory.claim(name).value)

    @property
    def state(self) -> BrokerState:
        return self.memory.state

    def arrive(self, room: str, name: str) -> None:
        self.memory.arrive(room, name)

    def depart(self, room: str, name: str) -> None:
        self.memory.depart(room, name)

    def present(self, room: str) -> asyncio.Future[list[str]]:
        return self._later(lambda: self.memory.present(room).value)

    def rooms(self) -> asyncio.Future[dict[str, int]]:
        return self._later(lambda: self.memory.rooms().value)

    def tell(self, name: str, message: str) -> asyncio.Future[str | None]:
        return self._later(lambda: self.memory.tell(name, message).value)

    def release(self, name: str) -> None:
        self.released.append(name)
        self.memory.release(name)

    @property
    def waiting(self) -> int:
        """How many results are pending."""
        return len(self._steps)

    def let_go(self, count: int | None = None) -> None:
        """Give the oldest results, or all."""
        for _ in range(len(self._steps) if count is None else count):
            self._steps.popleft()()

    def _later(self, work: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def step() -> None:
            if self.is_down:
                future.set_exception(BrokerUnavailableError("the disk is full"))
            else:
                future.set_result(work())

        self._steps.append(step)
        if not self.is_held:
            loop.call_soon(self.let_go, 1)
        return future
