"""What rooms ask of the thing that joins nodes and keeps messages.

The in-memory broker serves one process; others carry the same calls between processes and machines. One suite of tests,
the broker contract, runs against all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message that a room keeps.

    Attributes:
        id: Its number in its room; they count up by one.
        at: When it was accepted, in seconds since 1970 (UTC).
        sender: Who said it, as the application names them.
        text: What was said, as the application wrote it.
    """

    id: int
    at: float
    sender: str
    text: str


@dataclass(frozen=True, slots=True)
class BrokerState:
    """How a broker is, for those who watch the service from outside.

    Attributes:
        is_ready: Whether it does all that is asked of it. While it is not, it does what it can.
        sentence: The same for people: what works, or what does not and why.
        counters: Numbers by name: what only grows ends in ``_total``, sums of seconds in ``_seconds_sum``; the others
            go up and down.
    """

    is_ready: bool
    sentence: str
    counters: Mapping[str, float] = field(default_factory=dict)


class Done(Awaitable[_T], Generic[_T]):
    """A result that is there already: cheaper than a future, needs no loop, and can be read without awaiting.

    Attributes:
        value: The result.
    """

    __slots__ = ("value",)

    def __init__(self, value: _T) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, _T]:
        yield from ()
        return self.value


class Receiver(Protocol):
    """The side of :class:`~xmlsocket.rooms.Rooms` that a broker calls, in the order in which members are to see things.

    Calls come from the event loop.
    """

    def receive(self, room: str, message: str | bytes) -> None:
        """A live message for the members on this node."""

    def receive_kept(self, room: str, message: KeptMessage, origin: object = None) -> None:
        """A kept message for the members on this node.

        ``origin`` is what was given to :meth:`Broker.keep` if that was called on this node, and otherwise ``None``.
        """

    def receive_arrival(self, room: str, name: str) -> None:
        """A name is in the room now that was not there, on this node or another."""

    def receive_departure(self, room: str, name: str) -> None:
        """A name is in the room no more, on no node: it left, or its node is gone or out of reach."""

    def receive_gap(self, room: str, missed: int) -> None:
        """That many live messages of another node were lost on the way, and stay lost.

        Arrivals and departures are not among them: who is in the room is asked for again, and what changed is told.
        """

    def receive_private(self, name: str, message: str) -> str | None:
        """A message for the holder of a name on this node. Returns an answer to the sender; ``None`` if not here."""

    def lose_name(self, name: str) -> None:
        """A name claimed on this node is held on another now: this node was out of reach for too long."""

    def receive_state(self, is_connected: bool) -> None:
        """This node has lost the others, or has found them again."""


class Broker(Protocol):
    """Carries a room's messages to its members on every node, and keeps those that are to be kept.

    All calls come from one event loop. ``attach`` is first; ``subscribe`` and ``unsubscribe`` may precede ``start``.
    """

    def attach(self, receiver: Receiver) -> None:
        """Learn whom to deliver to. Called once."""

    async def start(self) -> None:
        """Connect, open files, begin to deliver. Called once; again only if it failed."""

    async def close(self) -> None:
        """Deliver no more, and let go of every resource. What was accepted is safe before it returns."""

    @property
    def state(self) -> BrokerState:
        """How it is now. Cheap enough to be asked every second."""
        ...

    def subscribe(self, room: str) -> None:
        """This node has got its first member of the room. From now on the room's messages are delivered here."""

    def unsubscribe(self, room: str) -> None:
        """This node has lost its last member of the room, and all that arrived here have departed."""

    def publish(self, room: str, message: str | bytes) -> None:
        """Carry a live message to all members on all nodes. Never waits; those on this node have it on return."""

    def keep(self, room: str, sender: str, text: str, origin: object = None) -> Awaitable[KeptMessage]:
        """Number a message, keep it, and then deliver it everywhere.

        The order of the calls on one node is the order of the numbers. Numbers of a room never go back, not even when
        its history is forgotten. What is returned is done when the members on this node have the message: a
        :class:`Done` where nothing has to be waited for. A caller who need not know may drop it.

        Args:
            room: Where.
            sender: Who says it.
            text: What is said.
            origin: Handed to ``receive_kept`` on this node with the message, for the caller to know it again.

        Raises:
            BrokerUnavailableError: (When awaited.) It cannot be kept now; it was not accepted and nobody sees it.
        """
        ...

    def history(self, room: str, after: int | None, limit: int) -> Awaitable[list[KeptMessage]]:
        """Find the kept messages with numbers above ``after``, oldest first, at most ``limit``.

        Without ``after`` the latest ``limit``, oldest of them first. Messages that members on this node have seen are
        found unless they have been forgotten.

        Raises:
            BrokerUnavailableError: (When awaited.) History cannot be read now.
        """
        ...

    def claim(self, name: str) -> Awaitable[bool]:
        """Take a name that one holder in the whole cluster may have. False if somebody has it.

        Raises:
            BrokerUnavailableError: (When awaited.) Nobody can tell now whether it is free; it was not taken.
        """
        ...

    def release(self, name: str) -> None:
        """Give a name back. Harmless if nobody has it."""

    def arrive(self, room: str, name: str) -> None:
        """Somebody by that name is in the room on this node, which is subscribed to it.

        Never waits. A name may arrive several times and is there until it has departed as often; members hear of the
        first arrival and of the last departure, on all nodes taken together, and those on this node on return.
        """

    def depart(self, room: str, name: str) -> None:
        """Somebody by that name has left the room on this node. Harmless if nobody was there."""

    def present(self, room: str) -> Awaitable[list[str]]:
        """Find the names that are in a room on any node, each once.

        Those on this node first, and those of one node in the order of arrival. A :class:`Done` where this node knows;
        where it has just subscribed, or is not subscribed, the other nodes are asked, and those that do not answer in
        a second are left out. Names that become known so are there without having been told as arrivals.
        """
        ...

    def rooms(self) -> Awaitable[dict[str, int]]:
        """Find the rooms in which any name is present on any node, with how many; as ``present`` finds them.

        In rooms to which this node is not subscribed, a name that is present on several nodes counts on each of them:
        the nodes tell how many there are, not who. Names that are claimed are on one.
        """
        ...

    def tell(self, name: str, message: str) -> Awaitable[str | None]:
        """Hand a message without NUL to the holder of a name, wherever that is; what ``receive_private`` answers there.

        ``None`` if nobody holds it.

        Raises:
            BrokerUnavailableError: (When awaited.) The holder's node cannot be reached or does not answer; whether the
                message arrived is not known.
        """
        ...
