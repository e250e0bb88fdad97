"""Putting a room's messages into the stream: numbered without holes or doubles, whoever else writes there.

A room has one batch on its way at a time; what is said meanwhile gathers and goes with the next. The batch names the
one before it, and the server stores it only if that is still the room's last. So it can be sent again whenever nobody
knows what has become of it, and is stored once at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ...errors import BrokerUnavailableError
from ..broker import KeptMessage
from .follower import Follower
from .jetstream import ConflictError, JetStream, JetStreamError
from .kept_envelope import KeptBatch
from .kept_room import Flight, Keep, KeptRoom
from .numbers import STEP, Numbers
from .session import Session
from .turns import Turns

logger = logging.getLogger("xmlsocket.cluster")

_MAX_MESSAGES: Final = 500
_MAX_BATCH_SIZE: Final = 262_144
# What an envelope and the headers around it take at most, beside the messages and the room's name.
OVERHEAD: Final = 2048
_RETRY: Final = 0.25
# Somebody else has just begun to count in a room: this long until the first message is there.
_OTHERS_FIRST: Final = 0.1


class Writer:
    """Stores what is said. One for all rooms of a node.

    Attributes:
        pending: Messages whose fate is open.
        pending_size: Bytes of them.
        commits: Batches that were stored.
        messages: Messages in them.
        commit_seconds: Sum of the times from sending a batch to knowing that it is stored.
        conflicts: How many times another node was first.
        retries: How many times the fate of a batch had to be looked up.
        refused: Messages that were refused.

    Args:
        session: The connection.
        jetstream: The way to the stream.
        stream: Its name.
        numbers: The ceilings of rooms.
        follower: Moves rooms on.
        clock: Seconds since 1970.
        stored: Called when a batch of this node was stored, after it was handled.
    """

    def __init__(
        self,
        session: Session,
        jetstream: JetStream,
        stream: str,
        numbers: Numbers,
        follower: Follower,
        clock: Callable[[], float],
        stored: Callable[[KeptRoom], None],
    ) -> None:
        self.pending = 0
        self.pending_size = 0
        self.commits = 0
        self.messages = 0
        self.commit_seconds = 0.0
        self.conflicts = 0
        self.retries = 0
        self.refused = 0
        self._session = session
        self._jetstream = jetstream
        self._stream = stream
        self._numbers = numbers
        self._follower = follower
        self._clock = clock
        self._stored = stored
        self._batches = 0
        self._turns = Turns(session)
        self._held_up: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """Why some room's messages are not stored though NATS is there, for people; ``None`` while all are."""
        return next(iter(self._held_up.values()), None)

    def add(self, room: KeptRoom, keep: Keep) -> None:
        """Store a message with the next batch."""
        self.pending += 1
        self.pending_size += keep.size
        room.waiting.append(keep)
        if room.pump is None:
            room.pump = self._follower.spawn(self._run(room))

    def refuse_waiting(self, room: KeptRoom, reason: str) -> None:
        """Refuse what has not been sent."""
        waiting, room.waiting = room.waiting, deque()
        self._refuse(waiting, reason)

    def _refuse(self, keeps: list[Keep] | deque[Keep], reason: str) -> None:
        for keep in keeps:
            self.refused += 1
            self.pending -= 1
            self.pending_size -= keep.size
            if not keep.future.done():
                keep.future.set_exception(BrokerUnavailableError(reason))

    def settle(self, flight: Flight) -> None:
        """Note that a batch is stored, before its messages are handled."""
        flight.is_settled = True
        for keep in flight.keeps:
            self.pending -= 1
            self.pending_size -= keep.size

    def give_up(self, flight: Flight, reason: str) -> None:
        """Tell that nobody will ever know, or that it failed."""
        flight.is_settled = flight.is_lost = True
        self._refuse(flight.keeps, reason)

    async def _run(self, room: KeptRoom) -> None:
        try:
            while room.waiting:
                await self._turns.wait(room)
                try:
                    await self._get_ready(room)
                except (JetStreamError, BrokerUnavailableError) as error:
                    self.refuse_waiting(room, f"NATS cannot keep messages now: {error}")
                    return
                if not room.waiting:  # refused meanwhile
                    return
                flight = room.flight = self._gather(room)
                try:
                    await self._store(room, flight)
                finally:
                    if not flight.is_settled:  # by an error in here, or at the end of this node
                        self.give_up(flight, "this node failed before it knew what became of it; it may have been kept")
                    room.flight = None
                    self._held_up.pop(room.name, None)
        finally:
            self._turns.win(room.name)
            self.refuse_waiting(room, "this node failed")  # nothing waits here unless it did
            room.pump = None
            self._follower.forget(room)

    async def _get_ready(self, room: KeptRoom) -> None:
        if room.position is None:
            await self._follower.catch_up(room)
        if room.problem is not None:
            raise BrokerUnavailableError(room.problem)
        if not room.tail and not room.has_numbers:
            await self._begin_numbers(room)
        if room.last_id + _MAX_MESSAGES > room.ceiling:
            room.ceiling = await self._numbers.raise_to(room.name, room.last_id + _MAX_MESSAGES)

    async def _begin_numbers(self, room: KeptRoom) -> None:
        if await self._numbers.take_new(room.name):
            base = 0
        else:
            # It was forgotten, or somebody is just beginning.
            await asyncio.sleep(_OTHERS_FIRST)
            await self._follower.catch_up(room)
            if room.tail:
                return
            base = await self._numbers.pass_all(room.name)
        room.last_id = max(room.last_id, base)
        room.ceiling = base + STEP
        room.has_numbers = True

    def _gather(self, room: KeptRoom) -> Flight:
        keeps: list[Keep] = []
        size = 0
        while room.waiting and len(keeps) < _MAX_MESSAGES:
            size += room.waiting[0].size
            if keeps and size > min(_MAX_BATCH_SIZE, self._session.max_payload - OVERHEAD):
                break
            keeps.append(room.waiting.popleft())
        self._batches += 1
        batch = KeptBatch(
            node=self._session.node,
            epoch=room.epoch,
            number=self._batches,
            previous=room.tail,
            first_id=room.last_id + 1,
            ceiling=room.ceiling,
            at=self._clock(),
            room=room.name,
            said=[(keep.sender, keep.text) for keep in keeps],
        )
        return Flight(batch, keeps)

    async def _store(self, room: KeptRoom, flight: Flight) -> None:
        batch = flight.batch
        payload = batch.encode()
        began = time.perf_counter()
        while not flight.is_settled:
            try:
                sequence = await self._jetstream.store(self._stream, room.subject, payload, batch.previous)
            except ConflictError as conflict:
                self.conflicts += 1
                if flight.may_be_stored or conflict.last is None or (room.position or 0) != conflict.last:
                    await self._learn(room, flight)
            except JetStreamError as error:
                if not flight.may_be_stored:
                    self.give_up(flight, f"NATS cannot keep messages now: {error}")
                    return
                self._hold_up(room, flight, str(error))
                await asyncio.sleep(_RETRY)
                await self._learn(room, flight)
            except BrokerUnavailableError as error:
                logger.info("no answer for a batch of room %r, which is looked up: %s", room.name, error)
                flight.may_be_stored = True
                if self._session.is_connected:  # its disk may be full, or it is slower than store_timeout
                    self._hold_up(room, flight, str(error))
                await self._learn(room, flight)
            else:
                self._follower.offer(room, sequence, batch)
                if not flight.is_settled:
                    await self._learn(room, flight)
            if not flight.is_settled and room.tail != batch.previous:
                self._take_back(room, flight)  # another batch is in its place, so it can never be stored
                self._turns.lose(room.name, time.perf_counter() - began)
                return
        self._turns.win(room.name)
        if flight.is_lost:
            return
        self.commits += 1
        self.messages += len(flight.keeps)
        self.commit_seconds += time.perf_counter() - began
        self._stored(room)

    def _hold_up(self, room: KeptRoom, flight: Flight, reason: str) -> None:
        """Take nothing for a room until a batch's fate is known: who waits behind it can be told at once."""
        if flight.is_settled:  # by the copy that all nodes get, though the answer is lost
            return
        flight.problem = self._held_up[room.name] = reason
        self.refuse_waiting(room, f"NATS cannot keep messages now: {reason}")

    def _take_back(self, room: KeptRoom, flight: Flight) -> None:
        flight.is_settled = True
        room.waiting.extendleft(reversed(flight.keeps))
        if not self._session.is_connected:
            self.refuse_waiting(room, "NATS is away")

    async def _learn(self, room: KeptRoom, flight: Flight) -> None:
        """Find out what has become of a batch: afterwards it is settled, or was not in the stream a moment ago."""
        self.retries += flight.may_be_stored
        while not flight.is_settled:
            await self._follower.is_ready.wait()
            try:
                await self._follower.catch_up(room)
            except (JetStreamError, BrokerUnavailableError) as error:
                logger.debug("room %r cannot be asked yet: %s", room.name, error)
                if self._session.is_connected:
                    self._hold_up(room, flight, str(error))
                await asyncio.sleep(_RETRY)
            else:
                return


def deliver(flight: Flight, messages: list[KeptMessage], receive: Callable[[KeptMessage, object], None]) -> None:
    """Show a batch of this node, and tell who said it."""
    for keep, message in zip(flight.keeps, messages, strict=True):
        receive(message, keep.origin)
        if not keep.future.done():
            keep.future.set_result(message)
