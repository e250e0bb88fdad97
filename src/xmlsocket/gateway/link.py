"""One client, its connection upstream, and what each is told of the other."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..errors import CloseReason, OpenError
from ..net import Connection, Handler
from ..net.half_close import find_departure, half_close

if TYPE_CHECKING:
    from .gateway import Gateway
    from .targets import NamedTarget

logger = logging.getLogger("xmlsocket.gateway")


class Link(Handler[bytes]):
    """The way between a client and its server. It is the handler of the connection upstream.

    Whatever either sends is passed on at once; when one does not read, the other is not read from. So what is held
    here is bounded by a read or two beyond ``send_high_water`` in each direction.

    Args:
        gateway: Which has the clients.
        client: The client.
        target: Where it wants to go.
    """

    __slots__ = ("client", "gateway", "is_certain", "opening", "pending", "target", "upstream")

    def __init__(self, gateway: Gateway, client: Connection[bytes], target: NamedTarget) -> None:
        self.gateway = gateway
        self.client = client
        self.target = target
        self.upstream: Connection[bytes] | None = None
        self.pending: list[bytes] | None = []  # from the client, until there is a connection
        self.is_certain = client.request is not None  # that its target is the right one
        self.opening: asyncio.Task[None] | None = gateway.start(self._open(gateway.header_for(client)))

    async def _open(self, header: bytes) -> None:
        try:
            await self.gateway.upstreams.open(self.target.target, self, header)
        except OpenError as error:
            logger.warning("%r: no connection to %s: %s", self.client, self.target, error)
            self.opening = None
            self._end(CloseReason.UPSTREAM_REFUSED)

    # From the client

    def take(self, messages: list[bytes]) -> None:
        """Pass on what the client sends."""
        upstream = self.upstream
        if upstream is None:
            if self.pending is not None:
                self.pending += messages
        elif upstream.forward(messages):
            self.client.pause_reading()

    def client_writable(self) -> None:
        """The client reads again."""
        if self.upstream is not None:
            self.upstream.resume_reading()

    def client_ended(self) -> None:
        """The client sends no more; over plain TCP it may still read."""
        upstream = self.upstream
        if upstream is None:
            return  # see connected()
        if self.client.request is None and not upstream.is_ended:
            half_close(upstream)
            self.gateway.half_open.add(self)
        else:
            upstream.close_nowait()
            self.client.close_nowait()

    def client_closed(self) -> None:
        """The client is gone. What it has sent still reaches the server."""
        self.gateway.half_open.discard(self)
        if self.upstream is not None:
            self.upstream.close_nowait()
        elif not self.pending and self.opening is not None:
            self.opening.cancel()

    def look_after_client(self) -> None:
        """See whether the client has left while the server does not read, so that we do not read from the client.

        What it sent before is still the server's for ``half_close_timeout``.
        """
        if self.upstream is None or not self.upstream.is_send_paused or self in self.gateway.half_open:
            return
        departure = find_departure(self.client)
        if departure is CloseReason.PEER_CLOSED:
            self.gateway.half_open.add(self)
        elif departure is not None:
            self.client.resume_reading()  # and hear of it

    # From upstream

    def connected(self, connection: Connection[bytes]) -> None:
        """See :class:`Handler`."""
        self.upstream, self.opening = connection, None
        pending, self.pending = self.pending, None
        if pending:
            connection.forward(pending)
        client = self.client
        if not client.is_open:
            connection.close_nowait()
        elif client.is_ended:
            self.client_ended()
        else:
            client.resume_reading()

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        """See :class:`Handler`."""
        if self.client.forward(messages):
            connection.pause_reading()

    def writable(self, connection: Connection[bytes]) -> None:
        """See :class:`Handler`."""
        if not self.client.is_ended and not connection.is_ended:
            self.gateway.half_open.discard(self)  # the server reads, so it will hear of the client's end in due order
        self.client.resume_reading()

    def ended(self, connection: Connection[bytes]) -> None:
        """See :class:`Handler`."""
        client = self.client
        if connection.unfinished:
            logger.warning(
                "%r: %s ended within a message, whose first %d bytes are discarded",
                client,
                self.target,
                connection.unfinished,
            )
            self._end(CloseReason.UPSTREAM_LOST)
        elif client.request is None and not client.is_ended:
            half_close(client)
            self.gateway.half_open.add(self)
        else:
            self._end(CloseReason.UPSTREAM_CLOSED)

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        """See :class:`Handler`."""
        if connection is not self.upstream:
            return  # it led to another target
        if reason.is_orderly or reason is CloseReason.ABORTED:
            self._end(CloseReason.UPSTREAM_CLOSED)
            return
        if self.client.is_open:
            logger.warning("%r: lost the connection to %s: %s", self.client, self.target, reason.value)
        self._end(CloseReason.UPSTREAM_LOST)

    def _end(self, reason: CloseReason) -> None:
        """End both; what has been received from either has been passed on."""
        self.gateway.half_open.discard(self)
        self.pending = None
        if self.upstream is not None:
            self.upstream.close_nowait()
        if self.client.is_open:
            logger.info("%r to %s: %s", self.client, self.target, reason.value)
            self.client.close_nowait(reason)

    def end_half_open(self) -> None:
        """One side has ended long ago and the other says nothing."""
        self._end(CloseReason.UPSTREAM_CLOSED)

    def lead_to(self, target: NamedTarget) -> None:
        """Go somewhere else: the client had not said where to when it was let in. It has got nothing yet."""
        former, self.upstream = self.upstream, None
        if former is not None:
            former.abort()
        if self.opening is not None:
            self.opening.cancel()
        self.target = target
        self.pending = self.pending or []
        self.client.pause_reading()
        self.opening = self.gateway.start(self._open(self.gateway.header_for(self.client)))
