"""Servers behind a gateway, with nothing of ours in them, and clients of the field in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import websockets
from tests.net.peers import DEADLINE

from xmlsocket.gateway import Gateway, GatewayOptions, GatewayServer, Targets, parse_target

Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


class Upstream:
    """A TCP server that keeps what it was sent."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[bytearray] = []
        self.is_ended: list[bool] = []
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Break all connections off, as a crashing machine does."""
        for writer in self.writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@contextlib.asynccontextmanager
async def upstream(behave: Stream = echo) -> AsyncIterator[Upstream]:
    """Run a server; ``behave`` gets each connection, which is closed when it returns."""
    state = Upstream()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        index = len(state.received)
        state.received.append(bytearray())
        state.is_ended.append(False)
        state.writers.append(writer)
        read = reader.read

        async def read_and_keep(size: int = -1) -> bytes:
            data = await read(size)
            state.received[index] += data
            state.is_ended[index] |= not data
            return data

        reader.read = read_and_keep  # type: ignore[method-assign]  # what the behaviour reads is kept
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await behave(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=65_536)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for writer in state.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def gateway(
    *targets: str, default: str | None = None, how: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[GatewayServer]:
    """Run a gateway on a free port."""
    made = Gateway(Targets([parse_target(text) for text in targets], default), GatewayOptions(**(how or {})))
    async with made.serve("127.0.0.1", 0, **options) as server:
        yield server


@contextlib.asynccontextmanager
async def browser(server: GatewayServer, path: str = "/", **options: Any) -> AsyncIterator[Any]:
    """Connect a WebSocket client by the library ``websockets``."""
    options = {"compression": None, "max_size": None, "max_queue": None, "ping_interval": None, **options}
    async with websockets.connect(f"ws://127.0.0.1:{server.port}{path}", **options) as client:
        yield client


async def frames(client: Any, count: int) -> list[bytes]:
    async with asyncio.timeout(DEADLINE):
        return [await client.recv() for _ in range(count)]


async def close_of(client: Any) -> tuple[list[bytes], int | None, str]:
    """Read everything up to the close: the frames, and the code and reason of the close."""
    received = []
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                received.append(await client.recv())
    except websockets.ConnectionClosed:
        return received, client.close_code, client.close_reason


async def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def messages(*texts: str) -> list[bytes]:
    return [text.encode() + b"\0" for text in texts]


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Cut data into pieces of these sizes, over and over."""
    pieces, at, index = [], 0, 0
    while at < len(data):
        size = sizes[index % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
        index += 1
    return pieces
