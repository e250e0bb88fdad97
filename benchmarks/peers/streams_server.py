"""asyncio streams on uvloop: ``readuntil`` and ``write``, the way most XMLSocket servers in Python are written.

python streams_server.py echo|relay PORT
python streams_server.py policy PORT FILE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

try:
    from uvloop import new_event_loop
except ImportError:  # no wheel for this platform: the peer then runs on the standard loop, as its users would
    from asyncio import new_event_loop

MAX_MESSAGE = 16 * 1024 * 1024
MAX_QUEUED = 64 * 1024 * 1024

mode, port, *policy_file = sys.argv[1:]
policy = Path(policy_file[0]).read_bytes() + b"\0" if policy_file else b""
members: set[asyncio.StreamWriter] = set()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        message = await reader.readuntil(b"\0")
        writer.write(message)
        await writer.drain()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    members.add(writer)
    while True:
        message = await reader.readuntil(b"\0")
        for member in members:
            member.write(message)
            if member.transport.get_write_buffer_size() > MAX_QUEUED:
                member.transport.abort()


async def answer_policy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.readuntil(b"\0") == b"<policy-file-request/>\0":
        writer.write(policy)
        await writer.drain()


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    talk = {"echo": echo, "relay": relay, "policy": answer_policy}[mode]
    try:
        await talk(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the peer is gone
    finally:
        members.discard(writer)
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(handle, "127.0.0.1", int(port), limit=MAX_MESSAGE, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
