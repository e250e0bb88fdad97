"""How late a message comes, and what it costs on the wire: XMLSocket, polling once a second, long polling.

One server tells 100 members something, at the same moments in all three ways. All run in this process over loopback, so
the lateness has no distance in it. Run ``python -m benchmarks.why_a_socket``; the table goes into ``README.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import xmlsocket
from xmlsocket.net.process import new_event_loop, tune_process

from .report import put_between_markers, write_number, write_table

README = Path(__file__).with_name("README.md")
MEMBERS = 100
RATES = (0.2, 2.0, 20.0)
POLL_INTERVAL = 1.0
LONG_POLL_TIMEOUT = 25.0
SEGMENT_HEADER = 52
"""Bytes of IPv4, TCP and its timestamps on each segment, an acknowledgement alone included."""

# What a current browser sends with fetch(), without cookies.
REQUEST = (
    "GET /messages?room=lobby&after={after} HTTP/1.1\r\n"
    "Host: chat.example.com\r\n"
    "Connection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36\r\n"
    "Accept: */*\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Referer: https://chat.example.com/\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "\r\n"
)
RESPONSE = (
    "HTTP/1.1 200 OK\r\n"
    "Date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
    "Content-Type: application/xml; charset=utf-8\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: keep-alive\r\n"
    "Content-Length: {length}\r\n"
    "\r\n"
)
MESSAGE = '<said room="lobby" id="{id}" from="ana" at="2026-11-23T12:00:00.000Z">Shall we meet at the gate?</said>'


@dataclass(slots=True)
class Traffic:
    """What the kernel counted on one connection: bytes of both directions, and segments that carried them."""

    payload: int
    segments: int

    @property
    def on_the_wire(self) -> int:
        return self.payload + self.segments * SEGMENT_HEADER


def read_traffic(sock: socket.socket) -> Traffic:
    """Ask Linux (TCP_INFO: bytes acknowledged and received, segments out and in)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
    acknowledged, received, segments_out, segments_in = struct.unpack_from("=QQII", info, 120)
    return Traffic(acknowledged + received, segments_out + segments_in)


class Member(asyncio.Protocol):
    """One who listens: notes when each message came, and that none is missing."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.transport: asyncio.Transport
        self._bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.start()

    def start(self) -> None:
        self.transport.write(b"<hello/>\0")

    def data_received(self, data: bytes) -> None:
        *messages, self._bytes = (self._bytes + data).split(b"\0")
        self.note(messages)

    def note(self, messages: Sequence[bytes]) -> None:
        now = time.monotonic()
        for message in messages:
            if f' id="{len(self.arrivals)}"'.encode() not in message:
                raise AssertionError(f"message {len(self.arrivals)} was next, and {message!r} came")
            self.arrivals.append(now)

    def read_traffic(self) -> Traffic:
        return read_traffic(self.transport.get_extra_info("socket"))


class LongPollingMember(Member):
    """Asks again as soon as it has an answer."""

    def start(self) -> None:
        self.ask()

    def ask(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(REQUEST.format(after=len(self.arrivals)).encode())

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        head, found, body = self._bytes.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.rpartition(b"Content-Length: ")[2]):
            return
        self._bytes = b""
        self.note(body.split(b"\0")[:-1])
        self.answered()

    def answered(self) -> None:
        self.ask()


class PollingMember(LongPollingMember):
    """Asks once a second, each member at moments of its own."""

    def start(self) -> None:
        asyncio.get_running_loop().call_later(random.uniform(0, POLL_INTERVAL), self.ask)

    def ask(self) -> None:
        self._asked_at = time.monotonic()
        super().ask()

    def answered(self) -> None:
        pause = self._asked_at + POLL_INTERVAL - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, pause), self.ask)


class Board:
    """The messages of the HTTP ways, and the requests that wait for the next."""

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        self.messages: list[bytes] = []
        self.waiting: dict[BoardConnection, int] = {}

    def publish(self, message: str) -> None:
        self.messages.append(message.encode() + b"\0")
        waiting, self.waiting = self.waiting, {}
        for connection, after in waiting.items():
            connection.answer(after)


class BoardConnection(asyncio.Protocol):
    """A keep-alive HTTP connection; clients here send one request at a time."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._bytes = b""
        self._timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if not self._bytes.endswith(b"\r\n\r\n"):
            return
        after = int(self._bytes.partition(b"after=")[2].split(b" ", 1)[0])
        self._bytes = b""
        if self._board.waits and after == len(self._board.messages):
            self._board.waiting[self] = after
            self._timeout = asyncio.get_running_loop().call_later(LONG_POLL_TIMEOUT, self.give_up, after)
        else:
            self.answer(after)

    def give_up(self, after: int) -> None:
        if self._board.waiting.pop(self, None) is not None:
            self.answer(after)

    def answer(self, after: int) -> None:
        if self._timeout:
            self._timeout.cancel()
        body = b"".join(self._board.messages[after:])
        self._transport.write(RESPONSE.format(length=len(body)).encode() + body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._board.waiting.pop(self, None)
        if self._timeout:
            self._timeout.cancel()


Publish = Callable[[str], object]


@contextlib.asynccontextmanager
async def serve_board(*, waits: bool) -> AsyncIterator[tuple[int, Publish]]:
    """Serve messages over HTTP."""
    board = Board(waits=waits)
    server = await asyncio.get_running_loop().create_server(lambda: BoardConnection(board), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], board.publish


@contextlib.asynccontextmanager
async def serve_socket() -> AsyncIterator[tuple[int, Publish]]:
    """Serve messages over XMLSocket."""

    def publish(message: str) -> None:
        for connection in server.connections:
            connection.send_nowait(message)

    async def listen(connection: xmlsocket.Connection[str]) -> None:
        async for _ in connection:
            pass

    async with xmlsocket.serve(listen, "127.0.0.1", 0) as server:
        yield server.port, publish


@dataclass(frozen=True, slots=True)
class Way:
    """A way for a message to reach its members."""

    name: str
    serve: Callable[[], contextlib.AbstractAsyncContextManager[tuple[int, Publish]]]
    member: type[Member]


WAYS = (
    Way("XMLSocket", serve_socket, Member),
    Way("HTTP, polling once a second", lambda: serve_board(waits=False), PollingMember),
    Way("HTTP, long polling", lambda: serve_board(waits=True), LongPollingMember),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way did with one schedule; lateness in seconds, sorted."""

    lateness: list[float]
    wire_bytes: int
    segments: int
    deliveries: int
    seconds: float


async def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} within {seconds:g} s")
        await asyncio.sleep(0.005)


async def try_way(way: Way, moments: Sequence[float], seconds: float) -> Outcome:
    """Publish at the moments of the schedule, and see when each member hears it."""
    loop = asyncio.get_running_loop()
    async with way.serve() as (port, publish):
        connecting: list[Awaitable[tuple[asyncio.BaseTransport, Member]]] = [
            loop.create_connection(way.member, "127.0.0.1", port) for _ in range(MEMBERS)
        ]
        members = [member for _, member in await asyncio.gather(*connecting)]
        await asyncio.sleep(POLL_INTERVAL)  # everybody has said hello, or asked for the first time
        before = [member.read_traffic() for member in members]
        begin = time.monotonic()
        published = []
        for number, moment in enumerate(moments):
            await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
            published.append(time.monotonic())
            publish(MESSAGE.format(id=number))
        await asyncio.sleep(max(0.0, begin + seconds - time.monotonic()))
        await wait_for(
            lambda: all(len(member.arrivals) == len(published) for member in members),
            2 * POLL_INTERVAL,
            f"{way.name}: not every member had all {len(published)} messages",
        )
        elapsed = time.monotonic() - begin
        after = [member.read_traffic() for member in members]
        for member in members:
            member.transport.close()
    return Outcome(
        lateness=sorted(a - p for member in members for a, p in zip(member.arrivals, published, strict=True)),
        wire_bytes=sum(a.on_the_wire - b.on_the_wire for a, b in zip(after, before, strict=True)),
        segments=sum(a.segments - b.segments for a, b in zip(after, before, strict=True)),
        deliveries=len(published) * MEMBERS,
        seconds=elapsed,
    )


def make_schedule(rate: float, seconds: float) -> list[float]:
    """Moments at random, as people speak; the same for every way."""
    source = random.Random(rate)
    return sorted(source.uniform(0, seconds - 0.1) for _ in range(round(rate * seconds)))


def write_row(way: Way, rate: float, outcome: Outcome) -> list[str]:
    late = outcome.lateness
    return [
        f"{rate:g} a second",
        way.name,
        f"{write_number(late[len(late) // 2] * 1000)} ms",
        f"{write_number(late[int(len(late) * 0.99)] * 1000)} ms",
        f"{outcome.wire_bytes / outcome.deliveries:,.0f}",
        f"{outcome.segments / outcome.deliveries:.1f}",
        f"{outcome.wire_bytes / MEMBERS / outcome.seconds * 60 / 1024:,.1f} KiB",
    ]


async def compare(seconds: float) -> str:
    """Try all ways at all rates; return the table."""
    rows = []
    for rate in RATES:
        moments = make_schedule(rate, seconds)
        for way in WAYS:
            print(f"{len(moments)} messages in {seconds:g} s to {MEMBERS} members: {way.name}", flush=True)
            rows.append(write_row(way, rate, await try_way(way, moments, seconds)))
    head = ["messages", "way", "late, median", "late, 99 %", "bytes each", "segments each", "per member and minute"]
    return write_table(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.why_a_socket", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each way and rate, 5 at least (20)")
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    options = parser.parse_args(arguments)
    tune_process()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        table = runner.run(compare(max(5.0, options.seconds)))
    print(f"\n{table}")
    if not options.print:
        put_between_markers(README, "why-a-socket", table)
        print("\nWritten: benchmarks/README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
