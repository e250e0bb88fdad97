"""What all connections of one server, or of one client, share: limits, handler, timeouts, counters and the flush."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, cast

from ..errors import CloseReason
from ..limits import Limits
from ..wire import MessageDecoder, MessageEncoder, MessageT, TextCodec, text_codec
from ..wire.pieces import PieceDecoder, PieceEncoder
from .deadlines import DeadlineQueue
from .sent import Sent

if TYPE_CHECKING:
    from .connection import Connection
    from .handler import Handler

_ids = itertools.count(1)

_SHORTEST_LOOK = 0.01  # seconds; an idle_timeout of 0 must not keep the processor busy


class Traffic(NamedTuple):
    """What went over one connection, or over all of them."""

    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int

    def __add__(self, other: object) -> Traffic:
        return Traffic(*(a + b for a, b in zip(self, other, strict=True))) if isinstance(other, Traffic) else self


class Endpoint(Generic[MessageT]):
    """One server or one client, as its connections see it.

    Args:
        handler: Who gets the messages.
        limits: The limits in force.
        codec: The text encoding, or ``None`` to hand on ``bytes`` (what is sent as ``str`` is then UTF-8).
        logger: Where to report.
        is_raw: Whether bytes are handed on as they come, instead of messages.
    """

    def __init__(
        self,
        handler: Handler[MessageT],
        limits: Limits,
        codec: TextCodec | None,
        logger: logging.Logger,
        *,
        is_raw: bool = False,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.limits = limits
        self.logger = logger
        encoder = PieceEncoder if is_raw else MessageEncoder
        self.encoder = encoder(codec or text_codec(), limits.max_message_size)
        # Read for every message that is sent, so without the way through limits.
        self.max_size = sys.maxsize if limits.max_message_size is None else limits.max_message_size
        self.send_high_water = limits.send_high_water
        self.sent = cast("Coroutine[Any, Any, None]", Sent(self.loop))
        self.reconnects = False  # a lost connection is no news: the next one comes
        self.connections: dict[int, Connection[MessageT]] = {}
        self.closed_by_reason: Counter[CloseReason] = Counter()
        self._codec = codec
        self._is_raw = is_raw
        self._closed_traffic = Traffic(0, 0, 0, 0)
        self._unflushed: list[Connection[MessageT]] = []
        self._closing = DeadlineQueue[Any](self.loop, limits.close_timeout, lambda connection: connection.abort())
        self._silent: dict[int, tuple[int, int]] = {}
        self._idle_timer: asyncio.TimerHandle | None = None

    def new_decoder(self) -> MessageDecoder[MessageT]:
        """Make the decoder of one connection."""
        if self._is_raw:
            return cast("MessageDecoder[MessageT]", PieceDecoder())
        return MessageDecoder(self._codec, self.limits.max_message_size)

    def opened(self, connection: Connection[MessageT]) -> None:
        """Count a connection in."""
        self.connections[connection.id] = connection
        if self._idle_timer is None and self.limits.idle_timeout is not None:
            self._watch_idle(self.limits.idle_timeout)

    def closing(self, connection: Connection[MessageT]) -> None:
        """Abort a connection if it is not closed within ``close_timeout``."""
        self._closing.add(connection)

    def closed(self, connection: Connection[MessageT], reason: CloseReason) -> None:
        """Count a connection out."""
        self._closing.discard(connection)
        if self.connections.pop(connection.id, None) is not None:
            self.closed_by_reason[reason] += 1
            self._closed_traffic += connection.statistics

    @property
    def traffic(self) -> Traffic:
        """What went over all connections since the start, the open ones included."""
        return sum((connection.statistics for connection in self.connections.values()), self._closed_traffic)

    def schedule_flush(self, connection: Connection[MessageT]) -> None:
        """Write what a connection has to send at the end of this turn of the loop, all connections in one callback.

        So a turn first reads from all that have sent, then writes to all. Against a write after each read that takes
        10 to 20 % less processor time: receivers are woken less often, and each half finds its code in the caches.
        """
        self._unflushed.append(connection)
        if len(self._unflushed) == 1:
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection._flush()

    def _watch_idle(self, timeout: float) -> None:
        # Instead of a timer for each connection and a clock reading for each message, four times in idle_timeout look
        # whose count of bytes has not moved. As long as there is nobody to look at there is no timer.
        seen, self._silent = self._silent, {}
        for identifier, connection in list(self.connections.items()):
            # A browser answers our pings, which is no sign of its user.
            is_websocket = connection._websocket is not None
            count = connection._messages_received if is_websocket else connection._bytes_received
            before, rounds = seen.get(identifier, (-1, 0))
            # Where we do not read, it is not the peer that is idle.
            rounds = rounds + 1 if before == count and not connection._is_reading_paused else 0
            if rounds >= 4:
                connection._drop(CloseReason.IDLE_TIMEOUT)
            else:
                self._silent[identifier] = (count, rounds)
        self._idle_timer = None
        if self.connections:
            self._idle_timer = self.loop.call_later(max(timeout / 4, _SHORTEST_LOOK), self._watch_idle, timeout)

    def stop(self) -> None:
        """End all timers."""
        self._closing.clear()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


def next_id() -> int:
    """Number connections through this process, from 1."""
    return next(_ids)
