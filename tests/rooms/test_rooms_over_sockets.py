"""Rooms with real connections in them: order, slow members, and members that vanish."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import xmlsocket
from xmlsocket import CloseReason, Connection, Handler, Rooms
from xmlsocket.wire import MessageEncoder

Runner = Callable[..., Any]


class Lobby(Handler[bytes]):
    """Everybody is in one room; what anybody sends is published there."""

    def __init__(self) -> None:
        self.rooms = Rooms()
        self.members: list[Connection[bytes]] = []

    def connected(self, connection: Connection[bytes]) -> None:
        self.rooms.join("lobby", connection)
        self.members.append(connection)

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        for message in messages:
            self.rooms.broker.publish("lobby", message)

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        self.rooms.forget(connection)
        self.members.remove(connection)


class Client:
    """A plain socket that reads messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def messages(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            return [(await self.reader.readuntil(b"\0"))[:-1].decode() for _ in range(count)]

    def reset(self) -> None:
        """Vanish as a machine does that crashes."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def lobby(count: int, **options: Any) -> AsyncIterator[tuple[Lobby, list[Client]]]:
    """A server with so many clients in its lobby."""
    handler = Lobby()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            xmlsocket.serve(handler, "127.0.0.1", 0, encoding=None, detect=False, **options)
        )
        clients = []
        for _ in range(count):
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            stack.callback(client.writer.close)
            clients.append(client)
            await until(lambda: len(handler.members) == len(clients))
        yield handler, clients


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # any condition, so there is no event to wait for
            await asyncio.sleep(0.001)


def test_all_members_see_one_order_of_what_several_publish(runner: Runner) -> None:
    async def publish(client: Client, number: int) -> None:
        for count in range(300):
            client.writer.write(f"{number} {count}\0".encode())
            if count % 7 == number:
                await client.writer.drain()
                await asyncio.sleep(0)

    async def scene() -> None:
        async with lobby(8) as (_, clients):
            publishing = asyncio.gather(*(publish(client, number) for number, client in enumerate(clients[:5])))
            seen = await asyncio.gather(*(client.messages(1500) for client in clients))
            await publishing
            assert all(messages == seen[0] for messages in seen)
            for number in range(5):
                assert [text for text in seen[0] if text.startswith(f"{number} ")] == [
                    f"{number} {count}" for count in range(300)
                ]

    runner(scene())


def test_a_broadcast_to_many_connections_is_encoded_once(runner: Runner, monkeypatch: Any) -> None:
    encode = MessageEncoder.encode
    calls = []

    def counting(self: MessageEncoder, messages: Any) -> bytes:
        calls.append(len(messages))
        return encode(self, messages)

    async def scene() -> None:
        async with lobby(50) as (handler, clients):
            monkeypatch.setattr(MessageEncoder, "encode", counting)
            for number in range(20):
                handler.rooms.broker.publish("lobby", str(number))
            seen = await asyncio.gather(*(client.messages(20) for client in clients))
            assert seen == [[str(number) for number in range(20)]] * 50
            assert calls == [20]

    runner(scene())


STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "send", "join", "leave", "turn"]), st.integers(0, 2)), max_size=25
)


@settings(max_examples=60)
@given(STEPS)
def test_what_is_sent_and_what_is_published_arrives_in_the_order_in_which_it_was_done(
    steps: list[tuple[str, int]],
) -> None:
    async def scene() -> None:
        expected: list[list[str]] = [[], [], []]
        async with lobby(3) as (handler, clients):
            rooms, members = handler.rooms, list(handler.members)
            inside = {0, 1, 2}
            for number, (step, who) in enumerate(steps):
                if step == "publish":
                    rooms.broker.publish("lobby", f"room {number}")
                    for member in inside:
                        expected[member].append(f"room {number}")
                elif step == "send":
                    members[who].send_nowait(f"direct {number}".encode())
                    expected[who].append(f"direct {number}")
                elif step == "join":
                    rooms.join("lobby", members[who])
                    inside.add(who)
                elif step == "leave":
                    rooms.leave("lobby", members[who])
                    inside.discard(who)
                else:
                    await asyncio.sleep(0)
            for member in members:
                member.send_nowait(b"end")
            for client, messages in zip(clients, expected, strict=True):
                assert await client.messages(len(messages) + 1) == [*messages, "end"]

    asyncio.run(scene())


def test_a_member_that_does_not_read_delays_nobody_and_is_dropped_with_a_reason(runner: Runner) -> None:
    message = "x" * 1000

    async def scene() -> None:
        async with lobby(3, max_message_size=2000, max_send_backlog=100_000) as (handler, clients):
            speaker, listener, sleeper = clients
            sleeper.writer.transport.pause_reading()
            slow = handler.members[2]
            rounds = 0
            while slow.close_reason is None:  # the system's own buffers are filled first
                rounds += 1
                speaker.writer.write(message.encode() + b"\0")
                assert await speaker.messages(1) == [message]
                assert await listener.messages(1) == [message]
                assert rounds < 100_000
            assert slow.close_reason is CloseReason.SLOW_READER
            await until(lambda: len(handler.members) == 2)
            assert slow not in handler.rooms.join("lobby", handler.members[0]).room

    runner(scene())


def test_connections_that_vanish_leave_nothing_behind(runner: Runner) -> None:
    async def scene() -> None:
        async with lobby(1) as (handler, _):
            server_address = handler.members[0].local_address
            for _ in range(20):
                guests = [Client(*await asyncio.open_connection(*server_address[:2])) for _ in range(10)]
                await until(lambda: len(handler.members) == 11)
                handler.rooms.broker.publish("lobby", "hello")
                for number, guest in enumerate(guests):
                    guest.reset() if number % 2 else guest.writer.close()
                await until(lambda: len(handler.members) == 1)
            room = handler.rooms.get("lobby")
            assert room is not None
            assert len(room) == 1
            assert list(handler.rooms._stays) == [handler.members[0].id]
        assert handler.rooms.names == []

    runner(scene())


def test_what_is_said_in_two_rooms_by_turns_arrives_by_turns():
    async def scene():
        async with lobby(2) as (handler, clients):
            for member in handler.members:
                handler.rooms.join("other", member)
            for number, room in enumerate(["lobby", "other", "lobby", "other"]):
                handler.rooms.broker.publish(room, str(number))
            for client in clients:
                assert await client.messages(4) == ["0", "1", "2", "3"]

    asyncio.run(scene())
