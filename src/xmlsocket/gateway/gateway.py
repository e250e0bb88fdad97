"""A gateway: WebSocket, or plain TCP, in front; TCP to a server of the operator's choice behind."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal

from ..errors import CloseReason, ConfigurationError
from ..limits import GatewayLimits, Limits, from_options
from ..net import Connection, Handler, Server, Traffic, serve
from ..net.deadlines import DeadlineQueue
from ..net.descriptors import free_descriptors
from ..net.http import Request
from ..net.upstream import UpstreamEndpoint, proxy_header
from .link import Link
from .targets import NamedTarget, Targets

logger = logging.getLogger("xmlsocket.gateway")

_LOOK_INTERVAL = 1.0
"""Seconds between two looks whether clients have left that are not read from."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """How a gateway passes on.

    Attributes:
        mode: ``"messages"``: cut at NULs, each frame to a client holds one whole message. ``"stream"``: bytes as they
            come, for movies that use ``flash.net.Socket``.
        speaks_first: The servers greet their clients before these say anything: a native player that is silent for
            ``detection_timeout`` is led to the default target, to hear it. Otherwise nobody is led anywhere before it
            has said something, as a silent connection may be a browser's, opened ahead of need.
        proxy_protocol: Tell the server whom a connection is for, by a PROXY protocol header of this version.
        limits: See :class:`GatewayLimits`.
    """

    mode: Literal["messages", "stream"] = "messages"
    speaks_first: bool = False
    proxy_protocol: Literal[1, 2] | None = None
    limits: GatewayLimits = dataclasses.field(default_factory=GatewayLimits)

    def __post_init__(self) -> None:
        if self.mode not in ("messages", "stream"):
            raise ConfigurationError(f"the mode of a gateway must be messages or stream, not {self.mode!r}")
        if self.proxy_protocol not in (None, 1, 2):
            raise ConfigurationError(f"the PROXY protocol has versions 1 and 2, not {self.proxy_protocol!r}")


class GatewayServer:
    """A running gateway, as :meth:`Gateway.serve` gives it.

    Attributes:
        server: Its clients' side.
    """

    def __init__(self, server: Server[bytes], upstreams: UpstreamEndpoint) -> None:
        self.server = server
        self._upstreams = upstreams

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self.server.port

    @property
    def upstream_traffic(self) -> Traffic:
        """What went over the connections to the servers behind."""
        return self._upstreams.traffic

    @property
    def upstream_connections(self) -> int:
        """How many there are now."""
        return len(self._upstreams.connections)

    @property
    def closed_by_reason(self) -> Counter[CloseReason]:
        """How many clients have gone, and why."""
        return self.server.closed_by_reason


class Gateway(Handler[bytes]):
    """Passes on what clients and servers send, one connection upstream for each client.

    Args:
        targets: Where clients may go.
        options: How things are passed on.
    """

    upstreams: UpstreamEndpoint
    half_open: DeadlineQueue[Link]
    _looking: asyncio.TimerHandle

    def __init__(self, targets: Targets, options: GatewayOptions | None = None) -> None:
        self._targets = targets
        self._options = options or GatewayOptions()
        self._links: dict[int, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self, host: Any = None, port: int | None = None, **options: Any) -> AsyncIterator[GatewayServer]:
        """Listen, until the end of the ``async with`` block. One at a time.

        At the end clients are closed (WebSockets with code 1001), and the servers get everything that was received
        from them, and the end of stream.

        Args:
            host: As for :class:`xmlsocket.serve`.
            port: As there.
            **options: As there, all but ``encoding``, ``raw``, ``websocket``, ``detect`` and ``speaks_first``; and
                ``open_timeout``, to reach a server. There is no ``max_send_backlog`` unless given, and
                with ``speaks_first`` of the options no ``first_byte_timeout``.

        Raises:
            ConfigurationError: An argument cannot work.
            ListenError: The port is taken or needs privilege, or the host is not ours.
        """
        # A slow side stops the other, so what waits is bounded already, and nobody is dropped for being slow.
        options.setdefault("max_send_backlog", None)
        if self._options.speaks_first:
            options.setdefault("first_byte_timeout", None)
        elif options.setdefault("detection_timeout", None) is not None:
            raise ConfigurationError("detection_timeout leads silent clients to servers that speak first: say so, too")
        names = Limits.__slots__
        limits = from_options(Limits, {name: options[name] for name in options if name in names})
        options["max_connections"] = _fit(limits)
        options.pop("open_timeout", None)  # the servers behind are what it is for
        is_raw = self._options.mode == "stream"
        # A client that is idle is seen as such on its own side.
        upstream_limits = dataclasses.replace(limits, idle_timeout=None)
        self.upstreams = UpstreamEndpoint(self, upstream_limits, None, logger, is_raw=is_raw)
        self.half_open = DeadlineQueue(self.upstreams.loop, self._options.limits.half_close_timeout, Link.end_half_open)
        self._look()
        try:
            async with serve(self, host, port, encoding=None, raw=is_raw, websocket=self._accepts, **options) as server:
                yield GatewayServer(server, self.upstreams)
        finally:
            await self._close()

    def _accepts(self, request: Request) -> bool:
        if self._targets.find(request.path) is not None:
            return True
        logger.warning("refused a WebSocket: no target has the path %s", ascii(request.path)[:200])
        return False

    def _look(self) -> None:
        for link in list(self._links.values()):
            link.look_after_client()
        self._looking = self.upstreams.loop.call_later(_LOOK_INTERVAL, self._look)

    async def _close(self) -> None:
        while self._tasks:  # early data of clients that left is still to be delivered; open_timeout bounds it
            await asyncio.wait(self._tasks, timeout=self.upstreams.limits.close_timeout)
            for task in self._tasks:
                task.cancel()
        for connection in list(self.upstreams.connections.values()):
            connection.close_nowait()
        while self.upstreams.connections:
            await next(iter(self.upstreams.connections.values())).wait_closed()
        self._looking.cancel()
        self.half_open.clear()
        self.upstreams.stop()

    @property
    def links(self) -> int:
        """How many clients are led to a server now, or wait for it to be reached."""
        return len(self._links)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine that opens a connection."""
        task = self.upstreams.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def header_for(self, client: Connection[bytes]) -> bytes:
        """Make what goes to the server before anything else."""
        version = self._options.proxy_protocol
        return b"" if version is None else proxy_header(client, version)

    # What clients do

    def connected(self, connection: Connection[bytes]) -> None:
        """See :class:`Handler`."""
        target = self._target_of(connection)
        if target is None:
            logger.info("%r: refused, as no target is for clients without a path", connection)
            connection.close_nowait(CloseReason.PROTOCOL_REFUSED)
            return
        connection.pause_reading()
        self._links[connection.id] = Link(self, connection, target)

    def _target_of(self, client: Connection[bytes]) -> NamedTarget | None:
        return self._targets.default if client.request is None else self._targets.find(client.request.path)

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        """See :class:`Handler`."""
        link = self._links[connection.id]
        if not link.is_certain:
            self._make_certain(link)
        link.take(messages)

    def _make_certain(self, link: Link) -> None:
        """Look again at a client that was silent at first, and may have turned out to be a browser since."""
        link.is_certain = True
        target = self._target_of(link.client)
        if target is not None and target is not link.target:
            link.lead_to(target)

    def writable(self, connection: Connection[bytes]) -> None:
        """See :class:`Handler`."""
        if (link := self._links.get(connection.id)) is not None:
            link.client_writable()

    def ended(self, connection: Connection[bytes]) -> None:
        """See :class:`Handler`."""
        if (link := self._links.get(connection.id)) is not None:
            link.client_ended()

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        """See :class:`Handler`."""
        if (link := self._links.pop(connection.id, None)) is not None:
            link.client_closed()


def _fit(limits: Limits) -> int | None:
    """Find how many clients there may be: each takes two descriptors."""
    available = free_descriptors()
    if available is None:
        return limits.max_connections
    room = max((available - limits.descriptor_reserve) // 2, 1)
    return room if limits.max_connections is None else min(limits.max_connections, room)
