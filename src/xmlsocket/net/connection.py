"""One connection: messages in, messages out, and how it ends.

The hot path is short on purpose. A read becomes a list of messages in one call; what is sent in one turn of the event
loop is gathered in ``_outbox`` and leaves in one write; a room's :class:`~xmlsocket.wire.Batch` is shared by all its
members and encoded once.

Longer than most modules: sending, receiving and closing share their state, and a seam between them would cost every
message a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, cast

from ..errors import (
    CloseReason,
    ConcurrencyError,
    ConnectionClosedError,
    FrameError,
    MessageTooLargeError,
    OversizedMessageError,
    RemoteProtocolError,
)
from ..wire import Batch, Encoder, Markup, MessageDecoder, MessageT
from .endpoint import Endpoint, Traffic, next_id
from .half_close import end_output
from .handler import Handler

if TYPE_CHECKING:
    from .http import Request
    from .websocket import WebSocket

_FRAME_REASONS = {1007: CloseReason.INVALID_TEXT, 1009: CloseReason.MESSAGE_TOO_LARGE}


def _reason_of(error: RemoteProtocolError) -> CloseReason:
    if isinstance(error, FrameError):
        return _FRAME_REASONS.get(error.close_code, CloseReason.FRAME_ERROR)
    return CloseReason.MESSAGE_TOO_LARGE if isinstance(error, MessageTooLargeError) else CloseReason.INVALID_TEXT


class Connection(asyncio.Protocol, Generic[MessageT]):
    """A link to one peer. Made by ``serve`` and ``connect``, never by hand.

    ``async for message in connection`` yields messages in order and ends when either side closes; it raises
    :class:`ConnectionClosedError` after any other end. With a :class:`Handler` messages go to its callbacks instead.
    """

    __slots__ = (
        "_bytes_received",
        "_bytes_sent",
        "_bytes_taken",
        "_client_address",
        "_closed_waiters",
        "_decoder",
        "_encoder",
        "_endpoint",
        "_handler",
        "_has_batch",
        "_inbox",
        "_is_ended",
        "_is_flushing_later",
        "_is_held",
        "_is_mixed",
        "_is_open",
        "_is_reading_paused",
        "_is_send_paused",
        "_messages_received",
        "_messages_sent",
        "_outbox",
        "_outbox_size",
        "_reason",
        "_receiver",
        "_senders",
        "_transport",
        "_websocket",
        "id",
    )

    def __init__(self, endpoint: Endpoint[MessageT], handler: Handler[MessageT]) -> None:
        self.id = next_id()
        self._endpoint = endpoint
        self._handler = handler
        self._decoder: MessageDecoder[MessageT] | WebSocket[MessageT] = endpoint.new_decoder()
        self._websocket: WebSocket[MessageT] | None = None
        self._client_address: Any = None  # as a trusted proxy tells it
        self._encoder: Encoder = endpoint.encoder
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._reason: CloseReason | None = None
        self._is_open = True  # nobody has begun to close it
        self._is_ended = False  # the peer has sent its end of stream
        self._is_held = False  # output waits until the peer's protocol is known
        self._is_reading_paused = False
        self._is_send_paused = False
        self._is_flushing_later = False
        self._has_batch = False  # a room may still add to what is in the outbox
        self._is_mixed = False  # not only messages but batches are in the outbox
        self._outbox: list[str | bytes | Batch] = []
        self._outbox_size = 0
        self._inbox: deque[MessageT] | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._senders: list[asyncio.Future[None]] | None = None
        self._closed_waiters: list[asyncio.Future[None]] | None = None
        self._bytes_received = 0
        self._bytes_taken = 0
        self._bytes_sent = 0
        self._messages_received = 0
        self._messages_sent = 0

    def __repr__(self) -> str:
        state = "open" if self._reason is None else self._reason.value
        return f"<{type(self).__name__} {self.id} {self.remote_address!r}: {state}>"

    # Receiving

    async def __aiter__(self) -> AsyncIterator[MessageT]:
        """Take message after message; see :meth:`receive`."""
        inbox = self._inbox
        while True:
            while inbox:
                yield inbox.popleft()
            try:
                yield await self._wait_for_message()
            except ConnectionClosedError as error:
                if error.reason.is_orderly or self._endpoint.reconnects:
                    return
                raise

    async def receive(self) -> MessageT:
        """Take the oldest message, waiting for one if there is none.

        Cancelling is safe: no message is lost, the next call gets it.

        Raises:
            ConnectionClosedError: No message will come any more; all that were received have been taken.
            ConcurrencyError: Another task is waiting in ``receive`` already.
        """
        if self._inbox:
            return self._inbox.popleft()
        return await self._wait_for_message()

    async def _wait_for_message(self) -> MessageT:
        inbox = self._inbox
        if inbox is None:
            raise ConcurrencyError("this connection's messages go to the received() of its Handler")
        while not inbox:
            if self._reason is not None or self._is_ended:
                raise ConnectionClosedError(self._reason or CloseReason.PEER_CLOSED)
            if self._receiver is not None:
                raise ConcurrencyError("another task is already waiting in receive() of this connection")
            if self._outbox and not self._has_batch:
                self._flush()  # answers go out before waiting, not a turn of the loop later
            self._bytes_taken = self._bytes_received
            if self._is_reading_paused:
                self.resume_reading()
            self._receiver = self._endpoint.loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        return inbox.popleft()

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def pause_reading(self) -> None:
        """Take nothing more from the peer, who is slowed down by TCP, until :meth:`resume_reading`."""
        if not self._is_reading_paused and self._is_open:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again after :meth:`pause_reading`."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()

    # Sending

    def send(self, message: str | bytes | Markup) -> Coroutine[Any, Any, None]:
        """Send one message: text, bytes as they are, or an XML element as its markup. Await what it returns.

        Done once the message is on its way; while more than ``send_high_water`` bytes wait for the peer it waits
        too. Messages leave in the order of the calls. If cancelled while waiting, the message is sent all the same.
        The message is queued by the call itself, so it leaves even if you never await; for ``asyncio.wait``, which
        takes no coroutines, make a task of what is returned, as of a coroutine.

        Raises:
            EmbeddedNulError: The message has a NUL; nothing was sent.
            OversizedMessageError: It is over ``max_message_size``; nothing was sent.
            UnencodableMessageError: The encoding lacks a character of it; nothing was sent.
            ConnectionClosedError: The connection is closed or closing, or ended while waiting.
        """
        self.send_nowait(message)
        return self._wait_until_writable() if self._is_send_paused else self._endpoint.sent

    def send_nowait(self, message: str | bytes | Markup) -> None:
        """Send one message without ever waiting; for handlers and callbacks.

        A peer for whom more than ``max_send_backlog`` bytes wait is dropped. See :attr:`is_send_paused`.

        Raises:
            MessageError: The message cannot be sent, see :meth:`send`; nothing was sent.
            ConnectionClosedError: The connection is closed or closing.
        """
        if not self._is_open:
            raise ConnectionClosedError(self._reason or CloseReason.CLOSED)
        endpoint = self._endpoint
        if (type(message) is str and message.isascii() and "\0" not in message) or (
            type(message) is bytes and 0 not in message
        ):
            if len(message) > endpoint.max_size:
                raise OversizedMessageError(len(message), endpoint.max_size)
        else:
            message = endpoint.encoder.check(message)
        if self._has_batch:
            self._seal_batches()
        self._outbox.append(message)
        self._outbox_size += len(message) + 1
        if not self._is_flushing_later:
            self._is_flushing_later = True
            endpoint.schedule_flush(self)
        elif self._outbox_size > endpoint.send_high_water:
            self._flush()

    def send_many(self, messages: Sequence[str | bytes | Markup]) -> None:
        """Send several messages, as :meth:`send_nowait` sends one, and faster than so many calls of it.

        Raises:
            MessageError: One of them cannot be sent; those before it are.
            ConnectionClosedError: The connection is closed or closing.
        """
        data = self._encoder.encode_plain(messages) if self._is_open else None
        if data is None:
            for message in messages:
                self.send_nowait(message)
            return
        if self._has_batch:
            self._seal_batches()
        self._outbox.append(Batch(cast("Sequence[str | bytes]", messages), (self._encoder, data)))
        self._is_mixed = True
        self._outbox_size += len(data)
        if not self._is_flushing_later:
            self._is_flushing_later = True
            self._endpoint.schedule_flush(self)
        elif self._outbox_size > self._endpoint.send_high_water:
            self._flush()

    def forward(self, messages: Sequence[str | bytes]) -> bool:
        """Send messages that another connection with the same limits has received; nothing is checked.

        Nothing happens on a connection that is closing.

        Returns:
            Whether more than ``send_high_water`` bytes wait for the peer: then take no more from the other connection.
        """
        if self._is_held:
            self.send_many(messages)
        elif self._is_open:
            if self._outbox:
                self._flush()  # the size of what waits is not counted here, so no more than one read may
            self._outbox += messages
            if not self._is_flushing_later:
                self._is_flushing_later = True
                self._endpoint.schedule_flush(self)
        return self._is_open and self._is_send_paused

    def deliver(self, batch: Batch) -> None:
        """Send a room's messages, those that are there and those that the room still adds in this turn of the loop.

        Nothing happens on a connection that is closing.
        """
        if self._is_open:
            if self._has_batch:
                self._seal_batches()  # another room's, which must not grow behind this one's back
            self._outbox.append(batch)
            self._has_batch = self._is_mixed = True
            if not self._is_flushing_later:
                self._is_flushing_later = True
                self._endpoint.schedule_flush(self)

    def _seal_batches(self) -> None:
        for item in self._outbox:
            if isinstance(item, Batch):
                item.seal()
        self._has_batch = False

    def _flush(self) -> None:
        self._is_flushing_later = False
        outbox = self._outbox
        if self._is_held:
            self._bound_held()
            return
        if not outbox:
            return
        if len(outbox) == 1 and isinstance(outbox[0], Batch):
            self._messages_sent += len(outbox[0])
            data = outbox[0].encode(self._encoder)
        elif self._is_mixed:
            data = self._encode_mixed(outbox)
        else:
            self._messages_sent += len(outbox)
            data = self._encoder.encode(cast("list[str | bytes]", outbox))
        outbox.clear()
        self._outbox_size = 0
        self._has_batch = self._is_mixed = False
        self._write(data)

    def _encode_mixed(self, outbox: list[str | bytes | Batch]) -> bytes:
        pieces = []
        for item in outbox:
            if isinstance(item, Batch):
                self._messages_sent += len(item)
                pieces.append(item.encode(self._encoder))
            else:
                self._messages_sent += 1
                pieces.append(self._encoder.encode((item,)))
        return b"".join(pieces)

    def _write(self, data: bytes) -> None:
        self._bytes_sent += len(data)
        self._transport.write(data)
        if self._is_send_paused:
            limit = self._endpoint.limits.max_send_backlog
            if limit is not None and self._transport.get_write_buffer_size() > limit:
                self._drop(CloseReason.SLOW_READER)

    async def _wait_until_writable(self) -> None:
        if self._senders is None:
            self._senders = []
        await self._wait_in(self._senders)

    @property
    def is_send_paused(self) -> bool:
        """Whether more than ``send_high_water`` bytes wait for the peer. A handler then had better send less."""
        return self._is_send_paused

    # Closing

    async def close(self) -> None:
        """Send what is queued, close, and wait until the connection is closed.

        The peer gets everything, then the end of stream. If it does not close its side within ``close_timeout``, the
        connection is aborted. Messages received and not yet taken can still be taken. Calling it again is harmless;
        when cancelled, closing goes on.
        """
        self.close_nowait()
        await self.wait_closed()

    def close_nowait(self, reason: CloseReason | None = None) -> None:
        """Begin what :meth:`close` does, without waiting.

        Args:
            reason: What statistics and the log say; a WebSocket client gets the close code that goes with it.
        """
        usual = CloseReason.PEER_CLOSED if self._is_ended else CloseReason.CLOSED
        self._begin_close(reason or self._reason or usual)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, whoever closes it.

        When the peer ends its stream while somebody waits here, this side closes too. To send to a peer that may have
        ended its stream, wait in :meth:`receive` or by iteration.
        """
        if self._endpoint.connections.get(self.id) is not self:
            return
        if self._is_ended and self._inbox is not None:
            self.close_nowait()
        if self._closed_waiters is None:
            self._closed_waiters = []
        await self._wait_in(self._closed_waiters)

    async def _wait_in(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter = self._endpoint.loop.create_future()
        waiters.append(waiter)
        try:
            await waiter
        finally:
            waiters.remove(waiter)  # whoever gives up again and again must not leave a future each time

    def abort(self) -> None:
        """End the connection at once; what is queued in either direction is lost."""
        self._is_open = self._is_reading_paused = False
        if self._reason is None:
            self._reason = CloseReason.ABORTED
        self._transport.abort()

    def _hold(self) -> None:
        """Keep what is sent until ``_release``: the peer's protocol is not known yet."""
        self._is_held = True

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            was_paused, self._is_send_paused = self._is_send_paused, False
            self._flush()
            if was_paused and not self._is_send_paused:
                self.resume_writing()

    def _bound_held(self) -> None:
        # What is held back waits for the peer like any other backlog.
        limits = self._endpoint.limits
        size = sum(len(item.encode(self._encoder)) if isinstance(item, Batch) else len(item) for item in self._outbox)
        self._is_send_paused = size > limits.send_high_water
        if limits.max_send_backlog is not None and size > limits.max_send_backlog:
            self._drop(CloseReason.SLOW_READER)

    def _drop(self, reason: CloseReason) -> None:
        if self._is_open:
            self._reason = reason
            self._endpoint.logger.warning("dropped %s", self)
            self.abort()

    def _begin_close(self, reason: CloseReason) -> None:
        if self._is_open:
            self._is_held = False
            self._flush()
            self._close_flushed(reason)

    def _close_flushed(self, reason: CloseReason) -> None:
        if not self._is_open:  # the flush found that the peer reads too slowly
            return
        self._is_open = False
        self._reason = reason
        self._wake_receiver()
        self._end_output()
        self._endpoint.closing(self)

    def _shut_down(self, *, lets_handler_end: bool) -> None:
        """End because the server closes: what has been received is still handled, then no more comes."""
        if self._is_open and lets_handler_end:
            self._reason = CloseReason.SHUTDOWN
            self.pause_reading()
            self._wake_receiver()
        else:
            self._begin_close(CloseReason.SHUTDOWN)

    def _end_output(self) -> None:
        # Closing a socket with unread input makes the kernel send a reset, which can destroy what the peer has not read
        # yet. So end only our direction, and read on until the peer ends its own; a WebSocket does so by close frames.
        if self._websocket is not None:
            self._write(self._websocket.encode_close(cast("CloseReason", self._reason)))
        elif not self._is_ended:
            end_output(self._transport)
        if self._is_ended:
            self._transport.close()
        else:
            self.resume_reading()

    def _handler_failed(self, error: BaseException) -> None:
        self._endpoint.logger.error("the handler of %r failed", self, exc_info=error)
        self._begin_close(CloseReason.HANDLER_FAILED)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._set_buffer_limits()
        self._endpoint.opened(self)
        if self._endpoint.logger.isEnabledFor(logging.DEBUG):
            self._endpoint.logger.debug("opened %r", self)
        try:
            self._handler.connected(self)
        except Exception as error:  # whatever a user's code raises ends its own connection only
            self._handler_failed(error)

    def _set_buffer_limits(self) -> None:
        limits = self._endpoint.limits
        self._transport.set_write_buffer_limits(limits.send_high_water, limits.send_low_water)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._bytes_received += len(data)
        websocket = self._websocket
        if self._is_open:
            decoder = self._decoder
            messages = decoder.feed(data)
            if messages:
                self._messages_received += len(messages)
                try:
                    self._handler.received(self, messages)
                except Exception as error:  # whatever a user's code raises ends its own connection only
                    self._handler_failed(error)
            if decoder.error is not None:
                self._endpoint.logger.warning("%r: %s", self, decoder.error)
                self._begin_close(_reason_of(decoder.error))
        elif websocket is not None:
            websocket.feed(data)  # until the peer's close frame
        if websocket is not None and (websocket.replies or websocket.is_over):
            self._answer_frames(websocket)

    def _answer_frames(self, websocket: WebSocket[MessageT]) -> None:
        if websocket.replies:
            replies = b"".join(websocket.replies)
            websocket.replies.clear()
            if self._is_open:
                self._write(replies)
        if websocket.is_over and not self._is_ended:
            if self.eof_received() is False:
                self._transport.close()

    def eof_received(self) -> bool:
        """See :class:`asyncio.Protocol`."""
        self._is_ended = True
        if not self._is_open:
            return False
        try:
            self._handler.ended(self)
        except Exception as error:  # whatever a user's code raises ends its own connection only
            self._handler_failed(error)
        if self._is_open and not (self._websocket is None and self._transport.can_write_eof()):
            # Neither TLS nor a WebSocket can stay half open. Whoever goes on sending must be told so.
            self._begin_close(CloseReason.PEER_CLOSED)
        return self._is_open

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._is_send_paused = True

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._is_send_paused = False
        self._wake_senders(None)
        if self._is_open:
            try:
                self._handler.writable(self)
            except Exception as error:  # whatever a user's code raises ends its own connection only
                self._handler_failed(error)

    def _wake_senders(self, error: ConnectionClosedError | None) -> None:
        senders, self._senders = self._senders, None
        for sender in senders or ():
            if not sender.done():
                if error is None:
                    sender.set_result(None)
                else:
                    sender.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._is_open = self._is_reading_paused = False
        if self._reason is None:
            self._reason = CloseReason.PEER_CLOSED if self._is_ended or exc is None else CloseReason.CONNECTION_LOST
        self._outbox.clear()
        if self._endpoint.logger.isEnabledFor(logging.DEBUG):
            self._endpoint.logger.debug("closed %r", self)
        try:
            self._handler.closed(self, self._reason)
        except Exception as error:  # whatever a user's code raises ends its own connection only
            self._endpoint.logger.error("closed() of the handler failed", exc_info=error)
        self._endpoint.closed(self, self._reason)
        self._wake_senders(ConnectionClosedError(self._reason))
        waiters, self._closed_waiters = self._closed_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # What is known of it

    @property
    def remote_address(self) -> Any:
        """Where the peer is: ``(host, port)`` for IPv4, ``(host, port, flow, scope)`` for IPv6, a path for Unix.

        Behind a trusted proxy it is the client's own address, with port 0 where the proxy does not tell it.
        """
        return self._client_address or self._transport.get_extra_info("peername")

    @property
    def request(self) -> Request | None:
        """The request of a WebSocket client: path, query, and a few headers (Cookie, Origin ...); else ``None``."""
        return None if self._websocket is None else self._websocket.request

    @property
    def local_address(self) -> Any:
        """Our end, in the form of :attr:`remote_address`."""
        return self._transport.get_extra_info("sockname")

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent: neither side has closed, as far as we know."""
        return self._is_open

    @property
    def is_ended(self) -> bool:
        """Whether the peer has sent its end of stream: it sends no more, but may still read."""
        return self._is_ended

    @property
    def unfinished(self) -> int:
        """Bytes received since the last whole message. At the end of the stream they are a message that was cut off."""
        return self._decoder.unfinished

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection ended; ``None`` while it is open."""
        return self._reason

    @property
    def statistics(self) -> Traffic:
        """What went over the connection so far; bytes without the overhead of TCP and TLS."""
        return Traffic(self._messages_received, self._messages_sent, self._bytes_received, self._bytes_sent)
