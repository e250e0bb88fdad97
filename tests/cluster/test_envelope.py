from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.rooms.cluster.envelope import (
    HEAD_SIZE,
    QUESTION,
    TEXT,
    Head,
    Note,
    Standing,
    pack,
    pack_bytes,
    read,
    read_note,
    read_standings,
    write,
    write_note,
    write_standings,
)
from xmlsocket.rooms.cluster.heard_room import HeardRoom

text = st.text(st.characters(blacklist_characters="\0"), max_size=60)
entries = st.lists(st.tuples(st.sampled_from("m+-"), text).map("".join), max_size=12)
number = st.integers(0, 10**18)


class Ear:
    """Writes down what a room tells."""

    def __init__(self):
        self.told = []

    def receive(self, room, message):
        self.told.append(message)

    def receive_arrival(self, room, name):
        self.told.append(("+", name))

    def receive_departure(self, room, name):
        self.told.append(("-", name))

    def receive_gap(self, room, missed):
        self.told.append(missed)


def hear_all(envelopes, heard=None):
    ear = Ear()
    room = heard or HeardRoom("a", ear)
    for envelope in envelopes:
        room.hear(*read(envelope), is_baseline=False, is_alive=True)
    return ear.told, room


@given(entries, st.integers(2 * HEAD_SIZE, 500))
def test_what_was_packed_is_heard_in_its_order_however_short_envelopes_must_be(said, limit):
    *packed, (last, nothing) = pack(Head(TEXT, "n", 1, 0, 0), said, limit)
    assert nothing == b""
    assert all(len(envelope) <= limit for _, envelope in packed)
    texts = [entry[1:] for entry in said if entry[0] == "m"]
    assert (last.seq >= len(said), last.texts) == (True, len(texts))
    told, room = hear_all(envelope for _, envelope in packed)
    assert [one for one in told if isinstance(one, str)] == texts
    assert not [one for one in told if isinstance(one, int)]
    assert not packed or (room.peers["n"].seq, room.peers["n"].texts) == (last.seq, last.texts)


@given(st.binary(max_size=2000).map(lambda raw: raw.replace(b"\0", b"\1")))
def test_bytes_arrive_as_the_same_bytes_in_as_many_pieces_as_it_takes(message):
    packed = [envelope for _, envelope in pack_bytes(Head(TEXT, "n", 1, 0, 0), message, 2 * HEAD_SIZE) if envelope]
    assert hear_all(packed)[0] == [message]


@given(
    st.lists(st.tuples(entries.filter(bool), st.booleans()), max_size=10),
    st.integers(2 * HEAD_SIZE, 400),
)
def test_what_is_lost_is_counted_to_the_message_once_it_shows(turns, limit):
    envelopes, head = [], Head(TEXT, "n", 1, 0, 0)
    for said, is_lost in turns:
        for now, envelope in pack(head, said, limit):
            if envelope and not is_lost:
                envelopes.append(envelope)
            head = now
    envelopes.append(write(head._replace(kind=TEXT)))  # the announcement by which a lost tail shows
    told, _ = hear_all(envelopes)
    heard = [one for one in told if isinstance(one, str)]
    missed = sum(one for one in told if isinstance(one, int))
    assert heard == [entry[1:] for said, is_lost in turns if not is_lost for entry in said if entry[0] == "m"]
    assert len(heard) + missed == head.texts


def test_a_long_message_whose_piece_is_lost_is_missed_and_never_heard_in_part():
    for lost in range(3):
        packed = [one for _, one in pack(Head(TEXT, "n", 1, 0, 0), ["m" + "x" * 400], 2 * HEAD_SIZE) if one]
        assert len(packed) == 3
        after = [one for _, one in pack(Head(TEXT, "n", 1, 3, 1), ["mafter"], 1000) if one]
        told, _ = hear_all([*packed[:lost], *packed[lost + 1 :], *after])
        assert told == [1, "after"]


def test_an_old_epoch_and_what_was_heard_before_are_not_heard_again():
    first = [one for _, one in pack(Head(TEXT, "n", 1, 0, 0), ["m1", "+ana"], 1000) if one]
    second = [one for _, one in pack(Head(TEXT, "n", 2, 0, 0), ["m2"], 1000) if one]
    told, _ = hear_all([*first, *first, *second, *first, *second])
    assert told == ["1", ("+", "ana"), ("-", "ana"), "2"]


def test_a_snapshot_mends_who_is_there_and_tells_each_change_once():
    ear = Ear()
    room = HeardRoom("a", ear, ["own"])
    hear_all([one for _, one in pack(Head(TEXT, "n", 1, 0, 0), ["+ana", "+bob"], 1000) if one], room)
    room.hear(Head(TEXT, "n", 1, 5, 2), b"", is_baseline=False, is_alive=True)
    assert not room.peers["n"].is_known
    assert room.learn("n", Standing("a", 1, 5, 2, 2, ["bob", "cid"]), is_told=True) == 0
    assert room.peers["n"].is_known
    assert ear.told == [("+", "ana"), ("+", "bob"), 2, ("-", "ana"), ("+", "cid")]
    assert room.names(["own"]) == ["own", "bob", "cid"]
    room.clear("n", is_known=False)
    assert ear.told[-2:] == [("-", "bob"), ("-", "cid")]


def test_a_name_on_two_nodes_arrives_once_and_departs_with_the_last():
    ear = Ear()
    room = HeardRoom("a", ear)
    for node in ("n", "o"):
        hear_all([one for _, one in pack(Head(TEXT, node, 1, 0, 0), ["+ana"], 1000) if one], room)
    room.clear("n", is_known=False)
    room.clear("n", is_known=False)
    assert ear.told == [("+", "ana")]
    room.clear("o", is_known=False)
    assert ear.told == [("+", "ana"), ("-", "ana")]


@given(st.text("abc0123", min_size=1, max_size=12), number, number, number)
def test_a_head_is_read_as_it_was_written(node, epoch, seq, texts):
    head = Head(TEXT, node, epoch, seq, texts)
    assert read(write(head, b"\xff\0\xfe")) == (head, b"\xff\0\xfe")
    assert len(write(head)) <= HEAD_SIZE


@given(st.lists(text, max_size=5), number)
def test_a_note_is_read_as_it_was_written(fields, number):
    note = Note(QUESTION, "node", number, fields)
    assert read_note(write_note(note)) == note


@given(st.lists(st.tuples(text, number, st.lists(text, unique=True, max_size=30)), max_size=8), st.integers(300, 2000))
def test_standings_are_read_as_they_were_written_in_notes_that_are_short_enough(rooms, limit):
    written = [Standing(room, 1, seq, 0, len(names), names) for room, seq, names in rooms]
    notes = list(write_standings(written, limit))
    assert all(len(write_note(Note("=", "n" * 12, 1, fields))) <= max(limit, 700) for fields in notes)
    found = []
    for part in (part for fields in notes for part in read_standings(fields)):
        if part.start:
            assert part.start == len(found[-1].names)
            found[-1].names.extend(part.names)
        else:
            found.append(part)
    assert [one._replace(start=0, is_whole=True) for one in found] == written


@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"2 t n 1 0 0\0", b"1 t n x 0 0\0", b"1 t n 1 0\0", "1 t é 1 0 0\0".encode()]
)
def test_what_is_no_envelope_of_this_version_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        read(raw)


@pytest.mark.parametrize("fields", [["x"], ["1 0 0 1 1 0 1", "a"], ["1 0 0 1 1 0 1"], ["1 0 0 0 0 0 1"]])
def test_standings_that_end_too_early_are_refused(fields):
    with pytest.raises((ValueError, IndexError)):
        list(read_standings(fields))
