"""From one node to a member on another, against a bare publish to a bare subscriber.

``python -m benchmarks.cluster.hop`` compares. Publisher and subscriber are processes of their own on both sides of the
comparison, with the same window of messages under way and the same turns of the loop; only what they publish with
differs. Each message must arrive, once and in order, or the run fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from xmlsocket.net.process import new_event_loop
from xmlsocket.rooms import Rooms
from xmlsocket.rooms.cluster import NatsBroker
from xmlsocket.wire import Batch, MessageEncoder, text_codec

from .nats_server import run_nats_server

KINDS: Final = ("bare", "live")
LATENCY_MESSAGES: Final = 2_000
LATENCY_PAUSE: Final = 0.002
MESSAGES: Final = 100_000
SIZE: Final = 64
WINDOW: Final = 2_000
TURN: Final = 64
REPORT_EVERY: Final = 250
TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class HopResult:
    """One run: seconds from the call to the member for half and for 99 % of the messages, messages a second, CPU.

    ``publisher_cpu`` and ``subscriber_cpu`` are processor seconds for a message.
    """

    p50: float
    p99: float
    rate: float
    publisher_cpu: float
    subscriber_cpu: float


class Arrivals:
    """What the subscriber does with what arrives: check, count, tell the publisher now and then, in the end report."""

    def __init__(self, progress: socket.socket) -> None:
        self._progress = progress
        self._count = 0
        self._next = 0
        self._lateness: list[int] = []
        self._cpu_start = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def take(self, message: bytes) -> None:
        kind, _, rest = message.partition(b" ")
        if kind == b"hello":
            self._progress.send(b"h")
        elif kind == b"late":
            self._lateness.append(time.monotonic_ns() - int(rest))
            if len(self._lateness) == LATENCY_MESSAGES:
                self._progress.send(b"l")
        else:
            self._count_message(int(rest.split(b" ", 1)[0]))

    def _count_message(self, number: int) -> None:
        if number != self._next:
            raise SystemExit(f"message {number} came where {self._next} was to come")
        if number == 0:
            self._cpu_start = time.process_time()
        self._next += 1
        if self._next % REPORT_EVERY == 0:
            self._progress.send(b".")
        if self._next == MESSAGES:
            late = sorted(self._lateness)
            report = {
                "p50": late[len(late) // 2] / 1e9,
                "p99": late[int(len(late) * 0.99)] / 1e9,
                "cpu": (time.process_time() - self._cpu_start) / MESSAGES,
            }
            self.done.set_result(report)


class CountingMember:
    """A member of a room that reads what it is given at the end of the turn, as a connection does."""

    id = 1

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._encoder = MessageEncoder(text_codec(), None)
        self._loop = asyncio.get_running_loop()

    def deliver(self, batch: Batch) -> None:
        self._loop.call_soon(self._read, batch)

    def _read(self, batch: Batch) -> None:
        for message in batch.encode(self._encoder).split(b"\0")[:-1]:
            self._arrivals.take(message)


async def subscribe(kind: str, url: str, progress: socket.socket) -> None:
    """Be the second node until everything has arrived."""
    arrivals = Arrivals(progress)
    if kind == "bare":
        import nats

        client = await nats.connect(url)

        async def take(message: Any) -> None:
            arrivals.take(message.data)

        await client.subscribe("hop", cb=take)
        await client.flush()
        close: Callable[[], Any] = client.close
    else:
        rooms = Rooms(NatsBroker(url))
        rooms.join("hop", CountingMember(arrivals))
        await rooms.start()
        close = rooms.close
    print("ready", flush=True)
    print(json.dumps(await arrivals.done), flush=True)
    await close()


class Progress:
    """What the subscriber has told: read without waiting, or waited for."""

    def __init__(self, progress: socket.socket) -> None:
        self._socket = progress
        self._changed = asyncio.Event()
        self.told = b""
        progress.setblocking(False)
        asyncio.get_running_loop().add_reader(progress, self._read)

    def _read(self) -> None:
        self.told += self._socket.recv(4096)
        self._changed.set()

    async def wait(self, letter: bytes, count: int, longest: float = TIMEOUT) -> None:
        async with asyncio.timeout(longest):
            while self.told.count(letter) < count:
                self._changed.clear()
                await self._changed.wait()


async def publish(kind: str, url: str, sock: socket.socket) -> None:
    """Be the first node: find the other, then send slowly, then as fast as the window lets."""
    progress = Progress(sock)
    if kind == "bare":
        import nats

        client = await nats.connect(url)

        async def send(message: bytes) -> None:
            await client.publish("hop", message)

        close: Callable[[], Any] = client.close
    else:
        rooms = Rooms(NatsBroker(url))
        await rooms.start()
        broker = rooms.broker

        async def send(message: bytes) -> None:
            broker.publish("hop", message)

        close = rooms.close
    await find_subscriber(send, progress)
    for _ in range(LATENCY_MESSAGES):
        await send(b"late %d" % time.monotonic_ns())
        await asyncio.sleep(LATENCY_PAUSE)
    await progress.wait(b"l", 1)
    padding = b"x" * SIZE
    start, cpu = time.monotonic(), time.process_time()
    for number in range(MESSAGES):
        await send((b"n %d " % number + padding)[:SIZE])
        if number % TURN == 0:
            await asyncio.sleep(0)
            await progress.wait(b".", (number - WINDOW) // REPORT_EVERY)
    await progress.wait(b".", MESSAGES // REPORT_EVERY)
    seconds = time.monotonic() - start
    cpu = time.process_time() - cpu
    print(json.dumps({"rate": MESSAGES / seconds, "cpu": cpu / MESSAGES}), flush=True)
    await close()


async def find_subscriber(send: Callable[[bytes], Any], progress: Progress) -> None:
    for _ in range(100):
        await send(b"hello")
        try:
            await progress.wait(b"h", 1, longest=0.1)
        except TimeoutError:
            continue
        await asyncio.sleep(0.5)  # what else was under way has arrived
        return
    raise SystemExit("the subscriber hears nothing")


def try_hop(kind: str, url: str) -> HopResult:
    """Run both processes once."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "benchmarks.cluster.hop", "--kind", kind, "--url", url]
    children = []
    with ours, theirs:
        for role, sock in (("subscribe", ours), ("publish", theirs)):
            children.append(
                subprocess.Popen(
                    [*command, "--role", role, "--descriptor", str(sock.fileno())],
                    pass_fds=[sock.fileno()],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            if role == "subscribe" and children[0].stdout is not None:
                children[0].stdout.readline()
    subscriber, publisher = (child.communicate(timeout=TIMEOUT)[0] for child in children)
    if any(child.returncode for child in children):
        raise SystemExit(f"{kind}: a process failed")
    arrived, sent = json.loads(subscriber), json.loads(publisher)
    return HopResult(arrived["p50"], arrived["p99"], sent["rate"], sent["cpu"], arrived["cpu"])


def compare(rounds: int) -> dict[str, list[HopResult]]:
    """Try both in turn, a new server for each round."""
    results: dict[str, list[HopResult]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        with run_nats_server() as url:
            for kind in KINDS:
                results[kind].append(try_hop(kind, url))
                print(kind, results[kind][-1], flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster.hop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--descriptor", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is None:
        compare(options.rounds)
        return 0
    act = publish if options.role == "publish" else subscribe
    with socket.socket(fileno=options.descriptor) as sock, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(act(options.kind, options.url, sock))
    return 0


if __name__ == "__main__":
    sys.exit(main())
