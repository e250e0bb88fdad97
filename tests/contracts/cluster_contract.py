"""What every broker promises between nodes: a test class for each broker inherits these tests and makes the nodes.

class TestMyCluster(ClusterContract):
    @contextlib.asynccontextmanager
    async def brokers(self, count): ...
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from xmlsocket.rooms import Broker, KeptMessage

from .broker_contract import AWKWARD, Listener, settled


class Node:
    """A broker and what it delivered."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.listener = Listener()
        broker.attach(self.listener)

    async def enter(self, room: str) -> None:
        """Listen to a room, and know who is there."""
        self.broker.subscribe(room)
        await settled(self.broker.present(room))

    def heard(self, room: str) -> list[Any]:
        return [message for where, message in self.listener.heard if where == room]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # any condition, so there is no event to wait for
            await asyncio.sleep(0.002)


class ClusterContract:
    """The promises between nodes while nothing is broken."""

    def brokers(self, count: int) -> AbstractAsyncContextManager[list[Broker]]:
        """Make brokers of one cluster that has nothing in it; the tests attach, start and close them."""
        raise TypeError("a contract is tested through a class that makes brokers")

    def run(self, count: int, test: Callable[[list[Node]], Coroutine[Any, Any, None]]) -> None:
        async def scene() -> None:
            async with self.brokers(count) as brokers, AsyncExitStack() as stack:
                nodes = [Node(broker) for broker in brokers]
                for node in nodes:
                    await settled(node.broker.start())
                    stack.push_async_callback(node.broker.close)
                await until(lambda: all(node.broker.state.is_ready for node in nodes))
                await test(nodes)

        asyncio.run(scene())

    def test_what_is_published_on_one_node_is_heard_on_all_in_its_order(self) -> None:
        async def test(nodes: list[Node]) -> None:
            for node in nodes:
                await node.enter("a")
            for number in range(500):
                nodes[0].broker.publish("a", f"text {number}")
                nodes[0].broker.publish("a", b"bytes \xff %d" % number)
            expected = [message for number in range(500) for message in (f"text {number}", b"bytes \xff %d" % number)]
            assert nodes[0].heard("a") == expected
            await until(lambda: all(len(node.heard("a")) == 1000 for node in nodes))
            assert all(node.heard("a") == expected for node in nodes)
            assert all(not node.listener.gaps for node in nodes)

        self.run(3, test)

    def test_each_senders_order_is_kept_when_all_speak_at_once(self) -> None:
        async def test(nodes: list[Node]) -> None:
            for node in nodes:
                await node.enter("a")
            for number in range(100):
                for place, node in enumerate(nodes):
                    node.broker.publish("a", f"{place} {number}")
                await asyncio.sleep(0)
            await until(lambda: all(len(node.heard("a")) == 300 for node in nodes))
            for node in nodes:
                for place in range(3):
                    said = [text for text in node.heard("a") if text.startswith(f"{place} ")]
                    assert said == [f"{place} {number}" for number in range(100)]

        self.run(3, test)

    def test_kept_messages_have_one_order_and_one_numbering_on_all_nodes(self) -> None:
        async def test(nodes: list[Node]) -> None:
            for node in nodes:
                await node.enter("a")
            marks = [object() for _ in nodes]
            results = []
            for number in range(100):
                for place, node in enumerate(nodes):
                    results.append(node.broker.keep("a", str(place), str(number), marks[place]))
                await asyncio.sleep(random.choice((0, 0, 0.001)))
            kept = [await settled(result) for result in results]
            assert sorted(message.id for message in kept) == list(range(1, 301))
            await until(lambda: all(len(node.heard("a")) == 300 for node in nodes))
            order: list[KeptMessage] = nodes[0].heard("a")
            assert [message.id for message in order] == list(range(1, 301))
            for place, node in enumerate(nodes):
                assert node.heard("a") == order
                assert [m.text for m in order if m.sender == str(place)] == [str(number) for number in range(100)]
                origins = [marks[place] if message.sender == str(place) else None for message in order]
                assert node.listener.origins == origins

        self.run(3, test)

    def test_history_is_the_same_wherever_it_is_read(self) -> None:
        async def test(nodes: list[Node]) -> None:
            await nodes[0].enter("a")
            kept = [await settled(node.broker.keep("a", "ana", str(n))) for n in range(20) for node in nodes]
            for node in nodes:
                assert await settled(node.broker.history("a", None, 100)) == kept
                assert await settled(node.broker.history("a", 30, 5)) == kept[30:35]
                assert await settled(node.broker.history("b", None, 100)) == []

        self.run(2, test)

    def test_no_name_of_a_room_reaches_another_room_on_another_node(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two = nodes
            for room in AWKWARD:
                await two.enter(room)
            for room in AWKWARD:
                one.broker.publish(room, f"live in {room}")
                await settled(one.broker.keep(room, "ana", f"kept in {room}"))
            await until(lambda: len(two.listener.heard) >= 2 * len(AWKWARD))
            for room in AWKWARD:
                texts = [getattr(message, "text", message) for message in two.heard(room)]
                assert sorted(texts) == [f"kept in {room}", f"live in {room}"]

        self.run(2, test)

    def test_who_comes_and_goes_on_one_node_is_told_on_the_other_once(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two = nodes
            await one.enter("a")
            await two.enter("a")
            for name in AWKWARD:
                one.broker.arrive("a", name)
            await until(lambda: len(two.listener.events) == len(AWKWARD))
            assert two.listener.events == [("a", "+", name) for name in AWKWARD]
            assert await settled(two.broker.present("a")) == AWKWARD
            for name in AWKWARD:
                one.broker.depart("a", name)
            await until(lambda: len(two.listener.events) == 2 * len(AWKWARD))
            assert two.listener.events[len(AWKWARD) :] == [("a", "-", name) for name in AWKWARD]
            assert await settled(two.broker.present("a")) == []

        self.run(2, test)

    def test_who_was_there_before_is_known_without_being_told_and_leaves_once(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two = nodes
            await one.enter("a")
            names = [f"name {number}" for number in range(500)]
            for name in names:
                one.broker.arrive("a", name)
            assert await settled(two.broker.present("a")) == names  # also to one who only looks
            await two.enter("a")
            two.broker.arrive("a", "bob")
            assert await settled(two.broker.present("a")) == ["bob", *names]
            assert two.listener.events == [("a", "+", "bob")]
            one.broker.depart("a", names[0])
            await until(lambda: len(two.listener.events) == 2)
            assert two.listener.events[1] == ("a", "-", names[0])

        self.run(2, test)

    def test_a_name_on_two_nodes_is_told_once_and_leaves_with_the_last(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two, three = nodes
            for node in nodes:
                await node.enter("a")
            one.broker.arrive("a", "ana")
            await until(lambda: two.listener.events and three.listener.events)
            two.broker.arrive("a", "ana")
            two.broker.arrive("a", "bob")
            await until(lambda: ("a", "+", "bob") in one.listener.events and ("a", "+", "bob") in three.listener.events)
            one.broker.depart("a", "ana")
            one.broker.depart("a", "eve")
            one.broker.arrive("a", "eve")
            await until(lambda: ("a", "+", "eve") in three.listener.events and ("a", "+", "eve") in two.listener.events)
            two.broker.depart("a", "ana")
            await until(lambda: all(("a", "-", "ana") in node.listener.events for node in nodes))
            for node in nodes:
                assert [event for event in node.listener.events if event[2] == "ana"] == [
                    ("a", "+", "ana"),
                    ("a", "-", "ana"),
                ]

        self.run(3, test)

    def test_rooms_of_all_nodes_are_listed_with_how_many_are_there(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two = nodes
            for node, room, names in ((one, "a", ["ana", "bob"]), (two, "a", ["eve"]), (two, "b", ["kim"])):
                await node.enter(room)
                for name in names:
                    node.broker.arrive(room, name)
            for node in nodes:
                found: dict[str, int] = {}
                async with asyncio.timeout(20):
                    while found != {"a": 3, "b": 1}:
                        await asyncio.sleep(0.01)  # what is known already does not let others run
                        found = await node.broker.rooms()

        self.run(2, test)

    def test_of_nodes_that_claim_names_at_once_one_has_each(self) -> None:
        async def test(nodes: list[Node]) -> None:
            names = [*AWKWARD, *map(str, range(30))]
            claims = [node.broker.claim(name) for name in names for node in nodes]
            results = [await settled(claim) for claim in claims]
            assert [sum(results[place : place + 3]) for place in range(0, len(results), 3)] == [1] * len(names)

        self.run(3, test)

    def test_what_is_told_reaches_the_holder_on_another_node(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two = nodes
            for name in AWKWARD:
                assert await settled(two.broker.claim(name))
                assert not await settled(one.broker.claim(name))
                assert await settled(one.broker.tell(name, f"to {name}")) == f"{name} has it"
            assert two.listener.private == [(name, f"to {name}") for name in AWKWARD]
            two.broker.release("lobby")
            assert await settled(one.broker.tell("lobby", "hi")) is None

        self.run(2, test)

    def test_the_others_hear_that_a_node_has_closed_and_its_names_are_free(self) -> None:
        async def test(nodes: list[Node]) -> None:
            one, two = nodes
            await one.enter("a")
            await two.enter("a")
            assert await settled(one.broker.claim("ana"))
            one.broker.arrive("a", "ana")
            await until(lambda: two.listener.events)
            await settled(one.broker.close())
            await until(lambda: len(two.listener.events) == 2)
            assert two.listener.events == [("a", "+", "ana"), ("a", "-", "ana")]
            assert await settled(two.broker.claim("ana"))
            assert await settled(two.broker.present("a")) == []

        self.run(2, test)
