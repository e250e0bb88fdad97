"""Pieces of a stream, as :mod:`.pieces` hands them on, in WebSocket frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .frames import BINARY, FrameEncoder, encode_binary, encode_text
from .websocket import FrameDecoder

_LONGEST_FRAME: Final = 65_535
"""Bytes in one frame: clients hold a frame until it is whole, and up to here the header is short."""


class PieceFrameEncoder(FrameEncoder):
    """Put pieces into frames, and add nothing; neighbours share a frame."""

    __slots__ = ()

    def encode_plain(self, messages: Sequence[Any]) -> bytes | None:
        """See :meth:`MessageEncoder.encode_plain`."""
        return self.encode(messages)

    def encode(self, messages: Sequence[str | bytes]) -> bytes:
        """Make frames of up to 64 KiB from the bytes of all pieces; text frames hold a piece each."""
        if self._as_text:
            return encode_text(map(self._to_utf8, messages), deflater=self._deflater)
        data = b"".join(self._encode_each(messages))
        if len(data) <= _LONGEST_FRAME:
            return encode_binary([data] if data else [], deflater=self._deflater)
        parts = [data[at : at + _LONGEST_FRAME] for at in range(0, len(data), _LONGEST_FRAME)]
        return encode_binary(parts, deflater=self._deflater)


class PieceFrameDecoder(FrameDecoder):
    """Set no limit to binary messages, as their pieces are handed on before they are whole."""

    __slots__ = ()

    def _check_size(self, first: int, size: int) -> None:
        if (first & 0x0F or self._kind) != BINARY:
            super()._check_size(first, size)
