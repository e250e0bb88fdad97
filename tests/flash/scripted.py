"""A server that follows a script, and a log of what a socket's program sees."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from xmlsocket.flash.player import Player

DEADLINE = 20.0


class Log(list):
    """Lines that a program writes, and a way to wait for one."""

    def __init__(self):
        super().__init__()
        self._changed = asyncio.Event()

    def append(self, line):
        super().append(line)
        self._changed.set()

    async def has(self, line, count=1):
        """Wait until a line has been written that many times."""
        async with asyncio.timeout(DEADLINE):
            while self.count(line) < count:
                self._changed.clear()
                await self._changed.wait()


class Peer:
    """One connection as the script of the server sees it."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    async def receive(self, expected):
        assert await self._reader.readexactly(len(expected)) == expected

    async def read_message(self):
        return (await self._reader.readuntil(b"\0"))[:-1]

    async def send(self, data, size=None):
        """Send bytes, in segments of a size: each is handed to the system by itself."""
        for start in range(0, len(data), size or len(data) or 1):
            self._writer.write(data[start : start + (size or len(data))])
            await self._writer.drain()
            # Lets the other side, in the same loop, read the segment before the next one follows.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def disconnect(self):
        self._writer.close()
        await self._writer.wait_closed()

    def reset(self):
        """Close so that the other side gets a reset."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def wait_for_disconnect(self):
        assert await self._reader.read() == b""


@contextlib.asynccontextmanager
async def scripted_server(script, host="127.0.0.1"):
    """Run a script for each connection; yields the port. On leaving, every script must have come to its end."""
    tasks, writers = [], []

    async def serve(reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writers.append(writer)
        tasks.append(asyncio.current_task())
        await script(Peer(reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*tasks)
    finally:
        for _ in range(5):
            await asyncio.sleep(0)  # a server that is closed between accepting and serving leaves the socket open
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


async def idle():
    """Wait until no socket is open or connecting: then no event can come any more."""
    async with asyncio.timeout(DEADLINE):
        await Player.current().wait_until_idle()


def free_port():
    """Find a port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def silent_port():
    """A port that leaves every attempt to connect unanswered, because its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


EVENTS = ("connect", "close", "data", "ioError", "securityError", "progress")


def watch(xml_socket, log, name=""):
    """Write every event of a socket into the log: its type, or the message of a data event after "data "."""

    def listen(event):
        log.append(f"{name}{event.type} {event.data}" if event.type == "data" else f"{name}{event.type}")

    for kind in EVENTS:
        xml_socket.addEventListener(kind, listen)
    return xml_socket
