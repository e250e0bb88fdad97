"""What the members of a room read: the one place where an application says how events become messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .broker import KeptMessage


class Renderer:
    """Writes what members get, once for each event and node. Override what you need; ``None`` is no message.

    As it is, members get the text of kept messages and nothing else.
    """

    def kept(self, room: str, message: KeptMessage) -> str:
        """Write a kept message."""
        return message.text

    def arrival(self, room: str, name: str) -> str | None:
        """Write that a name has come into the room. The one who comes does not get it."""
        return None

    def departure(self, room: str, name: str) -> str | None:
        """Write that a name has left the room, or that its node is gone or out of reach."""
        return None

    def gap(self, room: str, missed: int) -> str | None:
        """Write that so many live messages of another node were lost on the way."""
        return None

    def connection_state(self, room: str, is_connected: bool) -> str | None:
        """Write that this node has lost the other nodes, or has found them again."""
        return None


RenderKept: TypeAlias = Callable[[str, KeptMessage], str]


class FunctionRenderer(Renderer):
    """Writes kept messages by a function."""

    def __init__(self, kept: RenderKept) -> None:
        self._kept = kept

    def kept(self, room: str, message: KeptMessage) -> str:
        """See :class:`Renderer`."""
        return self._kept(room, message)
