"""Payloads to WebSocket frames (RFC 6455, section 5). The way back is ``websocket.py``.

A frame for a client of XMLSocket is binary and holds exactly one message with its NUL: the only form that every client
reads right. A client that agreed on the subprotocol ``xmlsocket.text`` gets text frames without NUL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, AnyStr, Final, TypeAlias, cast

from .deflate import Deflater
from .framing import MessageEncoder
from .masking import mask
from .text import NUL, TextCodec

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
FINAL: Final = 0x80
COMPRESSED: Final = 0x40
RESERVED: Final = 0x70
MASKED: Final = 0x80
MAX_CONTROL_SIZE: Final = 125

NORMAL_CLOSURE: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
INVALID_DATA: Final = 1007
MESSAGE_TOO_BIG: Final = 1009

# RFC 6455, section 7.4, with the later registrations 1012 to 1014. What is missing never goes over the wire.
_CLOSE_CODES: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


def is_close_code(code: int) -> bool:
    """Whether a close frame may carry this code (RFC 6455, section 7.4)."""
    return code in _CLOSE_CODES or 3000 <= code <= 4999


KeySource: TypeAlias = Callable[[], bytes]
"""Gives a fresh masking key of 4 bytes. A client must take them from a strong source (RFC 6455, section 5.3)."""


def _header(first: int, size: int) -> bytes:
    if size <= MAX_CONTROL_SIZE:
        return bytes((first, size))
    if size < 0x1_0000:
        return bytes((first, 126, size >> 8, size & 0xFF))
    return bytes((first, 127)) + size.to_bytes(8, "big")


class _Headers(dict[int, bytes]):
    """Headers by the size of the payload, without the ending that the encoder adds to it. Short ones are kept."""

    def __init__(self, first: int, ending: int = 0) -> None:
        super().__init__()
        self._first = first
        self._ending = ending

    def __missing__(self, size: int) -> bytes:
        header = _header(self._first, size + self._ending)
        if size < _KEPT_HEADERS:
            self[size] = header
        return header


class _TextHeaders(dict[int, str]):
    """The same as text of one character for each byte, to be joined with messages that are all ASCII."""

    def __init__(self, headers: _Headers) -> None:
        super().__init__()
        self._headers = headers

    def __missing__(self, size: int) -> str:
        header = self._headers[size].decode("latin-1")
        if size < _KEPT_HEADERS:
            self[size] = header
        return header


_KEPT_HEADERS: Final = 4096
_HEADERS: Final = {opcode: _Headers(FINAL | opcode) for opcode in (TEXT, BINARY)}
_MESSAGE_HEADERS: Final = _Headers(FINAL | BINARY, ending=1)
_TEXT_MESSAGE_HEADERS: Final = _TextHeaders(_MESSAGE_HEADERS)
_TEXT_FRAME_HEADERS: Final = _TextHeaders(_HEADERS[TEXT])


def encode_binary(
    payloads: Iterable[bytes], *, keys: KeySource | None = None, deflater: Deflater | None = None
) -> bytes:
    """Make one binary frame of each payload, and one ``bytes`` of all frames.

    Args:
        payloads: For a client of XMLSocket each is one whole message with its NUL.
        keys: Where a client gets its masking keys; a server does not mask.
        deflater: Compresses, if that was agreed on.
    """
    return _encode(BINARY, payloads, keys, deflater)


def encode_text(payloads: Iterable[bytes], *, keys: KeySource | None = None, deflater: Deflater | None = None) -> bytes:
    """Make one text frame of each payload, which is valid UTF-8; see :func:`encode_binary`."""
    return _encode(TEXT, payloads, keys, deflater)


def _encode(opcode: int, payloads: Iterable[bytes], keys: KeySource | None, deflater: Deflater | None) -> bytes:
    if keys is None and deflater is None:
        payloads = tuple(payloads)
        headers = map(_HEADERS[opcode].__getitem__, map(len, payloads))
        return b"".join(chain.from_iterable(zip(headers, payloads, strict=True)))
    frames = []
    for payload in payloads:
        first = FINAL | opcode
        if deflater is not None and len(payload) >= deflater.min_size:
            first |= COMPRESSED
            payload = deflater.deflate(payload)
        frames.append(_frame(first, payload, keys))
    return b"".join(frames)


def _frame(first: int, payload: bytes, keys: KeySource | None) -> bytes:
    header = _header(first, len(payload))
    if keys is None:
        return header + payload
    key = keys()
    return b"".join((header[:1], bytes((header[1] | MASKED,)), header[2:], key, mask(payload, key)))


def encode_close(code: int | None = None, reason: str = "", *, keys: KeySource | None = None) -> bytes:
    """Make a close frame; after it nothing more may be sent.

    Args:
        code: Why; ``None`` (or 1005, which stands for it) sends no code, and then no reason either.
        reason: Cut at a character's end where it is longer than the 123 bytes that there are.
        keys: See :func:`encode_binary`.

    Raises:
        ValueError: This code must not be sent.
    """
    payload = b""
    if code is not None and code != NO_STATUS:
        if not is_close_code(code):
            raise ValueError(
                f"the close code {code} must not be sent; use 1000 to 1014 but 1004 to 1006, or 3000 to 4999"
            )
        text = reason.encode("utf-8", "replace")[: MAX_CONTROL_SIZE - 2]
        payload = code.to_bytes(2, "big") + text.decode("utf-8", "ignore").encode()
    return _frame(FINAL | CLOSE, payload, keys)


def encode_ping(payload: bytes = b"", *, keys: KeySource | None = None) -> bytes:
    """Make a ping frame; the payload has at most 125 bytes."""
    return _control_frame(PING, payload, keys)


def encode_pong(payload: bytes = b"", *, keys: KeySource | None = None) -> bytes:
    """Make a pong frame: the answer to a ping has the ping's payload."""
    return _control_frame(PONG, payload, keys)


def _control_frame(opcode: int, payload: bytes, keys: KeySource | None) -> bytes:
    if len(payload) > MAX_CONTROL_SIZE:
        raise ValueError(f"a control frame has at most {MAX_CONTROL_SIZE} bytes, not {len(payload)}")
    return _frame(FINAL | opcode, payload, keys)


def _interleave(headers: Iterable[AnyStr], messages: Sequence[AnyStr], ending: AnyStr) -> list[AnyStr]:
    """Each header, its message, and the ending: in half the time of a zip(), which makes a tuple for each message."""
    parts = [ending] * (3 * len(messages))
    parts[0::3] = headers
    parts[1::3] = messages
    return parts


class FrameEncoder(MessageEncoder):
    """Turn messages into frames, one message each; the counterpart of :class:`MessageEncoder` for a WebSocket.

    One encoder serves any number of clients that agreed on the same, unless its deflater keeps a context.

    Args:
        codec: The encoding of binary frames, and of messages given as ``bytes``. Text frames are UTF-8 always.
        max_message_size: Longest message to send, in encoded bytes; ``None`` for no limit.
        as_text: Make text frames without NUL.
        deflater: Compresses, if that was agreed on.
    """

    __slots__ = ("_as_text", "_deflater", "_is_binary", "_is_plain")

    def __init__(
        self,
        codec: TextCodec,
        max_message_size: int | None,
        *,
        as_text: bool = False,
        deflater: Deflater | None = None,
    ) -> None:
        super().__init__(codec, max_message_size)
        self._as_text = as_text
        self._deflater = deflater
        self._is_binary = deflater is None and not as_text
        self._is_plain = deflater is None and (as_text or _keeps_ascii(codec))

    def encode_plain(self, messages: Sequence[Any]) -> bytes | None:
        """See :meth:`MessageEncoder.encode_plain`."""
        return None if super().encode_plain(messages) is None else self.encode(messages)

    def encode(self, messages: Sequence[str | bytes]) -> bytes:
        """Make one frame of each message. They have passed :meth:`check` or :func:`check_whole`.

        A character that the encoding lacks becomes a question mark, and bytes that are not text become U+FFFD in a text
        frame, since a browser would close the connection.
        """
        if self._is_binary and messages and type(messages[0]) is bytes:
            try:
                return self._encode_bytes(cast("Sequence[bytes]", messages))
            except TypeError:
                pass  # not all of them are bytes
        elif self._is_plain:
            texts = cast("Sequence[str]", messages)
            try:
                if "".join(texts).isascii():
                    return self._encode_ascii(texts)
            except TypeError:
                pass  # not all of them are text
        if self._as_text:
            return encode_text(map(self._to_utf8, messages), deflater=self._deflater)
        return encode_binary([message + NUL for message in self._encode_each(messages)], deflater=self._deflater)

    def _encode_bytes(self, messages: Sequence[bytes]) -> bytes:
        if len(messages) == 1:
            return b"".join((_MESSAGE_HEADERS[len(messages[0])], messages[0], NUL))
        headers = map(_MESSAGE_HEADERS.__getitem__, map(len, messages))
        return b"".join(_interleave(headers, messages, NUL))

    def _encode_ascii(self, texts: Sequence[str]) -> bytes:
        # Headers as Latin-1 text, so that one encoding makes all the bytes.
        if self._as_text:
            headers = map(_TEXT_FRAME_HEADERS.__getitem__, map(len, texts))
            return "".join(_interleave(headers, texts, "")).encode("latin-1")
        if len(texts) == 1:
            return (_TEXT_MESSAGE_HEADERS[len(texts[0])] + texts[0] + "\0").encode("latin-1")
        headers = map(_TEXT_MESSAGE_HEADERS.__getitem__, map(len, texts))
        return "".join(_interleave(headers, texts, "\0")).encode("latin-1")

    def _to_utf8(self, message: str | bytes) -> bytes:
        if isinstance(message, bytes):
            message = message.decode(self.codec.encoding, "replace")
        return message.encode("utf-8", "replace")


def _keeps_ascii(codec: TextCodec) -> bool:
    ascii_bytes = bytes(range(1, 128))
    return ascii_bytes.decode("ascii").encode(codec.encoding, "replace") == ascii_bytes
