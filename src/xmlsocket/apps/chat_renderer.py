"""What the members of a chat's room are told of what happens there, beside the answers to their own requests."""

from __future__ import annotations

from ..rooms import KeptMessage, Renderer
from . import markup


class ChatRenderer(Renderer):
    """Writes events as elements of the chat's protocol."""

    def kept(self, room: str, message: KeptMessage) -> str:
        """Write what was said."""
        return markup.said(room, message)

    def arrival(self, room: str, name: str) -> str:
        """Write who came in."""
        return markup.element("entered", [("room", room), ("name", name)])

    def departure(self, room: str, name: str) -> str:
        """Write who left."""
        return left(room, name)

    def gap(self, room: str, missed: int) -> str:
        """Write what was lost: nobody's words, for those are kept, but what else is published in a chat's rooms."""
        sentence = (
            "A message from another server was lost on the way."
            if missed == 1
            else f"{missed} messages from another server were lost on the way."
        )
        return _notice(room, "gap", sentence, missed)

    def connection_state(self, room: str, is_connected: bool) -> str:
        """Write that the other servers are out of reach, or are there again."""
        if is_connected:
            return _notice(room, "reconnected", "This server is connected with the others again.")
        return cut_off(room)


def cut_off(room: str) -> str:
    """Write that the other servers are out of reach, also to somebody who comes into a room meanwhile."""
    sentence = (
        "This server has lost the connection with the others. Until it is back nothing can be said here, and who "
        "is elsewhere is not seen."
    )
    return _notice(room, "cut-off", sentence)


def left(room: str, name: str, ref: str | None = None) -> str:
    """Write who left a room."""
    return markup.element("left", [("room", room), ("name", name), ("ref", ref)])


def _notice(room: str, code: str, sentence: str, missed: int | None = None) -> str:
    attributes = [("room", room), ("code", code), ("missed", None if missed is None else str(missed))]
    return markup.element("notice", attributes, markup.escape_text(sentence))
