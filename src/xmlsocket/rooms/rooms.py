"""Rooms: whoever is in one hears what is published there.

A room knows its members by two things, an id and a ``deliver`` that takes messages without waiting; what they are and
what the messages mean is the application's business.

A message costs a room one append. The room opens a :class:`~xmlsocket.wire.Batch`, hands it to each member once, and
adds to it until somebody has written it, usually at the end of the loop's turn. When the members change, the next
message opens a new batch: who joins must not get what was said before, who leaves must not get what is said after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
        """Take messages, without waiting, without raising, and without joining or leaving a room meanwhile."""


@dataclass(frozen=True, slots=True)
class OwnCopy:
    """One member gets a kept message in a form of its own, at the same place in the order as everybody else.

    Attributes:
        member: Who; if it has left by then, nobody.
        render: Writes the message for it.
    """

    member: Member
    render: Callable[[str, KeptMessage], str]


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

    def keep(self, text: str, sender: str = "", own_copy: OwnCopy | None = None) -> Awaitable[KeptMessage]:
        """Number a message, keep it in the room's history, and send it to all members as ``render`` writes it.

        The call itself does not wait; await what it returns to know the number, or that it failed. It is done when the
        members on this node have been sent the message.

        Args:
            text: What is said.
            sender: Who says it.
            own_copy: A member on this node that gets the message in another form.

        Raises:
            EmbeddedNulError: The text has a NUL; nothing was sent.
            BrokerUnavailableError: (When awaited.) It cannot be kept now; nobody sees it.
        """
        check_whole(text)
        return self._rooms.broker.keep(self.name, sender, text, own_copy)

    def history(self, after: int | None = None, limit: int = 50) -> Awaitable[list[KeptMessage]]:
        """Find kept messages numbered above ``after``, oldest first, or without it the latest ``limit``.

        Raises:
            BrokerUnavailableError: (When awaited.) History cannot be read now.
        """
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

    def _deliver_apart(self, message: str, member: Member, own: str) -> None:
        for_all, for_one = Batch(), Batch()
        for_all.append(message)
        for_one.append(own)
        for other in self._members.values():
            other.deliver(for_one if other.id == member.id else for_all)
        self._batch = None  # neither has gone to all, so neither can take the next message


class Membership:
    """A member's stay in a room: ``async with`` it, or keep it and call :meth:`leave`."""

    __slots__ = ("_member", "_rooms", "room")

    def __init__(self, rooms: Rooms, room: Room, member: Member) -> None:
        self._rooms = rooms
        self._member = member
        self.room = room

    def leave(self) -> None:
        """End the stay. Harmless if it has ended, also if the member has joined again since."""
        self._rooms._end(self)

    async def __aenter__(self) -> Room:
        try:
            await self._rooms.start()
        except BaseException:
            self.leave()
            raise
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
        self._stays: dict[int, dict[str, Membership]] = {}
        self._starting: asyncio.Future[None] | None = None
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
        return sorted(self._stays.get(member.id, ()))

    def join(self, name: str, member: Member) -> Membership:
        """Put a member into a room; the room comes into being with its first member. Joining twice is joining once.

        The member gets what is published from now on. Leave by the membership, or by :meth:`forget` when the member is
        gone.

        Raises:
            RoomLimitError: There would be more rooms than ``max_rooms``, more members than ``max_members_per_room``, or
                the member would be in more rooms than ``max_rooms_per_member``.
        """
        stays = self._stays.get(member.id, {})
        if name in stays:
            return stays[name]
        self.check_join(name, member)
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self)
            self.broker.subscribe(name)
        room._members[member.id] = member
        room._batch = None
        stay = Membership(self, room, member)
        self._stays.setdefault(member.id, stays)[name] = stay
        return stay

    def check_join(self, name: str, member: Member) -> None:
        """Find out whether a member could join a room that it is not in.

        Raises:
            RoomLimitError: As :meth:`join`.
        """
        limits = self.limits
        _check("max_rooms_per_member", limits.max_rooms_per_member, len(self._stays.get(member.id, ())))
        room = self._rooms.get(name)
        _check("max_members_per_room", limits.max_members_per_room, 0 if room is None else len(room))
        if room is None:
            _check("max_rooms", limits.max_rooms, len(self._rooms))

    def leave(self, name: str, member: Member) -> None:
        """Take a member out of a room; an empty room is forgotten. Harmless if the member is not in it."""
        stay = self._stays.get(member.id, {}).get(name)
        if stay is not None:
            self._end(stay)

    def leave_all(self, member: Member) -> None:
        """Take a member out of every room it is in."""
        for stay in list(self._stays.get(member.id, {}).values()):
            self._end(stay)

    def forget(self, member: Member) -> None:
        """Take a member that is gone out of every room it was in.

        It may be handed what is published in this turn of the loop, and must take none of it. That saves the others
        work: thousands may go at once.
        """
        for stay in list(self._stays.get(member.id, {}).values()):
            self._end(stay, is_gone=True)

    def _end(self, stay: Membership, *, is_gone: bool = False) -> None:
        room, member = stay.room, stay._member
        stays = self._stays.get(member.id)
        if stays is None or stays.get(room.name) is not stay:
            return
        del stays[room.name]
        if not stays:
            del self._stays[member.id]
        del room._members[member.id]
        if not is_gone:
            room._batch = None
        if not room._members:
            del self._rooms[room.name]
            self.broker.unsubscribe(room.name)

    async def start(self) -> None:
        """Start the broker, once; later calls wait for the same start, or try again if it failed.

        The broker in memory works without.
        """
        if self._starting is None:
            self._starting = asyncio.ensure_future(self.broker.start())
        starting = self._starting
        try:
            # Cancelling one who waits must not stop the start for the others.
            await asyncio.shield(starting)
        finally:
            if starting.done() and (starting.cancelled() or starting.exception()) and self._starting is starting:
                self._starting = None

    async def close(self) -> None:
        """Close the broker."""
        await self.broker.close()

    def receive(self, room: str, message: str | bytes) -> None:
        """See ``Receiver``: a live message for the members on this node."""
        target = self._rooms.get(room)
        if target is not None:
            target._deliver(message)

    def receive_kept(self, room: str, message: KeptMessage, origin: object = None) -> None:
        """See ``Receiver``: a kept message for the members on this node."""
        target = self._rooms.get(room)
        if target is None:
            return
        text = self._render(room, message)
        if isinstance(origin, OwnCopy) and origin.member in target:
            target._deliver_apart(text, origin.member, origin.render(room, message))
        else:
            target._deliver(text)


def _check(limit: str, value: int | None, count: int) -> None:
    if value is not None and count >= value:
        raise RoomLimitError(limit, value)
