"""One room for all connections: each message is numbered, put into its history, and then goes to everybody.

python -m benchmarks.servers.kept_room memory|sqlite PORT

``memory`` holds the history in the process, ``sqlite`` in a file that is thrown away at the end; what is in it
is on the disk before anybody sees it. Everything else is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

import xmlsocket
from xmlsocket.net.process import new_event_loop, settle_process, tune_process
from xmlsocket.rooms import History, HistoryBroker, MemoryBroker, Rooms


class KeptRoom(xmlsocket.Handler[str]):
    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def connected(self, connection: xmlsocket.Connection[str]) -> None:
        self.rooms.join("everybody", connection)

    def received(self, connection: xmlsocket.Connection[str], messages: list[str]) -> None:
        room = self.rooms.get("everybody")
        if room is not None:
            for message in messages:
                room.keep(message, "somebody")

    def closed(self, connection: xmlsocket.Connection[str], reason: object) -> None:
        self.rooms.forget(connection)


async def main(kind: str, port: int, folder: Path) -> None:
    broker = HistoryBroker(lambda: History(folder / "history.db")) if kind == "sqlite" else MemoryBroker()
    rooms = Rooms(broker)
    await rooms.start()
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with xmlsocket.serve(KeptRoom(rooms), "127.0.0.1", port) as server:
        settle_process()
        print("ready", flush=True)
        try:
            await server.serve_forever()
        finally:
            await rooms.close()


kind, port = sys.argv[1:]
tune_process()
with (
    # Beside this file and not in /tmp, which is memory on many machines: a disk is what this is about.
    tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent / "build") as folder,
    asyncio.Runner(loop_factory=new_event_loop) as runner,
    contextlib.suppress(asyncio.CancelledError),
):
    runner.run(main(kind, int(port), Path(folder)))
