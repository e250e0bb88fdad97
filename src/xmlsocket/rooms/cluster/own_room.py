"""A room as this node speaks in it."""

from __future__ import annotations

from .envelope import Standing


class OwnRoom:
    """What this node says in a room.

    Attributes:
        name: Its name.
        subject: Where it says it.
        epoch: See ``envelope``.
        seq: See ``envelope``.
        texts: See ``envelope``.
        entries: Said in this turn, and not yet sent.
        size: About how long these are, in characters.
        names: Who is in the room on this node, and how many times.
        announced: When the others were told last where the room stands, on the loop's clock.
        spoken: When something was said last.
    """

    __slots__ = ("announced", "entries", "epoch", "name", "names", "seq", "size", "spoken", "subject", "texts")

    def __init__(self, name: str, subject: str, epoch: int, now: float) -> None:
        self.name = name
        self.subject = subject
        self.epoch = epoch
        self.seq = 0
        self.texts = 0
        self.entries: list[str] = []
        self.size = 0
        self.names: dict[str, int] = {}
        self.announced = self.spoken = now

    def standing(self, *, has_names: bool) -> Standing:
        """Where it stands."""
        names = list(self.names) if has_names else []
        return Standing(self.name, self.epoch, self.seq, self.texts, len(self.names), names)
