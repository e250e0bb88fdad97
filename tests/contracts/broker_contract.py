"""What every broker promises on one node: a test class for each broker inherits these tests and says how to make one.

class TestMyBroker(BrokerContract):
    @contextlib.asynccontextmanager
    async def broker(self): ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from xmlsocket.rooms import Broker, KeptMessage

T = TypeVar("T")

# What a broker may have to encode on its way: separators, wildcards and quotes of all kinds, blanks, other planes.
AWKWARD = [
    "lobby",
    "a.b",
    "a.*",
    "a.>",
    ">",
    "*",
    "a b",
    "ä",
    "日本",
    "💬",
    "'; DROP",
    '"',
    "%s",
    "\\",
    "a/b",
    "$JS",
    "-" * 64,
]


async def settled(result: Awaitable[T]) -> T:
    """Await any awaitable, with a deadline."""
    async with asyncio.timeout(20):
        return await result


class Listener:
    """Writes down what a broker delivers, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.origins: list[object] = []
        self.events: list[tuple[str, ...]] = []
        self.gaps: list[tuple[str, int]] = []
        self.private: list[tuple[str, str]] = []
        self.lost: list[str] = []
        self.states: list[bool] = []

    def receive(self, room: str, message: str | bytes) -> None:
        self.heard.append((room, message))

    def receive_kept(self, room: str, message: KeptMessage, origin: object = None) -> None:
        self.heard.append((room, message))
        self.origins.append(origin)

    def receive_arrival(self, room: str, name: str) -> None:
        self.events.append((room, "+", name))

    def receive_departure(self, room: str, name: str) -> None:
        self.events.append((room, "-", name))

    def receive_gap(self, room: str, missed: int) -> None:
        self.gaps.append((room, missed))

    def receive_private(self, name: str, message: str) -> str | None:
        self.private.append((name, message))
        return f"{name} has it"

    def lose_name(self, name: str) -> None:
        self.lost.append(name)

    def receive_state(self, is_connected: bool) -> None:
        self.states.append(is_connected)

    def texts(self, room: str) -> list[str]:
        return [message.text for where, message in self.heard if where == room and isinstance(message, KeptMessage)]


class BrokerContract:
    """The promises of the ``Broker`` protocol."""

    def broker(self) -> AbstractAsyncContextManager[Broker]:
        """Make a broker that has nothing in it; the tests attach, start and close it."""
        raise TypeError("a contract is tested through a class that makes a broker")

    def run(self, test: Callable[[Broker, Listener], Coroutine[Any, Any, None]]) -> None:
        async def scene() -> None:
            async with self.broker() as broker:
                listener = Listener()
                broker.attach(listener)
                await settled(broker.start())
                try:
                    await test(broker, listener)
                finally:
                    await settled(broker.close())

        asyncio.run(scene())

    def test_kept_messages_count_up_by_one_in_each_room(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            broker.subscribe("b")
            first = await settled(broker.keep("a", "ana", "one"))
            second = await settled(broker.keep("a", "bob", "two"))
            other = await settled(broker.keep("b", "ana", "three"))
            assert (second.id - first.id, second.sender, second.text) == (1, "bob", "two")
            assert (first.id, other.id) == (1, 1)

        self.run(test)

    def test_the_order_of_the_calls_is_the_order_of_the_numbers_and_of_the_delivery(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            results = [broker.keep("a", "ana", str(number)) for number in range(500)]
            kept = [await settled(result) for result in results]
            assert [message.id for message in kept] == list(range(1, 501))
            assert [message.text for message in kept] == [str(number) for number in range(500)]
            assert listener.heard == [("a", message) for message in kept]

        self.run(test)

    def test_a_message_is_delivered_when_the_one_who_keeps_it_learns_its_number(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            message = await settled(broker.keep("a", "ana", "hi"))
            assert listener.heard == [("a", message)]

        self.run(test)

    def test_nobody_has_to_wait_for_what_keep_returns(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            broker.keep("a", "ana", "dropped")
            await settled(broker.keep("a", "ana", "awaited"))
            assert listener.texts("a") == ["dropped", "awaited"]

        self.run(test)

    def test_the_origin_comes_back_with_its_message_as_the_same_object(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            mark = object()
            broker.keep("a", "ana", "one", mark)
            await settled(broker.keep("a", "ana", "two"))
            assert listener.origins == [mark, None]

        self.run(test)

    def test_the_time_of_a_message_is_when_it_was_accepted(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            before = time.time()
            message = await settled(broker.keep("a", "ana", "hi"))
            assert before - 1 <= message.at <= time.time() + 1

        self.run(test)

    def test_history_has_what_was_kept_in_the_same_words(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            texts = ["", " ", "\r\n\t", "<a/>&amp;", "ä日本💬", "x" * 100_000, "\u2028", "'\"\\"]
            kept = [await settled(broker.keep("a", "änne 💬", text)) for text in texts]
            assert [(message.sender, message.text) for message in kept] == [("änne 💬", text) for text in texts]
            assert await settled(broker.history("a", None, 100)) == kept

        self.run(test)

    def test_history_without_after_is_the_latest_oldest_first(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for number in range(1, 11):
                await settled(broker.keep("a", "ana", str(number)))
            everything = list(range(1, 11))
            cases = ((3, [8, 9, 10]), (10, everything), (11, everything), (2**80, everything), (0, []), (-4, []))
            for limit, ids in cases:
                assert [message.id for message in await settled(broker.history("a", None, limit))] == ids

        self.run(test)

    def test_history_after_a_number_goes_on_from_there(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for number in range(1, 11):
                await settled(broker.keep("a", "ana", str(number)))
            cases = ((0, 3, [1, 2, 3]), (7, 50, [8, 9, 10]), (9, 1, [10]), (10, 5, []), (10**17, 5, []), (4, 0, []))
            extremes = ((2**80, 5, []), (-(2**80), 2, [1, 2]), (8, 2**80, [9, 10]), (4, -1, []), (2**80, 2**80, []))
            for after, limit, ids in cases + extremes:
                assert [message.id for message in await settled(broker.history("a", after, limit))] == ids

        self.run(test)

    def test_history_of_a_room_where_nothing_was_said_is_empty(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            await settled(broker.keep("a", "ana", "hi"))
            assert await settled(broker.history("b", None, 10)) == []
            assert await settled(broker.history("b", 0, 10)) == []

        self.run(test)

    def test_a_live_message_is_there_when_publish_returns_and_is_not_kept(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            broker.publish("a", "text")
            broker.publish("a", b"\xff bytes")
            assert listener.heard == [("a", "text"), ("a", b"\xff bytes")]
            assert await settled(broker.history("a", None, 10)) == []

        self.run(test)

    def test_names_of_rooms_may_be_any_text_and_never_reach_another_room(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for room in AWKWARD:
                broker.subscribe(room)
            for room in AWKWARD:
                broker.publish(room, f"live in {room}")
                await settled(broker.keep(room, "ana", f"kept in {room}"))
            expected = [(room, text) for room in AWKWARD for text in (f"live in {room}", f"kept in {room}")]
            heard = [(room, getattr(message, "text", message)) for room, message in listener.heard]
            assert heard == expected
            for room in AWKWARD:
                (message,) = await settled(broker.history(room, None, 10))
                assert (message.id, message.text) == (1, f"kept in {room}")

        self.run(test)

    def test_a_room_keeps_its_history_and_its_numbers_while_nobody_is_in_it(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            await settled(broker.keep("a", "ana", "one"))
            broker.unsubscribe("a")
            assert [message.text for message in await settled(broker.history("a", None, 10))] == ["one"]
            broker.subscribe("a")
            assert (await settled(broker.keep("a", "ana", "two"))).id == 2

        self.run(test)

    def test_rooms_can_be_subscribed_to_before_the_start(self) -> None:
        async def scene() -> None:
            async with self.broker() as broker:
                listener = Listener()
                broker.attach(listener)
                broker.subscribe("a")
                broker.subscribe("b")
                broker.unsubscribe("b")
                await settled(broker.start())
                await settled(broker.keep("a", "ana", "hi"))
                assert listener.texts("a") == ["hi"]
                await settled(broker.close())

        asyncio.run(scene())

    def test_a_name_is_held_by_one_until_it_is_released(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            assert await settled(broker.claim("ana"))
            assert not await settled(broker.claim("ana"))
            assert await settled(broker.claim("bob"))
            broker.release("ana")
            assert await settled(broker.claim("ana"))
            assert not await settled(broker.claim("bob"))

        self.run(test)

    def test_of_many_claims_at_once_one_succeeds(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            results = [broker.claim("ana") for _ in range(20)]
            assert sorted([await settled(result) for result in results]) == [False] * 19 + [True]

        self.run(test)

    def test_names_may_be_any_text_and_are_compared_exactly(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for name in [*AWKWARD, "LOBBY"]:
                assert await settled(broker.claim(name)), name
            for name in AWKWARD:
                broker.release(name)
            for name in AWKWARD:
                assert await settled(broker.claim(name)), name

        self.run(test)

    def test_releasing_a_name_that_nobody_holds_is_harmless(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.release("ana")
            assert await settled(broker.claim("ana"))

        self.run(test)

    # Who is where

    def test_members_here_hear_of_an_arrival_and_of_a_departure_when_the_call_returns(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            broker.arrive("a", "ana")
            assert listener.events == [("a", "+", "ana")]
            broker.depart("a", "ana")
            assert listener.events == [("a", "+", "ana"), ("a", "-", "ana")]

        self.run(test)

    def test_a_name_is_there_until_it_has_departed_as_often_as_it_arrived(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            for _ in range(3):
                broker.arrive("a", "ana")
            for _ in range(2):
                broker.depart("a", "ana")
            assert await settled(broker.present("a")) == ["ana"]
            assert listener.events == [("a", "+", "ana")]
            broker.depart("a", "ana")
            broker.depart("a", "ana")
            assert await settled(broker.present("a")) == []
            assert listener.events == [("a", "+", "ana"), ("a", "-", "ana")]

        self.run(test)

    def test_those_who_are_present_are_listed_in_the_order_of_arrival(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            names = [f"name {number}" for number in range(200)]
            for name in names:
                broker.arrive("a", name)
            assert await settled(broker.present("a")) == names
            broker.depart("a", names[0])
            broker.arrive("a", names[0])
            assert await settled(broker.present("a")) == [*names[1:], names[0]]

        self.run(test)

    def test_nobody_is_present_where_nobody_arrived(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            broker.subscribe("a")
            broker.arrive("a", "ana")
            assert await settled(broker.present("b")) == []
            broker.depart("b", "ana")
            broker.depart("a", "bob")
            assert await settled(broker.present("a")) == ["ana"]
            assert listener.events == [("a", "+", "ana")]

        self.run(test)

    def test_rooms_are_those_where_somebody_is_present_with_how_many(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for room in ("a", "b", "c"):
                broker.subscribe(room)
            broker.arrive("b", "ana")
            broker.arrive("a", "ana")
            broker.arrive("b", "bob")
            broker.arrive("b", "bob")
            assert await settled(broker.rooms()) == {"b": 2, "a": 1}
            broker.depart("a", "ana")
            broker.unsubscribe("a")
            assert await settled(broker.rooms()) == {"b": 2}

        self.run(test)

    def test_presence_takes_any_text_for_rooms_and_names(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for room in AWKWARD:
                broker.subscribe(room)
                for name in AWKWARD:
                    broker.arrive(room, name)
            for room in AWKWARD:
                assert await settled(broker.present(room)) == AWKWARD
            assert await settled(broker.rooms()) == dict.fromkeys(AWKWARD, len(AWKWARD))

        self.run(test)

    def test_who_arrived_before_the_start_is_present_after_it(self) -> None:
        async def scene() -> None:
            async with self.broker() as broker:
                listener = Listener()
                broker.attach(listener)
                broker.subscribe("a")
                broker.arrive("a", "ana")
                await settled(broker.start())
                assert await settled(broker.present("a")) == ["ana"]
                assert listener.events == [("a", "+", "ana")]
                await settled(broker.close())

        asyncio.run(scene())

    # Messages to one person

    def test_what_is_told_reaches_the_holder_of_the_name_and_its_answer_comes_back(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            for name in AWKWARD:
                assert await settled(broker.claim(name))
            for name in AWKWARD:
                assert await settled(broker.tell(name, f"to {name}")) == f"{name} has it"
            assert listener.private == [(name, f"to {name}") for name in AWKWARD]

        self.run(test)

    def test_what_is_told_to_a_name_that_nobody_holds_reaches_nobody(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            assert await settled(broker.tell("ana", "hi")) is None
            assert await settled(broker.claim("ana"))
            broker.release("ana")
            assert await settled(broker.tell("ana", "hi")) is None
            assert listener.private == []

        self.run(test)

    def test_a_broker_that_works_is_ready_and_says_so_in_a_sentence(self) -> None:
        async def test(broker: Broker, listener: Listener) -> None:
            await settled(broker.keep("a", "ana", "hi"))
            state = broker.state
            assert state.is_ready
            assert state.sentence
            assert all(isinstance(number, int | float) for number in state.counters.values())
            assert (listener.states, listener.gaps, listener.lost) == ([], [], [])

        self.run(test)
