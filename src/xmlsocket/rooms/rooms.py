"""Rooms: whoever is in one hears what is published there.

A room knows its members by two things, an id and a ``deliver`` that takes messages without waiting; what they are and
what the messages mean is the application's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol

from ..errors import RoomLimitError
from ..limits import RoomLimits
from ..wire import Batch, Markup, check_whole
from .broker import Broker, KeptMessage
from .memory import MemoryBroker


class Member(Protocol):
    """What a room needs of whoever is in it. A ``Connection`` is one."""

    @property
    def id(self) -> int:
        """Unlike that of any other member."""

    def deliver(self, batch: Batch) -> None:
        """Take messages, without waiting and without raising."""


class Room:
    """A room as its members on this node see it; get one from :meth:`Rooms.join`."""

    __slots__ = ("_batch", "_members", "_rooms", "name")

    def __init__(self, name: str, rooms: Rooms) -> None:
        self.name = name
        self._rooms = rooms
        self._members: dict[int, Member] = {}
        self._batch: Batch | None = None

    def __repr__(self) -> str:
        return f"<Room {self.name!r}: {len(self._members)} members>"

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: Member) -> bool:
        return member.id in self._members

    @property
    def members(self) -> list[Member]:
        """The members on this node, in the order in which they joined."""
        return list(self._members.values())

    async def publish(self, message: str | bytes | Markup) -> None:
        """Send a message to all members, on every node; the publisher gets it too if it is one.

        All members on a node see the messages of a room in one order, and each message is encoded once. Slow members
        do not delay it. Live: a member that joins later does not get it.

        Raises:
            EmbeddedNulError: The message has a NUL; nothing was sent.
        """
        self.publish_nowait(message)

    def publish_nowait(self, message: str | bytes | Markup) -> None:
        """Do what :meth:`publish` does, from a callback."""
        self._rooms.broker.publish(self.name, check_whole(message))

    def keep(self, text: str, sender: str = "") -> Awaitable[KeptMessage]:
        """Number a message, keep it in the room's history, and send it to all members as ``render`` writes it.

        The call itself does not wait; await what it returns to know the number, or that it failed.

        Raises:
            EmbeddedNulError: The text has a NUL; nothing was sent.
            BrokerUnavailableError: (When awaited.) It cannot be kept now; nobody sees it.
        """
        check_whole(text)
        return self._rooms.broker.keep(self.name, sender, text)

    def history(self, after: int | None = None, limit: int = 50) -> Awaitable[list[KeptMessage]]:
        """Find kept messages numbered above ``after``, oldest first, or without it the latest ``limit``."""
        return self._rooms.broker.history(self.name, after, limit)

    def _deliver(self, message: str | bytes) -> None:
        batch = self._batch
        if batch is not None and not batch.is_sealed:
            batch.append(message)
        elif self._members:
            batch = self._batch = Batch()
            batch.append(message)
            for member in self._members.values():
                member.deliver(batch)

    def _change_members(self) -> None:
        # Who joins must not get what was said before, who leaves must not get what is said after.
        self._batch = None


class Membership:
    """A member's stay in a room: ``async with`` it, or keep it and call :meth:`leave`."""

    __slots__ = ("_member", "_rooms", "room")

    def __init__(self, rooms: Rooms, room: Room, member: Member) -> None:
        self._rooms = rooms
        self._member = member
        self.room = room

    def leave(self) -> None:
        """End the stay. Harmless if it has ended."""
        self._rooms.leave(self.room.name, self._member)

    async def __aenter__(self) -> Room:
        await self._rooms.start()
        return self.room

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()


def _plain(room: str, message: KeptMessage) -> str:
    return message.text


class Rooms:
    """All rooms of an application. A room exists while it has members; its history is the broker's.

    Args:
        broker: What joins nodes and keeps messages; by default one in memory, for this process alone.
        render: Writes a kept message as its members get it; called once a message and node. By default its text.
        limits: How many rooms and members there may be.
    """

    def __init__(
        self,
        broker: Broker | None = None,
        *,
        render: Callable[[str, KeptMessage], str] = _plain,
        limits: RoomLimits | None = None,
    ) -> None:
        self.limits = limits or RoomLimits()
        self.broker: Broker = broker or MemoryBroker(self.limits)
        self._render = render
        self._rooms: dict[str, Room] = {}
        self._joined: dict[int, set[str]] = {}
        self._is_started = False
        self.broker.attach(self)

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, name: str) -> bool:
        return name in self._rooms

    @property
    def names(self) -> list[str]:
        """The names of the rooms that have members on this node, oldest room first."""
        return list(self._rooms)

    def get(self, name: str) -> Room | None:
        """Find a room that has members on this node."""
        return self._rooms.get(name)

    def rooms_of(self, member: Member) -> list[str]:
        """The names of the rooms that a member is in, in alphabetical order."""
        return sorted(self._joined.get(member.id, ()))

    def join(self, name: str, member: Member) -> Membership:
        """Put a member into a room; the room comes into being with its first member. Joining twice is joining once.

        The member gets what is published from now on. Leave by the membership, or by :meth:`leave_all` when the member
        is gone.

        Raises:
            RoomLimitError: There would be more rooms than ``max_rooms``, more members than ``max_members_per_room``, or
                the member would be in more rooms than ``max_rooms_per_member``.
        """
        joined = self._joined.get(member.id, set())
        if name in joined:
            return Membership(self, self._rooms[name], member)
        _check("max_rooms_per_member", self.limits.max_rooms_per_member, len(joined))
        room = self._rooms.get(name)
        if room is None:
            _check("max_rooms", self.limits.max_rooms, len(self._rooms))
            room = self._rooms[name] = Room(name, self)
            self.broker.subscribe(name)
        else:
            _check("max_members_per_room", self.limits.max_members_per_room, len(room))
        room._members[member.id] = member
        room._change_members()
        self._joined.setdefault(member.id, set()).add(name)
        return Membership(self, room, member)

    def leave(self, name: str, member: Member) -> None:
        """Take a member out of a room; an empty room is forgotten. Harmless if the member is not in it."""
        joined = self._joined.get(member.id)
        if joined is None or name not in joined:
            return
        joined.discard(name)
        if not joined:
            del self._joined[member.id]
        room = self._rooms[name]
        del room._members[member.id]
        room._change_members()
        if not room._members:
            del self._rooms[name]
            self.broker.unsubscribe(name)

    def leave_all(self, member: Member) -> None:
        """Take a member out of every room it is in."""
        for name in self.rooms_of(member):
            self.leave(name, member)

    async def start(self) -> None:
        """Start the broker; later calls do nothing. The one in memory works without."""
        if not self._is_started:
            self._is_started = True
            await self.broker.start()

    async def close(self) -> None:
        """Close the broker."""
        await self.broker.close()

    def receive(self, room: str, message: str | bytes) -> None:
        """See ``Receiver``: a live message for the members on this node."""
        target = self._rooms.get(room)
        if target is not None:
            target._deliver(message)

    def receive_kept(self, room: str, message: KeptMessage) -> None:
        """See ``Receiver``: a kept message for the members on this node."""
        target = self._rooms.get(room)
        if target is not None:
            target._deliver(self._render(room, message))


def _check(limit: str, value: int | None, count: int) -> None:
    if value is not None and count >= value:
        raise RoomLimitError(limit, value)
