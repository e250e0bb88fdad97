"""``serve``: listen, and hand every connection to a handler."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, Unpack, overload

from ..errors import CloseReason, ConfigurationError
from ..limits import Limits
from ..wire import MessageT, text_codec
from .connection import Connection
from .door import make_door
from .endpoint import Traffic
from .forwarding import trusted_networks
from .handler import ConnectionHandler, CoroutineHandler, Handler, make_handler
from .listener import Listener
from .opening import Opening
from .options import ServeOptions, ServeSettings, split_options
from .policy_answer import PolicySource, load_policy, port_of
from .ports import (
    ACCEPTS_IN_A_TURN,
    identify_socket,
    listen_error,
    listen_on_one_port,
    listen_on_socket,
    remove_socket,
    set_backlog,
    show_hosts,
    sockets_of,
    stop_listening,
)
from .target import NEVER, check_hosts, check_path, check_port, keep_alive

if TYPE_CHECKING:
    pass

logger = logging.getLogger("xmlsocket.server")

_LOOK_INTERVAL = 0.02  # seconds between two looks whether all who were accepted are known

_Listen: TypeAlias = Callable[
    [asyncio.AbstractEventLoop, Callable[[], Opening[Any]], socket.socket | None], Coroutine[Any, Any, asyncio.Server]
]


class Server(Generic[MessageT]):
    """A listening server, as ``serve`` gives it."""

    def __init__(self, listener: Listener[MessageT], listen: _Listen) -> None:
        self._listener = listener
        self._listen = listen
        self._servers: list[asyncio.Server] = []
        self._path: tuple[str, int] | None = None
        self._closed: asyncio.Future[None] = listener.loop.create_future()
        self._closing: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets it listens on."""
        return [sock for server in self._servers for sock in getattr(server, "sockets", ())]

    @property
    def port(self) -> int:
        """The TCP port it listens on; the one the system chose where 0 was asked for.

        Raises:
            ConfigurationError: It listens on Unix sockets only.
        """
        for sock in self.sockets:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                return int(sock.getsockname()[1])
        raise ConfigurationError("this server listens on no TCP port")

    @property
    def connections(self) -> list[Connection[MessageT]]:
        """The open connections, oldest first."""
        return list(self._listener.connections.values())

    @property
    def traffic(self) -> Traffic:
        """What went over all connections since the start."""
        return self._listener.traffic

    @property
    def closed_by_reason(self) -> Counter[CloseReason]:
        """How many connections and clients have ended, and why."""
        return self._listener.closed_by_reason

    def reload_policy(self, policy: PolicySource) -> None:
        """Answer policy requests with another policy from now on.

        Args:
            policy: As for ``serve``.

        Raises:
            ConfigurationError: It cannot be read or has an error. The old answer stays.
        """
        port = next((port for sock in self.sockets if (port := port_of(sock)) is not None), None)
        self._listener.policy = load_policy(policy, served_from=port).data

    @property
    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._closing is None

    async def accept_from(self, sock: socket.socket | None = None) -> asyncio.Server:
        """Accept connections from one more listening socket.

        Args:
            sock: Bound; the server closes it in the end. ``None`` for where ``serve`` was told to listen.

        Returns:
            What to give to :meth:`stop_accepting`.

        Raises:
            OSError: It cannot.
        """
        listener = self._listener
        server = await self._listen(listener.loop, lambda: Opening(listener), sock)
        for listening in server.sockets:
            set_backlog(listening, listener.limits.accept_backlog)
            keep_alive(listening)  # those that it accepts inherit it
        self._servers.append(server)
        return server

    async def stop_accepting(self, place: asyncio.Server | None = None) -> None:
        """Accept no more connections; those that were accepted go on.

        Whoever waits at a socket that another process has too is left for that one. Returns when everybody who was
        accepted before is known: each is a connection, or answered and gone.

        Args:
            place: Stop only there; ``None`` for everywhere.
        """
        stopped = [server for server in self._servers if place in (None, server)]
        self._servers = [server for server in self._servers if server not in stopped]
        await stop_listening(self._listener.loop, stopped)
        while place is None and self._listener.openings:  # noqa: ASYNC110  # rare; no cost for each who opens
            await asyncio.sleep(_LOOK_INTERVAL)

    async def serve_forever(self) -> None:
        """Wait until the server is closed. When cancelled, it closes the server first."""
        try:
            await asyncio.shield(self._closed)
        except asyncio.CancelledError:
            await self.close()
            raise

    def close_nowait(self) -> None:
        """Begin what :meth:`close` does, without waiting."""
        if self._closing is None:
            self._closing = self._listener.loop.create_task(self._close())

    async def close(self) -> None:
        """Stop accepting, let the handlers end, send what is queued, and close every connection.

        What was received before is still handled: iteration over a connection goes on to its last message and then
        ends. What is not done within ``close_timeout`` is cancelled and aborted. Calling it again waits for the same
        end; when cancelled, closing goes on.

        In a handler it only begins to close and returns: the server waits for the handlers, this one too.
        """
        self.close_nowait()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the server and all its connections are closed. In a handler it returns at once."""
        handler = self._listener.handler
        if isinstance(handler, CoroutineHandler) and asyncio.current_task() in handler.tasks:
            return
        await asyncio.shield(self._closed)

    async def _close(self) -> None:
        listener = self._listener
        try:
            listener.is_closing = True
            for server in self._servers:
                server.close()
            for opening in list(listener.openings):
                opening.abort()
            is_coroutine = isinstance(listener.handler, CoroutineHandler)
            for connection in self.connections:
                connection._shut_down(lets_handler_end=is_coroutine)
            if isinstance(listener.handler, CoroutineHandler) and listener.handler.tasks:
                await self._end_handlers(listener.handler.tasks)
            if listener.handshake_tasks:
                await asyncio.wait(listener.handshake_tasks, timeout=listener.limits.close_timeout)
            while self.connections:
                await self.connections[0].wait_closed()
        finally:
            listener.stop()
            if self._path is not None:
                remove_socket(*self._path)
            self._closed.set_result(None)

    async def _end_handlers(self, tasks: Collection[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=self._listener.limits.close_timeout)
        if not late:
            return
        logger.warning("cancelling %d handlers that did not end within close_timeout", len(late))
        for task in late:
            task.cancel()
        await asyncio.sleep(0)  # for them to be cancelled
        for connection in self.connections:
            if connection.is_open:  # its handler goes on in spite of it
                connection.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class serve(Generic[MessageT]):  # noqa: N801  # used like a function, as in: async with serve(...) as server
    """Listen and hand every connection to a handler.

    Use it as ``async with serve(...) as server`` or ``server = await serve(...)``. By default one port serves several
    protocols, told apart by the first bytes of a connection; see ``speaks_first`` for what that means to a server that
    greets its clients.

    Args:
        handler: A coroutine function that takes a :class:`Connection`, or a :class:`Handler`.
        host: Name or address to listen on, a sequence of them, or ``None`` for all, IPv4 and IPv6.
        port: TCP port; 0 lets the system choose, see :attr:`Server.port`.
        path: Listen on a Unix socket at this path instead of a TCP port.
        sock: Listen on this bound socket, or these, instead.
        encoding: Encoding of the text; ``None`` hands on ``bytes``.
        **options: Where else to listen, protocols, and any field of :class:`xmlsocket.Limits` that does not
            bound clients only:

            * ``path``: listen on a Unix socket at this path instead of a TCP port;
            * ``sock``: listen on this bound socket, or these, instead;
            * ``reuse_port``: let several processes listen on the port (``SO_REUSEPORT``);
            * ``ssl``: a context for clients that begin with TLS. Those that do not are served in plain text beside
              them, unless ``require_tls`` is true (policy requests are always plain) or ``detect`` is false;
            * ``policy``: the socket policy file for players that ask for one on this port: text that begins with
              ``<``, bytes, the path of a file, a :class:`~xmlsocket.policy.Policy`, or what ``load_policy`` makes of
              these. One in which the linter finds an error is refused. Without it askers are refused;
            * ``detect``: ``False`` narrows the port to XMLSocket: a handler meets each client at once, and policy
              requests are ordinary messages;
            * ``speaks_first``: let the handler meet each client when it is accepted, not only when it has sent its
              first bytes or ``detection_timeout`` has passed. What is sent to a client before that is held back, as it
              may turn out to be a browser, and ``first_byte_timeout`` does not apply. With ``detect=False`` nothing is
              held back;
            * ``raw``: there are no messages: what each read brings is handed on as ``bytes``, and what is sent goes out
              as it is. Needs ``encoding=None``;
            * ``websocket``: ``False`` refuses browsers, and so does a function that is given the :class:`Request` and
              says no (404). They need the package ``websockets``;
            * ``allowed_origins``: whose pages may connect, such as ``["https://example.org"]``; ``None`` for all;
            * ``compression``: compress for browsers that offer it. Costs about 64 KiB for each of them; see
              ``DeflateOptions``;
            * ``pages``: what the port shows to browsers: pages by path, or a function that finds one;
            * ``trusted_proxies``: addresses and networks of proxies whose word on the client's address is taken:
              ``X-Forwarded-For``, and with ``proxy_protocol`` the PROXY header (versions 1 and 2) that they must send;
            * ``errors``: what to do with text that does not fit: ``"strict"`` closes the connection, ``"replace"``,
              ``"flash"``.

    Raises:
        ConfigurationError: An argument cannot work.
        ListenError: The port is taken or needs privilege, or the host is not ours.
    """

    @overload
    def __init__(
        self: serve[str],
        handler: Handler[str] | ConnectionHandler[str],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        encoding: str = "utf-8",
        **options: Unpack[ServeOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: serve[bytes],
        handler: Handler[bytes] | ConnectionHandler[bytes],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        encoding: None,
        **options: Unpack[ServeOptions],
    ) -> None: ...

    def __init__(
        self,
        handler: Handler[Any] | ConnectionHandler[Any],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        encoding: str | None = "utf-8",
        **options: Unpack[ServeOptions],
    ) -> None:
        settings, limits = split_options(options)
        if port is not None:
            check_port(port, lowest=0)
        check_hosts(host)
        if settings.path is not None:
            check_path(settings.path)
        if (settings.path is not None) + (settings.sock is not None) + (port is not None) != 1:
            raise ConfigurationError("say where to listen: a port, a path or a sock, one of them")
        codec = None if encoding is None else text_codec(encoding, settings.errors)
        if settings.raw and codec is not None:
            raise ConfigurationError("raw hands on bytes as they come: it needs encoding=None")
        made = make_handler(handler)
        trusted = trusted_networks(settings.trusted_proxies)
        shared: dict[str, Any] = {
            "policy": None
            if settings.policy is None
            else load_policy(settings.policy, served_from=_port_seen(port, settings)).data,
            "detects": settings.detect,
            "speaks_first": settings.speaks_first,
            "door": make_door(settings, codec, limits, trusted),
            "ssl": settings.ssl,
            "requires_tls": settings.require_tls,
            "trusted_proxies": trusted,
            "proxy_protocol": settings.proxy_protocol,
            "is_raw": settings.raw,
        }
        self._make_listener: Callable[[], Listener[Any]] = lambda: Listener(made, limits, codec, logger, **shared)
        self._prepare(host, port, settings, limits)

    def _prepare(
        self, host: str | Sequence[str] | None, port: int | None, settings: ServeSettings, limits: Limits
    ) -> None:
        options: dict[str, Any] = {"backlog": min(limits.accept_backlog, ACCEPTS_IN_A_TURN)}
        if settings.ssl is not None and not settings.detect:
            options |= {
                "ssl": settings.ssl,
                "ssl_handshake_timeout": NEVER
                if limits.handshake_timeout is None
                else limits.handshake_timeout or 0.001,
                "ssl_shutdown_timeout": limits.close_timeout or 0.001,  # asyncio takes no 0
            }
        path = self._path = None if settings.path is None else os.fspath(settings.path)
        self._socks = () if settings.sock is None else sockets_of(settings.sock)
        self._where = path or (str(self._socks[0].getsockname()) if self._socks else show_hosts(host, port or 0))

        async def listen(
            loop: asyncio.AbstractEventLoop, made: Callable[[], Opening[Any]], sock: socket.socket | None
        ) -> asyncio.Server:
            if sock is not None:
                return await listen_on_socket(loop, made, sock, options)
            if path is not None:
                return await loop.create_unix_server(made, path, **options)
            reuse = {"reuse_port": settings.reuse_port or None}
            return await listen_on_one_port(loop, made, host, port or 0, options | reuse)

        self._listen = listen

    async def _start(self) -> Server[MessageT]:
        listener = self._make_listener()
        self._server = server = Server(listener, self._listen)
        try:
            for sock in self._socks or (None,):
                await server.accept_from(sock)
        except OSError as error:
            await server.close()
            raise listen_error(error, self._where) from error
        if self._path is not None:
            server._path = identify_socket(self._path)
        return server

    def __await__(self) -> Generator[Any, None, Server[MessageT]]:
        return self._start().__await__()

    async def __aenter__(self) -> Server[MessageT]:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.close()


def _port_seen(port: int | None, settings: ServeSettings) -> int | None:
    """The port from which players get the policy; ``None`` where the system behind a Unix socket decides."""
    return port_of(sockets_of(settings.sock)[0]) if settings.sock is not None else port
