"""``serve``: listen, and hand every connection to a handler."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl as tls
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, Unpack, overload

from ..errors import CloseReason, ConfigurationError
from ..limits import LimitOptions, Limits, from_options
from ..wire import NUL, ErrorRule, MessageT, text_codec
from .connection import Connection
from .endpoint import Traffic
from .handler import ConnectionHandler, CoroutineHandler, Handler, make_handler
from .listener import Listener
from .opening import Opening
from .ports import listen_error

logger = logging.getLogger("xmlsocket.server")


class Server(Generic[MessageT]):
    """A listening server, as ``serve`` gives it."""

    def __init__(self, listener: Listener[MessageT], servers: Sequence[asyncio.AbstractServer]) -> None:
        self._listener = listener
        self._servers = servers
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

    @property
    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._closing is None

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
        """
        self.close_nowait()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the server and all its connections are closed."""
        await asyncio.shield(self._closed)

    async def _close(self) -> None:
        listener = self._listener
        for server in self._servers:
            server.close()
        listener.detection.clear()
        for opening in list(listener.openings):
            opening.abort()
        is_coroutine = isinstance(listener.handler, CoroutineHandler)
        for connection in self.connections:
            connection._shut_down(lets_handler_end=is_coroutine)
        if isinstance(listener.handler, CoroutineHandler) and listener.handler.tasks:
            _, late = await asyncio.wait(listener.handler.tasks, timeout=listener.limits.close_timeout)
            if late:
                logger.warning("cancelling %d handlers that did not end within close_timeout", len(late))
            for task in late:
                task.cancel()
        while self.connections:
            await self.connections[0].wait_closed()
        listener.stop()
        self._closed.set_result(None)

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
        sock: Listen on this bound socket instead.
        ssl: Serve TLS with this context.
        policy: The socket policy file for players that ask for one on this port: text that begins with ``<``, bytes, or
            the path of a file. Without it they are refused.
        detect: ``False`` narrows the port to XMLSocket: a handler meets each client at once, and policy requests are
            ordinary messages.
        speaks_first: Let the handler meet each client when it is accepted, not only when it has sent its first bytes or
            ``detection_timeout`` has passed. What is sent to a client before that is held back, as it may turn out to
            be a browser, and ``first_byte_timeout`` does not apply. With ``detect=False`` nothing is held back.
        encoding: Encoding of the text; ``None`` hands on ``bytes``.
        errors: What to do with text that does not fit: ``"strict"`` closes the connection, ``"replace"``, ``"flash"``.
        reuse_port: Let several processes listen on the port (``SO_REUSEPORT``).
        **limits: Any field of :class:`xmlsocket.Limits`.

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
        path: str | os.PathLike[str] | None = None,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        policy: bytes | str | os.PathLike[str] | None = None,
        detect: bool = True,
        speaks_first: bool = False,
        encoding: str = "utf-8",
        errors: ErrorRule = "strict",
        reuse_port: bool = False,
        **limits: Unpack[LimitOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: serve[bytes],
        handler: Handler[bytes] | ConnectionHandler[bytes],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        policy: bytes | str | os.PathLike[str] | None = None,
        detect: bool = True,
        speaks_first: bool = False,
        encoding: None,
        errors: ErrorRule = "strict",
        reuse_port: bool = False,
        **limits: Unpack[LimitOptions],
    ) -> None: ...

    def __init__(
        self,
        handler: Handler[Any] | ConnectionHandler[Any],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        policy: bytes | str | os.PathLike[str] | None = None,
        detect: bool = True,
        speaks_first: bool = False,
        encoding: str | None = "utf-8",
        errors: ErrorRule = "strict",
        reuse_port: bool = False,
        **limits: Unpack[LimitOptions],
    ) -> None:
        if (path is not None) + (sock is not None) + (port is not None) != 1:
            raise ConfigurationError("say where to listen: a port, a path or a sock, one of them")
        checked = from_options(Limits, limits)
        codec = None if encoding is None else text_codec(encoding, errors)
        made = make_handler(handler)
        answer = None if policy is None else load_policy(policy)
        self._make_listener: Callable[[], Listener[Any]] = lambda: Listener(
            made, checked, codec, logger, policy=answer, detects=detect, speaks_first=speaks_first
        )
        options: dict[str, Any] = {"backlog": checked.accept_backlog, "ssl": ssl}
        if ssl is not None:
            options |= {"ssl_handshake_timeout": checked.open_timeout, "ssl_shutdown_timeout": checked.close_timeout}
        if path is not None:
            self._where = os.fspath(path)
            self._listen = lambda loop, made: loop.create_unix_server(made, self._where, **options)
        elif sock is not None:
            self._where = str(sock.getsockname())
            create = "create_unix_server" if sock.family == getattr(socket, "AF_UNIX", None) else "create_server"
            self._listen = lambda loop, made: getattr(loop, create)(made, sock=sock, **options)
        else:
            self._where = f"{host or '*'}:{port}"
            options["reuse_port"] = reuse_port or None
            self._listen = lambda loop, made: loop.create_server(made, host, port, **options)

    _listen: Callable[[asyncio.AbstractEventLoop, Callable[[], Opening[Any]]], Coroutine[Any, Any, asyncio.Server]]

    async def _start(self) -> Server[MessageT]:
        listener = self._make_listener()
        try:
            server = await self._listen(listener.loop, lambda: Opening(listener))
        except OSError as error:
            raise listen_error(error, self._where) from error
        self._server = Server(listener, [server])
        return self._server

    def __await__(self) -> Generator[Any, None, Server[MessageT]]:
        return self._start().__await__()

    async def __aenter__(self) -> Server[MessageT]:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.close()


def load_policy(policy: bytes | str | os.PathLike[str]) -> bytes:
    """Get the bytes that answer a policy request, the final NUL included.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    if isinstance(policy, str) and policy.lstrip().startswith("<"):
        policy = policy.encode()
    if isinstance(policy, bytes):
        return policy.rstrip(NUL) + NUL
    try:
        return Path(policy).read_bytes().rstrip(NUL) + NUL
    except OSError as error:
        raise ConfigurationError(f"cannot read the policy file {str(policy)!r}: {error.strerror}") from error
