"""A byte stream cut at its NULs, and messages joined into bytes.

A *message* is the text between two NULs. The decoder takes the stream in any pieces, looks at every byte once, and
holds no more than one unfinished message within its limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic

from ..errors import EmbeddedNulError, MessageTooLargeError, OversizedMessageError, RemoteProtocolError
from .markup import Markup, to_text
from .text import NUL, TextCodec

if TYPE_CHECKING:
    # TypeVar defaults (PEP 696) make a bare ``Connection`` mean ``Connection[str]``; Python 3.11 has them for type
    # checkers only.
    from typing_extensions import TypeVar

    MessageT = TypeVar("MessageT", bound="str | bytes", default=str)
else:
    from typing import TypeVar

    MessageT = TypeVar("MessageT")

# Pieces below this are gathered in one bytearray: a message that trickles in must not cost an object for each byte.
_SMALL_PIECE = 4096


# From this many bytes on a message is looked for by find(), which skims 20 bytes in the time that split() and count()
# take for one, but costs a call.
_LONG = 512


def _cut(data: bytes) -> list[bytes]:
    """Cut at the NULs, as ``data.split(NUL)`` does."""
    parts: list[bytes] = []
    start = 0
    while (end := data.find(NUL, start)) - start >= _LONG:
        parts.append(data[start:end])
        start = end + 1
    if end < 0:
        parts.append(data[start:] if start else data)
    else:
        parts += (data[start:] if start else data).split(NUL)
    return parts


class MessageDecoder(Generic[MessageT]):
    """Cut a byte stream into messages.

    Args:
        codec: How to turn a message into text; ``None`` hands on ``bytes``.
        max_message_size: Longest accepted message in bytes, its NUL not counted; ``None`` for no limit.

    Attributes:
        error: What ended the stream, once something did. The messages before it have been returned; whatever comes
            after it is ignored.
    """

    __slots__ = ("_codec", "_limit", "_tail", "_tail_size", "error")

    def __init__(self, codec: TextCodec | None, max_message_size: int | None) -> None:
        self._codec = codec
        self._limit = max_message_size
        self._tail: list[bytes | bytearray] = []
        self._tail_size = 0
        self.error: RemoteProtocolError | None = None

    @property
    def unfinished(self) -> int:
        """Bytes received since the last NUL. More than 0 at the end of the stream means a message was cut off."""
        return self._tail_size

    def feed(self, data: bytes) -> list[MessageT]:
        """Take the next piece of the stream and return the messages it completes, oldest first.

        Two NULs in a row enclose an empty message. After the call see :attr:`error`: a message over the limit or with
        invalid text ends the stream.
        """
        if self.error is not None or not data:
            return []
        if not data[-1] and not self._tail:
            if data.find(NUL) == len(data) - 1:  # one message: what most reads bring
                return self._decode_each([data[:-1]])
            return self._decode(data)
        *whole, rest = _cut(data)
        if whole and self._tail:
            whole[0] = b"".join((*self._tail, whole[0]))
            self._tail.clear()
            self._tail_size = 0
        messages = self._decode_each(whole)
        if rest and self.error is None:
            self._keep(rest)
        return messages

    def _keep(self, piece: bytes) -> None:
        self._tail_size += len(piece)
        if self._limit is not None and self._tail_size > self._limit:
            self._fail(MessageTooLargeError(self._tail_size, self._limit))
        elif len(piece) >= _SMALL_PIECE:
            self._tail.append(piece)
        elif self._tail and isinstance(self._tail[-1], bytearray):
            self._tail[-1] += piece
        else:
            self._tail.append(bytearray(piece))

    def _decode(self, whole: bytes) -> list[MessageT]:
        if self._limit is None or len(whole) - 1 <= self._limit:
            if self._codec is None:
                parts: list[Any] = _cut(whole)
                del parts[-1]
                return parts
            if whole.find(NUL, 0, _LONG) < 0:
                return self._decode_each(_cut(whole)[:-1])
            try:
                texts: list[Any] = self._codec.split(whole)
                return texts
            except (UnicodeDecodeError, RemoteProtocolError):
                pass  # one of them is invalid: the careful way below delivers those before it
        return self._decode_each(_cut(whole)[:-1])

    def _decode_each(self, parts: list[bytes]) -> list[MessageT]:
        messages: list[Any] = []
        for part in parts:
            if self._limit is not None and len(part) > self._limit:
                self._fail(MessageTooLargeError(len(part), self._limit))
                break
            try:
                messages.append(part if self._codec is None else self._codec.decode(part))
            except RemoteProtocolError as error:
                self._fail(error)
                break
        return messages

    def _fail(self, error: RemoteProtocolError) -> None:
        self.error = error
        self._tail.clear()


class MessageEncoder:
    """Turn messages into the bytes of a NUL-terminated stream.

    One encoder serves any number of connections: what it has encoded once can be written to all of them.

    Args:
        codec: The encoding; of ``bytes`` messages nothing is asked.
        max_message_size: Longest message to send, in encoded bytes; ``None`` for no limit.
    """

    __slots__ = ("codec", "max_message_size")

    def __init__(self, codec: TextCodec, max_message_size: int | None) -> None:
        self.codec = codec
        self.max_message_size = max_message_size

    def check(self, message: str | bytes | Markup) -> str | bytes:
        """Make sure that a message can be sent, before anything of it is.

        Returns:
            Text that is all ASCII as it is, since it can be joined with its neighbours before encoding; anything else
            encoded.

        Raises:
            EmbeddedNulError: It has a NUL.
            OversizedMessageError: It is over the limit.
            UnencodableMessageError: The encoding lacks a character of it.
            TypeError: It is neither text, bytes nor an XML element.
        """
        checked = check_whole(message)
        if isinstance(checked, str) and not checked.isascii():
            checked = self.codec.encode(checked)
        if self.max_message_size is not None and len(checked) > self.max_message_size:
            raise OversizedMessageError(len(checked), self.max_message_size)
        return checked

    def encode_plain(self, messages: Sequence[Any]) -> bytes | None:
        """Join messages that have not passed :meth:`check`, if they can be sent as they are.

        Returns:
            ``None`` if one of them cannot, or must be looked at by itself to know.
        """
        data = self._join(messages)
        if data is None:
            return None
        if len(data) > _LONG * len(messages):
            nul: Any = "\0" if isinstance(messages[0], str) else 0
            if any(nul in message for message in messages):
                return None
        elif data.count(0) != len(messages):
            return None
        if self.max_message_size is not None and len(data) > self.max_message_size:
            if max(map(len, data.split(NUL))) > self.max_message_size:
                return None
        return data

    def _join(self, messages: Sequence[Any]) -> bytes | None:
        try:
            if messages and isinstance(messages[0], bytes):
                return NUL.join((*messages, b""))
            text = "\0".join((*messages, "")) if messages else ""
            # A code page may keep state over a message, so what is not ASCII is encoded message by message.
            return text.encode(self.codec.encoding) if self.codec.is_utf8 or text.isascii() else None
        except (TypeError, UnicodeEncodeError):
            return None  # some are text and some are bytes or elements, or there is a lone surrogate

    def encode(self, messages: Sequence[str | bytes]) -> bytes:
        """Join messages, each with its NUL. They have passed :meth:`check` or :func:`check_whole`.

        A character that the encoding lacks becomes a question mark here: this is for messages to many receivers, one
        of whom may use an old code page.
        """
        data = self._join(messages)
        return b"\0".join([*self._encode_each(messages), b""]) if data is None else data

    def _encode_each(self, messages: Iterable[str | bytes]) -> list[bytes]:
        encode = self.codec.encode_anyhow
        return [encode(message) if isinstance(message, str) else message for message in messages]


def check_whole(message: str | bytes | Markup) -> str | bytes:
    """Refuse a message that would not arrive as one; XML elements become their markup.

    Raises:
        EmbeddedNulError: It has a NUL.
        TypeError: It is neither text, bytes nor an XML element.
    """
    if isinstance(message, str):
        offset = message.find("\0")
    elif isinstance(message, (bytes, bytearray, memoryview)):
        message = bytes(message)
        offset = message.find(NUL)
    else:
        return check_whole(to_text(message))
    if offset >= 0:
        raise EmbeddedNulError(offset)
    return message
