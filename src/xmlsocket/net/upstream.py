"""Connections that a server opens on behalf of its own clients, all with the same limits and counters."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, Literal, cast

from ..wire.proxy_protocol import Address, encode_proxy_header
from .connection import Connection
from .endpoint import Endpoint
from .handler import Handler
from .target import Target, keep_alive


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

        def make() -> Connection[bytes]:
            return _Upstream(self, handler, header)

        try:
            async with asyncio.timeout(timeout):
                transport, connection = await self.loop.create_connection(make, target.host, target.port)
                keep_alive(transport.get_extra_info("socket"))
        except TimeoutError as error:
            if error.errno is not None:  # the system's own, ETIMEDOUT
                raise target.open_error(error) from error
            raise target.timeout_error(timeout) from error
        except OSError as error:
            raise target.open_error(error) from error
        return connection


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
