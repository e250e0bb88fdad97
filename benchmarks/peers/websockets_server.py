"""The server of Python's ``websockets`` on uvloop, as its documentation shows it, without compression.

python websockets_server.py echo|relay PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

try:
    from uvloop import new_event_loop
except ImportError:  # no wheel for this platform: the peer then runs on the standard loop, as its users would
    from asyncio import new_event_loop

mode, port = sys.argv[1:]
members: set[ServerConnection] = set()


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def relay(connection: ServerConnection) -> None:
    members.add(connection)
    try:
        async for message in connection:
            broadcast(members, message)
    finally:
        members.discard(connection)


async def handle(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):  # the peer is gone
        await {"echo": echo, "relay": relay}[mode](connection)


async def main() -> None:
    async with serve(
        handle, "127.0.0.1", int(port), compression=None, max_size=16 * 1024 * 1024, backlog=4096
    ) as server:
        print("ready", flush=True)
        await server.serve_forever()


with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
