"""Turns in a busy kept room, so that a node far from NATS is not always too late.

The server takes a batch only behind the one that it names, so of two nodes that never stop the nearer one is always
first. A node that was too late several times asks for a turn: the others hold back until it has written, a moment at
most. Nothing relies on it but that everybody is heard: whoever does not know of it, or does not hear it, may write.
"""

from __future__ import annotations

import asyncio
from typing import Final

from .connecting import Msg
from .kept_room import KeptRoom
from .session import Session

_VERSION: Final = "1"
_DEFEATS: Final = 3  # in a row, until a node asks
_ATTEMPTS: Final = 4.0  # that fit into a turn: the first may still meet what was on its way
_LONGEST: Final = 2.0  # seconds
_TICK: Final = 0.01


class Turns:
    """Who holds back for whom, of one node and all its rooms.

    Args:
        session: The connection.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._defeats: dict[str, int] = {}
        self._others: dict[str, float] = {}  # until when others have asked for a room, on the loop's clock
        session.listen(session.subjects.turns, self._hear)

    def lose(self, room: str, seconds: float) -> None:
        """Note that another node was first, in an attempt that took so many seconds."""
        self._defeats[room] = defeats = self._defeats.get(room, 0) + 1
        if defeats >= _DEFEATS:
            milliseconds = int(1000 * min(_LONGEST, _ATTEMPTS * seconds)) + 1
            request = f"{_VERSION} {milliseconds} {room}".encode("utf-8", "surrogatepass")
            self._session.publish(self._session.subjects.turns, request)

    def win(self, room: str) -> None:
        """Note that the room's batch was stored, or will not be."""
        self._defeats.pop(room, None)

    async def wait(self, room: KeptRoom) -> None:
        """Let others write who have asked, unless this node is about to ask itself."""
        loop, tail = asyncio.get_running_loop(), room.tail
        while room.tail == tail and self._defeats.get(room.name, 0) < _DEFEATS:
            if loop.time() >= self._others.get(room.name, 0.0):
                break
            await asyncio.sleep(_TICK)
        self._others.pop(room.name, None)

    def _hear(self, message: Msg) -> None:
        version, milliseconds, room = message.data.decode("utf-8", "surrogatepass").split(" ", 2)
        if version != _VERSION:
            raise ValueError(f"version {version!r} of a node that is newer or older than this one")
        now = asyncio.get_running_loop().time()
        self._others = {name: until for name, until in self._others.items() if until > now}
        self._others[room] = now + min(_LONGEST, int(milliseconds) / 1000)
