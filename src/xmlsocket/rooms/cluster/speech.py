"""What one node says in live rooms: numbered, and what is said in a turn of the loop in one envelope for each room."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Iterator

from .envelope import HEAD_SIZE, MESSAGE, TEXT, Head, Standing, encode, pack, pack_bytes, write
from .session import Session

_FLUSH_SIZE = 65_536  # characters of a room that do not wait for the end of the turn


class OwnRoom:
    """What this node says in a room.

    Attributes:
        name: Its name.
        subject: Where it says it.
        epoch: See ``envelope``.
        seq: See ``envelope``.
        texts: See ``envelope``.
        entries: Said in this turn, and not yet sent.
        size: About how long these are, in characters.
        names: Who is in the room on this node, and how many times.
        announced: When the others were told last where the room stands, on the loop's clock.
        spoken: When something was said last.
    """

    __slots__ = ("announced", "entries", "epoch", "name", "names", "seq", "size", "spoken", "subject", "texts")

    def __init__(self, name: str, subject: str, epoch: int, now: float) -> None:
        self.name = name
        self.subject = subject
        self.epoch = epoch
        self.seq = 0
        self.texts = 0
        self.entries: list[str] = []
        self.size = 0
        self.names: dict[str, int] = {}
        self.announced = self.spoken = now

    def standing(self, *, has_names: bool) -> Standing:
        """Where it stands."""
        names = list(self.names) if has_names else []
        return Standing(self.name, self.epoch, self.seq, self.texts, len(self.names), names)


class Speech:
    """Sends what is said on this node to the others, without waiting.

    Attributes:
        rooms: Where this node speaks or has names; the one that was announced longest ago comes first.
        sent: How many envelopes left, or were dropped.

    Args:
        session: The way to the others.
    """

    def __init__(self, session: Session) -> None:
        self.rooms: OrderedDict[str, OwnRoom] = OrderedDict()
        self.sent = 0
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._epochs = 0
        self._due: list[OwnRoom] = []

    def start(self) -> None:
        """Begin to send at the end of every turn."""
        self._loop = asyncio.get_running_loop()
        self.flush()

    def open(self, room: str) -> OwnRoom:
        """Find a room, or begin to speak in it."""
        own = self.rooms.get(room)
        if own is None:
            self._epochs += 1
            own = OwnRoom(room, self._session.subjects.live(room), self._epochs, self._now())
            self.rooms[room] = own
        return own

    def say(self, room: str, entry: str) -> None:
        """Say an entry: a letter and its text."""
        own = self.rooms.get(room) or self.open(room)
        if not own.entries:
            if not self._due and self._loop is not None:
                self._loop.call_soon(self.flush)
            self._due.append(own)
        own.entries.append(entry)
        own.size += len(entry)
        if own.size > _FLUSH_SIZE:
            self._send(own)

    def say_bytes(self, room: str, message: bytes) -> None:
        """Say a message of bytes, which goes by itself."""
        own = self.open(room)
        self._send(own)
        self._send_packed(own, pack_bytes(self._head(own), message, self._session.max_payload))

    def flush(self) -> None:
        """Send what was said."""
        due, self._due = self._due, []
        for own in due:
            self._send(own)

    def announce(self, now: float, budget: int) -> None:
        """Say of some rooms where they stand, so that lost tails are noticed; forget those where nothing happens.

        Args:
            now: The loop's time.
            budget: How many rooms at most.
        """
        interval = self._session.limits.announce_interval
        for own in list(itertools.islice(self.rooms.values(), budget)):
            if now - own.announced < interval:
                break
            self._send(own)
            self._session.publish(own.subject, write(self._head(own)))
            own.announced = now
            self.rooms.move_to_end(own.name)
            if not own.names and now - own.spoken > 2 * interval:
                del self.rooms[own.name]  # nobody is there, and where it ended has been said at least twice

    def _send(self, own: OwnRoom) -> None:
        entries = own.entries
        if not entries:
            return
        own.entries = []
        own.size = 0
        body = encode("\0".join(entries))
        if len(body) > self._session.max_payload - HEAD_SIZE:
            self._send_packed(own, pack(self._head(own), entries, self._session.max_payload))
            return
        self.sent += 1
        self._session.publish(own.subject, write(self._head(own), body))
        own.seq += len(entries)
        own.texts += sum(entry[0] == MESSAGE for entry in entries)
        own.spoken = self._now()

    def _send_packed(self, own: OwnRoom, packed: Iterator[tuple[Head, bytes]]) -> None:
        for head, envelope in packed:
            if envelope:
                self.sent += 1
                self._session.publish(own.subject, envelope)
            else:
                own.seq, own.texts = head.seq, head.texts
        own.spoken = self._now()

    def _head(self, own: OwnRoom) -> Head:
        return Head(TEXT, self._session.node, own.epoch, own.seq, own.texts)

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()
