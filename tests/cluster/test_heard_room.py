"""A room as a node hears it from others, without a network."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import Listener  # noqa: E402  # after its asserts are made to explain

from xmlsocket.rooms.cluster.envelope import Head, Standing, encode, pack  # noqa: E402
from xmlsocket.rooms.cluster.heard_room import HeardRoom  # noqa: E402


def say(room, seq, *entries, texts=None, is_baseline=False):
    """Have a node say entries, the first of them numbered ``seq``; returns how many messages were missed."""
    head = Head("t", "node", 1, seq, seq if texts is None else texts)
    return room.hear(head, encode("\0".join(entries)), is_baseline=is_baseline, is_alive=True)


def test_what_comes_after_its_time_is_not_told_and_does_not_make_the_node_forget_where_it_is():
    ear = Listener()
    room = HeardRoom("a", ear)
    assert say(room, 0, "mone") == 0
    assert say(room, 3, "mfour") == 2
    assert say(room, 1, "mtwo", "mthree") == 0  # by the way of another server
    assert room.peers["node"].seq == 4
    room.learn("node", Standing("a", 1, 4, 4, 0, []), is_told=True)
    assert say(room, 4, "mfive") == 0
    assert room.peers["node"].is_known
    assert [message for _, message in ear.heard] == ["one", "four", "five"]


class Faulty(Listener):
    """Fails at what it is told of."""

    def receive(self, room, message):
        super().receive(room, message)
        raise RuntimeError(message)

    def receive_arrival(self, room, name):
        super().receive_arrival(room, name)
        raise RuntimeError(name)

    def receive_departure(self, room, name):
        super().receive_departure(room, name)
        raise RuntimeError(name)


def test_a_fault_of_whoever_is_told_hides_nothing_that_follows(caplog):
    ear = Faulty()
    room = HeardRoom("a", ear)
    assert say(room, 0, "+ana", "mone", "+bob", "mtwo", texts=0) == 0
    assert say(room, 4, "mthree", texts=2) == 0
    room.clear("node", is_known=False)
    assert [message for _, message in ear.heard] == ["one", "two", "three"]
    assert ear.events == [("a", "+", "ana"), ("a", "+", "bob"), ("a", "-", "ana"), ("a", "-", "bob")]
    assert room.present == {}
    assert len(caplog.records) == 7


def test_a_long_message_whose_middle_is_lost_is_one_message_missed():
    ear = Listener()
    room = HeardRoom("a", ear)
    pieces = [(head, body) for head, body in pack(Head("t", "node", 1, 0, 0), ["m" + "x" * 1000], 400) if body]
    assert len(pieces) > 3
    missed = [room.hear(head, body.partition(b"\0")[2], is_baseline=False, is_alive=True) for head, body in pieces[:1]]
    for head, body in pieces[2:]:
        missed.append(room.hear(head, body.partition(b"\0")[2], is_baseline=False, is_alive=True))
    assert sum(missed) == 1
    assert ear.gaps == [("a", 1)]
    assert say(room, len(pieces), "mnext", texts=1) == 0
