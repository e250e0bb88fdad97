"""A byte stream handed on as it comes, for protocols that do not end their messages with a NUL.

These stand in the place of :class:`MessageDecoder` and :class:`MessageEncoder`: a *message* is then whatever one read
brought, and nothing is added to it on the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .framing import MessageDecoder, MessageEncoder


class PieceDecoder(MessageDecoder[bytes]):
    """Hand on each piece of the stream as it is."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, None)

    def feed(self, data: bytes) -> list[bytes]:
        """Give the piece back, unless it is empty."""
        return [data] if data else []


class PieceEncoder(MessageEncoder):
    """Join pieces, and add nothing."""

    __slots__ = ()

    def check(self, message: Any) -> str | bytes:
        """Take any text or bytes, NULs or not."""
        return message.encode(self.codec.encoding) if isinstance(message, str) else bytes(message)

    def encode_plain(self, messages: Sequence[Any]) -> bytes | None:
        """See :meth:`MessageEncoder.encode_plain`."""
        return self.encode(messages)

    def encode(self, messages: Sequence[str | bytes]) -> bytes:
        """Join the pieces."""
        return b"".join(self._encode_each(messages))
