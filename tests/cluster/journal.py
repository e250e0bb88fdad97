"""The journal of a service under faults: who said what, what became of it, and that it adds up.

Every message has one outcome: accepted, refused, or unknown, which only a sender may be left with whose connection
ended. It adds up if the history is the same on every node, and has what was accepted and of what is unknown a part;
and if every member was given each of it once and in one order, up to the end of the stay.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEADLINE = 45.0
TOLD_WITHIN = 10.0
"""Seconds until the members of a dead node have left everywhere, as promised."""

History = list[tuple[int, str]]


class Record:
    """A file with one line of JSON for everything that happened.

    Args:
        path: Where it is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8")
        self._began = time.monotonic()

    def write(self, event: str, **details: Any) -> None:
        line = {"at": round(time.monotonic() - self._began, 3), "event": event, **details}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()

    def read(self) -> list[dict[str, Any]]:
        """Everything, as it is in the file."""
        self._file.flush()
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    async def until(self, condition: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
        """Wait until something is true, or say what never was."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.complain(f"not within {seconds:g} s: {what}")
            await asyncio.sleep(0.02)

    def complain(self, sentence: str) -> str:
        """A sentence with the place and the end of the file."""
        self._file.flush()
        tail = self.path.read_text("utf-8").splitlines()[-40:]
        return "\n".join([f"{sentence}; the journal is {self.path}, its end:", *tail])


@dataclass
class Message:
    """Something that was said.

    Attributes:
        began: When, on the test's clock.
        outcome: What its sender knows: ``sent`` for nothing yet, ``accepted``, ``refused``, ``unknown``.
        id: Its number, if it was accepted.
        code: Why it was refused.
        stamp: When it was accepted, as the node wrote it.
    """

    room: str
    sender: str
    text: str
    began: float = field(default_factory=time.monotonic)
    outcome: str = "sent"
    id: int | None = None
    code: str | None = None
    stamp: str | None = None


@dataclass
class Stay:
    """A member in a room, from joining to leaving or the end of the connection, and what it was given meanwhile.

    Attributes:
        label: Whose: the name, with the node if there are several by it.
        present: Who else is there, as far as the member was told.
        said: The kept messages that it was given.
        events: Who ``entered`` and ``left``.
        notices: The codes of notices.
        is_over: Whether it has ended.
    """

    room: str
    label: str
    present: set[str]
    began: float = field(default_factory=time.monotonic)
    said: History = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    is_over: bool = False

    def count(self, kind: str, name: str) -> int:
        return self.events.count((kind, name))

    def has_returned(self, name: str) -> bool:
        """Whether the member was told that somebody left and entered again, once."""
        kinds = [kind for kind, who in self.events if who == name]
        return kinds[-2:] == ["left", "entered"] and kinds.count("left") == 1


class Journal(Record):
    """What is said in kept rooms, and what becomes of it.

    Attributes:
        messages: By their texts, all different.
        stays: All that there were.
        faults: What must not happen and did.
        holders: Who was welcomed last by each name.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.holders: dict[str, Any] = {}
        self.messages: dict[str, Message] = {}
        self.stays: list[Stay] = []
        self.faults: list[str] = []

    def fault(self, sentence: str) -> None:
        self.faults.append(sentence)
        self.write("FAULT", sentence=sentence)

    def begin(self, room: str, sender: str, text: str) -> None:
        self.messages[text] = Message(room, sender, text)
        self.write("sent", room=room, text=text)

    def settle(self, text: str, outcome: str, **details: Any) -> None:
        """Note what became of a message: its ``id`` and ``stamp``, or the ``code``."""
        message = self.messages[text]
        if message.outcome != "sent":
            self.fault(f"{text} was {message.outcome}, and then {outcome}")
        message.outcome = outcome
        for name, value in details.items():
            setattr(message, name, value)
        self.write(outcome, text=text, **details)

    def join(self, stay: Stay) -> None:
        self.stays.append(stay)
        self.write("joined", label=stay.label, room=stay.room, present=sorted(stay.present))

    def deliver(self, stay: Stay, number: int, text: str) -> None:
        if stay.said and number != stay.said[-1][0] + 1:
            self.fault(f"{stay.label} was given {number} after {stay.said[-1][0]} in {stay.room}")
        stay.said.append((number, text))
        self.write("delivered", to=stay.label, room=stay.room, id=number, text=text)

    def move(self, stay: Stay, kind: str, name: str) -> None:
        """Note that a member was told who entered or left."""
        self.write(kind, to=stay.label, room=stay.room, name=name)
        stay.events.append((kind, name))
        if (kind == "entered") == (name in stay.present):
            self.fault(f"{stay.label} was told that {name} {kind} {stay.room}, and had been told so before")
        (stay.present.add if kind == "entered" else stay.present.discard)(name)

    def count(self, outcome: str, sender: str | None = None) -> int:
        return sum(
            message.outcome == outcome and sender in (None, message.sender) for message in self.messages.values()
        )

    def check(self, histories: Mapping[str, Mapping[str, History]]) -> dict[str, int]:
        """Assert that everything adds up.

        Args:
            histories: What each node says is in each room.

        Returns:
            The sums, which are also the last line of the file.
        """
        assert not self.faults, self.complain(self.faults[0])
        nodes = list(histories)
        for node in nodes[1:]:
            assert histories[node] == histories[nodes[0]], self.complain(f"{node} has another history than {nodes[0]}")
        rooms = histories[nodes[0]]
        unknown_kept = sum(self._check_room(room, history) for room, history in rooms.items())
        for stay in self.stays:
            self._check_stay(stay, rooms[stay.room])
        sums = {
            **{name: self.count(name) for name in ("accepted", "refused", "unknown")},
            "sent": len(self.messages),
            "kept": sum(map(len, rooms.values())),
            "unknown, kept": unknown_kept,
            "delivered": sum(len(stay.said) for stay in self.stays),
            "stays": len(self.stays),
        }
        self.write("sums", **sums)
        self._check_sums(sums)
        return sums

    def _check_room(self, room: str, history: History) -> int:
        """How much of what is unknown is there."""
        assert [id for id, _ in history] == list(range(1, len(history) + 1)), self.complain(f"numbers in {room}")
        found = {text: id for id, text in history}
        assert len(found) == len(history), self.complain(f"something was kept twice in {room}")
        messages = {text: message for text, message in self.messages.items() if message.room == room}
        assert found.keys() <= messages.keys(), self.complain(f"nobody said {found.keys() - messages.keys()}")
        unknown = 0
        for text, message in messages.items():
            if message.outcome == "accepted":
                assert found.get(text) == message.id, self.complain(f"{text} is not there as {message.id}")
            elif message.outcome == "refused":
                assert text not in found, self.complain(f"{text} was refused and kept")
            else:
                assert message.outcome == "unknown", self.complain(f"the sender of {text} was left guessing")
                unknown += text in found
        last: dict[str, int] = {}
        for _, text in history:  # what one connection says has its order
            speaker, number = text.rsplit(" ", 1)
            assert last.get(speaker, -1) < int(number), self.complain(f"{speaker}'s order in {room}")
            last[speaker] = int(number)
        return unknown

    def _check_stay(self, stay: Stay, history: History) -> None:
        first = stay.said[0][0] if stay.said else len(history) + 1
        last = stay.said[-1][0] if stay.said else len(history)
        given = history[first - 1 : last] if stay.said else []
        assert stay.said == given, self.complain(f"{stay.label} was given something else in {stay.room}")
        if stay.is_over:
            return
        assert last == len(history), self.complain(f"{stay.label} was given up to {last} of {len(history)}")
        missed = [text for _, text in history[: first - 1] if self.messages[text].began > stay.began]
        assert not missed, self.complain(f"{stay.label} was not given {missed}, said after joining {stay.room}")

    def _check_sums(self, sums: Mapping[str, int]) -> None:
        """The same from the file, which has to add up by itself."""
        lines = Counter(line["event"] for line in self.read())
        for name in ("sent", "accepted", "refused", "unknown", "delivered"):
            assert lines[name] == sums[name], self.complain(f"the file has {lines[name]} lines for {name}, not {sums}")
        assert lines["sent"] == lines["accepted"] + lines["refused"] + lines["unknown"]
        assert sums["kept"] == lines["accepted"] + sums["unknown, kept"]
        assert 0 <= sums["unknown, kept"] <= lines["unknown"]
