from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apps.conversation import Client, client_of, serving, until
from tests.conftest import Runner

from xmlsocket import CloseReason, RoomLimits
from xmlsocket.apps import Echo, Relay

MESSAGES = st.lists(st.binary(max_size=200).map(lambda data: data.replace(b"\0", b"\1")), max_size=20)


@settings(max_examples=30)
@given(MESSAGES)
def test_echo_gives_back_every_message_byte_for_byte(messages: list[bytes]) -> None:
    async def scene() -> None:
        # Random bytes may begin as a browser or TLS does, and would be answered as such.
        async with serving(Echo(), detect=False) as server, client_of(server) as client:
            client.send(*messages)
            client.writer.write_eof()
            assert await client.reader.read() == b"".join(message + b"\0" for message in messages)

    asyncio.run(scene())


def test_echo_stops_a_client_that_does_not_read_and_loses_nothing(runner: Runner) -> None:
    message = b"x" * 10_000
    count = 2_000

    async def scene() -> None:
        async with serving(Echo(), max_message_size=20_000, max_send_backlog=600_000) as server:
            async with client_of(server) as client:
                client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no public way
                writing = asyncio.create_task(write_all(client, message, count))
                await until(lambda: server.connections and server.connections[0].is_send_paused)
                for _ in range(20):
                    await asyncio.sleep(0.005)
                    assert server.traffic.bytes_received < len(message) * count  # it is not read from any more
                assert server.connections[0].is_open
                client.reader._transport.resume_reading()  # type: ignore[attr-defined]
                for _ in range(count):
                    assert await client.reader.readuntil(b"\0") == message + b"\0"
                await writing
            assert CloseReason.SLOW_READER not in server.closed_by_reason

    runner(scene())


async def write_all(client: object, message: bytes, count: int) -> None:
    for _ in range(count):
        client.send(message)  # type: ignore[attr-defined]
        await client.writer.drain()  # type: ignore[attr-defined]


@settings(max_examples=20)
@given(MESSAGES)
def test_relay_gives_every_message_to_everybody_byte_for_byte(messages: list[bytes]) -> None:
    async def scene() -> None:
        async with serving(Relay(), detect=False) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(server)) for _ in range(3)]
            await until(lambda: len(server.connections) == 3)
            clients[0].send(b"first", *messages)
            expected = b"".join(message + b"\0" for message in [b"first", *messages])
            for client in clients:
                assert await client.reader.readexactly(len(expected)) == expected

    asyncio.run(scene())


def test_relay_has_one_order_for_all_when_many_speak(runner: Runner) -> None:
    async def scene() -> None:
        async with serving(Relay(), speaks_first=True) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(server)) for _ in range(10)]
            await until(lambda: len(server.connections) == 10)
            for number, client in enumerate(clients):
                client.send(*(f"{number} {count}" for count in range(50)))
            seen = [await client.receive_many(500) for client in clients]
            assert all(messages == seen[0] for messages in seen)
            for number in range(10):
                own = [message for message in seen[0] if message.startswith(f"{number} ")]
                assert own == [f"{number} {count}" for count in range(50)]

    runner(scene())


def test_a_silent_member_is_a_member_from_the_moment_it_is_accepted(runner: Runner) -> None:
    async def scene() -> None:
        serving_relay = serving(Relay(), speaks_first=True)
        async with serving_relay as server, client_of(server) as silent, client_of(server) as speaker:
            await until(lambda: len(server.connections) == 2)
            assert await speaker.ask("hello") == "hello"
            assert await silent.receive() == "hello"

    runner(scene())


def test_relay_stops_one_who_speaks_without_reading_and_loses_nothing(runner: Runner) -> None:
    message = b"x" * 10_000
    count = 2_000

    async def scene() -> None:
        relay = Relay(room_limits=RoomLimits(publish_high_water=100_000))
        options = {"speaks_first": True, "max_message_size": 20_000, "max_send_backlog": 2_000_000}
        async with serving(relay, **options) as server, client_of(server) as client:
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no public way
            writing = asyncio.create_task(write_all(client, message, count))
            await until(lambda: server.connections and server.connections[0].is_send_paused)
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(count):
                assert await client.reader.readuntil(b"\0") == message + b"\0"
            await writing

    runner(scene())


def test_members_that_are_gone_leave_nothing_behind_in_the_relay(runner: Runner) -> None:
    async def scene() -> None:
        relay = Relay()
        async with serving(relay, speaks_first=True) as server:
            for _ in range(5):
                async with contextlib.AsyncExitStack() as stack:
                    clients = [await stack.enter_async_context(client_of(server)) for _ in range(20)]
                    await until(lambda: len(server.connections) == 20)
                    clients[0].send("hello")
                await until(lambda: not server.connections)
                assert (relay.rooms.names, relay.rooms._stays) == ([], {})

    runner(scene())


def test_a_burst_of_many_publishers_is_spread_over_turns_and_drops_nobody_who_reads(runner: Runner) -> None:
    message = b"x" * 50_000

    async def scene() -> None:
        relay = Relay(room_limits=RoomLimits(publish_high_water=100_000))
        options = {"detect": False, "max_message_size": 100_000, "max_send_backlog": 1_000_000}
        async with serving(relay, **options) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(server)) for _ in range(20)]
            await until(lambda: len(server.connections) == 20)

            async def talk(client: Client, number: int) -> None:
                client.send(*(b"%d " % number + message for _ in range(20)))
                await client.writer.drain()

            talking = asyncio.gather(*(talk(client, number) for number, client in enumerate(clients)))
            seen = await asyncio.gather(*(client.receive_many(400) for client in clients))
            await talking
            assert all(messages == seen[0] for messages in seen)
            assert len(server.connections) == 20

    runner(scene())


def test_what_waits_for_its_turn_is_published_before_the_relay_is_drained() -> None:
    async def scene() -> None:
        relay = Relay(room_limits=RoomLimits(publish_high_water=0))
        async with serving(relay, detect=False) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(server)) for _ in range(5)]
            await until(lambda: len(server.connections) == 5)
            for connection in server.connections:  # all of it arrives in one turn of the loop
                relay.received(connection, [b"one"])
                relay.received(connection, [b"two"])
            await relay.drain()
            closing = asyncio.create_task(server.close())
            for client in clients:
                assert await client.reader.read() == (b"one\0two\0" * 5)
                client.writer.close()
            await closing

    asyncio.run(scene())


def test_one_more_than_the_relay_may_hold_is_let_go_and_the_others_stay(runner: Runner) -> None:
    async def scene() -> None:
        relay = Relay(room_limits=RoomLimits(max_members_per_room=2))
        async with serving(relay, detect=False) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(server)) for _ in range(2)]
            await until(lambda: len(server.connections) == 2)
            async with client_of(server) as third:
                assert await third.reader.read() == b""
            assert await clients[0].ask("hello") == "hello"
            assert await clients[1].receive() == "hello"

    runner(scene())


def test_when_the_relay_has_been_drained_nothing_more_is_taken(runner: Runner) -> None:
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            relay = Relay()
            server = await stack.enter_async_context(serving(relay, detect=False))
            client = await stack.enter_async_context(client_of(server))
            assert await client.ask("hello") == "hello"
            await relay.drain()
            client.send("too late")
            for _ in range(10):
                await asyncio.sleep(0.002)
                assert server.traffic.messages_received == 1
            closing = asyncio.create_task(server.close())
            assert await client.reader.read() == b""
            client.close()
            await closing

    runner(scene())
