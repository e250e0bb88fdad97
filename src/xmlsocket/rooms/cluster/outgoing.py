"""What waits for NATS to take it, and what NATS sends for it: the two directions of a session's connection."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from .connecting import Msg, NatsClient, Sink, Subscription

logger = logging.getLogger("xmlsocket.cluster")

_OVERHEAD = 200  # bytes that a message takes in the queue beside its payload


class Outgoing:
    """One thing to do with the connection: to publish something, or to ``act`` in another way."""

    __slots__ = ("act", "headers", "payload", "reply", "subject")

    def __init__(
        self,
        subject: str = "",
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
        act: Callable[[NatsClient], Awaitable[None]] | None = None,
    ) -> None:
        self.subject = subject
        self.payload = payload
        self.reply = reply
        self.headers = headers
        self.act = act


class OutgoingQueue:
    """Puts things in without waiting; a task takes them out as fast as the connection does.

    Attributes:
        size: Bytes that wait.
        too_long: Messages that were longer than the server takes.
    """

    def __init__(self) -> None:
        self.size = 0
        self.too_long = 0
        self._items: deque[Outgoing] = deque()
        self._urgent: deque[Outgoing] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Outgoing, *, is_urgent: bool = False) -> None:
        """Add something at the end, or behind what is urgent."""
        self.size += len(item.payload) + _OVERHEAD
        (self._urgent if is_urgent else self._items).append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> int:
        """Forget everything; returns how many messages that were."""
        dropped = sum(item.act is None for item in (*self._urgent, *self._items))
        self._urgent.clear()
        self._items.clear()
        self.size = 0
        return dropped

    async def write(self, nc: NatsClient) -> None:
        """Do everything in its order, for ever. Raises whatever nats-py does."""
        urgent, items = self._urgent, self._items
        while True:
            while urgent or items:
                item = (urgent or items).popleft()
                self.size -= len(item.payload) + _OVERHEAD
                if item.act is not None:
                    await item.act(nc)
                elif len(item.payload) > nc.max_payload:
                    self.too_long += 1
                    logger.error("%d bytes for NATS, which takes %d: dropped", len(item.payload), nc.max_payload)
                else:
                    await nc.publish(item.subject, item.payload, item.reply, item.headers)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


def _ignore(message: Msg) -> None:
    pass


class Heard:
    """A subscription that outlives its connections.

    Args:
        subject: What is subscribed to.
        callback: Gets the messages.
    """

    __slots__ = ("_callback", "_has_failed", "_subject", "_subscription", "nc")

    def __init__(self, subject: str, callback: Callable[[Msg], None]) -> None:
        self.nc: NatsClient | None = None
        self._subject = subject
        self._callback = callback
        self._subscription: Subscription | None = None
        self._has_failed = False

    def _deliver(self, message: Msg) -> None:
        try:
            self._callback(message)
        except Exception:
            # The first with its traceback: a node of another version would fill the log.
            level = logging.DEBUG if self._has_failed else logging.ERROR
            self._has_failed = True
            logger.log(level, "a message from NATS on %s was not understood", self._subject, exc_info=True)

    def stop(self) -> None:
        """Hand nothing on any more, also of what is on its way until the server knows."""
        self._callback = _ignore

    async def begin(self, nc: NatsClient) -> None:
        """Subscribe on a connection."""
        self.nc = nc
        self._subscription = await nc.subscribe(self._subject, future=Sink(self._deliver))

    async def end(self, nc: NatsClient) -> None:
        """Unsubscribe, if it is still that connection."""
        if self._subscription is not None and self.nc is nc:
            await self._subscription.unsubscribe()
            self._subscription = None
