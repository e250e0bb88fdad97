"""One kept room as this node knows it: where it stands in the stream, and its latest messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..broker import KeptMessage
from .kept_envelope import KeptBatch

# A room holds at most this many of its latest messages in memory, and about this many characters of them.
_RING_MESSAGES: Final = 200
_RING_CHARACTERS: Final = 262_144
# What came before its turn is kept until the hole is filled, unless it is much; then it is read again.
_MAX_EARLY: Final = 256


@dataclass(slots=True)
class Keep:
    """A message that waits to be kept."""

    sender: str
    text: str
    origin: object
    future: asyncio.Future[KeptMessage]
    size: int


@dataclass(slots=True)
class Flight:
    """A batch of this node whose fate is open.

    Attributes:
        batch: What was sent.
        keeps: What it holds.
        may_be_stored: Whether an answer is missing, so that it may be in the stream or come into it.
        is_settled: Whether its fate is known and was told.
        is_lost: Whether that was a refusal.
        problem: Why its fate stays open though NATS is there, for people. Until it is known the room takes no more.
    """

    batch: KeptBatch
    keeps: list[Keep]
    may_be_stored: bool = False
    is_settled: bool = False
    is_lost: bool = False
    problem: str | None = None


class KeptRoom:
    """Where a room stands. ``take`` and ``offer`` move it on; nothing else does.

    Attributes:
        position: Sequence of the last batch that was handled here; ``None`` while that is not known.
        tail: Sequence of the last batch in the stream; 0 if it is empty.
        last_id: Number of the last message.
        ceiling: See :mod:`.numbers`.
        has_numbers: Whether ``ceiling`` is good for a room with nothing in the stream.
        problem: Why numbers cannot go on, such as a last batch that this version cannot read.
    """

    __slots__ = (
        "ceiling", "early", "epoch", "flight", "has_numbers", "is_open", "is_reading", "last_id", "leave_timer",
        "lock", "name", "opening", "position", "problem", "pruned_to", "pump", "ring", "ring_size", "shown_subject",
        "subject", "tail", "unlisten", "waiting",
    )  # fmt: skip

    def __init__(self, name: str, subject: str, shown_subject: str, epoch: int) -> None:
        self.name = name
        self.subject = subject
        self.shown_subject = shown_subject
        self.epoch = epoch
        self.position: int | None = None
        self.tail = 0
        self.last_id = 0
        self.ceiling = 0
        self.has_numbers = False
        self.problem: str | None = None
        self.early: dict[int, KeptBatch] = {}
        self.ring: deque[KeptMessage] = deque()
        self.ring_size = 0
        self.waiting: deque[Keep] = deque()
        self.flight: Flight | None = None
        self.pump: asyncio.Task[None] | None = None
        self.opening: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()
        self.is_open = False
        self.is_reading = False
        self.unlisten: Callable[[], None] | None = None
        self.leave_timer: asyncio.TimerHandle | None = None
        self.pruned_to = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing here waits for an end."""
        return not (self.is_open or self.waiting or self.flight or self.is_reading) and self.pump is None

    def begin(self, sequence: int, batch: KeptBatch | None) -> None:
        """Stand behind the last batch of the stream, or at the beginning if it has none."""
        self.position = self.tail = sequence
        if batch is not None:
            self.last_id, self.ceiling, self.has_numbers = batch.last_id, batch.ceiling, True
            self.keep_in_ring(batch.messages())

    def begin_before(self, batch: KeptBatch) -> None:
        """Stand where the room stood before a batch that is still to be handled."""
        self.position = self.tail = batch.previous
        self.last_id, self.ceiling, self.has_numbers = batch.first_id - 1, batch.ceiling, True

    def move_to(self, sequence: int, batch: KeptBatch) -> list[KeptMessage]:
        """Stand behind a batch, and have its messages."""
        messages = batch.messages()
        self.position = self.tail = sequence
        if self.ring and self.ring[-1].id + 1 != batch.first_id:
            self.ring.clear()
            self.ring_size = 0
        self.last_id = batch.last_id
        self.ceiling = max(self.ceiling, batch.ceiling)
        self.has_numbers = True
        self.problem = None
        self.keep_in_ring(messages)
        return messages

    def keep_in_ring(self, messages: list[KeptMessage]) -> None:
        """Remember the latest messages."""
        ring = self.ring
        for message in messages:
            ring.append(message)
            self.ring_size += len(message.text)
        while len(ring) > _RING_MESSAGES or self.ring_size > _RING_CHARACTERS:
            self.ring_size -= len(ring.popleft().text)

    def recall(self, first: int, last: int) -> list[KeptMessage] | None:
        """Messages with these numbers, if all of them are remembered here."""
        ring = self.ring
        if not ring or ring[0].id > first or ring[-1].id < last:
            return None
        start = first - ring[0].id
        return list(islice(ring, start, start + last - first + 1))

    def remember_older(self, messages: list[KeptMessage]) -> None:
        """Put messages that were read before those remembered, if they fit together."""
        ring = self.ring
        older = [message for message in messages if not ring or message.id < ring[0].id]
        expected = ring[0].id if ring else self.last_id + 1
        for message in reversed(older):
            size = self.ring_size + len(message.text)
            if message.id != expected - 1 or len(ring) >= _RING_MESSAGES or size > _RING_CHARACTERS:
                return
            ring.appendleft(message)
            self.ring_size = size
            expected = message.id

    def set_aside(self, sequence: int, batch: KeptBatch) -> None:
        """Hold what came before its turn."""
        if len(self.early) < _MAX_EARLY:
            self.early[sequence] = batch

    def next_early(self) -> tuple[int, KeptBatch] | None:
        """What was set aside and has its turn now."""
        while self.early:
            sequence = min(self.early)
            if self.position is None:
                return None
            batch = self.early[sequence]
            if sequence <= self.position:
                del self.early[sequence]
            elif batch.previous == self.tail:
                return sequence, self.early.pop(sequence)
            else:
                return None
        return None
