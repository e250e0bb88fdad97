"""A WebSocket as a connection reads it: frames in, messages out, and the frames that must be answered.

To the peer every message is one binary frame with its NUL, the only form that Ruffle (a stream, binary only) and OpenFL
(one event for each frame) both read right. From the peer binary frames are a stream, a text frame is one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, cast

from ..errors import CloseReason, FrameError, RemoteProtocolError
from ..limits import Limits
from ..wire import MessageDecoder, MessageT, TextCodec, text_codec
from ..wire.deflate import DeflateParameters, Deflater, Inflater
from ..wire.frames import FrameEncoder, encode_close, encode_pong
from ..wire.piece_frames import PieceFrameDecoder, PieceFrameEncoder
from ..wire.pieces import PieceDecoder
from ..wire.websocket import Close, FrameDecoder, Ping, Pong, Received
from .forwarding import Network, client_address
from .handshake import TEXT_SUBPROTOCOL, Handshake, HandshakeOptions
from .http import Request, Upgrade

if TYPE_CHECKING:
    from .connection import Connection

# RFC 6455, section 7.4.1; 1012 and 1014 are from the registry of close codes.
_CLOSE_CODES = {
    CloseReason.SHUTDOWN: 1001,
    CloseReason.INVALID_TEXT: 1007,
    CloseReason.MESSAGE_TOO_LARGE: 1009,
    CloseReason.HANDLER_FAILED: 1011,
    CloseReason.UPSTREAM_REFUSED: 1014,
    CloseReason.UPSTREAM_LOST: 1014,
}
_NORMAL = 1000
_KEPT_HEADERS = frozenset({"authorization", "cookie", "host", "origin"})


class Door:
    """What a server needs to let browsers in.

    Args:
        options: What the handshake agrees to.
        codec: The text encoding, or ``None`` for ``bytes``.
        limits: The limits in force.
        trusted: Proxies whose ``X-Forwarded-For`` is believed.
        is_raw: Whether bytes are handed on as they come, instead of messages.
    """

    def __init__(
        self,
        options: HandshakeOptions,
        codec: TextCodec | None,
        limits: Limits,
        trusted: Sequence[Network],
        *,
        is_raw: bool = False,
    ) -> None:
        self._options = options
        self._codec = codec
        self._limits = limits
        self._trusted = trusted
        self._is_raw = is_raw
        # Without compression all clients of a kind share an encoder, so that a room's messages are framed once.
        self._binary = self._new_encoder(as_text=False)
        self._text = self._new_encoder(as_text=True)

    def new_handshake(self) -> Handshake:
        """Begin to read a request."""
        return Handshake(self._options)

    def adopt(self, connection: Connection[Any], upgrade: Upgrade, peer: Any) -> None:
        """Make a connection speak WebSocket from now on."""
        websocket: WebSocket[Any] = WebSocket(upgrade, self._codec, self._limits, is_raw=self._is_raw)
        connection._websocket = connection._decoder = websocket
        if upgrade.deflate is None:
            connection._encoder = self._text if websocket.is_text else self._binary
        else:
            connection._encoder = self._new_encoder(as_text=websocket.is_text, deflate=upgrade.deflate)
        connection._client_address = self.find_client(upgrade, peer) or connection._client_address

    def find_client(self, upgrade: Upgrade, peer: Any) -> tuple[str, int] | None:
        """Find the address that a trusted proxy tells for a client; ``None`` if there is none to be believed."""
        if self._trusted and isinstance(peer, tuple):
            address = client_address(peer[0], upgrade.request.headers, self._trusted)
            if address != peer[0]:
                return (address, 0)
        return None

    def _new_encoder(self, *, as_text: bool, deflate: DeflateParameters | None = None) -> FrameEncoder:
        deflater = None
        if deflate is not None:
            deflater = Deflater(deflate.server_max_window_bits, no_context_takeover=deflate.server_no_context_takeover)
        codec = self._codec or text_codec()
        encoder = PieceFrameEncoder if self._is_raw else FrameEncoder
        return encoder(codec, self._limits.max_message_size, as_text=as_text, deflater=deflater)


class WebSocket(Generic[MessageT]):
    """The reading side of one WebSocket, in the place of a :class:`MessageDecoder`.

    Args:
        upgrade: What the handshake agreed on.
        codec: The text encoding, or ``None`` to hand on ``bytes``.
        limits: The limits in force.
        is_raw: Whether to hand on bytes as they come, instead of messages.

    Attributes:
        request: The request of the handshake, with its headers Authorization, Cookie, Host and Origin.
        error: What ended the stream, once something did.
        replies: Frames to send at once: pongs.
        peer_close: The peer's close frame, once it is there.
        is_over: Whether there is either of ``error`` and ``peer_close``.
    """

    __slots__ = (
        "_codec",
        "_frames",
        "_is_raw",
        "_stream",
        "error",
        "is_over",
        "is_text",
        "peer_close",
        "replies",
        "request",
    )

    def __init__(self, upgrade: Upgrade, codec: TextCodec | None, limits: Limits, *, is_raw: bool = False) -> None:
        # The other headers would cost every connection 2 KiB for as long as it lives.
        kept = tuple(header for header in upgrade.request.headers if header[0].lower() in _KEPT_HEADERS)
        self.request: Request = replace(upgrade.request, headers=kept)
        self.is_text = upgrade.subprotocol == TEXT_SUBPROTOCOL
        self.error: RemoteProtocolError | None = None
        self.peer_close: Close | None = None
        self.is_over = False
        self.replies: list[bytes] = []
        self._codec = codec
        self._is_raw = is_raw
        if is_raw:
            self._stream = cast("MessageDecoder[MessageT]", PieceDecoder())
        else:
            self._stream = MessageDecoder(codec, limits.max_message_size)
        frames = PieceFrameDecoder if is_raw else FrameDecoder
        self._frames = frames(limits.max_message_size, inflater=_new_inflater(upgrade.deflate))

    @property
    def unfinished(self) -> int:
        """Bytes of an unfinished message in binary frames."""
        return self._stream.unfinished

    def feed(self, data: bytes) -> list[MessageT]:
        """Take the next bytes and return the messages they complete; afterwards see the attributes."""
        frames = self._frames
        messages = self._sort(frames.feed(data))
        while frames.has_more and self.error is None:
            messages += self._sort(frames.feed(b""))
        return messages

    def _sort(self, items: list[Received]) -> list[MessageT]:
        stream = self._stream
        if len(items) == 1 and type(items[0]) is bytes:  # nearly always
            messages = stream.feed(items[0])
        else:
            messages = []
            for item in items:
                if isinstance(item, bytes):
                    messages += stream.feed(item)
                elif isinstance(item, str):
                    messages += self._take_text(item)
                elif isinstance(item, Ping):
                    self.replies.append(encode_pong(item.payload))
                elif not isinstance(item, Pong):
                    self.peer_close = item
                    self.is_over = True
                if stream.error is not None:
                    break
        error = stream.error or self._frames.error
        if error is not None:
            self.error = error
            self.is_over = True
        return messages

    def _take_text(self, text: str) -> list[Any]:
        if self._is_raw:
            return [text.encode()] if text else []
        # Old builds of OpenFL send the NUL along, others do not; a NUL between messages divides them, as on any wire.
        texts = text.removesuffix("\0").split("\0")
        return texts if self._codec is not None else [each.encode() for each in texts]

    def encode_close(self, reason: CloseReason) -> bytes:
        """Make the close frame that tells a peer why."""
        if isinstance(self.error, FrameError):
            return encode_close(self.error.close_code, self.error.detail[:120])
        code = _CLOSE_CODES.get(reason, _NORMAL)
        return encode_close(code, reason.value if code != _NORMAL else "")


def _new_inflater(deflate: DeflateParameters | None) -> Inflater | None:
    if deflate is None:
        return None
    return Inflater(deflate.client_max_window_bits, no_context_takeover=deflate.client_no_context_takeover)
