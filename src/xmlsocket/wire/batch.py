"""Messages on their way to many receivers, encoded once for each kind of receiver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast


class Encoder(Protocol):
    """Turns messages into the bytes of one kind of wire. Compared by identity."""

    def encode(self, messages: Sequence[str | bytes]) -> bytes:
        """Join messages that have passed ``check_whole``."""

    def encode_plain(self, messages: Sequence[Any]) -> bytes | None:
        """Join messages that nobody has checked; ``None`` if any of them must be looked at by itself."""


class Batch:
    """Messages that the same receivers get in the same order, one after the other.

    A room opens a batch, hands it to every member once, and appends to it while it may; so a message costs the room one
    append, however many members it has. A receiver seals the batch when it has written it, or when anything else is
    sent to that receiver after it, so that everybody sees one order.

    Args:
        messages: The first messages.
        encoded: An encoder and the bytes it has made of the messages already; the batch is sealed from the start.
    """

    __slots__ = ("_encoded", "_messages", "is_sealed")

    def __init__(self, messages: Sequence[str | bytes] = (), encoded: tuple[Encoder, bytes] | None = None) -> None:
        self._messages = list(messages) if encoded is None else messages
        self._encoded: list[tuple[Encoder, bytes]] = [] if encoded is None else [encoded]
        self.is_sealed = encoded is not None

    def append(self, message: str | bytes) -> None:
        """Add a message; only while the batch is not sealed."""
        cast("list[str | bytes]", self._messages).append(message)

    def __len__(self) -> int:
        return len(self._messages)

    def seal(self) -> None:
        """Allow no further messages."""
        self.is_sealed = True

    def encode(self, encoder: Encoder) -> bytes:
        """Seal the batch and return its bytes, made once for each encoder."""
        for known, data in self._encoded:
            if known is encoder:
                return data
        self.is_sealed = True
        data = encoder.encode(self._messages)
        self._encoded.append((encoder, data))
        return data
