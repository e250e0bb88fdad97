"""Five thousand connections die at once: what the others notice.

100 rooms have 50 members each in a process that is killed, and 2 in this one, who talk on. Every message must reach
both of them, once and in order. What counts is how late the latest message was, before and after the deaths.
``python -m benchmarks.cluster.deaths``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from xmlsocket.net.process import new_event_loop, tune_process

from .daemon import run_daemon

ROOMS: Final = 100
CROWD: Final = 5_000
RATE: Final = 5.0
SECONDS: Final = 4.0
_SAID: Final = re.compile(rb"(?:<said [^>]*>)?n (\d+) ([\d.]+)(?:</said>)?")

APPS: Final = {
    "relay": ("benchmarks.servers.room_relay:RoomRelay", "--encoding", "none"),
    "chat": ("chat", "--no-history"),
}


@dataclass(frozen=True, slots=True)
class DeathsResult:
    """How late the latest message was while nobody died, and from the deaths on, in seconds; how many there were."""

    before: float
    after: float
    messages: int


class Member(asyncio.Protocol):
    """One connection: joins its room, says numbers when told, and notes how late those of its room come."""

    def __init__(self, app: str, room: int, name: str, joined: Callable[[], None]) -> None:
        self._app, self._room, self._name, self._joined = app, room, name, joined
        self._buffer = b""
        self._said = 0
        self._is_in = False
        self.heard: list[tuple[float, float]] = []
        self.next = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        if self._app == "chat":
            login = f'<login name="{self._name}"/>\0<join room="r{self._room}"/>\0'
            transport.write(login.encode())
        else:
            transport.write(f"room {self._room}\0".encode())

    def data_received(self, data: bytes) -> None:
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        now = time.monotonic()
        for message in messages:
            if not self._is_in and message.startswith((b"joined", b"<joined")):
                self._is_in = True
                self._joined()
            elif (match := _SAID.fullmatch(message)) is not None:
                if int(match[1]) != self.next:
                    raise SystemExit(f"message {int(match[1])} came where {self.next} was to come")
                self.next += 1
                self.heard.append((now, now - float(match[2])))

    def say(self) -> None:
        text = f"n {self._said} {time.monotonic()}"
        self._said += 1
        self.transport.write(
            (f'<say room="r{self._room}">{text}</say>\0' if self._app == "chat" else text + "\0").encode()
        )

    @property
    def said(self) -> int:
        return self._said


async def join(app: str, port: int, count: int, prefix: str) -> list[Member]:
    """Connect members, some at a time, and wait until all are in their rooms."""
    loop, everybody, members = asyncio.get_running_loop(), asyncio.Event(), list[Member]()
    waiting = count

    def joined() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            everybody.set()

    for number in range(count):
        _, member = await loop.create_connection(
            lambda number=number: Member(app, number % ROOMS, f"{prefix}{number}", joined), "127.0.0.1", port
        )
        members.append(member)
    async with asyncio.timeout(60):
        await everybody.wait()
    return members


async def be_crowd(app: str, port: int) -> None:
    """Be who dies."""
    await join(app, port, CROWD, "crowd")
    print("in", flush=True)
    await asyncio.sleep(120)


async def talk(speakers: list[Member], seconds: float) -> None:
    """Let one member of each room talk, evenly spread over the time."""
    loop = asyncio.get_running_loop()
    start, pause = loop.time(), 1 / RATE / len(speakers)
    for number in range(int(seconds / pause)):
        await asyncio.sleep(max(0.0, start + number * pause - loop.time()))
        speakers[number % len(speakers)].say()


async def observe(app: str, port: int) -> DeathsResult:
    """Talk, kill the crowd, talk on."""
    crowd = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.cluster.deaths", "--crowd", app, str(port), stdout=subprocess.PIPE
    )
    assert crowd.stdout is not None
    await crowd.stdout.readline()
    members = await join(app, port, 2 * ROOMS, "talker")
    speakers = members[:ROOMS]
    await talk(speakers, SECONDS)
    await asyncio.sleep(0.5)  # what was said before has come
    died = time.monotonic()
    crowd.kill()
    await talk(speakers, SECONDS)
    async with asyncio.timeout(30):
        for index, member in enumerate(members):
            while member.next < speakers[index % ROOMS].said:  # noqa: ASYNC110  # an event would cost the measured ones
                await asyncio.sleep(0.05)
    await crowd.wait()
    heard = [moment for member in members for moment in member.heard]
    for member in members:
        member.transport.abort()
    return DeathsResult(
        max(late for at, late in heard if at < died), max(late for at, late in heard if at >= died), len(heard)
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster.deaths", description=__doc__)
    parser.add_argument("--crowd", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    tune_process()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if options.crowd:
            runner.run(be_crowd(options.crowd[0], int(options.crowd[1])))
        else:
            for app, command in APPS.items():
                with run_daemon(*command) as daemon:
                    print(app, runner.run(observe(app, daemon.port)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
