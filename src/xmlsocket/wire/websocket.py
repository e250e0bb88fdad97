"""WebSocket frames to payloads (RFC 6455, sections 5 to 8), nothing of the handshake. The way back is ``frames.py``.

From the peer, binary frames are a byte stream whose frame boundaries mean nothing, and a text frame is one message.
"""

from __future__ import annotations

import itertools
import sys
from typing import Final, NamedTuple, TypeAlias, cast

from ..errors import FrameError
from .deflate import Inflater
from .frames import (
    BINARY,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FINAL,
    INVALID_DATA,
    MASKED,
    MAX_CONTROL_SIZE,
    MESSAGE_TOO_BIG,
    NO_STATUS,
    PING,
    PONG,
    PROTOCOL_ERROR,
    RESERVED,
    TEXT,
    is_close_code,
)
from .masking import (
    COMPILED_MASK,
    VIEW_SIZE,
    Take,
    mask,
    mask_portable,
    rotate,
    take_masked,
    take_masked_portable,
    take_one,
    take_plain,
)

_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))

# What one feed() may decompress at most: 256 KiB of a bomb would become 256 MiB.
_INFLATE_BUDGET: Final = 1_048_576


class Ping(NamedTuple):
    """The peer asks for a :func:`encode_pong` with the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """The peer's answer to a ping, or unasked."""

    payload: bytes


class Close(NamedTuple):
    """The peer closes; whatever it sends after this is ignored. ``code`` is 1005 where it gave none."""

    code: int
    reason: str


Received: TypeAlias = bytes | str | Ping | Pong | Close
"""What a decoder returns: ``bytes`` of binary frames, ``str`` of a text message, or a control frame."""


class FrameDecoder:
    """Cut the bytes of one direction of a WebSocket into payloads.

    Binary payloads are a byte stream: a part of a frame is handed on as soon as it is there, and neighbours are joined.
    Text and compressed messages are handed on when they are whole. Memory is bounded by one of these and the bytes in
    hand.

    Args:
        max_message_size: Longest accepted XMLSocket message in bytes; ``None`` for no limit. A WebSocket message, of
            however many frames, may have one byte more, for the NUL.
        is_client: Whether this side is the client. A client's frames are masked and a server's are not, and each side
            refuses the other way.
        whole_messages: Return each binary message as one ``bytes`` instead, put together from its frames; for programs
            that ask how a server frames its messages.
        inflater: Decompresses what the peer compresses, if that was agreed on.
        portable: Do without the compiled mask function, even if it is there.

    Attributes:
        error: What ended the stream, once something did. Everything before it has been returned; whatever comes after
            it is ignored.
        is_closed: Whether the peer's close frame was seen.
        has_more: Whether ``feed(b"")`` is to be called, as often as this is true: compressed frames are decompressed
            little by little. Never without an inflater.
    """

    __slots__ = (
        "_assembly",
        "_compressed",
        "_final",
        "_held",
        "_inflater",
        "_is_client",
        "_key",
        "_kind",
        "_left",
        "_limit",
        "_mask",
        "_received",
        "_take",
        "_whole_messages",
        "error",
        "has_more",
        "is_closed",
    )

    def __init__(
        self,
        max_message_size: int | None,
        *,
        is_client: bool = False,
        whole_messages: bool = False,
        inflater: Inflater | None = None,
        portable: bool = not COMPILED_MASK,
    ) -> None:
        self._limit = sys.maxsize if max_message_size is None else max_message_size + 1
        self._is_client = is_client
        self._whole_messages = whole_messages
        self._inflater = inflater
        self._mask = mask_portable if portable else mask
        self._take: Take = take_plain if is_client else take_masked_portable if portable else take_masked
        self._held = b""  # the beginning of a frame header, or of a control frame
        self._kind = 0  # opcode of the data message under way, 0 if none
        self._compressed = False
        self._received = 0  # bytes of that message, decompressed
        self._assembly: bytearray | None = None
        self._final = False  # whether the frame under way ends its message
        self._left = 0  # bytes of the payload under way that are still to come
        self._key = b""  # masking key of the frame under way, turned to its next byte
        self.error: FrameError | None = None
        self.is_closed = False
        self.has_more = False

    def feed(self, data: bytes) -> list[Received]:
        """Take the next bytes and return what they hold, in order. After the call see :attr:`error`."""
        if self.is_closed or self.error is not None:
            return []
        if self._held:
            data = self._held + data
            self._held = b""
        items: list[Received] = []
        at = 0
        if not self._kind:  # the usual cases by the shortest ways
            take = self._take
            if take is take_masked and (payload := take_one(data, BINARY, self._limit)):
                return [payload]
            at = take(data, 0, BINARY, self._limit, cast("list[bytes]", items))
        if at < len(data):
            self._decode(data, at, items)
        elif not self._whole_messages:
            return _joined(items)
        return items if self._whole_messages else _join_stream(items)

    def _decode(self, data: bytes, at: int, items: list[Received]) -> None:
        end = len(data)
        budget = _INFLATE_BUDGET
        self.has_more = False
        try:
            while at < end:
                if not self._left:
                    before = at
                    at = self._take_run(data, at, items)
                    if at > before:
                        continue
                    at = self._open(data, at, items)
                    if at == before or self.is_closed:
                        break
                elif not self._compressed:
                    at = self._read(data, at, items)
                elif budget > 0:
                    at, budget = self._inflate(data, at, budget, items)
                else:
                    self.has_more = True
                    break
        except FrameError as error:
            self.error = error.with_traceback(None)  # or it would keep the data alive
            self._assembly = None
        else:
            if not self.is_closed:
                self._held = data[at:]

    def _take_run(self, data: bytes, at: int, items: list[Received]) -> int:
        """Take messages of one whole frame, of the same kind, if no fragmented message is under way."""
        if self._kind:
            return at
        if data[at] == FINAL | BINARY:
            return self._take(data, at, BINARY, self._limit, cast("list[bytes]", items))
        if data[at] == FINAL | TEXT:
            payloads: list[bytes] = []
            at = self._take(data, at, TEXT, self._limit, payloads)
            for payload in payloads:
                self._deliver_text(payload, items)
        return at

    def _open(self, data: bytes, at: int, items: list[Received]) -> int:
        """Read the header of a frame, or a whole control frame. Returns where to go on, ``at`` for too few bytes."""
        end = len(data)
        if end - at < 2:
            return at
        first, size = data[at], data[at + 1]
        self._check(first, size)
        size &= 0x7F
        start = at + 2
        if size > MAX_CONTROL_SIZE:
            start += 2 if size == 126 else 8
            if start > end:
                return at
            size = int.from_bytes(data[at + 2 : start], "big")
            if size >> 63:
                raise FrameError(PROTOCOL_ERROR, "a frame has a length with the highest bit set")
        key = b""
        if not self._is_client:
            key = data[start : start + 4]
            start += 4
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if size > MAX_CONTROL_SIZE:
                raise FrameError(PROTOCOL_ERROR, f"a control frame has {size} bytes, more than {MAX_CONTROL_SIZE}")
            if start + size > end:
                return at
            payload = data[start : start + size]
            self._control(opcode, self._mask(payload, key) if key else payload, items)
            return start + size
        self._check_size(first, size)
        if start > end:
            return at
        if opcode:
            self._kind, self._compressed, self._received = opcode, bool(first & COMPRESSED), 0
        self._final, self._left, self._key = bool(first & FINAL), size, key
        if not self._compressed:
            self._received += size
        if not size:
            self._end_frame(b"", items)
        return start

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & RESERVED:
            if first & RESERVED != COMPRESSED or self._inflater is None or opcode not in (TEXT, BINARY):
                raise FrameError(PROTOCOL_ERROR, f"a frame has a reserved bit set (first byte {first:#04x})")
        if opcode not in _OPCODES:
            raise FrameError(PROTOCOL_ERROR, f"a frame has the unknown opcode {opcode}")
        if bool(second & MASKED) == self._is_client:
            wrong = "server is masked" if self._is_client else "client is not masked"
            raise FrameError(PROTOCOL_ERROR, f"a frame of a {wrong}")
        if opcode >= CLOSE:
            if not first & FINAL:
                raise FrameError(PROTOCOL_ERROR, "a control frame is fragmented")
        elif opcode == CONTINUATION and not self._kind:
            raise FrameError(PROTOCOL_ERROR, "a frame continues a message that nothing began")
        elif opcode != CONTINUATION and self._kind:
            raise FrameError(PROTOCOL_ERROR, "a message begins before the fragmented one has ended")

    def _check_size(self, first: int, size: int) -> None:
        if not first & 0x0F:
            if self._compressed:
                return
            size += self._received
        elif first & COMPRESSED:
            return  # what counts is the size after decompression
        if size > self._limit:
            raise self._too_big(size)

    def _too_big(self, seen: int) -> FrameError:
        return FrameError(
            MESSAGE_TOO_BIG,
            f"a WebSocket message of {seen} bytes or more exceeds max_message_size ({self._limit - 1} bytes and a NUL)",
        )

    def _control(self, opcode: int, payload: bytes, items: list[Received]) -> None:
        if opcode == PING:
            items.append(Ping(payload))
        elif opcode == PONG:
            items.append(Pong(payload))
        else:
            items.append(_parse_close(payload))
            self.is_closed = True
            self._assembly = None

    def _read(self, data: bytes, at: int, items: list[Received]) -> int:
        """Read payload that is not compressed."""
        left = self._left
        stop = min(len(data), at + left)
        piece = self._unmask(data, at, stop)
        self._left = left = left - len(piece)
        if left:
            self._key = rotate(self._key, len(piece))
            self._add(piece, items, ends=False)
        else:
            self._end_frame(piece, items)
        return stop

    def _unmask(self, data: bytes, at: int, stop: int) -> bytes:
        if self._is_client:
            return data[at:stop]
        return self._mask(data[at:stop] if stop - at < VIEW_SIZE else memoryview(data)[at:stop], self._key)

    def _inflate(self, data: bytes, at: int, budget: int, items: list[Received]) -> tuple[int, int]:
        """Read compressed payload as far as the budget of plain bytes goes; return where to go on and what is left."""
        inflater = cast("Inflater", self._inflater)
        stop = min(len(data), at + self._left)
        piece = self._unmask(data, at, stop)
        plain, untouched = inflater.inflate(piece, min(budget, self._limit - self._received + 1))
        self._count(plain)
        used = len(piece) - untouched
        self._left -= used
        self._key = rotate(self._key, used)
        if self._left:
            self._add(plain, items, ends=False)
        else:
            self._end_frame(plain, items)
        return at + used, budget - len(plain)

    def _count(self, plain: bytes) -> None:
        self._received += len(plain)
        if self._received > self._limit:
            raise self._too_big(self._received)

    def _end_frame(self, piece: bytes, items: list[Received]) -> None:
        if self._final and self._compressed:
            rest = cast("Inflater", self._inflater).finish(self._limit - self._received + 1)
            self._count(rest)
            piece += rest
        self._add(piece, items, ends=self._final)

    def _add(self, piece: bytes, items: list[Received], *, ends: bool) -> None:
        """Add payload to the message under way."""
        if self._kind == BINARY and not self._whole_messages and not self._compressed:
            items.append(piece)
        else:
            if self._assembly is None and not ends:
                self._assembly = bytearray()
            payload: bytes | bytearray = piece
            if self._assembly is not None:
                self._assembly += piece
                payload = self._assembly
            if ends:
                self._assembly = None
                if self._kind == BINARY:
                    items.append(bytes(payload))
                else:
                    self._deliver_text(payload, items)
        if ends:
            self._kind = 0

    def _deliver_text(self, payload: bytes | bytearray, items: list[Received]) -> None:
        if len(payload) == self._limit and payload[-1]:
            raise self._too_big(len(payload))  # the one byte more is for a NUL
        try:
            items.append(str(payload, "utf-8"))
        except UnicodeDecodeError as error:
            raise FrameError(INVALID_DATA, f"a text message is not valid UTF-8 at byte {error.start}") from None


def _joined(pieces: list[Received]) -> list[Received]:
    joined = b"".join(cast("list[bytes]", pieces))
    return [joined] if joined else []


def _join_stream(items: list[Received]) -> list[Received]:
    """Join neighbouring pieces of the byte stream; empty ones say nothing."""
    kinds = set(map(type, items))
    if bytes not in kinds:
        return items
    if len(kinds) == 1:
        return _joined(items)
    merged: list[Received] = []
    for is_stream, run in itertools.groupby(items, lambda item: isinstance(item, bytes)):
        if is_stream:
            merged += _join_stream(list(run))
        else:
            merged += run
    return merged


def _parse_close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_STATUS, "")
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR, "a close frame has a payload of one byte, which is no close code")
    try:
        reason = payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "the reason of a close frame is not valid UTF-8") from None
    code = int.from_bytes(payload[:2], "big")
    if not is_close_code(code):
        raise FrameError(PROTOCOL_ERROR, f"a close frame has the code {code}, which must not be sent")
    return Close(code, reason)
