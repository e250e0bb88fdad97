"""Talking to an application over plain sockets, and transcripts of such talks as text files.

A line of a transcript is ``name > message`` for what a client sends (its NUL is added) or ``name < message`` for the
next message that it gets. ``\\xff``, ``\\n``, ``\\r`` and ``\\0`` stand for bytes, ``*`` in what is expected for any
text without quotes. ``name connects`` and ``name hangs up`` say when; lines that begin with ``#`` are for the reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import xmlsocket
from xmlsocket import Server
from xmlsocket.apps import AppHandler

DEADLINE = 20.0


class Client:
    """A plain socket with nothing of ours in it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *messages: str | bytes) -> None:
        for message in messages:
            data = message.encode() if isinstance(message, str) else message
            self.writer.write(data + b"\0")

    async def receive(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return (await self.reader.readuntil(b"\0"))[:-1].decode()

    async def receive_many(self, count: int) -> list[str]:
        return [await self.receive() for _ in range(count)]

    async def ask(self, message: str | bytes) -> str:
        self.send(message)
        return await self.receive()

    async def rest(self) -> list[str]:
        """End our direction, and read until the server ends its own."""
        self.writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            data = await self.reader.read()
        assert not data or data.endswith(b"\0")
        return data.decode().split("\0")[:-1]

    async def nothing(self) -> None:
        """Make sure that nothing has arrived that nobody has looked at."""
        assert await self.ask("<ping/>") == "<pong/>"

    def close(self) -> None:
        self.writer.close()

    def vanish(self) -> None:
        """End as a machine does that crashes: with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(handler: AppHandler, **options: Any) -> AsyncIterator[Server[bytes]]:
    """A server with an application, as the daemon runs it."""
    await handler.start()
    async with xmlsocket.serve(handler, "127.0.0.1", 0, encoding=None, **options) as server:
        yield server
    await handler.close()


@contextlib.asynccontextmanager
async def client_of(server: Server[bytes]) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # any condition, so there is no event to wait for
            await asyncio.sleep(0.001)


async def replay(transcript: str, server: Server[bytes], *, piece: int) -> None:
    """Do what a transcript says, sending so many bytes at a time; whatever differs is an AssertionError."""
    clients: dict[str, Client] = {}
    async with contextlib.AsyncExitStack() as stack:
        for number, line in enumerate(transcript.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, action = line.partition(" ")
            if name not in clients:
                clients[name] = await stack.enter_async_context(client_of(server))
            client = clients[name]
            if action.startswith("> ") or action == ">":
                await _send_in_pieces(client, _bytes_of(action[2:]) + b"\0", piece)
            elif action.startswith("< "):
                got = await client.receive()
                assert _pattern_of(action[2:]).fullmatch(got), f"line {number}: {name} got {got!r}, not {action[2:]!r}"
            elif action == "hangs up":
                count = len(server.connections)
                clients.pop(name).close()
                await until(lambda count=count: len(server.connections) < count)
            else:
                assert action == "connects", f"line {number}: {line!r} is no line of a transcript"
        for client in clients.values():
            await client.nothing()


async def _send_in_pieces(client: Client, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece):
        client.writer.write(data[start : start + piece])
        await client.writer.drain()
        await asyncio.sleep(0)


def _bytes_of(text: str) -> bytes:
    escapes = {b"n": b"\n", b"r": b"\r", b"0": b"\0"}

    def unescape(match: re.Match[bytes]) -> bytes:
        return escapes[match[0][1:]] if match[0][1:] in escapes else bytes([int(match[0][2:], 16)])

    return re.sub(rb"\\(?:x[0-9a-f]{2}|[nr0])", unescape, text.encode())


def _pattern_of(text: str) -> re.Pattern[str]:
    return re.compile('[^"]*'.join(re.escape(part) for part in text.split("*")))
