"""What Adobe's events cost: messages a second that ``flash.XMLSocket`` receives, beside ``xmlsocket.connect``.

Both receive the same stream in turn, in this process; the server has one of its own. Run ``python -m benchmarks.twin``.
What counts is the ratio, of the time that this process spends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import xmlsocket
from xmlsocket.flash import XMLSocket
from xmlsocket.flash.events import DataEvent, Event
from xmlsocket.net.process import new_event_loop

MESSAGES = 400_000
ROUNDS = 7


def serve(listener: socket.socket, size: int) -> None:
    """Send the whole stream to each who connects and asks for it."""
    stream = (b"x" * size + b"\0") * MESSAGES
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(16)
            connection.sendall(stream)


async def receive(port: int) -> float:
    """Receive by ``xmlsocket.connect``; returns seconds."""
    async with xmlsocket.connect("127.0.0.1", port) as connection:
        await connection.send("go")
        start, count = time.process_time(), 0
        async for _ in connection:
            count += 1
        assert count == MESSAGES
        return time.process_time() - start


async def receive_events(port: int) -> float:
    """Receive by the twin, one event for each message; returns seconds."""
    closed = asyncio.get_running_loop().create_future()
    count = 0

    def counted(event: DataEvent) -> None:
        nonlocal count
        count += event.data is not None

    def opened(event: Event) -> None:
        nonlocal start
        xml_socket.send("go")
        start = time.process_time()

    start = 0.0
    xml_socket = XMLSocket("127.0.0.1", port)
    xml_socket.addEventListener(Event.CONNECT, opened)
    xml_socket.addEventListener(DataEvent.DATA, counted)
    xml_socket.addEventListener(Event.CLOSE, closed.set_result)
    await closed
    assert count == MESSAGES
    return time.process_time() - start


async def compare(port: int, size: int) -> None:
    """Measure both in turn and print the rates and their ratio."""
    ways: tuple[Callable[[int], Awaitable[float]], ...] = (receive, receive_events)
    for way in ways:
        await way(port)  # a round to warm up
    times = [[await way(port) for way in ways] for _ in range(ROUNDS)]
    plain, twin = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(own / other for own, other in times)
    print(
        f"{size:>5} bytes: connect {MESSAGES / plain / 1e6:.2f}M, flash.XMLSocket {MESSAGES / twin / 1e6:.2f}M "
        f"messages a second of processor time, ratio {ratio:.2f}"
    )


def main() -> None:
    """Run the benchmark, or with ``--serve`` its server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", type=int, action="append", help="bytes of a message; may repeat (default 16, 64, 512)"
    )
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.size or [16, 64, 512]
    if options.serve is not None:
        serve(socket.socket(fileno=options.serve), sizes[0])
    for size in sizes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            number = str(listener.fileno())
            command = [sys.executable, "-m", "benchmarks.twin", "--serve", number, "--size", str(size)]
            server = subprocess.Popen(command, pass_fds=[listener.fileno()])
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(compare(listener.getsockname()[1], size))
            finally:
                server.kill()
                server.wait()


if __name__ == "__main__":
    main()
