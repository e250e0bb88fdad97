"""What one message of the kept stream holds: kept messages of a room that were stored together.

::

    VERSION NODE EPOCH NUMBER PREVIOUS FIRST CEILING TIME  NUL  ROOM  NUL  SENDER  NUL  TEXT  NUL  SENDER  NUL  TEXT ...

The header's parts are separated by one space. No room, sender or text holds a NUL. Where the messages were not said at
one time, as of those that were imported, ``TIME`` is a list of as many as there are, with commas between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..broker import KeptMessage

_VERSION: Final = "1"
_FIELDS: Final = 8


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """Kept messages of one room that were stored together, numbered from ``first_id`` on.

    Attributes:
        node: Who stored it.
        epoch: Which time the node had the room open; tells two batches of one number apart.
        number: Unlike that of any other batch of the node, whatever the room.
        previous: Sequence of the room's batch before it in the stream; 0 if there was none.
        first_id: Number of its first message in the room.
        ceiling: No number above this may be given before the record of the room's numbers is raised.
        at: When it was said, in seconds since 1970 by the node's clock.
        room: The room's name.
        said: Senders and texts, in order; never empty.
        times: When each of them was said, where that is not ``at`` for all.
    """

    node: str
    epoch: int
    number: int
    previous: int
    first_id: int
    ceiling: int
    at: float
    room: str
    said: Sequence[tuple[str, str]]
    times: Sequence[float] = ()

    @property
    def last_id(self) -> int:
        """Number of its last message."""
        return self.first_id + len(self.said) - 1

    def messages(self) -> list[KeptMessage]:
        """The messages, as rooms know them."""
        if self.times:
            numbered = enumerate(zip(self.times, self.said, strict=True), self.first_id)
            return [KeptMessage(id, at, sender, text) for id, (at, (sender, text)) in numbered]
        return [KeptMessage(id, self.at, sender, text) for id, (sender, text) in enumerate(self.said, self.first_id)]

    def encode(self) -> bytes:
        """Write it. What :func:`decode_batch` reads from that is equal, lone surrogates included."""
        head = (
            f"{_VERSION} {self.node} {self.epoch} {self.number} {self.previous} {self.first_id} {self.ceiling} "
            f"{','.join(map(repr, self.times or (self.at,)))}"
        )
        parts = [head, self.room]
        for pair in self.said:
            parts.extend(pair)
        return "\0".join(parts).encode("utf-8", "surrogatepass")


def decode_batch(payload: bytes) -> KeptBatch:
    """Read a batch.

    Raises:
        ValueError: It is none, or of a version that is not known here. The text says which.
    """
    try:
        head, room, *rest = payload.decode("utf-8", "surrogatepass").split("\0")
        fields = head.split(" ")
    except ValueError:
        raise ValueError("it was not written by xmlsocket") from None
    if fields[0] != _VERSION and fields[0].isdigit():
        raise ValueError(f"it is of version {fields[0]}, and this xmlsocket reads version {_VERSION}")
    try:
        if len(fields) != _FIELDS or not rest or len(rest) % 2 or fields[0] != _VERSION:
            raise ValueError
        epoch, number, previous, first_id, ceiling = map(int, fields[2:7])
        times = list(map(float, fields[7].split(",")))
        if min(epoch, number, previous) < 0 or first_id < 1 or len(times) not in (1, len(rest) // 2):
            raise ValueError
    except ValueError:
        raise ValueError("it was not written by xmlsocket") from None
    said = list(zip(rest[::2], rest[1::2], strict=True))
    batch = KeptBatch(fields[1], epoch, number, previous, first_id, ceiling, times[-1], room, said)
    return batch if len(times) == 1 else replace(batch, times=times)


def encoded_size(sender: str, text: str) -> int:
    """How many bytes a message adds to a batch."""
    if sender.isascii() and text.isascii():
        return len(sender) + len(text) + 2
    return len(f"{sender}{text}".encode("utf-8", "surrogatepass")) + 2
