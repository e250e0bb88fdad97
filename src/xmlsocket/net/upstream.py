"""Connections that a server opens on behalf of its own clients, all with the same limits and counters."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any, Literal, cast

from ..wire.proxy_protocol import Address, encode_proxy_header
from .connection import Connection
from .endpoint import Endpoint
from .handler import Handler
from .target import NEVER, Target, keep_alive


class _Upstream(Connection[bytes]):
    __slots__ = ("_header",)

    def __init__(self, endpoint: Endpoint[bytes], handler: Handler[bytes], header: bytes) -> None:
        super().__init__(endpoint, handler)
        self._header = header

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._header:
            cast("asyncio.Transport", transport).write(self._header)
        super().connection_made(transport)


class UpstreamEndpoint(Endpoint[bytes]):
    """The client's side of a gateway."""

    async def open(self, target: Target, handler: Handler[bytes], header: bytes = b"") -> Connection[bytes]:
        """Connect within ``open_timeout``.

        Args:
            target: Where to.
            handler: Of this connection; its ``connected`` is called before anything is received.
            header: What goes before the first message, such as :func:`proxy_header`.

        Raises:
            OpenError: There is no connection; the sentence says why.
        """
        timeout = self.limits.open_timeout
        try:
            async with asyncio.timeout(timeout):
                return await self._dial(target, handler, header)
        except TimeoutError as error:
            if error.errno is not None:  # the system's own, ETIMEDOUT
                raise target.open_error(error) from error
            raise target.timeout_error(timeout) from error
        except OSError as error:  # the errors of TLS and of name resolution are among them
            raise target.open_error(error) from error

    async def _dial(self, target: Target, handler: Handler[bytes], header: bytes) -> Connection[bytes]:
        options: dict[str, Any] = {}
        place: dict[str, Any] = {"host": target.host, "port": target.port}
        if target.tls_context is not None:
            # open_timeout covers the handshake, so the event loop's own timeout must not come before it.
            options = {"ssl": target.tls_context, "server_hostname": target.server_hostname}
            options["ssl_handshake_timeout"] = NEVER
            options["ssl_shutdown_timeout"] = self.limits.close_timeout or 0.001  # asyncio takes no 0
            if header:
                # It stands before the handshake (PROXY protocol, section 2), in plain text.
                place = {"sock": await self._introduce(target, header)}
                header = b""

        def make() -> Connection[bytes]:
            return _Upstream(self, handler, header)

        if target.path is not None:
            _, connection = await self.loop.create_unix_connection(make, target.path, **options)
        else:
            transport, connection = await self.loop.create_connection(make, **place, **options)
            keep_alive(transport.get_extra_info("socket"))
        return connection

    async def _introduce(self, target: Target, header: bytes) -> socket.socket:
        """Connect, and send what goes before anything else."""
        failure: OSError | None = None
        for family, kind, number, _, address in await self.loop.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, number)
            try:
                sock.setblocking(False)
                await self.loop.sock_connect(sock, address)
                await self.loop.sock_sendall(sock, header)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError("the name has no address")


def proxy_header(client: Connection[Any], version: Literal[1, 2]) -> bytes:
    """Make the PROXY protocol header that tells a server whom we speak for."""
    return encode_proxy_header(_ip(client.remote_address), _ip(client.local_address), version=version)


def _ip(address: object) -> Address | None:
    if not isinstance(address, tuple):
        return None  # a Unix socket
    try:
        ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return None
    return str(address[0]), int(address[1])
