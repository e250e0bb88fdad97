from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.rooms.test_rooms import Ear, ears

from xmlsocket import ConfigurationError, KeptMessage, RoomLimitError, RoomLimits, Rooms
from xmlsocket.rooms import Done, MemoryBroker, Renderer


class Writer(Renderer):
    """Writes everything that happens."""

    def kept(self, room: str, message: KeptMessage) -> str:
        return f"{room}: {message.text}"

    def arrival(self, room: str, name: str) -> str:
        return f"{room} +{name}"

    def departure(self, room: str, name: str) -> str:
        return f"{room} -{name}"

    def gap(self, room: str, missed: int) -> str:
        return f"{room} missed {missed}"

    def connection_state(self, room: str, is_connected: bool) -> str | None:
        return None if is_connected else f"{room} cut off"


class Desk:
    """Holds names, and writes down what comes for them."""

    def __init__(self) -> None:
        self.got: list[tuple[str, ...]] = []

    def receive_private(self, name: str, message: str) -> str | None:
        self.got.append((name, message))
        return "thanks"

    def lose_name(self, name: str) -> None:
        self.got.append((name,))


def present(rooms: Rooms, room: str = "lobby") -> list[str]:
    found = rooms.broker.present(room)
    assert isinstance(found, Done)
    return found.value


def test_the_others_hear_who_comes_and_who_goes_and_the_one_who_does_not() -> None:
    rooms = Rooms(render=Writer())
    ana, bob = ears(2)
    rooms.join("lobby", ana, "Ana")
    stay = rooms.join("lobby", bob, "Bob")
    assert (ana.heard(), bob.heard()) == (["lobby +Bob"], [])
    assert present(rooms) == ["Ana", "Bob"]
    stay.leave()
    stay.leave()
    assert (ana.heard(), bob.heard()) == (["lobby -Bob"], [])
    rooms.forget(ana)
    assert (present(rooms), rooms.names) == ([], [])


def test_a_member_without_a_name_is_heard_of_by_nobody_and_hears_of_everybody() -> None:
    rooms = Rooms(render=Writer())
    ana, ghost = ears(2)
    rooms.join("lobby", ghost)
    rooms.join("lobby", ana, "Ana")
    assert (ana.heard(), ghost.heard()) == ([], ["lobby +Ana"])
    assert present(rooms) == ["Ana"]
    rooms.leave("lobby", ghost)
    assert ana.heard() == []


def test_joining_twice_arrives_once() -> None:
    rooms = Rooms(render=Writer())
    ana, bob = ears(2)
    rooms.join("lobby", bob)
    for _ in range(2):
        rooms.join("lobby", ana, "Ana")
    rooms.leave("lobby", ana)
    assert bob.heard() == ["lobby +Ana", "lobby -Ana"]


def test_two_members_by_one_name_are_one_for_the_others() -> None:
    rooms = Rooms(render=Writer())
    members = ears(3)
    for member, name in zip(members, ("Bob", "Ana", "Ana"), strict=True):
        rooms.join("lobby", member, name)
    assert present(rooms) == ["Bob", "Ana"]
    rooms.forget(members[1])
    assert members[0].heard() == ["lobby +Ana"]
    rooms.forget(members[2])
    assert members[0].heard() == ["lobby -Ana"]


def test_when_many_go_at_once_those_who_stay_hear_of_each() -> None:
    rooms = Rooms(render=Writer())
    stays, *go = ears(1000)
    rooms.join("lobby", stays, "stays")
    for member in go:
        rooms.join("lobby", member, f"member {member.id}")
    stays.heard()
    for member in go:
        rooms.forget(member)
    assert stays.heard() == [f"lobby -member {member.id}" for member in go]
    assert present(rooms) == ["stays"]


def test_a_room_finds_who_is_present() -> None:
    async def scene() -> None:
        rooms = Rooms()
        room = rooms.join("lobby", Ear(1), "Ana").room
        assert await room.present() == ["Ana"]

    asyncio.run(scene())


def test_gaps_go_to_their_room_and_the_state_of_the_broker_to_all() -> None:
    rooms = Rooms(render=Writer())
    ana, bob = ears(2)
    rooms.join("a", ana)
    rooms.join("b", bob)
    rooms.receive_gap("a", 7)
    rooms.receive_gap("nowhere", 7)
    rooms.receive_state(False)
    rooms.receive_state(True)
    assert (ana.heard(), bob.heard()) == (["a missed 7", "a cut off"], ["b cut off"])


def test_without_a_renderer_members_get_kept_texts_and_nothing_else() -> None:
    rooms = Rooms()
    ana, bob = ears(2)
    room = rooms.join("lobby", ana, "Ana").room
    rooms.join("lobby", bob, "Bob").leave()
    rooms.receive_gap("lobby", 1)
    rooms.receive_state(False)
    room.keep("text", "Ana")
    assert ana.heard() == ["text"]


def test_a_renderer_writes_kept_messages() -> None:
    rooms = Rooms(render=Writer())
    (ana,) = ears(1)
    rooms.join("lobby", ana).room.keep("text", "Ana")
    assert ana.heard() == ["lobby: text"]


def test_what_comes_for_a_name_goes_to_its_holder() -> None:
    desk = Desk()
    rooms = Rooms(holders=desk)
    assert rooms.broker.claim("ana").value  # type: ignore[attr-defined]  # the broker in memory has it at once
    assert rooms.broker.tell("ana", "hi").value == "thanks"  # type: ignore[attr-defined]  # as above
    rooms.lose_name("ana")
    assert desk.got == [("ana", "hi"), ("ana",)]


def test_without_holders_nobody_can_be_told_anything() -> None:
    rooms = Rooms()
    assert rooms.receive_private("ana", "hi") is None
    rooms.lose_name("ana")


class WatchedBroker(MemoryBroker):
    """Writes down which rooms are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def subscribe(self, room: str) -> None:
        self.open.append(room)

    def unsubscribe(self, room: str) -> None:
        self.open.remove(room)


def test_a_held_room_is_open_until_it_is_released_and_empty() -> None:
    broker = WatchedBroker()
    rooms = Rooms(broker)
    (ana,) = ears(1)
    first, second = rooms.hold("lobby"), rooms.hold("lobby")
    assert (broker.open, rooms.names) == (["lobby"], [])
    stay = rooms.join("lobby", ana)
    assert (broker.open, rooms.names) == (["lobby"], ["lobby"])
    first.release()
    first.release()
    stay.leave()
    assert (broker.open, rooms.names) == (["lobby"], [])
    second.release()
    assert broker.open == []


def test_a_hold_outlives_neither_its_room_nor_its_successor() -> None:
    broker = WatchedBroker()
    rooms = Rooms(broker)
    hold = rooms.hold("lobby")
    hold.release()
    again = rooms.hold("lobby")
    hold.release()
    assert broker.open == ["lobby"]
    again.release()
    assert broker.open == []


def test_held_rooms_count_for_the_limit() -> None:
    rooms = Rooms(limits=RoomLimits(max_rooms=1))
    rooms.hold("a")
    rooms.hold("a")
    with pytest.raises(RoomLimitError):
        rooms.hold("b")


def test_an_address_that_is_none_is_refused_at_once() -> None:
    pytest.importorskip("nats")
    with pytest.raises(ConfigurationError, match="redis"):
        Rooms("redis://localhost")


def test_an_address_makes_a_broker_that_reaches_it() -> None:
    pytest.importorskip("nats")
    assert type(Rooms("nats://localhost:1").broker).__name__ == "NatsBroker"


def test_without_nats_py_an_address_says_what_to_install_and_all_else_works() -> None:
    program = """
import sys
sys.modules["nats"] = None
from xmlsocket import ConfigurationError, Rooms
Rooms()
try:
    Rooms("nats://localhost")
except ConfigurationError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "xmlsocket[cluster]"' in ran.stdout
