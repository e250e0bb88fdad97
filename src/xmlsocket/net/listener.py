"""What a server knows beyond its connections: who may come in, and clients whose protocol is not known yet."""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import CloseReason
from ..limits import Limits
from ..wire import MessageT, TextCodec
from .connection import Connection
from .deadlines import DeadlineQueue
from .descriptors import free_descriptors
from .endpoint import Endpoint
from .forwarding import Network, is_trusted
from .handler import Handler
from .opening import Opening
from .refusals import RefusalLog

if TYPE_CHECKING:
    from .websocket import Door

logger = logging.getLogger("xmlsocket.server")

# A ping frame without payload (RFC 6455, section 5.5.2).
PING = b"\x89\x00"

_SHORTEST_PING_INTERVAL = 0.01  # seconds; an interval of 0 must not keep the processor busy


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
        door: Lets browsers in; ``None`` to refuse HTTP.
        ssl: For clients that begin with a TLS handshake; ``None`` to refuse them.
        requires_tls: Whether everything but policy requests must come inside TLS.
        trusted_proxies: Who may say for whom it connects.
        proxy_protocol: Whether they say so by a PROXY header before the first byte.
        is_raw: Whether bytes are handed on as they come, instead of messages.
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
        door: Door | None = None,
        ssl: tls.SSLContext | None = None,
        requires_tls: bool = False,
        trusted_proxies: Sequence[Network] = (),
        proxy_protocol: bool = False,
        is_raw: bool = False,
    ) -> None:
        super().__init__(handler, limits, codec, logger, is_raw=is_raw)
        self.policy = policy
        self.detects = detects
        self.speaks_first = speaks_first
        self.door = door
        self.ssl = ssl
        self.requires_tls = requires_tls
        self._trusted_proxies = trusted_proxies
        self._proxy_protocol = proxy_protocol
        self.handshake_tasks: set[asyncio.Task[None]] = set()
        self.handshakes = DeadlineQueue[Opening[MessageT]](
            self.loop, limits.handshake_timeout, Opening.waited_for_handshake
        )
        self._pinged: dict[int, int] = {}
        self._ping_timer: asyncio.TimerHandle | None = None
        if door is not None and limits.websocket_ping_interval is not None:
            self._ping_interval = max(limits.websocket_ping_interval, _SHORTEST_PING_INTERVAL)
            self._ping_timer = self.loop.call_later(self._ping_interval, self._ping)
        self.openings: set[Opening[MessageT]] = set()
        self.detection = DeadlineQueue[Opening[MessageT]](
            self.loop, limits.detection_timeout, Opening.waited_for_detection
        )
        self.first_byte = DeadlineQueue[Opening[MessageT]](
            self.loop, limits.first_byte_timeout, Opening.waited_for_first_byte
        )
        self.answered = DeadlineQueue[Opening[MessageT]](self.loop, limits.close_timeout, Opening.abort)
        self.max_connections = fit_into_descriptors(limits)
        self.is_closing = False
        # Who counts for which address; an address may change when a proxy tells the client's.
        self._counted: dict[Opening[MessageT] | Connection[MessageT], str] = {}
        self._by_address: Counter[str] = Counter()
        self._refusals = RefusalLog(self.loop, logger)

    def admit(self, opening: Opening[MessageT]) -> bool:
        """Let a client in, unless a limit on connections is reached."""
        refusal = None
        if self.is_closing:
            refusal = CloseReason.SHUTDOWN
        elif self.max_connections is not None and len(self.openings) + len(self.connections) >= self.max_connections:
            refusal = CloseReason.TOO_MANY_CONNECTIONS
        elif not self._has_room_for(opening.address):
            refusal = CloseReason.TOO_MANY_FROM_ADDRESS
        if refusal is None:
            self.keep(opening)
            return True
        self.closed_by_reason[refusal] += 1
        if not self.is_closing:
            self._refusals.add(opening.address, refusal.value)
        return False

    def _has_room_for(self, address: object) -> bool:
        limit = self.limits.max_connections_per_address
        return limit is None or self._is_trusted(address) or self._by_address[_host(address)] < limit

    def readmit(self, opening: Opening[MessageT]) -> bool:
        """Count a client under the address that its proxy tells now, unless there are too many from there."""
        self._count_out(opening)
        if not self._has_room_for(opening.address):
            return False
        self._count_in(opening, opening.address)
        return True

    def expects_proxy_header(self, opening: Opening[MessageT]) -> bool:
        """Whether a client is a proxy that must say first whom it speaks for."""
        return self._proxy_protocol and self._is_trusted(opening.address)

    def _is_trusted(self, address: object) -> bool:
        return bool(self._trusted_proxies) and is_trusted(_host(address), self._trusted_proxies)

    def _ping(self) -> None:
        # All at one time: a browser answers within a round trip, and what was received since the last time says so.
        pinged, self._pinged = self._pinged, {}
        for identifier, connection in list(self.connections.items()):
            if connection._websocket is None or not connection._is_open:
                continue
            if pinged.get(identifier) == connection._bytes_received and not connection._is_reading_paused:
                connection._drop(CloseReason.PING_TIMEOUT)
            else:
                self._pinged[identifier] = connection._bytes_received
                connection._write(PING)
        self._ping_timer = self.loop.call_later(self._ping_interval, self._ping)

    def keep(self, opening: Opening[MessageT]) -> None:
        """Count a client in that is no connection yet, or no more."""
        self.openings.add(opening)
        self._count_in(opening, opening.address)

    def dismiss(self, opening: Opening[MessageT]) -> None:
        """Forget a client: it has become a connection, or it is gone."""
        self.openings.discard(opening)
        self._count_out(opening)

    def opened(self, connection: Connection[MessageT]) -> None:
        """Count a connection in."""
        super().opened(connection)
        self._count_in(connection, connection.remote_address)

    def closed(self, connection: Connection[MessageT], reason: CloseReason) -> None:
        """Count a connection out."""
        self._count_out(connection)
        super().closed(connection, reason)

    def _count_in(self, client: Opening[MessageT] | Connection[MessageT], address: object) -> None:
        if self.limits.max_connections_per_address is not None:
            host = self._counted[client] = _host(address)
            self._by_address[host] += 1

    def _count_out(self, client: Opening[MessageT] | Connection[MessageT]) -> None:
        host = self._counted.pop(client, None)
        if host is not None:
            self._by_address[host] -= 1
            if not self._by_address[host]:
                del self._by_address[host]

    def stop(self) -> None:
        """End all timers, and clients that never said who they are."""
        super().stop()
        self.detection.clear()
        self.first_byte.clear()
        self.answered.clear()
        self.handshakes.clear()
        self._refusals.stop()
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        for task in self.handshake_tasks:
            task.cancel()
        for opening in list(self.openings):
            opening.abort()


def fit_into_descriptors(limits: Limits) -> int | None:
    """Find how many connections there may be: ``max_connections``, or as many as the process may have descriptors for.

    A server that has no descriptor left can neither accept a client nor tell it why not.
    """
    wanted = limits.max_connections
    available = free_descriptors()
    if available is None:
        return wanted
    room = max(available - limits.descriptor_reserve, 1)
    if wanted is not None and wanted <= room:
        return wanted
    logger.info(
        "no more than %d connections: this process may open %d more files and sockets, and %d of them are kept free "
        "(descriptor_reserve); raise its limit with ulimit -n",
        *(room, available, limits.descriptor_reserve),
    )
    return room


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) else "unix"
