"""The beginning of an accepted connection: its first bytes decide who goes on with it."""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
from typing import TYPE_CHECKING, Any, Generic, cast

from ..errors import CloseReason, ProxyHeaderError
from ..wire import NUL, POLICY_REQUESTS, MessageT, Protocol, detect
from ..wire.proxy_protocol import ProxyHeaderDecoder
from .connection import Connection
from .files import FileSender
from .half_close import end_output
from .http import FilePart, Upgrade
from .target import NEVER

if TYPE_CHECKING:
    from .handshake import Handshake
    from .listener import Listener

_NO_HTTP = (
    b"HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"This port speaks XMLSocket: text messages, each ended by a zero byte.\n"
)
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# A fatal handshake_failure, so that the client says "TLS" rather than "connection reset".
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28"


class Opening(asyncio.Protocol, Generic[MessageT]):
    """A client whose protocol is not known yet.

    Once it is, a :class:`Connection` takes the transport over, or the client gets an answer and that is all. A client
    that stays silent for ``detection_timeout`` becomes a connection of the handler too, so that it can be spoken to;
    but as long as nothing was sent to it, its first bytes may still turn out to be a policy request.
    """

    __slots__ = (
        "_client_address",
        "_connection",
        "_handshake",
        "_is_answered",
        "_is_secure",
        "_is_wrapping",
        "_listener",
        "_proxy_header",
        "_sender",
        "_start",
        "_transport",
    )

    def __init__(self, listener: Listener[MessageT]) -> None:
        self._listener = listener
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._connection: Connection[MessageT] | None = None
        self._start = b""
        self._handshake: Handshake | None = None
        self._proxy_header: ProxyHeaderDecoder | None = None
        self._client_address: Any = None
        self._is_answered = False
        self._sender: FileSender | None = None
        self._is_secure = False
        self._is_wrapping = False  # in TLS, whose handshake is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        listener = self._listener
        if not listener.admit(self):
            self._is_answered = True
            self._transport.abort()
        elif not listener.detects:
            self._become()
        else:
            if listener.expects_proxy_header(self):
                self._proxy_header = ProxyHeaderDecoder()
            listener.detection.add(self)
            if listener.speaks_first and self._proxy_header is None:
                self._open(is_held=True)
            else:
                listener.first_byte.add(self)

    @property
    def address(self) -> Any:
        """The client's address, as ``Connection.remote_address``."""
        return self._client_address or self._transport.get_extra_info("peername")

    def _open(self, upgrade: Upgrade | None = None, *, is_held: bool = False) -> Connection[MessageT]:
        is_new = self._connection is None
        connection = self._connection = self._connection or Connection(self._listener, self._listener.handler)
        connection._client_address = self._client_address
        if upgrade is not None and self._listener.door is not None:
            self._listener.door.adopt(connection, upgrade, self.address)
        if is_new:
            if is_held:
                connection._hold()
            self._listener.dismiss(self)
            connection.connection_made(self._transport)
        return connection

    def _become(self, upgrade: Upgrade | None = None) -> Connection[MessageT]:
        connection = self._open(upgrade)
        self._settle()
        self._transport.set_protocol(connection)
        connection._release()
        return connection

    def _settle(self) -> None:
        self._listener.detection.discard(self)
        self._listener.first_byte.discard(self)
        self._listener.handshakes.discard(self)

    def waited_for_detection(self) -> None:
        """The client said nothing for ``detection_timeout``: let the handler speak to it."""
        if not self._start and self._proxy_header is None and not self._transport.is_closing():
            self._open()._release()

    @property
    def _is_typed_request(self) -> bool:
        """Whether all that came is a policy request without its NUL, which no keyboard has."""
        was_greeted = self._connection is not None and self._connection.statistics.bytes_sent
        return self._start + NUL in POLICY_REQUESTS and not was_greeted

    def waited_for_first_byte(self) -> None:
        """The client said nothing, or not enough to tell what it speaks, for ``first_byte_timeout``."""
        if self._transport.is_closing():
            return
        if self._is_typed_request:
            self._answer_policy()
        elif self._start:
            self._become().data_received(self._start)
        else:
            self._end(CloseReason.FIRST_BYTE_TIMEOUT)
            self._transport.abort()

    def waited_for_handshake(self) -> None:
        """A handshake that was begun is not finished within ``handshake_timeout``."""
        self._end(CloseReason.HANDSHAKE_TIMEOUT)
        self._is_answered = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._is_answered:
            return
        if self._handshake is not None:
            self._shake(self._handshake, data)
            return
        if self._proxy_header is not None:
            rest = self._take_proxy_header(self._proxy_header, data)
            if rest is None:
                return
            data = rest
        self._start += data
        if not self._is_wrapping:
            self._detect()

    def _detect(self) -> None:
        protocol = detect(self._start)
        if self._connection is not None and self._connection.statistics.bytes_sent:
            protocol = Protocol.XMLSOCKET  # too late for anything else: it has got messages
        if protocol is not None:
            self._go_on(protocol)
        elif self._start and self not in self._listener.first_byte:
            self._listener.first_byte.add(self)  # a server that speaks first must not be held back for ever

    def _go_on(self, protocol: Protocol) -> None:
        listener = self._listener
        if protocol is Protocol.POLICY:
            self._answer_policy()
        elif protocol is Protocol.TLS and listener.ssl is not None and not self._is_secure:
            self._begin_tls()
        elif protocol is Protocol.TLS or (listener.requires_tls and not self._is_secure):
            self._answer(_TLS_ALERT if protocol is Protocol.TLS else b"", CloseReason.PROTOCOL_REFUSED)
        elif protocol is Protocol.XMLSOCKET:
            self._become().data_received(self._start)
        elif listener.door is None:
            self._answer(_NO_HTTP, CloseReason.PROTOCOL_REFUSED)
        else:
            self._settle()
            listener.handshakes.add(self)
            self._handshake = listener.door.new_handshake()
            self._shake(self._handshake, self._start)

    def _take_proxy_header(self, decoder: ProxyHeaderDecoder, data: bytes) -> bytes | None:
        """Read on in the header; return the client's own first bytes once it is complete and the client is let in."""
        listener = self._listener
        try:
            header = decoder.feed(data)
        except ProxyHeaderError as error:
            listener.logger.warning("%s: %s", self.address, error)
            self._end(CloseReason.PROTOCOL_REFUSED)
            self._is_answered = True
            self._transport.abort()
            return None
        if header is None:
            return None
        self._proxy_header = None
        if header.source is not None:
            self._client_address = header.source
            if not listener.readmit(self):
                self._answer(b"", CloseReason.TOO_MANY_FROM_ADDRESS)
                return None
        # From here on it is a client like one that has just connected.
        self._settle()
        listener.detection.add(self)
        if listener.speaks_first:
            self._open(is_held=True)
        else:
            listener.first_byte.add(self)
        return decoder.rest

    def _shake(self, handshake: Handshake, data: bytes) -> None:
        outcome = handshake.feed(data)
        if outcome is None:
            return
        if not isinstance(outcome, Upgrade):
            self._answer(outcome.response, CloseReason.HTTP_ANSWERED, outcome.file)
            return
        if self._listener.door is not None and self._connection is None:
            self._client_address = self._listener.door.find_client(outcome, self.address) or self._client_address
            if not self._listener.readmit(self):
                self._answer(_TOO_MANY, CloseReason.TOO_MANY_FROM_ADDRESS)
                return
        self._transport.write(outcome.response)
        connection = self._become(outcome)
        if outcome.rest:
            connection.data_received(outcome.rest)

    def _begin_tls(self) -> None:
        self._settle()
        self._listener.handshakes.add(self)
        first, self._start = self._start, b""
        plain = self._transport
        self._is_secure = self._is_wrapping = True
        if self._connection is not None:
            self._connection._hold()  # nothing may be said in plain text any more
        plain.pause_reading()
        loop = self._listener.loop
        task = loop.create_task(self._wrap(plain))
        self._listener.handshake_tasks.add(task)
        task.add_done_callback(self._listener.handshake_tasks.discard)
        # One turn for the task to put the TLS protocol in place, one for that to get its transport.
        loop.call_soon(loop.call_soon, _feed_tls, plain, first)

    async def _wrap(self, plain: asyncio.Transport) -> None:
        listener = self._listener
        secure, failure = None, "the connection was lost"
        try:
            secure = await listener.loop.start_tls(
                plain,
                self,
                cast("tls.SSLContext", listener.ssl),
                server_side=True,
                ssl_handshake_timeout=NEVER,  # handshake_timeout is watched for all handshakes together
                ssl_shutdown_timeout=listener.limits.close_timeout or 0.001,
            )
        except OSError as error:
            failure = str(error)
        if secure is None or self._is_answered or (secure.is_closing() and not self._start):
            if not self._is_answered:
                listener.logger.info("%s: no TLS: %s", self.address, failure)
                self._end(CloseReason.HANDSHAKE_FAILED)
                self._is_answered = True
            plain.abort()
            listener.dismiss(self)  # connection_lost is not called for a handshake that failed
            return
        self._client_address = self.address  # a TLS transport forgets it when it is closed
        self._transport = secure
        self._is_wrapping = False
        self._settle()
        listener.detection.add(self)
        if not listener.speaks_first:
            listener.first_byte.add(self)
        if self._connection is not None:
            self._connection._transport = secure
            self._connection._set_buffer_limits()
        self._detect()  # something may have come along with the end of the handshake

    def _answer_policy(self) -> None:
        policy = self._listener.policy
        if policy is None:
            # Not for the handler to see: it would answer in its own language, which a player takes for a broken policy.
            self._answer(b"", CloseReason.POLICY_REFUSED)
        else:
            self._answer(policy, CloseReason.POLICY_ANSWERED)

    def _answer(self, data: bytes, reason: CloseReason, file: FilePart | None = None) -> None:
        self._end(reason)
        self._is_answered = True
        self._listener.answered.add(self)
        if data:
            self._transport.write(data)
        if file is None or file.size == 0:
            end_output(self._transport)
            return
        try:
            self._sender = FileSender(self._transport, file, self._renew)
        except OSError as error:
            self._listener.logger.warning("%s: cannot read %s: %s", self.address, file.path, error.strerror)
            self._transport.abort()
        else:
            self._sender.send()

    def _renew(self) -> None:
        """The client takes its answer: only who takes nothing for ``close_timeout`` is sent away."""
        self._listener.answered.discard(self)
        self._listener.answered.add(self)

    def _end(self, reason: CloseReason) -> None:
        self._settle()
        connection, self._connection = self._connection, None
        if connection is None:
            self._listener.closed_by_reason[reason] += 1
        else:
            connection._reason = reason
            connection.connection_lost(None)
            self._listener.keep(self)
        if self._listener.logger.isEnabledFor(logging.INFO):
            self._listener.logger.info("%s: %s", self.address, reason.value)

    def eof_received(self) -> bool:
        """See :class:`asyncio.Protocol`."""
        if self._is_answered or self._is_wrapping:
            return self._sender is not None and self._sender.is_sending
        if self._handshake is not None or self._proxy_header is not None:
            self._end(CloseReason.PEER_CLOSED)
            return False
        if self._is_typed_request:
            self._answer_policy()
            return False
        connection = self._become()
        if self._start:
            connection.data_received(self._start)
        return connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._settle()
        self._listener.answered.discard(self)
        if self._sender is not None:
            self._sender.close()
        if self._connection is not None:
            self._connection.connection_lost(exc)
        else:
            self._listener.dismiss(self)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._sender is not None:
            self._sender.pause()
        elif self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._sender is not None:
            self._sender.resume()
        elif self._connection is not None:
            self._connection.resume_writing()

    def abort(self) -> None:
        """End it at once: the client has had time enough to read its answer, or the server closes."""
        self._transport.abort()


def _feed_tls(transport: asyncio.Transport, data: bytes) -> None:
    """Hand the bytes that told us that it is TLS to the protocol that start_tls has put in place."""
    protocol = cast("asyncio.BufferedProtocol", transport.get_protocol())
    view = memoryview(data)
    while view and not transport.is_closing():
        buffer = memoryview(protocol.get_buffer(len(view)))
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]
