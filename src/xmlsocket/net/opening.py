"""The beginning of an accepted connection: its first bytes decide who goes on with it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Generic, cast

from ..errors import CloseReason
from ..wire import NUL, POLICY_REQUESTS, MessageT, Protocol, detect
from .connection import Connection

if TYPE_CHECKING:
    from .listener import Listener

_REFUSALS = {
    Protocol.HTTP: b"HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"This port speaks XMLSocket: text messages, each ended by a zero byte.\n",
    # A fatal handshake_failure alert, so that the client says "TLS" rather than "connection reset".
    Protocol.TLS: b"\x15\x03\x01\x00\x02\x02\x28",
}


class Opening(asyncio.Protocol, Generic[MessageT]):
    """A client whose protocol is not known yet.

    Once it is, a :class:`Connection` takes the transport over, or the client gets an answer and that is all. A client
    that stays silent for ``detection_timeout`` becomes a connection of the handler too, so that it can be spoken to;
    but as long as nothing was sent to it, its first bytes may still turn out to be a policy request.
    """

    __slots__ = ("_connection", "_is_answered", "_listener", "_start", "_transport")

    def __init__(self, listener: Listener[MessageT]) -> None:
        self._listener = listener
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._connection: Connection[MessageT] | None = None
        self._start = b""
        self._is_answered = False

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
            listener.detection.add(self)
            if listener.speaks_first:
                self._open()._hold()
            else:
                listener.first_byte.add(self)

    @property
    def address(self) -> Any:
        """The client's address, as ``Connection.remote_address``."""
        return self._transport.get_extra_info("peername")

    def _open(self) -> Connection[MessageT]:
        if self._connection is None:
            self._listener.dismiss(self)
            self._connection = Connection(self._listener, self._listener.handler)
            self._connection.connection_made(self._transport)
        return self._connection

    def _become(self) -> Connection[MessageT]:
        connection = self._open()
        self._settle()
        self._transport.set_protocol(connection)
        connection._release()
        return connection

    def _settle(self) -> None:
        self._listener.detection.discard(self)
        self._listener.first_byte.discard(self)

    def waited_for_detection(self) -> None:
        """The client said nothing for ``detection_timeout``: let the handler speak to it."""
        if not self._start and not self._transport.is_closing():
            self._open()._release()

    def waited_for_first_byte(self) -> None:
        """The client said nothing, or not enough to tell what it speaks, for ``first_byte_timeout``."""
        if self._start:
            self._become().data_received(self._start)
        else:
            self._end(CloseReason.FIRST_BYTE_TIMEOUT)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._is_answered:
            return
        self._start += data
        protocol = detect(self._start)
        if self._connection is not None and self._connection.statistics.bytes_sent:
            protocol = Protocol.XMLSOCKET  # too late for anything else: it has got messages
        if protocol is Protocol.XMLSOCKET:
            self._become().data_received(self._start)
        elif protocol is Protocol.POLICY:
            self._answer_policy()
        elif protocol is not None:
            self._answer(_REFUSALS[protocol], CloseReason.PROTOCOL_REFUSED)

    def _answer_policy(self) -> None:
        policy = self._listener.policy
        if policy is None:
            # Not for the handler to see: it would answer in its own language, which a player takes for a broken policy.
            self._answer(b"", CloseReason.POLICY_REFUSED)
        else:
            self._answer(policy, CloseReason.POLICY_ANSWERED)

    def _answer(self, data: bytes, reason: CloseReason) -> None:
        self._end(reason)
        self._is_answered = True
        self._listener.answered.add(self)
        if data:
            self._transport.write(data)
        if self._transport.can_write_eof():
            # Read on until the client closes: unread input turns a close into a reset, which can destroy the answer.
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end(self, reason: CloseReason) -> None:
        self._settle()
        connection, self._connection = self._connection, None
        if connection is None:
            self._listener.closed_by_reason[reason] += 1
        else:
            connection._reason = reason
            connection.connection_lost(None)
        if self._listener.logger.isEnabledFor(logging.INFO):
            self._listener.logger.info("%s: %s", self.address, reason.value)

    def eof_received(self) -> bool:
        """See :class:`asyncio.Protocol`."""
        if self._is_answered:
            return False
        if self._start + NUL in POLICY_REQUESTS:
            self._answer_policy()  # typed by hand, without its NUL
            return False
        connection = self._become()
        if self._start:
            connection.data_received(self._start)
        return connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._settle()
        self._listener.answered.discard(self)
        if self._connection is not None:
            self._connection.connection_lost(exc)
        else:
            self._listener.dismiss(self)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._connection is not None:
            self._connection.resume_writing()

    def abort(self) -> None:
        """End it at once: the client has had time enough to read its answer, or the server closes."""
        self._transport.abort()
