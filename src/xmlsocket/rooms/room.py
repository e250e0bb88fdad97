"""One room as a node sees it: its members here, and the messages they get.

A message costs a room one append. The room opens a :class:`~xmlsocket.wire.Batch`, hands it to each member once, and
adds to it until somebody has written it, usually at the end of the loop's turn. When the members change, the next
message opens a new batch: who joins must not get what was said before, who leaves must not get what is said after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..wire import Batch, Markup, check_whole
from .broker import Broker, KeptMessage


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

    __slots__ = ("_batch", "_broker", "_holds", "_members", "name")

    def __init__(self, name: str, broker: Broker) -> None:
        self.name = name
        self._broker = broker
        self._members: dict[int, Member] = {}
        self._batch: Batch | None = None
        self._holds = 0

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
        self._broker.publish(self.name, check_whole(message))

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
        return self._broker.keep(self.name, sender, text, own_copy)

    def history(self, after: int | None = None, limit: int = 50) -> Awaitable[list[KeptMessage]]:
        """Find kept messages numbered above ``after``, oldest first, or without it the latest ``limit``.

        Raises:
            BrokerUnavailableError: (When awaited.) History cannot be read now.
        """
        return self._broker.history(self.name, after, limit)

    def present(self) -> Awaitable[list[str]]:
        """Find the names in the room on all nodes: those given to :meth:`Rooms.join`, each once, this node's first."""
        return self._broker.present(self.name)

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
