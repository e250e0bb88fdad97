"""Which names are in which rooms, as long as one node is all there is to know."""

from __future__ import annotations


class Presence:
    """Names in rooms, each as often as it arrived."""

    __slots__ = ("_rooms",)

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, int]] = {}

    def arrive(self, room: str, name: str) -> bool:
        """Add a name; whether it was not there before."""
        names = self._rooms.setdefault(room, {})
        count = names.get(name, 0)
        names[name] = count + 1
        return not count

    def depart(self, room: str, name: str) -> bool:
        """Take a name away once; whether that was the last of it."""
        names = self._rooms.get(room)
        count = 0 if names is None else names.get(name, 0)
        if names is None or not count:
            return False
        if count > 1:
            names[name] = count - 1
            return False
        del names[name]
        if not names:
            del self._rooms[room]
        return True

    def names(self, room: str) -> list[str]:
        """The names in a room, in the order of arrival."""
        return list(self._rooms.get(room, ()))

    def counts(self) -> dict[str, int]:
        """How many names are in each room that has any, oldest room first."""
        return {room: len(names) for room, names in self._rooms.items()}

    def clear(self) -> None:
        """Forget everybody."""
        self._rooms.clear()
