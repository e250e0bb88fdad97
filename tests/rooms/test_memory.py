"""What the broker in memory promises beyond the contract of all brokers: how much it holds."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from xmlsocket import RoomLimits
from xmlsocket.rooms import KeptMessage, MemoryBroker


class Nobody:
    def receive(self, room: str, message: str | bytes) -> None: ...

    def receive_kept(self, room: str, message: KeptMessage, origin: object = None) -> None: ...


def make(**limits: int) -> MemoryBroker:
    broker = MemoryBroker(RoomLimits(**limits), clock=lambda: 0.0)
    broker.attach(Nobody())
    return broker


def ids(broker: MemoryBroker, room: str = "a", after: int | None = None) -> list[int]:
    return [message.id for message in broker.history(room, after, 1000).value]


@pytest.mark.parametrize(("said", "held"), [(2, [1, 2]), (3, [1, 2, 3]), (4, [2, 3, 4]), (10, [8, 9, 10])])
def test_a_room_holds_its_latest_messages(said: int, held: list[int]) -> None:
    broker = make(history_size=3)
    for _ in range(said):
        broker.keep("a", "ana", "hi")
    assert ids(broker) == held
    assert ids(broker, after=0) == held


def test_after_a_number_that_was_forgotten_history_begins_with_what_is_held() -> None:
    broker = make(history_size=3)
    for _ in range(10):
        broker.keep("a", "ana", "hi")
    assert ids(broker, after=2) == [8, 9, 10]
    assert ids(broker, after=8) == [9, 10]


def test_with_a_history_size_of_0_messages_are_numbered_and_not_held() -> None:
    broker = make(history_size=0)
    assert [broker.keep("a", "ana", "hi").value.id for _ in range(3)] == [1, 2, 3]
    assert ids(broker) == []


def test_beyond_the_limit_the_room_spoken_in_least_recently_is_forgotten() -> None:
    text = "x" * 10_000
    broker = make(max_history_bytes=35_000)
    for room in ("a", "b", "c"):
        broker.keep(room, "ana", text)
    assert [ids(broker, room) for room in "abc"] == [[1], [1], [1]]
    broker.keep("a", "ana", text)
    assert [ids(broker, room) for room in "abc"] == [[1, 2], [], [1]]


def test_a_single_room_forgets_its_oldest_messages_beyond_the_limit() -> None:
    broker = make(max_history_bytes=35_000)
    for _ in range(10):
        broker.keep("a", "ana", "x" * 10_000)
    assert ids(broker) == [8, 9, 10]


def test_a_message_longer_than_the_limit_is_numbered_and_not_held() -> None:
    broker = make(max_history_bytes=5_000)
    assert broker.keep("a", "ana", "x" * 10_000).value.id == 1
    assert ids(broker) == []
    assert broker.keep("a", "ana", "short").value.id == 2
    assert ids(broker) == [2]


def test_numbers_of_a_room_never_go_back_even_when_it_was_forgotten() -> None:
    broker = make(max_history_bytes=25_000)
    highest = dict.fromkeys("abcd", 0)
    for turn in range(200):
        room = "abcd"[turn * 7 % 4 if turn % 3 else 0]
        number = broker.keep(room, "ana", "x" * 10_000).value.id
        assert number > highest[room]
        highest[room] = number


def test_any_number_of_rooms_stays_within_the_limit() -> None:
    limit = 2_000_000
    broker = make(max_history_bytes=limit)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            broker.keep(f"room {number}", "ana", "é" * (number % 50))
            assert broker.history_bytes <= limit
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert broker.history_bytes > limit / 2
    assert used < 1.5 * limit


def test_closing_lets_go_of_everything() -> None:
    broker = make()
    broker.keep("a", "ana", "hi")
    broker.claim("ana")
    asyncio.run(broker.close())
    assert ids(broker) == []
    assert broker.history_bytes == 0
    assert broker.claim("ana").value


def test_long_names_of_senders_count_too() -> None:
    limit = 2_000_000
    broker = make(max_history_bytes=limit, history_size=1_000_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(5_000):
            broker.keep("a", f"{number}{'x' * 1_000}", "hi")
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used < 1.5 * limit
