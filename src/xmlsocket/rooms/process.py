"""What is simple for a broker whose process is the whole cluster: live messages, presence and names."""

from __future__ import annotations

from .broker import Done, Receiver
from .presence import Presence


class ProcessBroker:
    """The half of a ``Broker`` that keeps nothing. Every result is there at once."""

    def __init__(self) -> None:
        self._present = Presence()
        self._names: set[str] = set()

    def attach(self, receiver: Receiver) -> None:
        """See :class:`Broker`."""
        self._receiver = receiver

    def subscribe(self, room: str) -> None:
        """See :class:`Broker`."""

    def unsubscribe(self, room: str) -> None:
        """See :class:`Broker`."""

    def publish(self, room: str, message: str | bytes) -> None:
        """See :class:`Broker`."""
        self._receiver.receive(room, message)

    def arrive(self, room: str, name: str) -> None:
        """See :class:`Broker`."""
        if self._present.arrive(room, name):
            self._receiver.receive_arrival(room, name)

    def depart(self, room: str, name: str) -> None:
        """See :class:`Broker`."""
        if self._present.depart(room, name):
            self._receiver.receive_departure(room, name)

    def present(self, room: str) -> Done[list[str]]:
        """See :class:`Broker`."""
        return Done(self._present.names(room))

    def rooms(self) -> Done[dict[str, int]]:
        """See :class:`Broker`."""
        return Done(self._present.counts())

    def claim(self, name: str) -> Done[bool]:
        """See :class:`Broker`."""
        is_free = name not in self._names
        self._names.add(name)
        return Done(is_free)

    def release(self, name: str) -> None:
        """See :class:`Broker`."""
        self._names.discard(name)

    def tell(self, name: str, message: str) -> Done[str | None]:
        """See :class:`Broker`."""
        return Done(self._receiver.receive_private(name, message) if name in self._names else None)

    def _forget_everybody(self) -> None:
        self._present.clear()
        self._names.clear()
