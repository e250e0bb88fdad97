"""Peers with nothing of ours in them: plain sockets that do what real clients do, and what they should not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable

DEADLINE = 15.0
"""Seconds after which a test that waits for something has failed."""


class Peer:
    """A plain socket on the event loop of the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, size: int) -> bytes:
        """Exactly so many bytes; fewer only if the stream ends."""
        data = b""
        while len(data) < size and (piece := await self._read(size - len(data))):
            data += piece
        return data

    async def read_all(self) -> bytes:
        """Everything up to the end of the stream. Raises ConnectionResetError where a reset ends it."""
        pieces = []
        while piece := await self._read(262_144):
            pieces.append(piece)
        return b"".join(pieces)

    async def wait_for_reset(self) -> None:
        """Read until the connection is reset; a proper end of stream is a failure."""
        try:
            rest = await self.read_all()
        except ConnectionError:
            return
        raise AssertionError(f"the stream ended properly after {len(rest)} bytes")

    async def wait_for_any_end(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self.read_all()

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.get_running_loop().sock_recv(self.sock, size)

    def half_close(self) -> None:
        """End our direction and go on listening."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off, as a crashing machine or a cut cable with a router behind it does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


@contextlib.asynccontextmanager
async def peer_of(
    where: object, *, receive_buffer: int | None = None, family: int | None = None
) -> AsyncIterator[Peer]:
    """Connect to a server of ours by its ``port``, to a port number, an address tuple, or the path of a Unix socket."""
    target = getattr(where, "port", where)
    if isinstance(target, int):
        target = ("127.0.0.1", target)
    if family is None:
        family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_connect(sock, target)
        yield Peer(sock)
    finally:
        sock.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # any condition, so there is no event to wait for
            await asyncio.sleep(0.002)
