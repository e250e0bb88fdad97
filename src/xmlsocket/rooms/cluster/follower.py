"""Following kept rooms: every batch of the stream is handled once and in its order, whatever is lost on the way.

The server publishes again what it has stored. A batch that does not follow the last one shows a hole, which is read
from the stream before anything later is handled. A lost tail is found by asking for each room's last batch in turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from math import ceil
from typing import Any, Final

from ...errors import BrokerUnavailableError
from .connecting import Msg
from .jetstream import JetStreamError, Stored
from .kept_envelope import KeptBatch, decode_batch
from .kept_room import KeptRoom
from .reading import Reader
from .session import Session

logger = logging.getLogger("xmlsocket.cluster")

_TICK: Final = 0.25
_RETRY: Final = 0.25
_AT_ONCE: Final = 16

# Called with a room, what was moved past, and whether something before it was forgotten unread.
Handle = Callable[[KeptRoom, KeptBatch, bool], None]


class Follower:
    """Moves rooms on. One for all rooms of a node.

    Attributes:
        rooms: All rooms that somebody here is interested in, by name.
        holes: How many times batches were missing and read from the stream.
        unreadable: Batches that could not be read.
        lost: How many times the stream had less than it had said to have stored.

    Args:
        session: The connection.
        reader: Reads the stream.
        handle: Called for every batch of every room, once and in order.
    """

    def __init__(self, session: Session, reader: Reader, handle: Handle) -> None:
        self.rooms: dict[str, KeptRoom] = {}
        self.is_ready = asyncio.Event()
        self.holes = 0
        self.unreadable = 0
        self.lost = 0
        self._session = session
        self._reader = reader
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until it ends or :meth:`close`."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of the kept rooms failed", exc_info=task.exception())

    async def close(self) -> None:
        """End everything that runs."""
        for room in self.rooms.values():
            self._stop_listening(room)
            if room.leave_timer is not None:
                room.leave_timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.rooms.clear()

    def open(self, room: KeptRoom) -> None:
        """Have a room's batches from now on."""
        room.is_open = True
        if room.leave_timer is not None:
            room.leave_timer.cancel()
            room.leave_timer = None
        if room.unlisten is None:
            room.unlisten = self._session.listen(room.shown_subject, lambda message: self._shown(room, message))
            room.opening = self.spawn(self._open(room))

    async def _open(self, room: KeptRoom) -> None:
        while True:
            await self.is_ready.wait()
            try:
                await self.catch_up(room)
            except (JetStreamError, BrokerUnavailableError) as error:
                logger.debug("room %r cannot be opened yet: %s", room.name, error)
                await asyncio.sleep(_RETRY)
            else:
                room.opening = None
                return

    def leave(self, room: KeptRoom) -> None:
        """Have a room's batches no more, after a moment in which it may be opened again."""
        room.is_open = False
        if room.leave_timer is None:
            delay = self._session.limits.unsubscribe_delay
            room.leave_timer = asyncio.get_running_loop().call_later(delay, self._left, room)

    def _left(self, room: KeptRoom) -> None:
        room.leave_timer = None
        if not room.is_open:
            if room.opening is not None:
                room.opening.cancel()
                room.opening = None
            self._stop_listening(room)
            self.forget(room)

    def _stop_listening(self, room: KeptRoom) -> None:
        if room.unlisten is not None:
            room.unlisten()
            room.unlisten = None

    def forget(self, room: KeptRoom) -> None:
        """Drop what is known of a room in which nobody is interested now."""
        if room.is_idle and room.unlisten is None and self.rooms.get(room.name) is room:
            del self.rooms[room.name]

    def _shown(self, room: KeptRoom, message: Msg) -> None:
        try:
            sequence = int((message.headers or {})["Nats-Sequence"])
            batch = _decode(room, message.data)
        except (KeyError, ValueError):
            self._catch_up_soon(room)  # what it is, the stream tells
        else:
            self.offer(room, sequence, batch)

    def offer(self, room: KeptRoom, sequence: int, batch: KeptBatch) -> None:
        """Handle a batch of which is known that it is stored, when its turn comes."""
        if room.position is None:
            room.set_aside(sequence, batch)
        elif sequence > room.position:
            if batch.previous == room.tail:
                self._take(room, sequence, batch)
                if room.early:
                    self._take_early(room)
            else:
                room.set_aside(sequence, batch)
                self._catch_up_soon(room)

    def _take(self, room: KeptRoom, sequence: int, batch: KeptBatch) -> None:
        is_torn = batch.previous != room.tail
        room.move_to(sequence, batch)
        self._handle(room, batch, is_torn)

    def _take_early(self, room: KeptRoom) -> None:
        while (found := room.next_early()) is not None:
            self._take(room, *found)

    def _catch_up_soon(self, room: KeptRoom) -> None:
        if not room.is_reading and room.opening is None:
            room.is_reading = True
            self.spawn(self._catch_up_until_done(room))

    async def _catch_up_until_done(self, room: KeptRoom) -> None:
        try:
            while True:
                try:
                    await self.catch_up(room)
                except (JetStreamError, BrokerUnavailableError) as error:
                    logger.debug("room %r cannot catch up yet: %s", room.name, error)
                    await asyncio.sleep(_RETRY)
                    await self.is_ready.wait()
                else:
                    if not room.early:
                        return
                    await asyncio.sleep(_RETRY)
        finally:
            room.is_reading = False
            self.forget(room)

    async def catch_up(self, room: KeptRoom) -> None:
        """Ask the stream how far the room is, and handle what is missing here.

        Raises:
            JetStreamError: It cannot be asked.
            BrokerUnavailableError: No answer.
        """
        async with room.lock:
            before = room.position
            head = await self._reader.last(room.subject)
            if _is_behind(room, before, head):
                await self._reader.settle(self._session.subjects.nobody_kept)
                head = await self._reader.last(room.subject)
            if before is None:
                self._begin(room, head)
                self._take_early(room)
                if head is not None and head.sequence > (room.position or 0):
                    await self._read(room, head)
            elif _is_behind(room, before, head):
                self._go_back(room, head)
            elif head is not None and head.sequence > before:
                await self._read(room, head)
            self._take_early(room)

    def _begin(self, room: KeptRoom, head: Stored | None) -> None:
        # What came since we listen is for the members here, though the head was asked for later than that.
        early = min(room.early, default=0)
        if head is not None and 0 < early <= head.sequence:
            room.begin_before(room.early[early])
            return
        batch = None
        if head is not None:
            try:
                batch = _decode(room, head.payload)
            except ValueError as error:
                self._note_unreadable(room, head.sequence, error)
        room.begin(0 if head is None else head.sequence, batch)

    def _go_back(self, room: KeptRoom, head: Stored | None) -> None:
        room.has_numbers = head is not None
        room.position = room.tail = 0 if head is None else head.sequence
        room.early.clear()
        if head is not None:
            self.lost += 1
            logger.error("the last messages of room %r are not in the stream any more: NATS has lost them", room.name)

    async def _read(self, room: KeptRoom, head: Stored) -> None:
        assert room.position is not None
        self.holes += room.position < head.sequence
        while room.position < head.sequence:
            stored: Stored | None = head
            if not _follows(room, head):
                stored = await self._reader.next(room.subject, room.position + 1)
            if stored is None:
                return
            if stored.sequence <= room.position:
                continue  # it came on its own meanwhile
            try:
                batch = _decode(room, stored.payload)
            except ValueError as error:
                self._note_unreadable(room, stored.sequence, error)
                room.position = room.tail = stored.sequence
            else:
                self._take(room, stored.sequence, batch)
            self._take_early(room)

    def _note_unreadable(self, room: KeptRoom, sequence: int, error: ValueError) -> None:
        self.unreadable += 1
        room.problem = f"the last message in the stream cannot be read: {error}"
        logger.error(
            "message %d of the stream, in room %r, cannot be read and is left out: %s", sequence, room.name, error
        )

    async def watch(self) -> None:
        """Look after all rooms in turn, for tails that were lost, at a bounded rate. Runs until cancelled."""
        limits = self._session.limits
        period = max(_TICK, limits.announce_interval * 0.8)
        most = max(1, int(limits.max_announcements * _TICK))
        while True:
            await asyncio.sleep(_TICK)
            if not self.is_ready.is_set():
                continue
            rooms = [room for room in self.rooms.values() if room.opening is None]
            count = min(most, ceil(len(rooms) * _TICK / period))
            chosen = [rooms[(self._turn + offset) % len(rooms)] for offset in range(count)]
            self._turn += count
            await self._check(chosen)

    async def check_all(self) -> None:
        """Look after every room now: the connection was lost and is back."""
        await self._check(list(self.rooms.values()))

    async def _check(self, rooms: list[KeptRoom]) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def check(room: KeptRoom) -> None:
            async with gate:
                try:
                    await self.catch_up(room)
                except (JetStreamError, BrokerUnavailableError) as error:
                    logger.debug("room %r cannot be looked after now: %s", room.name, error)
                except Exception:
                    logger.exception("room %r could not be looked after", room.name)  # the others are all the same

        await asyncio.gather(*map(check, rooms))


def _is_behind(room: KeptRoom, before: int | None, head: Stored | None) -> bool:
    """Whether the stream has less than was handled here: forgotten, lost, or not known to who answers."""
    return before is not None and before == room.position != 0 and (head is None or head.sequence < before)


def _follows(room: KeptRoom, stored: Stored) -> bool:
    try:
        return _decode(room, stored.payload).previous == room.tail
    except ValueError:
        return False


def _decode(room: KeptRoom, payload: bytes) -> KeptBatch:
    batch = decode_batch(payload)
    if batch.room != room.name:
        raise ValueError(f"it belongs to room {batch.room!r}")
    return batch
