"""Rooms: whoever is in one hears what is published there.

A room knows its members by two things, an id and a ``deliver`` that takes messages without waiting; what they are and
what the messages mean is the application's business.
``room.py`` has what one of them does.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol

from ..errors import ConfigurationError, RoomLimitError
from ..limits import RoomLimits
from .broker import Broker, KeptMessage
from .memory import MemoryBroker
from .renderer import FunctionRenderer, Renderer, RenderKept
from .room import Member, OwnCopy, Room


class NameHolders(Protocol):
    """Whoever holds names for people on this node, and can be told things by name."""

    def receive_private(self, name: str, message: str) -> str | None:
        """Take a message for the holder of a name; returns an answer for the sender, ``None`` if nobody has it here."""

    def lose_name(self, name: str) -> None:
        """Let go of a name that another node holds now. It has been released already."""


class Membership:
    """A member's stay in a room: ``async with`` it, or keep it and call :meth:`leave`."""

    __slots__ = ("_member", "_rooms", "known_as", "room")

    def __init__(self, rooms: Rooms, room: Room, member: Member, known_as: str | None) -> None:
        self._rooms = rooms
        self._member = member
        self.room = room
        self.known_as = known_as

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


class Hold:
    """Keeps a room open on this node, with members or without; :meth:`release` it."""

    __slots__ = ("_room", "_rooms")

    def __init__(self, rooms: Rooms, room: Room) -> None:
        self._rooms = rooms
        self._room: Room | None = room
        room._holds += 1

    def release(self) -> None:
        """Let the room close when it is empty. Harmless a second time."""
        room, self._room = self._room, None
        if room is not None:
            room._holds -= 1
            self._rooms._close_if_empty(room)


class Rooms:
    """All rooms of an application. A room exists while it has members; its history is the broker's.

    Args:
        broker: What joins nodes and keeps messages, or the address of one: ``nats://host:port``, several with commas
            between them. By default one in memory, for this process alone.
        render: Writes a kept message as its members get it, by default its text; or a :class:`Renderer`, which also
            writes what else happens in a room. Called once for each event and node.
        limits: How many rooms and members there may be.
        holders: Is told what comes for names that were claimed of the broker.

    Attributes:
        is_connected: Whether this node is with the others, as far as it knows; always so where there are none.

    Raises:
        ConfigurationError: The address is none, or what speaks to that broker is not installed.
    """

    def __init__(
        self,
        broker: Broker | str | None = None,
        *,
        render: RenderKept | Renderer | None = None,
        limits: RoomLimits | None = None,
        holders: NameHolders | None = None,
    ) -> None:
        self.limits = limits or RoomLimits()
        if isinstance(broker, str):
            broker = _reach(broker)
        self.broker: Broker = broker or MemoryBroker(self.limits)
        self._renderer = render if isinstance(render, Renderer) else FunctionRenderer(render) if render else Renderer()
        self._render_kept = self._renderer.kept
        self._holders = holders
        self._rooms: dict[str, Room] = {}
        self._stays: dict[int, dict[str, Membership]] = {}
        self._starting: asyncio.Future[None] | None = None
        self.is_connected = True
        self.broker.attach(self)

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, name: str) -> bool:
        return name in self._rooms

    @property
    def names(self) -> list[str]:
        """The names of the rooms that have members on this node, oldest room first."""
        return [name for name, room in self._rooms.items() if room._members]

    def get(self, name: str) -> Room | None:
        """Find a room that is open on this node: it has members here, or is held."""
        return self._rooms.get(name)

    def rooms_of(self, member: Member) -> list[str]:
        """The names of the rooms that a member is in, in alphabetical order."""
        return sorted(self._stays.get(member.id, ()))

    def join(self, name: str, member: Member, known_as: str | None = None) -> Membership:
        """Put a member into a room; the room comes into being with its first member. Joining twice is joining once.

        The member gets what is published from now on. Leave by the membership, or by :meth:`forget` when the member is
        gone.

        Args:
            name: The room.
            member: Who.
            known_as: The name by which the others find it in the room, on every node: they are told of its arrival and
                of its departure as the renderer writes them. Without one nobody is told.

        Raises:
            RoomLimitError: There would be more rooms than ``max_rooms``, more members than ``max_members_per_room``, or
                the member would be in more rooms than ``max_rooms_per_member``.
        """
        stays = self._stays.get(member.id, {})
        if name in stays:
            return stays[name]
        self.check_join(name, member)
        room = self._open(name)
        if known_as is not None:
            self.broker.arrive(name, known_as)  # before it is a member: who arrives does not hear of it
        room._members[member.id] = member
        room._batch = None
        stay = Membership(self, room, member, known_as)
        self._stays.setdefault(member.id, stays)[name] = stay
        return stay

    def hold(self, name: str) -> Hold:
        """Open a room on this node before anybody joins, so that who is in it elsewhere can be known by then.

        Raises:
            RoomLimitError: There would be more rooms than ``max_rooms``.
        """
        if name not in self._rooms:
            _check("max_rooms", self.limits.max_rooms, len(self._rooms))
        return Hold(self, self._open(name))

    def _open(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self.broker)
            self.broker.subscribe(name)
        return room

    def _close_if_empty(self, room: Room) -> None:
        if not room._members and not room._holds and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self.broker.unsubscribe(room.name)

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
        """Take a member out of every room it is in, in alphabetical order."""
        for _, stay in sorted(self._stays.get(member.id, {}).items()):
            self._end(stay)

    def forget(self, member: Member) -> None:
        """Take a member that is gone out of every room it was in.

        It may be handed what is published in this turn of the loop, and must take none of it. That saves the others
        work: thousands may go at once.
        """
        for _, stay in sorted(self._stays.get(member.id, {}).items()):
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
        if stay.known_as is not None:
            self.broker.depart(room.name, stay.known_as)
        if not room._members:
            self._close_if_empty(room)

    async def start(self) -> None:
        """Start the broker, once; later calls wait for the same start, or try again if it failed.

        The broker in memory works without.
        """
        starting = self._starting
        if starting is None or (starting.done() and (starting.cancelled() or starting.exception() is not None)):
            starting = self._starting = asyncio.ensure_future(self.broker.start())
        # Cancelling one who waits must not stop the start for the others.
        await asyncio.shield(starting)

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
        text = self._render_kept(room, message)
        if isinstance(origin, OwnCopy) and origin.member in target:
            target._deliver_apart(text, origin.member, origin.render(room, message))
        else:
            target._deliver(text)

    def receive_arrival(self, room: str, name: str) -> None:
        """See ``Receiver``: a name has come into the room."""
        self._announce(room, self._renderer.arrival(room, name))

    def receive_departure(self, room: str, name: str) -> None:
        """See ``Receiver``: a name has left the room."""
        self._announce(room, self._renderer.departure(room, name))

    def receive_gap(self, room: str, missed: int) -> None:
        """See ``Receiver``: something of another node was lost on the way."""
        self._announce(room, self._renderer.gap(room, missed))

    def receive_state(self, is_connected: bool) -> None:
        """See ``Receiver``: the other nodes are out of reach, or are there again."""
        self.is_connected = is_connected
        for name in list(self._rooms):
            self._announce(name, self._renderer.connection_state(name, is_connected))

    def receive_private(self, name: str, message: str) -> str | None:
        """See ``Receiver``: a message for the holder of a name."""
        return None if self._holders is None else self._holders.receive_private(name, message)

    def lose_name(self, name: str) -> None:
        """See ``Receiver``: another node holds the name now."""
        if self._holders is not None:
            self._holders.lose_name(name)

    def _announce(self, room: str, message: str | None) -> None:
        if message is not None:
            self.receive(room, message)


def _reach(address: str) -> Broker:
    try:
        from .cluster import NatsBroker  # not at the top: nats-py is an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "nats":
            raise
        needed = 'rooms on many nodes need the package nats-py: pip install "xmlsocket[cluster]"'
        raise ConfigurationError(needed) from error
    return NatsBroker(address)


def _check(limit: str, value: int | None, count: int) -> None:
    if value is not None and count >= value:
        raise RoomLimitError(limit, value)
