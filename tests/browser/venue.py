"""A server without a script of its own, behind three doors: each scene says what it does, connection by connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Protocol

import xmlsocket
from xmlsocket.gateway import Gateway, Targets, parse_target


class Peer(Protocol):
    """A client, as the server has it."""

    async def receive(self) -> bytes | None:
        """The next message; ``None`` when the client has closed."""

    async def send(self, *messages: bytes, size: int | None = None) -> None:
        """Send messages; where the server writes bytes, in segments of that size."""

    async def close(self) -> None:
        """End the connection in order."""

    async def abort(self) -> None:
        """End it as a crash does."""


class Direct:
    """A client that is connected to the library's own server."""

    def __init__(self, connection: xmlsocket.Connection[bytes]) -> None:
        self.connection = connection
        self.over = asyncio.Event()

    async def receive(self) -> bytes | None:
        try:
            return await self.connection.receive()
        except xmlsocket.ConnectionClosedError:
            return None

    async def send(self, *messages: bytes, size: int | None = None) -> None:
        for message in messages:
            await self.connection.send(message)

    async def close(self) -> None:
        self.over.set()
        await self.connection.close()

    async def abort(self) -> None:
        if self.connection._transport is not None:
            _reset(self.connection._transport)
        self.connection.abort()
        self.over.set()


class Plain:
    """A client of a server that knows TCP and zero bytes, and nothing else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.over = asyncio.Event()

    async def receive(self) -> bytes | None:
        try:
            return (await self.reader.readuntil(b"\0"))[:-1]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def send(self, *messages: bytes, size: int | None = None) -> None:
        data = b"".join(message + b"\0" for message in messages)
        for start in range(0, len(data), size or len(data)):
            self.writer.write(data[start : start + (size or len(data))])
            await self.writer.drain()
            if size is not None:
                await asyncio.sleep(0)  # whoever reads in this loop has its turn between two segments

    async def close(self) -> None:
        self.over.set()
        self.writer.close()
        await self.writer.wait_closed()

    async def abort(self) -> None:
        _reset(self.writer.transport)
        self.writer.transport.abort()
        self.over.set()


def _reset(transport: asyncio.BaseTransport) -> None:
    """Have the end of a connection be a reset, as when a machine has forgotten it."""
    with contextlib.suppress(OSError):  # it has ended already
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Venue:
    """Where clients come in.

    Attributes:
        ports: ``direct`` leads to the library's server, ``gateway`` through ours to a plain TCP server; ``nowhere`` is
            where nothing listens.
    """

    ports: dict[str, int]

    def __init__(self) -> None:
        self._clients: asyncio.Queue[Direct | Plain] = asyncio.Queue()
        self._present: set[Direct | Plain] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Venue]:
        async with contextlib.AsyncExitStack() as stack:
            direct = await stack.enter_async_context(
                xmlsocket.serve(self._meet_direct, "127.0.0.1", 0, encoding=None, max_message_size=4 << 20)
            )
            plain = await stack.enter_async_context(
                await asyncio.start_server(self._meet_plain, "127.0.0.1", 0, limit=8 << 20)
            )
            gateway = Gateway(Targets([parse_target(f"127.0.0.1:{plain.sockets[0].getsockname()[1]}")]))
            served = await stack.enter_async_context(gateway.serve("127.0.0.1", 0, max_message_size=4 << 20))
            nowhere = stack.enter_context(socket.socket())  # bound, so nobody else takes it, and never listening
            nowhere.bind(("127.0.0.1", 0))
            self.ports = {"direct": direct.port, "gateway": served.port, "nowhere": nowhere.getsockname()[1]}
            try:
                yield self
            finally:
                await self.clear()

    async def _meet_direct(self, connection: xmlsocket.Connection[bytes]) -> None:
        await self._host(Direct(connection))

    async def _meet_plain(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._host(Plain(reader, writer))

    async def _host(self, client: Direct | Plain) -> None:
        self._clients.put_nowait(client)
        self._present.add(client)
        await client.over.wait()
        self._present.discard(client)

    async def clear(self) -> None:
        """Break off whoever is still there."""
        for client in list(self._present):
            await client.abort()
        while not self._clients.empty():
            self._clients.get_nowait()

    async def accept(self) -> Peer:
        """The next client, in the order in which they came."""
        return await self._clients.get()
