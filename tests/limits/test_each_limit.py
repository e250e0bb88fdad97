"""Every limit of a server or client at one less, at its value, and at one more.

Time is moved by hand here: a loop whose clock a test sets forward, with real sockets.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import os
import re
import socket
import ssl
from pathlib import Path

import pytest
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason, ConnectionClosedError, Limits

LOCALHOST = "127.0.0.1"
N = 1000
AROUND = pytest.mark.parametrize("distance", [-1, 0, 1], ids=["one less", "at it", "one more"])


def test_every_limit_has_a_test_that_carries_its_name():
    tests = Path(__file__).parent.parent
    names = set(re.findall(r"def (test_\w+)", "".join(path.read_text("utf-8") for path in tests.rglob("test_*.py"))))
    untested = [
        field.name for field in dataclasses.fields(Limits) if not any(f"test_{field.name}_" in name for name in names)
    ]
    assert untested == []


class Echo(xmlsocket.Handler):
    def __init__(self):
        self.met = 0

    def connected(self, connection):
        self.met += 1

    def received(self, connection, messages):
        connection.send_many(messages)


class Silent(xmlsocket.Handler):
    pass


class MovableLoop(asyncio.SelectorEventLoop):
    """Its clock can be set forward."""

    ahead = 0.0

    def time(self):
        return super().time() + self.ahead


async def pass_time(seconds):
    """Let so much time pass on the loop's clock, and everything happen that is due."""
    asyncio.get_running_loop().ahead += seconds
    for _ in range(5):
        await asyncio.sleep(0.001)


def run(main):
    with asyncio.Runner(loop_factory=MovableLoop) as runner:
        runner.run(main)


# Sizes


@AROUND
@pytest.mark.parametrize("content", ["x", "é"])
def test_max_message_size_counts_received_bytes_without_the_nul(distance, content, runner):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, max_message_size=N) as server, peer_of(server) as peer:
            message = (content * N).encode()[: N + distance].decode("utf-8", "ignore").encode()
            message += b"y" * (N + distance - len(message)) + b"\0"
            await peer.send(message)
            if distance <= 0:
                assert await peer.receive(len(message)) == message
            else:
                assert await peer.read_all() == b""
                assert server.connections[0].close_reason is CloseReason.MESSAGE_TOO_LARGE

    runner(main())


@AROUND
def test_max_message_size_ends_a_message_that_is_not_finished(distance):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, max_message_size=N) as server, peer_of(server) as peer:
            for _ in range(N + distance):
                await peer.send(b"x")
            await until(lambda: server.traffic.bytes_received == N + distance)
            assert server.connections[0].is_open == (distance <= 0)

    asyncio.run(main())


@AROUND
def test_max_message_size_refuses_to_send_more(distance):
    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0) as server,
            xmlsocket.connect(LOCALHOST, server.port, max_message_size=N) as client,
        ):
            for message in ("x" * (N + distance), b"x" * (N + distance), "é" + "x" * (N - 2 + distance)):
                for send in (client.send_nowait, lambda message: client.send_many([message])):
                    if distance <= 0:
                        send(message)
                        await client.receive()
                    else:
                        with pytest.raises(xmlsocket.OversizedMessageError, match=f"of {N + 1} bytes exceeds"):
                            send(message)

    asyncio.run(main())


@AROUND
def test_max_connections_is_how_many_get_in(distance, runner):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, max_connections=5) as server:
            assert await count_answers(server, 5 + distance) == min(5 + distance, 5)

    runner(main())


@AROUND
def test_max_connections_per_address_is_how_many_get_in_from_one(distance, runner):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, max_connections_per_address=5) as server:
            assert await count_answers(server, 5 + distance) == min(5 + distance, 5)

    runner(main())


async def count_answers(server, clients):
    async with contextlib.AsyncExitStack() as stack:
        answers = 0
        for _ in range(clients):
            peer = await stack.enter_async_context(peer_of(server))
            with contextlib.suppress(ConnectionError):
                await peer.send(b"x\0")
                answers += await peer.receive(2) == b"x\0"
        return answers


@AROUND
def test_receive_high_water_pauses_reading_until_it_is_taken(distance):
    async def main():
        release = asyncio.Event()

        async def take_later(connection):
            await release.wait()
            async for message in connection:
                await connection.send(message)

        async with (
            xmlsocket.serve(take_later, LOCALHOST, 0, receive_high_water=N, detect=False) as server,
            peer_of(server) as peer,
        ):
            data = b"x" * (N + distance - 1) + b"\0"
            await peer.send(data)
            await until(lambda: server.traffic.bytes_received == len(data))
            assert server.connections[0]._is_reading_paused == (distance >= 0)
            release.set()
            assert await peer.receive(len(data)) == data
            assert not server.connections[0]._is_reading_paused

    asyncio.run(main())


class Pipe(asyncio.transports._FlowControlMixin):
    """A transport whose peer reads when told to; asyncio's own flow control does the rest."""

    def __init__(self, loop, protocol):
        super().__init__(loop=loop)
        self._protocol = protocol
        self.waiting = 0
        self.is_aborted = False

    def get_write_buffer_size(self):
        return self.waiting

    def write(self, data):
        self.waiting += len(data)
        self._maybe_pause_protocol()

    def read(self, size):
        self.waiting -= size
        self._maybe_resume_protocol()

    def abort(self):
        self.is_aborted = True


@contextlib.asynccontextmanager
async def pipe(**limits):
    """A connection of ours on such a transport."""
    async with xmlsocket.serve(Silent(), LOCALHOST, 0, detect=False, **limits) as server, peer_of(server):
        await until(lambda: server.connections)
        (connection,) = server.connections
        real, connection._transport = connection._transport, Pipe(asyncio.get_running_loop(), connection)
        connection._set_buffer_limits()
        try:
            yield connection, connection._transport
        finally:
            connection._transport = real
            real.abort()


@AROUND
def test_send_high_water_is_what_may_wait_before_send_does(distance):
    async def main():
        async with pipe(send_high_water=N, send_low_water=10) as (connection, transport):
            connection.send_nowait("x" * (N + distance - 1))
            await asyncio.sleep(0)
            assert transport.waiting == N + distance
            assert connection.is_send_paused == (distance > 0)

    asyncio.run(main())


@AROUND
def test_send_low_water_is_where_a_waiting_send_goes_on(distance):
    async def main():
        async with pipe(send_high_water=N, send_low_water=100) as (connection, transport):
            connection.send_nowait("x" * N)
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(connection.send(""))
            await asyncio.sleep(0)
            transport.read(transport.waiting - (100 + distance))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert waiting.done() == (distance <= 0)
            transport.read(transport.waiting)
            await waiting

    asyncio.run(main())


@AROUND
def test_max_send_backlog_is_what_may_wait_for_a_peer_that_does_not_read(distance):
    async def main():
        limits = {"max_send_backlog": N, "max_message_size": 100, "send_high_water": 50, "send_low_water": 10}
        async with pipe(**limits) as (connection, transport):
            for _ in range(9):
                connection.send_nowait("x" * 99)
            connection.send_nowait("x" * (99 + distance))
            await asyncio.sleep(0)
            assert transport.waiting == N + distance
            assert connection.is_open == (distance <= 0)
            assert transport.is_aborted == (distance > 0)
            assert connection.close_reason is (CloseReason.SLOW_READER if distance > 0 else None)

    asyncio.run(main())


@AROUND
def test_max_handshake_size_is_the_longest_head_of_a_request(distance, runner):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, max_handshake_size=N) as server, peer_of(server) as peer:
            head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: \r\n\r\n"
            await peer.send(head.replace(b"Filler: ", b"Filler: " + b"x" * (N + distance - len(head))))
            status = (await peer.read_all()).split(b" ")[1]
            assert status == (b"431" if distance > 0 else b"404")

    runner(main())


@AROUND
def test_accept_backlog_may_be_anything_around_what_is_accepted_in_one_turn(distance, runner):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, accept_backlog=16 + distance) as server:
            assert await count_answers(server, 40) == 40

    runner(main())


@AROUND
def test_descriptor_reserve_is_kept_free_of_connections(distance, monkeypatch):
    async def main():
        monkeypatch.setattr("xmlsocket.net.listener.free_descriptors", lambda: 12)
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, descriptor_reserve=7 + distance) as server:
            assert await count_answers(server, 8) == 5 - distance

    asyncio.run(main())


# Times


@AROUND
def test_open_timeout_is_how_long_opening_may_take(distance):
    async def main():
        with socket.create_server((LOCALHOST, 0)) as silent:
            opening = asyncio.ensure_future(open_tls(silent.getsockname()[1]))
            await asyncio.sleep(0.01)
            await pass_time(N + 10 * distance)
            assert opening.done() == (distance >= 0)
            await pass_time(20)
            with pytest.raises(xmlsocket.OpenTimeoutError):
                await opening

    async def open_tls(port):
        await xmlsocket.connect(LOCALHOST, port, ssl=True, open_timeout=N)

    run(main())


@pytest.mark.parametrize("distance", [-1, 1])
def test_detection_timeout_is_when_a_silent_client_is_met(distance):
    async def main():
        handler = Echo()
        options = {"detection_timeout": N, "first_byte_timeout": None}
        async with xmlsocket.serve(handler, LOCALHOST, 0, **options) as server, peer_of(server):
            await until(lambda: server._listener.openings)
            await pass_time(N + 10 * distance)
            assert handler.met == (distance > 0)

    run(main())


@pytest.mark.parametrize("distance", [-1, 1])
def test_first_byte_timeout_is_how_long_a_client_may_say_nothing(distance):
    async def main():
        options = {"first_byte_timeout": N, "detection_timeout": 10 * N}
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, **options) as server, peer_of(server):
            await until(lambda: server._listener.openings)
            await pass_time(N + 10 * distance)
            assert server.closed_by_reason[CloseReason.FIRST_BYTE_TIMEOUT] == (distance > 0)

    run(main())


@pytest.mark.parametrize("distance", [-1, 1])
def test_idle_timeout_is_how_long_nothing_may_be_received(distance):
    """It is looked at four times in the timeout, so a quarter more may pass."""

    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0, idle_timeout=N, websocket_ping_interval=None) as server,
            peer_of(server) as peer,
        ):
            await peer.send(b"x\0")
            await peer.receive(2)
            for _ in range(4 if distance < 0 else 5):
                await pass_time(N / 4 + 1)
            assert server.closed_by_reason[CloseReason.IDLE_TIMEOUT] == (distance > 0)

    run(main())


@pytest.mark.parametrize("distance", [-1, 1])
def test_close_timeout_is_how_long_a_peer_may_keep_its_side_open(distance):
    async def main():
        async with xmlsocket.serve(Silent(), LOCALHOST, 0, close_timeout=N, detect=False) as server, peer_of(server):
            await until(lambda: server.connections)
            (connection,) = server.connections
            connection.close_nowait()
            await pass_time(N + 10 * distance)
            assert bool(server.connections) == (distance < 0)
            connection.abort()

    run(main())


@pytest.mark.parametrize("distance", [-1, 1])
def test_close_timeout_is_how_long_a_handler_may_go_on_when_the_server_closes(distance):
    async def main():
        ended = []

        async def stay(connection):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append(connection)
                raise

        server = await xmlsocket.serve(stay, LOCALHOST, 0, close_timeout=N, detect=False)
        async with peer_of(server):
            await until(lambda: server.connections)
            server.close_nowait()
            await asyncio.sleep(0.01)
            await pass_time(N + 10 * distance)
            assert len(ended) == (distance > 0)
            await pass_time(20)
            await server.wait_closed()

    run(main())


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01"])
@pytest.mark.parametrize("distance", [-1, 1])
def test_handshake_timeout_is_how_long_a_handshake_that_was_begun_may_take(distance, start):
    async def main():
        options = {"handshake_timeout": N, "ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, **options) as server, peer_of(server) as peer:
            await peer.send(start)
            await until(lambda: len(server._listener.handshakes))
            await asyncio.sleep(0.01)
            await pass_time(N + 10 * distance)
            assert server.closed_by_reason[CloseReason.HANDSHAKE_TIMEOUT] == (distance > 0)

    run(main())


def test_websocket_ping_interval_is_when_a_browser_is_pinged_and_when_it_must_have_answered():
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
    )

    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0, websocket_ping_interval=N) as server,
            peer_of(server) as peer,
        ):
            await peer.send(upgrade)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += await peer.receive(1)
            (connection,) = server.connections
            before = connection.statistics.bytes_sent
            await pass_time(N - 10)
            assert connection.statistics.bytes_sent == before
            await pass_time(20)
            assert await peer.receive(2) == b"\x89\x00"
            await peer.send(b"\x8a\x80\0\0\0\0")
            await asyncio.sleep(0.01)
            await pass_time(N)
            assert await peer.receive(2) == b"\x89\x00"
            await pass_time(N - 20)
            assert connection.is_open
            await pass_time(40)
            assert connection.close_reason is CloseReason.PING_TIMEOUT

    run(main())


# Pauses of a reconnecting client


@pytest.fixture
def pauses(monkeypatch):
    """The longest pauses that a client would make, for attempts that all fail."""

    def find(**limits):
        ceilings = []

        def draw(low, high):
            assert low == 0
            ceilings.append(high)
            if len(ceilings) == 6:
                raise ConnectionClosedError(CloseReason.ABORTED)
            return 0

        async def main():
            with contextlib.suppress(ConnectionClosedError):
                await xmlsocket.connect(path="/nowhere/socket", reconnect=True, **limits)

        monkeypatch.setattr("xmlsocket.net.client.random.uniform", draw)
        asyncio.run(main())
        return ceilings

    return find


def test_backoff_initial_is_the_longest_first_pause(pauses):
    assert pauses(backoff_initial=3)[0] == 3
    assert pauses(backoff_initial=1e-9)[0] == 1e-9
    assert pauses(backoff_initial=40, backoff_max=30)[0] == 30


def test_backoff_max_is_the_longest_pause_of_all(pauses):
    assert pauses(backoff_initial=1, backoff_max=7) == [1, 2, 4, 7, 7, 7]
    assert pauses(backoff_initial=1, backoff_max=8) == [1, 2, 4, 8, 8, 8]
    assert pauses(backoff_initial=1, backoff_max=9) == [1, 2, 4, 8, 9, 9]


def test_backoff_factor_is_the_growth_from_one_pause_to_the_next(pauses):
    assert pauses(backoff_initial=1, backoff_factor=1) == [1] * 6
    assert pauses(backoff_initial=1, backoff_factor=3, backoff_max=100) == [1, 3, 9, 27, 81, 100]
