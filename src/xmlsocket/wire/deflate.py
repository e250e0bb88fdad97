"""Compression of WebSocket messages: permessage-deflate (RFC 7692), bounded in both directions.

Off unless both sides agreed in the handshake. XMLSocket's messages are short, so it seldom pays. What it costs in
memory, for each connection: nothing at rest with ``no_context_takeover`` (the default here, for both directions);
otherwise about ``2 ** (server_max_window_bits + 2) + 2 ** (memory_level + 9)`` bytes to send (256 KiB with zlib's own
15 and 8, 32 KiB with 12 and 5) and ``2 ** client_max_window_bits`` bytes plus 7 KiB to receive.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigurationError, FrameError

_SYNC_TAIL: Final = b"\x00\x00\xff\xff"
_INVALID_DATA: Final = 1007


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateOptions:
    """How a server compresses, where the client offers it.

    Attributes:
        server_no_context_takeover: Compress each message by itself. No memory between messages, and one compressed
            message can go to many clients; but repeated phrases of a chat are not recognised.
        client_no_context_takeover: Ask the client to do the same.
        server_max_window_bits: Window of our compressor, 9 to 15: 2 to this many bytes.
        client_max_window_bits: Window of the client's compressor, 9 to 15, where the client lets the server choose.
        level: Effort, 1 to 9.
        memory_level: Memory of the compressor, 1 to 9.
        min_size: Messages below this many bytes are sent as they are.
    """

    server_no_context_takeover: bool = True
    client_no_context_takeover: bool = True
    server_max_window_bits: int = 12
    client_max_window_bits: int = 12
    level: int = 6
    memory_level: int = 5
    min_size: int = 128

    def __post_init__(self) -> None:
        for name, low, high in (
            ("server_max_window_bits", 9, 15),
            ("client_max_window_bits", 9, 15),
            ("level", 1, 9),
            ("memory_level", 1, 9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigurationError(f"{name} must be from {low} to {high}, not {value!r}")


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """What both sides agreed on (RFC 7692, section 7.1)."""

    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15


class Inflater:
    """Decompress the messages of one peer, never more of them than asked for.

    Args:
        window_bits: Base 2 logarithm of the peer's window.
        no_context_takeover: Whether every message of the peer stands by itself.
    """

    __slots__ = ("_no_context_takeover", "_stream", "_window_bits")

    def __init__(self, window_bits: int = 15, *, no_context_takeover: bool = False) -> None:
        self._window_bits = window_bits
        self._no_context_takeover = no_context_takeover
        self._stream: zlib._Decompress | None = None

    def inflate(self, data: bytes, max_size: int) -> tuple[bytes, int]:
        """Decompress a piece of a message into at most ``max_size`` bytes (at least 1).

        Returns:
            The plain bytes, and how many bytes of ``data`` were left untouched because there was no room.

        Raises:
            FrameError: This is not what a compressor makes; close code 1007.
        """
        stream = self._stream
        if stream is None:
            stream = self._stream = zlib.decompressobj(-self._window_bits)
        plain = self._run(stream, data, max_size)
        # A sender may mark the last block of a message as final; then one zero byte follows (RFC 7692, 7.2.3.4).
        if stream.eof and stream.unused_data not in (b"", b"\0"):
            raise FrameError(_INVALID_DATA, "a compressed message goes on after its final block")
        return plain, len(stream.unconsumed_tail)

    def finish(self, max_size: int) -> bytes:
        """End a message: return what was still held back, at most ``max_size`` bytes.

        Raises:
            FrameError: See :meth:`inflate`.
        """
        stream = self._stream
        if stream is None:  # a message without any compressed byte
            return b""
        plain = b"" if stream.eof else self._run(stream, _SYNC_TAIL, max_size)
        if self._no_context_takeover or stream.eof:
            self._stream = None
        return plain

    @staticmethod
    def _run(stream: zlib._Decompress, data: bytes, max_size: int) -> bytes:
        try:
            return stream.decompress(data, max_size)
        except zlib.error as error:
            raise FrameError(_INVALID_DATA, f"a compressed message cannot be decompressed: {error}") from None


class Deflater:
    """Compress the messages of this side.

    Args:
        window_bits: Base 2 logarithm of our window.
        no_context_takeover: Whether every message is to stand by itself. Only then may one deflater serve several
            connections.
        level: See :class:`DeflateOptions`, and so for the others.
        memory_level: See there.
        min_size: See there.
    """

    __slots__ = ("_level", "_memory_level", "_no_context_takeover", "_stream", "_window_bits", "min_size")

    def __init__(
        self,
        window_bits: int = 15,
        *,
        no_context_takeover: bool = False,
        level: int = 6,
        memory_level: int = 8,
        min_size: int = 0,
    ) -> None:
        self._window_bits = window_bits
        self._no_context_takeover = no_context_takeover
        self._level = level
        self._memory_level = memory_level
        self._stream: zlib._Compress | None = None
        self.min_size = min_size

    def deflate(self, payload: bytes) -> bytes:
        """Compress one whole message."""
        stream = self._stream
        if stream is None:
            stream = zlib.compressobj(self._level, zlib.DEFLATED, -self._window_bits, self._memory_level)
            if not self._no_context_takeover:
                self._stream = stream
        return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_SYNC_TAIL)
