"""Kept rooms on several nodes: one stream of JetStream, with a subject for each room.

``writer.py`` puts messages into it, ``follower.py`` takes them out of it in order, ``reading.py`` finds old ones,
``retention.py`` forgets them, ``numbers.py`` sees to it that numbers never go back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ...errors import BrokerError, BrokerUnavailableError, EmbeddedNulError
from ...limits import HistoryLimits
from ..broker import Done, KeptMessage, Receiver
from .follower import Follower
from .jetstream import JetStream, JetStreamError, NoJetStreamError
from .kept_envelope import KeptBatch, decode_batch, encoded_size
from .kept_room import Keep, KeptRoom
from .numbers import Numbers
from .reading import Reader
from .retention import Retention
from .session import Session
from .stream_settings import kept_stream_settings, prepare_stream
from .writer import OVERHEAD, Writer, deliver

logger = logging.getLogger("xmlsocket.cluster")

_RETRY: Final = 0.5
_CLOSE_TIMEOUT: Final = 3.0
# One room may have this share of all that may wait, so that it cannot shut out the others.
_ROOM_SHARE: Final = 0.5


class KeptStream:
    """Every member on every node sees the messages of a kept room once, in the order of the stream.

    It survives the broker's restart and the death of nodes: what was accepted is in the stream, and what a node has
    missed it reads there. The session is started and closed by whoever made it, before and after this.

    Args:
        session: The connection.
        limits: How much is kept, and how much may wait.
        replicas: On how many servers of the cluster the stream is; 1, 3 or 5.
        clock: Seconds since 1970; for tests.
    """

    def __init__(
        self,
        session: Session,
        limits: HistoryLimits | None = None,
        *,
        replicas: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._problem: str | None = "the broker has not been asked yet"
        self._session = session
        self._limits = limits or HistoryLimits()
        self._settings = kept_stream_settings(session.prefix, self._limits, replicas)
        name = str(self._settings["name"])
        self._jetstream = JetStream(session, session.limits.store_timeout)
        self._reader = Reader(self._jetstream, name)
        self._numbers = Numbers(self._jetstream, session.prefix, replicas)
        self._follower = Follower(session, self._reader, self._handle)
        self._retention = Retention(self._jetstream, name, self._reader, self._follower, self._limits.max_kept_messages)
        self._writer = Writer(
            session, self._jetstream, name, self._numbers, self._follower, clock, self._retention.look_at
        )
        self._preparing: asyncio.Task[None] | None = None
        self._epochs = 0
        self._is_running = False
        session.on_change(self._changed)

    def attach(self, receiver: Receiver) -> None:
        """See :class:`Broker`."""
        self._receiver = receiver

    async def start(self) -> None:
        """Make the stream if the broker is there; if it is not, that is done as soon as it is.

        Raises:
            BrokerError: Kept rooms cannot work with this broker: it is too old, has no JetStream, no room for the
                history, or something else where the stream has to be.
        """
        self._is_running = True
        is_prepared = False
        if self._session.is_connected:
            try:
                is_prepared = await self._prepare_within(self._session.limits.connect_timeout)
            except BrokerError:
                self._is_running = False
                raise
        self._follower.spawn(self._follower.watch())
        if not self._session.is_connected:
            return
        if is_prepared and self._preparing is None:
            self._be_ready()  # at once: who has started it may keep
        else:
            self._changed(True)

    async def _prepare_within(self, timeout: float) -> bool:  # noqa: ASYNC109  # how long it is tried again
        deadline = time.monotonic() + timeout
        while True:
            try:
                await self._prepare()
                return True
            except BrokerUnavailableError as error:
                if not self._session.is_connected:
                    return False
                if time.monotonic() > deadline:
                    if isinstance(error.__cause__, NoJetStreamError):
                        raise BrokerError(f"kept rooms need JetStream: {error}; enable it in nats-server") from error
                    logger.warning("messages cannot be kept yet: %s; trying on", error)
                    return False
            await asyncio.sleep(_RETRY / 5)

    async def _prepare(self) -> None:
        await prepare_stream(self._session, self._jetstream, self._settings)
        await prepare_stream(self._session, self._jetstream, self._numbers.configuration)

    async def close(self) -> None:
        """Wait for what is on its way, a moment at most, and stop."""
        if not self._is_running:
            return
        self._is_running = False
        rooms = list(self._follower.rooms.values())
        pumps = [room.pump for room in rooms if room.pump is not None]
        if pumps and self._session.is_connected:
            await asyncio.wait(pumps, timeout=_CLOSE_TIMEOUT)
        for room in rooms:
            self._writer.refuse_waiting(room, "this node stops")
            if room.flight is not None and not room.flight.is_settled:
                self._writer.give_up(room.flight, "this node stops before NATS has answered; it may have been kept")
        self._follower.is_ready.clear()
        await self._follower.close()

    def _changed(self, is_connected: bool) -> None:
        self._follower.is_ready.clear()
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None
        if not self._is_running:
            return
        if is_connected:
            self._preparing = self._follower.spawn(self._come_back())
            return
        self._problem = "NATS is away"
        for room in list(self._follower.rooms.values()):
            self._writer.refuse_waiting(room, "NATS is away")

    async def _come_back(self) -> None:
        while True:
            try:
                await self._prepare()
                break
            except BrokerError as error:
                if str(error) != self._problem:
                    logger.error("messages cannot be kept: %s", error)
                self._problem = str(error)
            await asyncio.sleep(_RETRY)
        self._be_ready()

    def _be_ready(self) -> None:
        self._problem = None
        self._follower.is_ready.set()
        self._preparing = self._follower.spawn(self._follower.check_all())

    def subscribe(self, room: str) -> None:
        """See :class:`Broker`."""
        self._follower.open(self._room(room))

    def unsubscribe(self, room: str) -> None:
        """See :class:`Broker`. It takes effect a moment later, as members come back."""
        found = self._follower.rooms.get(room)
        if found is not None:
            self._follower.leave(found)

    def _room(self, name: str) -> KeptRoom:
        found = self._follower.rooms.get(name)
        if found is None:
            self._epochs += 1
            subjects = self._session.subjects
            found = KeptRoom(name, subjects.kept(name), subjects.shown(name), self._epochs)
            self._follower.rooms[name] = found
        return found

    def keep(self, room: str, sender: str, text: str, origin: object = None) -> Awaitable[KeptMessage]:
        """See :class:`Broker`.

        What has been sent to the broker when it goes away is answered when it is back: only then it can be known. What
        was not is refused at once.
        """
        if "\0" in sender:
            raise EmbeddedNulError(sender.index("\0"))
        future: asyncio.Future[KeptMessage] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        size = encoded_size(sender, text)
        reason = self._why_not(room, size)
        if reason is not None:
            self._writer.refused += 1
            future.set_exception(BrokerUnavailableError(reason))
        else:
            self._writer.add(self._room(room), Keep(sender, text, origin, future, size))
        return future

    def _why_not(self, room: str, size: int) -> str | None:
        limit = self._session.max_payload - OVERHEAD - 4 * len(room)
        if not self._is_running:
            return "the broker is closed"
        if not self._session.is_connected:
            return "NATS is away"
        if self._problem is not None and not self._follower.is_ready.is_set():
            return f"NATS cannot keep messages now: {self._problem}"
        if size > limit:
            return f"a message of {size} bytes is longer than NATS takes (max_payload, {limit} bytes of it for this)"
        most = self._limits.max_pending_messages
        found = self._follower.rooms.get(room)
        waiting = 0 if found is None else len(found.waiting)
        flight = None if found is None else found.flight
        if flight is not None and flight.problem is not None and not flight.is_settled:
            return f"NATS cannot keep messages now: {flight.problem}"
        if (
            self._writer.pending >= most
            or waiting >= max(1, most * _ROOM_SHARE)
            or self._writer.pending_size > self._session.limits.max_outgoing_size
        ):
            return "NATS is slower than what is said"
        return None

    def history(self, room: str, after: int | None, limit: int) -> Awaitable[list[KeptMessage]]:
        """See :class:`Broker`. What a room with members here was told lately is found without asking NATS."""
        found = self._follower.rooms.get(room)
        if found is not None and found.is_open and found.opening is None and found.position is not None:
            first, last = self._wanted(found.last_id, after, limit)
            if first > last:
                return Done([])
            remembered = found.recall(first, last)
            if remembered is not None:
                return Done(remembered)
        return self._find(room, after, limit)

    def _wanted(self, last_id: int, after: int | None, limit: int) -> tuple[int, int]:
        most = self._limits.max_kept_messages
        oldest = 1 if most is None else last_id - most + 1
        first = max(oldest, 1, last_id - limit + 1 if after is None else after + 1)
        return first, min(last_id, first + limit - 1)

    async def _find(self, name: str, after: int | None, limit: int) -> list[KeptMessage]:
        if not self._is_running:
            raise BrokerUnavailableError("the broker is closed")
        try:
            room = self._follower.rooms.get(name)
            if room is None or not room.is_open:
                return await self._find_unopened(name, after, limit)
            if room.opening is not None:
                # It is cancelled if the last member leaves; that must not look as if who waits here were cancelled.
                if not (await asyncio.wait({room.opening}, timeout=self._session.limits.store_timeout))[0]:
                    raise BrokerUnavailableError("NATS does not answer")
                if room.position is None:
                    return await self._find_unopened(name, after, limit)
            first, last = self._wanted(room.last_id, after, limit)
            remembered = room.recall(first, last)
            if first > last or remembered is not None:
                return remembered or []
            newest = room.last_id
            found = await self._reader.messages(room.subject, first, last - first + 1 if after is None else limit)
            found = [message for message in found if message.id <= newest]  # the others are still to be told here
            room.remember_older(found)
            return found
        except JetStreamError as error:
            raise BrokerUnavailableError(f"no history now: {error}") from error

    async def _find_unopened(self, name: str, after: int | None, limit: int) -> list[KeptMessage]:
        subject = self._session.subjects.kept(name)
        head = await self._reader.last(subject)
        if head is None:
            return []
        try:
            last_id = decode_batch(head.payload).last_id
        except ValueError as error:
            raise BrokerUnavailableError(f"no history now: the last message cannot be read: {error}") from error
        first, last = self._wanted(last_id, after, limit)
        count = last - first + 1 if after is None else limit
        return [] if first > last else await self._reader.messages(subject, first, count)

    def _handle(self, room: KeptRoom, batch: KeptBatch, is_torn: bool) -> None:
        messages = batch.messages()
        flight = room.flight
        if flight is not None and not flight.is_settled:
            if batch.node == self._session.node and batch.number == flight.batch.number:
                self._writer.settle(flight)
                deliver(flight, messages, lambda message, origin: self._receive(room, message, origin))
                return
            if is_torn and flight.may_be_stored:
                self._writer.give_up(flight, "NATS forgot it before it could tell whether it was kept")
        for message in messages:
            self._receive(room, message, None)

    def _receive(self, room: KeptRoom, message: KeptMessage, origin: object) -> None:
        try:
            self._receiver.receive_kept(room.name, message, origin)
        except Exception:
            # A member's fault must not stop the others, nor leave the sender without an answer.
            logger.exception("a kept message of room %r could not be handed on", room.name)

    @property
    def problem(self) -> str | None:
        """Why messages cannot be kept now, for people; ``None`` while all is well."""
        return self._problem or self._writer.problem

    @property
    def is_ready(self) -> bool:
        """Whether messages can be kept now, as far as this node knows."""
        return self._is_running and self._follower.is_ready.is_set()

    @property
    def counters(self) -> dict[str, float]:
        """Counts since the start, and what waits now."""
        writer, follower = self._writer, self._follower
        return {
            "kept_batches": writer.commits,
            "kept_messages": writer.messages,
            "kept_commit_seconds": writer.commit_seconds,
            "kept_pending": writer.pending,
            "kept_conflicts": writer.conflicts,
            "kept_lookups": writer.retries,
            "kept_refused": writer.refused,
            "kept_catch_ups": follower.holes,
            "kept_unreadable": follower.unreadable,
            "kept_lost": follower.lost,
            "kept_rooms": len(follower.rooms),
        }


def _retrieve(future: asyncio.Future[KeptMessage]) -> None:
    # A caller may drop the future, as the contract allows; then nobody else looks at its exception.
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()
