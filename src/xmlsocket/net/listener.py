"""What a server knows beyond its connections: who may come in, and clients whose protocol is not known yet."""

from __future__ import annotations

import logging
from collections import Counter

from ..errors import CloseReason
from ..limits import Limits
from ..wire import MessageT, TextCodec
from .connection import Connection
from .deadlines import DeadlineQueue
from .endpoint import Endpoint
from .handler import Handler
from .opening import Opening


class Listener(Endpoint[MessageT]):
    """The server's side of :class:`Endpoint`.

    Args:
        handler: Who gets the messages.
        limits: The limits in force.
        codec: The text encoding, or ``None`` for ``bytes``.
        logger: Where to report.
        policy: The answer to policy requests, NUL included, or ``None`` to refuse them.
        detects: Whether clients may speak anything else than XMLSocket.
        speaks_first: Whether the handler meets clients before they have sent anything.
    """

    def __init__(
        self,
        handler: Handler[MessageT],
        limits: Limits,
        codec: TextCodec | None,
        logger: logging.Logger,
        *,
        policy: bytes | None,
        detects: bool,
        speaks_first: bool,
    ) -> None:
        super().__init__(handler, limits, codec, logger)
        self.policy = policy
        self.detects = detects
        self.speaks_first = speaks_first
        self.openings: set[Opening[MessageT]] = set()
        self.detection = DeadlineQueue[Opening[MessageT]](
            self.loop, limits.detection_timeout, Opening.waited_for_detection
        )
        self.first_byte = DeadlineQueue[Opening[MessageT]](
            self.loop, limits.first_byte_timeout, Opening.waited_for_first_byte
        )
        self.answered = DeadlineQueue[Opening[MessageT]](self.loop, limits.close_timeout, Opening.abort)
        self._by_address: Counter[str] = Counter()
        self._is_refusing = False

    def admit(self, opening: Opening[MessageT]) -> bool:
        """Let a client in, unless a limit on connections is reached."""
        limits = self.limits
        refusal = None
        if limits.max_connections is not None and len(self.openings) + len(self.connections) >= limits.max_connections:
            refusal = CloseReason.TOO_MANY_CONNECTIONS
        elif limits.max_connections_per_address is not None:
            if self._by_address[_host(opening.address)] >= limits.max_connections_per_address:
                refusal = CloseReason.TOO_MANY_FROM_ADDRESS
        if refusal is None:
            self._is_refusing = False
            self.openings.add(opening)
            self._count(opening.address if limits.max_connections_per_address is not None else None, 1)
            return True
        self.closed_by_reason[refusal] += 1
        # One line when it begins: a flood must not flood the log as well.
        level = logging.DEBUG if self._is_refusing else logging.WARNING
        self._is_refusing = True
        self.logger.log(level, "refused %s: %s", opening.address, refusal.value)
        return False

    def dismiss(self, opening: Opening[MessageT]) -> None:
        """Forget a client: it has become a connection, or it is gone."""
        if opening in self.openings:
            self.openings.discard(opening)
            self._count(opening.address if self.limits.max_connections_per_address is not None else None, -1)

    def opened(self, connection: Connection[MessageT]) -> None:
        """Count a connection in."""
        super().opened(connection)
        if self.limits.max_connections_per_address is not None:
            self._count(connection.remote_address, 1)

    def closed(self, connection: Connection[MessageT], reason: CloseReason) -> None:
        """Count a connection out."""
        if connection.id in self.connections and self.limits.max_connections_per_address is not None:
            self._count(connection.remote_address, -1)
        super().closed(connection, reason)

    def _count(self, address: object, change: int) -> None:
        if address is not None:
            host = _host(address)
            self._by_address[host] += change
            if not self._by_address[host]:
                del self._by_address[host]

    def stop(self) -> None:
        """End all timers, and clients that never said who they are."""
        super().stop()
        self.detection.clear()
        self.first_byte.clear()
        self.answered.clear()
        for opening in list(self.openings):
            opening.abort()


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) else "unix"
