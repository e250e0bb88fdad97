from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

import pytest

from xmlsocket import (
    BrokerUnavailableError,
    EmbeddedNulError,
    KeptMessage,
    RoomLimitError,
    RoomLimits,
    Rooms,
)
from xmlsocket.rooms import MemoryBroker, OwnCopy
from xmlsocket.wire import Batch, MessageEncoder, text_codec


class CountingEncoder(MessageEncoder):
    """An encoder that counts how often it has to work."""

    def __init__(self) -> None:
        super().__init__(text_codec(), None)
        self.count = 0

    def encode(self, messages: Sequence[str | bytes]) -> bytes:
        self.count += 1
        return super().encode(messages)


ENCODER = CountingEncoder()


class Ear:
    """A member that writes what it gets when the turn ends, as a connection does."""

    def __init__(self, number: int, encoder: CountingEncoder = ENCODER) -> None:
        self.id = number
        self.encoder = encoder
        self.batches: list[Batch] = []

    def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)

    def heard(self) -> list[str]:
        """End the turn, and tell what was heard in it."""
        data = b"".join(batch.encode(self.encoder) for batch in self.batches)
        self.batches.clear()
        return data.decode().split("\0")[:-1]


def ears(count: int) -> list[Ear]:
    return [Ear(number) for number in range(1, count + 1)]


def joined(rooms: Rooms, members: Iterable[Ear], name: str = "lobby") -> None:
    for member in members:
        rooms.join(name, member)


def publish(rooms: Rooms, *messages: str, room: str = "lobby") -> None:
    for message in messages:
        rooms.broker.publish(room, message)


def test_whoever_is_in_a_room_hears_what_is_published_there_and_nobody_else() -> None:
    rooms = Rooms()
    ana, bob, eve = ears(3)
    joined(rooms, [ana, bob])
    joined(rooms, [eve], "elsewhere")
    publish(rooms, "one", "two")
    publish(rooms, "other", room="elsewhere")
    assert (ana.heard(), bob.heard(), eve.heard()) == (["one", "two"], ["one", "two"], ["other"])


def test_a_broadcast_is_encoded_once_for_all_members_of_a_turn() -> None:
    rooms = Rooms()
    encoder = CountingEncoder()
    members = [Ear(number, encoder) for number in range(1, 1001)]
    joined(rooms, members)
    publish(rooms, *(str(number) for number in range(100)))
    assert all(member.heard() == [str(number) for number in range(100)] for member in members)
    assert encoder.count == 1


def test_members_with_different_encodings_share_an_encoding_each() -> None:
    rooms = Rooms()
    first, second = CountingEncoder(), CountingEncoder()
    members = [Ear(number, first if number % 2 else second) for number in range(1, 11)]
    joined(rooms, members)
    publish(rooms, "a", "b")
    assert all(member.heard() == ["a", "b"] for member in members)
    assert (first.count, second.count) == (1, 1)


def test_messages_after_a_member_has_written_reach_everybody() -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    joined(rooms, [ana, bob])
    publish(rooms, "one")
    assert ana.heard() == ["one"]
    publish(rooms, "two")
    assert (ana.heard(), bob.heard()) == (["two"], ["one", "two"])


def test_who_joins_does_not_get_what_was_published_before_in_the_same_turn() -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    joined(rooms, [ana])
    publish(rooms, "before")
    joined(rooms, [bob])
    publish(rooms, "after")
    assert (ana.heard(), bob.heard()) == (["before", "after"], ["after"])


@pytest.mark.parametrize("how", ["leave", "leave_all", "membership"])
def test_who_leaves_does_not_get_what_is_published_after_in_the_same_turn(how: str) -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    joined(rooms, [ana])
    stay = rooms.join("lobby", bob)
    publish(rooms, "before")
    if how == "leave":
        rooms.leave("lobby", bob)
    elif how == "leave_all":
        rooms.leave_all(bob)
    else:
        stay.leave()
    publish(rooms, "after")
    assert (ana.heard(), bob.heard()) == (["before", "after"], ["before"])


def test_who_leaves_and_comes_back_in_one_turn_misses_what_was_published_between() -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    joined(rooms, [ana, bob])
    publish(rooms, "one")
    rooms.leave("lobby", bob)
    publish(rooms, "two")
    joined(rooms, [bob])
    publish(rooms, "three")
    assert (ana.heard(), bob.heard()) == (["one", "two", "three"], ["one", "three"])


def test_a_thousand_members_that_are_gone_cost_the_others_one_batch() -> None:
    rooms = Rooms()
    members = ears(1100)
    joined(rooms, members)
    for member in members[100:]:
        rooms.forget(member)
        publish(rooms, f"left {member.id}")
    assert [len(member.batches) for member in members[:100]] == [1] * 100
    assert members[0].heard() == [f"left {member.id}" for member in members[100:]]
    assert rooms.rooms_of(members[500]) == []


def test_joining_twice_is_joining_once() -> None:
    rooms = Rooms()
    (ana,) = ears(1)
    assert rooms.join("lobby", ana) is rooms.join("lobby", ana)
    publish(rooms, "one")
    assert ana.heard() == ["one"]
    rooms.leave("lobby", ana)
    assert "lobby" not in rooms


def test_ending_an_old_stay_again_does_not_end_a_new_one() -> None:
    rooms = Rooms()
    (ana,) = ears(1)
    old = rooms.join("lobby", ana)
    old.leave()
    old.leave()
    new = rooms.join("lobby", ana)
    old.leave()
    publish(rooms, "still here")
    assert ana.heard() == ["still here"]
    assert ana in new.room


def test_leaving_a_room_that_one_is_not_in_is_harmless() -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    joined(rooms, [ana])
    rooms.leave("lobby", bob)
    rooms.leave("nowhere", ana)
    rooms.leave_all(bob)
    rooms.forget(bob)
    assert rooms.rooms_of(ana) == ["lobby"]


def test_a_room_exists_while_it_has_members() -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    joined(rooms, [ana, bob], "b")
    joined(rooms, [ana], "a")
    assert (rooms.names, len(rooms), "a" in rooms) == (["b", "a"], 2, True)
    assert rooms.rooms_of(ana) == ["a", "b"]
    room = rooms.get("b")
    assert room is not None
    assert (room.members, len(room), ana in room) == ([ana, bob], 2, True)
    rooms.leave_all(ana)
    assert (rooms.names, room.members, ana in room) == (["b"], [bob], False)
    rooms.leave("b", bob)
    assert (rooms.names, rooms.get("b")) == ([], None)


def test_publishing_to_a_room_that_nobody_is_in_is_harmless() -> None:
    rooms = Rooms()
    publish(rooms, "nobody hears")
    rooms.receive_kept("lobby", KeptMessage(1, 0.0, "ana", "nobody hears"))
    (ana,) = ears(1)
    joined(rooms, [ana])
    assert ana.heard() == []


def test_a_message_that_would_arrive_as_two_is_refused() -> None:
    rooms = Rooms()
    (ana,) = ears(1)
    room = rooms.join("lobby", ana).room
    with pytest.raises(EmbeddedNulError):
        room.publish_nowait("a\0b")
    with pytest.raises(EmbeddedNulError):
        room.publish_nowait(b"a\0b")
    with pytest.raises(EmbeddedNulError):
        room.keep("a\0b")
    assert ana.heard() == []


def test_text_bytes_and_elements_can_be_published() -> None:
    rooms = Rooms()
    (ana,) = ears(1)
    room = rooms.join("lobby", ana).room

    async def speak() -> None:
        await room.publish("ä")
        await room.publish("ö".encode())
        await room.publish(ElementTree.fromstring("<a b='c'>d</a>"))

    asyncio.run(speak())
    assert ana.heard() == ["ä", "ö", '<a b="c">d</a>']


def test_a_hundred_thousand_joins_and_leaves_leave_nothing_behind() -> None:
    rooms = Rooms()
    host = Ear(0)
    joined(rooms, [host])

    def come_and_go(first: int, count: int) -> None:
        for number in range(first, first + count):
            guest = Ear(number)
            rooms.join("lobby", guest)
            rooms.join(f"room {number % 1000}", guest)
            publish(rooms, "hello")
            (rooms.leave_all if number % 2 else rooms.forget)(guest)
            if number % 100 == 0:
                host.heard()
        host.heard()

    come_and_go(1, 1000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        come_and_go(1001, 50_000)  # two rooms each
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    assert (rooms.names, list(rooms._stays)) == (["lobby"], [0])


@pytest.mark.parametrize(
    ("limit", "places"),
    [
        ("max_rooms", [("a", 1), ("b", 1), ("c", 2), ("d", 3)]),
        ("max_members_per_room", [("a", 1), ("a", 2), ("a", 3), ("a", 4)]),
        ("max_rooms_per_member", [("a", 1), ("b", 1), ("c", 1), ("d", 1)]),
    ],
)
def test_a_limit_lets_in_as_many_as_it_says_and_not_one_more(limit: str, places: list[tuple[str, int]]) -> None:
    rooms = Rooms(limits=RoomLimits(**{limit: 3}))
    for name, number in places[:3]:
        rooms.check_join(name, Ear(number))
        rooms.join(name, Ear(number))
    name, number = places[3]
    with pytest.raises(RoomLimitError, match=rf"{limit} \(3\)"):
        rooms.check_join(name, Ear(number))
    with pytest.raises(RoomLimitError, match=rf"{limit} \(3\)"):
        rooms.join(name, Ear(number))
    assert name not in rooms.rooms_of(Ear(number))
    rooms.leave(places[0][0], Ear(places[0][1]))
    rooms.join(name, Ear(number))


def test_a_limit_of_0_lets_nobody_in_and_leaves_no_room() -> None:
    for limit in ("max_rooms", "max_members_per_room", "max_rooms_per_member"):
        rooms = Rooms(limits=RoomLimits(**{limit: 0}))
        with pytest.raises(RoomLimitError):
            rooms.join("lobby", Ear(1))
        assert (rooms.names, rooms._stays) == ([], {})


# Kept messages


def render(room: str, message: KeptMessage) -> str:
    return f"{room} {message.id} {message.sender}: {message.text}"


def test_a_kept_message_is_rendered_once_for_all_members() -> None:
    calls = []

    def counting(room: str, message: KeptMessage) -> str:
        calls.append(message)
        return render(room, message)

    rooms = Rooms(render=counting)
    members = ears(100)
    joined(rooms, members)
    room = rooms.get("lobby")
    assert room is not None
    room.keep("hi", "ana")
    room.keep("ho", "bob")
    assert all(member.heard() == ["lobby 1 ana: hi", "lobby 2 bob: ho"] for member in members)
    assert len(calls) == 2


def test_live_and_kept_messages_of_a_room_have_one_order() -> None:
    rooms = Rooms(render=render)
    members = ears(3)
    joined(rooms, members)
    room = rooms.get("lobby")
    assert room is not None
    room.publish_nowait("one")
    room.keep("two", "ana")
    room.publish_nowait("three")
    assert all(member.heard() == ["one", "lobby 1 ana: two", "three"] for member in members)


def test_an_own_copy_goes_to_one_member_at_the_same_place_in_the_order() -> None:
    rooms = Rooms(render=render)
    ana, bob, eve = ears(3)
    joined(rooms, [ana, bob, eve])
    room = rooms.get("lobby")
    assert room is not None
    room.publish_nowait("before")
    room.keep("hi", "ana", OwnCopy(ana, lambda room, message: f"you said {message.text} in {room}"))
    room.publish_nowait("after")
    assert bob.heard() == eve.heard() == ["before", "lobby 1 ana: hi", "after"]
    assert ana.heard() == ["before", "you said hi in lobby", "after"]


def test_an_own_copy_of_one_who_is_not_there_goes_to_nobody() -> None:
    rooms = Rooms(render=render)
    ana, bob = ears(2)
    joined(rooms, [bob])
    room = rooms.get("lobby")
    assert room is not None
    room.keep("hi", "ana", OwnCopy(ana, lambda room, message: "own"))
    assert (ana.heard(), bob.heard()) == ([], ["lobby 1 ana: hi"])


def test_a_room_finds_its_history() -> None:
    async def scene() -> None:
        rooms = Rooms()
        room = rooms.join("lobby", Ear(1)).room
        for text in ("one", "two", "three"):
            await room.keep(text, "ana")
        assert [message.text for message in await room.history()] == ["one", "two", "three"]
        assert [message.text for message in await room.history(after=1, limit=1)] == ["two"]
        assert [message.text for message in await room.history(limit=2)] == ["two", "three"]

    asyncio.run(scene())


# Start and close


class CountingBroker(MemoryBroker):
    """A broker that takes its time to start, and may fail."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.starts = 0
        self.is_started = False
        self.subscribed: list[str] = []

    async def start(self) -> None:
        self.starts += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.is_started = True

    def subscribe(self, room: str) -> None:
        self.subscribed.append(room)

    def unsubscribe(self, room: str) -> None:
        self.subscribed.remove(room)


def test_entering_a_room_starts_the_broker_once_and_waits_for_it() -> None:
    broker = CountingBroker()

    async def enter(member: Ear) -> None:
        async with rooms.join("lobby", member) as room:
            assert broker.is_started
            assert member in room

    async def scene() -> None:
        await asyncio.gather(*(enter(member) for member in ears(5)))
        await rooms.close()

    rooms = Rooms(broker)
    asyncio.run(scene())
    assert broker.starts == 1
    assert (rooms.names, broker.subscribed) == ([], [])


def test_a_start_that_fails_lets_nobody_in_and_is_tried_again() -> None:
    broker = CountingBroker(BrokerUnavailableError("away"))
    rooms = Rooms(broker)
    (ana,) = ears(1)

    async def scene() -> None:
        with pytest.raises(BrokerUnavailableError):
            async with rooms.join("lobby", ana):
                pytest.fail("the room was entered")
        assert rooms.names == []
        async with rooms.join("lobby", ana):
            assert broker.is_started

    asyncio.run(scene())
    assert broker.starts == 2


def test_cancelling_one_who_enters_does_not_stop_the_start_for_others() -> None:
    broker = CountingBroker()
    rooms = Rooms(broker)
    ana, bob = ears(2)

    async def enter(member: Ear) -> None:
        async with rooms.join("lobby", member):
            assert broker.is_started

    async def scene() -> None:
        first, second = asyncio.create_task(enter(ana)), asyncio.create_task(enter(bob))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second

    asyncio.run(scene())
    assert broker.starts == 1
    assert rooms.names == []


def test_a_start_that_failed_while_nobody_waited_is_tried_again_by_the_next() -> None:
    broker = CountingBroker(BrokerUnavailableError("away"))
    rooms = Rooms(broker)

    async def scene() -> None:
        impatient = asyncio.create_task(rooms.start())
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        await asyncio.sleep(0.01)
        await rooms.start()

    asyncio.run(scene())
    assert broker.starts == 2
    assert broker.is_started


def test_the_broker_hears_of_the_first_and_of_the_last_member_of_a_room() -> None:
    broker = CountingBroker()
    rooms = Rooms(broker)
    ana, bob = ears(2)
    joined(rooms, [ana, bob])
    assert broker.subscribed == ["lobby"]
    rooms.leave("lobby", ana)
    assert broker.subscribed == ["lobby"]
    rooms.forget(bob)
    assert broker.subscribed == []


def test_a_room_says_what_it_is() -> None:
    rooms = Rooms()
    assert repr(rooms.join("lobby", Ear(1)).room) == "<Room 'lobby': 1 members>"
