"""Too much of everything, through real sockets: the server stays within its bounds and others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc

import pytest
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason

LOCALHOST = "127.0.0.1"
MIB = 1_048_576


async def echo(connection):
    async for message in connection:
        await connection.send(message)


class Echo(xmlsocket.Handler):
    def received(self, connection, messages):
        connection.send_many(messages)


class Sink(xmlsocket.Handler):
    def received(self, connection, messages):
        pass


both_handlers = pytest.mark.parametrize("make", [lambda: echo, Echo], ids=["coroutine", "Handler"])


@both_handlers
def test_megabytes_of_nuls_are_answered_one_by_one(runner, make):
    async def main():
        async with xmlsocket.serve(make(), LOCALHOST, 0) as server, peer_of(server) as peer:
            size = 10_000_000 if make is Echo else 2_000_000  # a coroutine takes each by itself
            sending = asyncio.ensure_future(peer.send(bytes(size)))
            received = 0
            while received < size:
                piece = await peer._read(262_144)
                assert piece.count(0) == len(piece) > 0
                received += len(piece)
            await sending
            assert server.traffic.messages_received == server.traffic.messages_sent == size

    runner(main())


def test_an_endless_message_is_cut_off_and_costs_no_memory(runner):
    async def main():
        async with (
            xmlsocket.serve(Sink(), LOCALHOST, 0, close_timeout=0.1) as server,
            peer_of(server) as peer,
            peer_of(server) as other,
        ):
            await other.send(b"x\0")
            tracemalloc.start()
            with contextlib.suppress(ConnectionError):
                for _ in range(500):
                    await peer.send(b"x" * MIB)
                    await asyncio.sleep(0)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            await until(lambda: server.closed_by_reason == {CloseReason.MESSAGE_TOO_LARGE: 1})
            assert peak < 12 * MIB
            await other.send(b"fine\0")
            await until(lambda: server.traffic.messages_received == 2)

    runner(main())


def test_a_flood_that_nobody_takes_is_stopped_at_its_source(runner):
    """A handler that takes no messages makes its peer wait, and nobody else."""

    async def main():
        async def ignore(connection):
            if await connection.receive() == "ignore me":
                await asyncio.Event().wait()
            await echo(connection)

        async with (
            xmlsocket.serve(ignore, LOCALHOST, 0, close_timeout=0) as server,
            peer_of(server) as peer,
            peer_of(server) as other,
        ):
            flood = asyncio.ensure_future(peer.send(b"ignore me\0" + b"flood\0" * 5_000_000))
            await until(lambda: any(connection._is_reading_paused for connection in server.connections))
            await other.send(b"first\0")
            for number in range(100):
                await other.send(b"%d\0" % number)
                assert await other.receive(len(str(number)) + 1) == b"%d\0" % number
            assert not flood.done()
            assert server.traffic.bytes_received < MIB
            flood.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flood

    runner(main())


def test_a_peer_that_never_reads_the_answers_to_its_flood_is_dropped(runner):
    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0, max_send_backlog=2 * MIB) as server,
            peer_of(server) as peer,
        ):
            with contextlib.suppress(ConnectionError):
                await peer.send((b"x" * 9_999 + b"\0") * 3_000)
            await until(lambda: server.closed_by_reason == {CloseReason.SLOW_READER: 1})

    runner(main())


def test_a_coroutine_that_answers_a_flood_is_slowed_down_and_nobody_is_dropped(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, max_send_backlog=2 * MIB) as server, peer_of(server) as peer:
            data = (b"x" * 9_999 + b"\0") * 2_000
            flood = asyncio.ensure_future(peer.send(data))
            await until(lambda: server.connections and server.connections[0].is_send_paused)
            received = 0
            while received < len(data):
                received += len(await peer._read(262_144))
            await flood
            assert not server.closed_by_reason

    runner(main())


def test_thousands_of_clients_that_say_nothing_cost_little_and_go_by_themselves(runner):
    async def main():
        options = {"first_byte_timeout": 0.5, "detection_timeout": 60.0}
        async with xmlsocket.serve(Sink(), LOCALHOST, 0, **options) as server, contextlib.AsyncExitStack() as stack:
            for _ in range(500):
                await stack.enter_async_context(peer_of(server))
            await until(lambda: server.closed_by_reason == {CloseReason.FIRST_BYTE_TIMEOUT: 500})
            await until(lambda: not server._listener.openings)
            async with peer_of(server) as peer:
                await peer.send(b"x\0")
                await until(lambda: server.traffic.messages_received == 1)

    runner(main())
