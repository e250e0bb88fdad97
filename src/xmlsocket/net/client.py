"""``connect``: open a connection, or keep one open."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl as tls
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, Generic, Unpack, overload

from ..errors import ConfigurationError, OpenError
from ..limits import ClientLimitOptions, Limits, from_options
from ..wire import ErrorRule, MessageT, text_codec
from .connection import Connection
from .endpoint import Endpoint
from .handler import Handler, Mailbox, make_handler
from .target import NEVER, find_target, keep_alive

logger = logging.getLogger("xmlsocket.client")


class connect(Generic[MessageT]):  # noqa: N801  # used like a function, as in: async with connect(...) as connection
    """Open a connection to a server.

    Use it as ``async with connect(...) as connection`` or ``connection = await connect(...)``. Or let it reconnect::

        async for connection in connect("localhost", 8080, reconnect=True):
            async for message in connection:
                ...

    Each round of that loop has a new connection; when one is over, the next is opened, after growing pauses as long as
    that fails (drawn at random, so that thousands of clients do not come back in step). Iteration over such a
    connection just ends, however it ended: see :attr:`Connection.close_reason`. ``send`` and ``receive`` still raise
    :class:`ConnectionClosedError`; catch it and ``continue``. Leave the loop with ``break`` or ``return``.

    Args:
        host: Name or address of the server. With several addresses each is tried.
        port: TCP port.
        path: Connect to a Unix socket instead.
        ssl: ``True`` for TLS with the system's certificates, or a context.
        server_hostname: Name that the certificate must have, where it differs from ``host``.
        handler: A :class:`Handler` that gets the messages; without it ``receive()`` and iteration do.
        reconnect: Keep trying. ``async for`` needs it; with ``async with`` and ``await`` the first connection is tried
            until it succeeds.
        encoding: Encoding of the text; ``None`` hands on ``bytes``.
        errors: What to do with text that does not fit: ``"strict"`` closes the connection, ``"replace"``, ``"flash"``.
        **limits: Any field of :class:`xmlsocket.Limits` that does not bound servers only.

    Raises:
        ConfigurationError: An argument cannot work.
        OpenError: Unknown host, refused, unreachable, wrong certificate.
        OpenTimeoutError: Not open within ``open_timeout``.
    """

    @overload
    def __init__(
        self: connect[str],
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        ssl: tls.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        handler: Handler[str] | None = None,
        reconnect: bool = False,
        encoding: str = "utf-8",
        errors: ErrorRule = "strict",
        **limits: Unpack[ClientLimitOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: connect[bytes],
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        ssl: tls.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        handler: Handler[bytes] | None = None,
        reconnect: bool = False,
        encoding: None,
        errors: ErrorRule = "strict",
        **limits: Unpack[ClientLimitOptions],
    ) -> None: ...

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        ssl: tls.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        handler: Handler[Any] | None = None,
        reconnect: bool = False,
        encoding: str | None = "utf-8",
        errors: ErrorRule = "strict",
        **limits: Unpack[ClientLimitOptions],
    ) -> None:
        self._target = find_target(host, port, path, ssl, server_hostname)
        self._limits = from_options(Limits, limits, side="client")
        self._codec = None if encoding is None else text_codec(encoding, errors)
        self._handler: Handler[Any] = Mailbox() if handler is None else make_handler(handler)
        self._reconnect = reconnect

    async def _open(self) -> Connection[MessageT]:
        endpoint = Endpoint[MessageT](self._handler, self._limits, self._codec, logger)
        endpoint.reconnects = self._reconnect
        target, timeout = self._target, self._limits.open_timeout
        try:
            async with asyncio.timeout(timeout):
                connection = await self._dial(endpoint)
        except TimeoutError as error:
            if error.errno is not None:  # the system's own, ETIMEDOUT
                raise target.open_error(error) from error
            raise target.timeout_error(timeout) from error
        except OSError as error:  # the errors of TLS and of name resolution are among them
            raise target.open_error(error) from error
        return connection

    async def _dial(self, endpoint: Endpoint[MessageT]) -> Connection[MessageT]:
        target = self._target
        options: dict[str, Any] = {}
        if target.tls_context is not None:
            # open_timeout covers the handshake, so the event loop's own timeout must not come before it.
            options = {"ssl": target.tls_context, "server_hostname": target.server_hostname}
            options["ssl_handshake_timeout"] = NEVER

        def make() -> Connection[MessageT]:
            return Connection[MessageT](endpoint, self._handler)

        if target.path is not None:
            _, connection = await endpoint.loop.create_unix_connection(make, target.path, **options)
        else:
            transport, connection = await endpoint.loop.create_connection(make, target.host, target.port, **options)
            keep_alive(transport.get_extra_info("socket"))
        return connection

    async def _open_at_last(self) -> Connection[MessageT]:
        pause = min(self._limits.backoff_initial, self._limits.backoff_max)
        while True:
            try:
                return await self._open()
            except OpenError as error:
                if not self._reconnect or isinstance(error.__cause__, tls.SSLCertVerificationError):
                    raise
                # Anything from 0 up ("full jitter"): after a restart all clients begin at the same moment.
                delay = random.uniform(0, pause)
                logger.info("%s; trying again in %.1f s", error, delay)
                await asyncio.sleep(delay)
                pause = min(pause * self._limits.backoff_factor, self._limits.backoff_max)

    def __await__(self) -> Generator[Any, None, Connection[MessageT]]:
        return self._open_at_last().__await__()

    async def __aenter__(self) -> Connection[MessageT]:
        self._connection = await self._open_at_last()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def __aiter__(self) -> AsyncIterator[Connection[MessageT]]:
        if not self._reconnect:
            raise ConfigurationError("iterating over connect() reconnects for ever: say so with reconnect=True")
        pause = min(self._limits.backoff_initial, self._limits.backoff_max)
        while True:
            connection = await self._open_at_last()
            opened = connection._endpoint.loop.time()
            try:
                yield connection
            finally:
                await connection.close()
            # A server that accepts and closes at once must not be hammered either.
            if connection._endpoint.loop.time() - opened < pause:
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * self._limits.backoff_factor, self._limits.backoff_max)
            else:
                pause = min(self._limits.backoff_initial, self._limits.backoff_max)
