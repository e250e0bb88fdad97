"""What rooms ask of the thing that joins nodes and keeps messages.

The in-memory broker serves one process; others carry the same calls between processes and machines. One suite of tests,
the broker contract, runs against all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol


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


class Receiver(Protocol):
    """The side of :class:`~xmlsocket.rooms.Rooms` that a broker calls, in the order in which members are to see things.

    Calls come from the event loop.
    """

    def receive(self, room: str, message: str | bytes) -> None:
        """A live message for the members on this node."""

    def receive_kept(self, room: str, message: KeptMessage) -> None:
        """A kept message for the members on this node."""


class Broker(Protocol):
    """Carries a room's messages to its members on every node, and keeps those that are to be kept."""

    def attach(self, receiver: Receiver) -> None:
        """Learn whom to deliver to. Called once, before anything else."""

    async def start(self) -> None:
        """Connect, open files, begin to deliver. Called once."""

    async def close(self) -> None:
        """Deliver no more, and let go of every resource. What was accepted is safe before it returns."""

    def subscribe(self, room: str) -> None:
        """This node has got its first member of the room. From now on the room's messages are delivered here."""

    def unsubscribe(self, room: str) -> None:
        """This node has lost its last member of the room."""

    def publish(self, room: str, message: str | bytes) -> None:
        """Carry a live message to all members on all nodes, those on this node included. Never waits."""

    def keep(self, room: str, sender: str, text: str) -> Awaitable[KeptMessage]:
        """Number a message, keep it, and then deliver it everywhere.

        Must be called from the event loop. The order of the calls on one node is the order of the numbers. What is
        returned is done at once where nothing has to be waited for; a caller who need not know may drop it.

        Raises:
            BrokerUnavailableError: (When awaited.) It cannot be kept now; it was not accepted and nobody sees it.
        """
        ...

    def history(self, room: str, after: int | None, limit: int) -> Awaitable[list[KeptMessage]]:
        """Find the kept messages with numbers above ``after``, oldest first, at most ``limit``.

        Without ``after`` the latest ``limit``, oldest of them first.

        Raises:
            BrokerUnavailableError: (When awaited.) History cannot be read now.
        """
        ...

    def claim(self, name: str) -> Awaitable[bool]:
        """Take a name that one connection in the whole cluster may hold. False if somebody has it."""
        ...

    def release(self, name: str) -> None:
        """Give a name back."""
