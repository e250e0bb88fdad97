"""The blocking client, for scripts without an event loop: the same words, the same wire code, no thread.

::

    with xmlsocket.sync.connect("localhost", 8080) as connection:
        connection.send("<hello/>")
        print(connection.receive(timeout=5))
        for message in connection:
            print(message)

A connection belongs to one thread at a time; other threads may have connections of their own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import ssl as tls
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, Unpack, overload

from .errors import CloseReason, ConfigurationError, ConnectionClosedError, MessageTooLargeError
from .limits import BlockingLimitOptions, Limits, from_options
from .net.dialing import dial
from .net.endpoint import Traffic, next_id
from .net.target import find_target
from .wire import ErrorRule, Markup, MessageDecoder, MessageEncoder, MessageT, TextCodec, text_codec

__all__ = ["Connection", "connect"]

logger = logging.getLogger("xmlsocket.client")

_READ_SIZE = 262_144
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
# It needs no descriptor of its own, and has no limit on their numbers as select has.
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Connection(Generic[MessageT]):
    """A link to a server. Made by :func:`connect`, never by hand.

    It is for one thread at a time. While ``send`` waits for the server it also takes what the server sends, up to
    ``receive_high_water`` bytes, so that the two cannot wait for each other; nothing is read between calls.

    Attributes:
        id: A number that no other connection of this process has.
    """

    def __init__(self, sock: socket.socket, codec: TextCodec | None, limits: Limits) -> None:
        self.id = next_id()
        self._sock = sock
        self._limits = limits
        self._decoder = MessageDecoder[MessageT](codec, limits.max_message_size)
        self._encoder = MessageEncoder(codec or text_codec(), limits.max_message_size)
        self._remote_address, self._local_address = sock.getpeername(), sock.getsockname()
        self._selector = _Selector()
        self._selector.register(sock, _READ)
        self._inbox: deque[MessageT] = deque()
        self._outgoing = bytearray()
        self._reason: CloseReason | None = None
        self._is_ended = False  # the server has sent its end of stream
        self._received_at = time.monotonic()
        self._bytes_taken = 0
        self._bytes_received = self._bytes_sent = self._messages_received = self._messages_sent = 0

    def __repr__(self) -> str:
        state = "open" if self._reason is None else self._reason.value
        return f"<{type(self).__name__} {self.id} {self._remote_address!r}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[MessageT]:
        """Take message after message until either side closes; see :meth:`receive`."""
        while True:
            try:
                message = self.receive()
            except ConnectionClosedError as error:
                if error.reason.is_orderly:
                    return
                raise
            yield message

    def receive(self, timeout: float | None = None) -> MessageT:
        """Take the oldest message, waiting for one if there is none.

        Args:
            timeout: Seconds to wait at most; 0 takes what is there; ``None`` waits as long as it takes. After a timeout
                nothing is lost, the next call goes on.

        Raises:
            TimeoutError: No message came in time.
            ConnectionClosedError: No message will come any more; all that were received have been taken.
        """
        deadline = _deadline(timeout)
        while not self._inbox:
            if self._reason is not None or self._is_ended:
                self._raise_closed()
            self._bytes_taken = self._bytes_received
            writing = self._write_some()
            if self._reason is None and (reading := self._read_some()):
                self._wait_idle(reading | writing, deadline, f"no message within {timeout} s")
        return self._inbox.popleft()

    def send(self, message: str | bytes | Markup, timeout: float | None = None) -> None:
        """Send one message: text, bytes as they are, or an XML element as its markup.

        Returns when the system has taken all of it. Messages leave in the order of the calls.

        Args:
            message: What to send.
            timeout: Seconds to wait at most for a server that does not read. After a timeout the message is queued all
                the same, and leaves during the calls that follow; do not send it again.

        Raises:
            EmbeddedNulError: The message has a NUL; nothing was sent.
            OversizedMessageError: It is over ``max_message_size``; nothing was sent.
            UnencodableMessageError: The encoding lacks a character of it; nothing was sent.
            TimeoutError: The server did not read in time.
            ConnectionClosedError: The connection is closed, or ended while waiting; also when more than
                ``max_send_backlog`` bytes are queued after timeouts.
        """
        limit = self._limits.max_send_backlog
        if self._reason is None and limit is not None and len(self._outgoing) > limit:
            self._end(CloseReason.SLOW_READER)
        if self._reason is not None:
            self._raise_closed()
        self._outgoing += self._encoder.encode((self._encoder.check(message),))
        self._messages_sent += 1
        self._flush(_deadline(timeout), f"the server did not read within {timeout} s")
        if self._reason is not None:
            self._raise_closed()

    def close(self) -> None:
        """Send what is queued, close, and wait until the server has closed its side.

        After ``close_timeout`` the connection is aborted. Messages received and not yet taken can still be taken, what
        arrives meanwhile is thrown away. Calling it again is harmless.
        """
        if self._reason is not None:
            return
        deadline = _deadline(self._limits.close_timeout)
        try:
            self._flush(deadline, "")
            if self._reason is None:
                self._end_output()
                self._discard_until_end(deadline)
        except TimeoutError:
            logger.debug("%r: not closed by the server within close_timeout", self)
        finally:
            self._end(CloseReason.PEER_CLOSED if self._is_ended else CloseReason.CLOSED)

    def abort(self) -> None:
        """End the connection at once; what is queued is lost."""
        self._end(CloseReason.ABORTED)

    @property
    def remote_address(self) -> Any:
        """Where the server is: ``(host, port)`` for IPv4, ``(host, port, flow, scope)`` for IPv6, a path for Unix."""
        return self._remote_address

    @property
    def local_address(self) -> Any:
        """Our end, in the form of :attr:`remote_address`."""
        return self._local_address

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent, as far as we know: nothing is read between calls."""
        return self._reason is None

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection ended; ``None`` while it is open."""
        return self._reason

    @property
    def statistics(self) -> Traffic:
        """What went over the connection so far; bytes without the overhead of TCP and TLS."""
        return Traffic(self._messages_received, self._messages_sent, self._bytes_received, self._bytes_sent)

    # What waits, and what must not

    def _flush(self, deadline: float | None, late: str) -> None:
        while (wanted := self._write_some()) and self._reason is None:
            if not self._is_ended and self._bytes_received - self._bytes_taken < self._limits.receive_high_water:
                reading = self._read_some()
                if not reading:
                    continue
                wanted |= reading
            self._wait(wanted, deadline, late)

    def _wait(self, wanted: int, deadline: float | None, late: str) -> None:
        self._selector.modify(self._sock, wanted)
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0)
        if not self._selector.select(remaining) and deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(late)

    def _wait_idle(self, wanted: int, deadline: float | None, late: str) -> None:
        idle_timeout = self._limits.idle_timeout
        idle_at = None if idle_timeout is None else self._received_at + idle_timeout
        if idle_at is None or (deadline is not None and deadline <= idle_at):
            self._wait(wanted, deadline, late)
            return
        try:
            self._wait(wanted, idle_at, "")
        except TimeoutError:
            self._end(CloseReason.IDLE_TIMEOUT)

    def _read_some(self) -> int:
        """Read what is there; return what to wait for, nothing after progress."""
        try:
            data = self._sock.recv(_READ_SIZE)
        except (BlockingIOError, tls.SSLWantReadError):
            return _READ
        except tls.SSLWantWriteError:
            return _WRITE
        except OSError as error:
            self._lost(error)
            return 0
        if not data:
            self._is_ended = True
            return 0
        self._received_at = time.monotonic()
        self._bytes_received += len(data)
        messages = self._decoder.feed(data)
        self._messages_received += len(messages)
        self._inbox += messages
        fault = self._decoder.error
        if fault is not None:
            logger.warning("%r: %s", self, fault)
            too_large = isinstance(fault, MessageTooLargeError)
            self._end(CloseReason.MESSAGE_TOO_LARGE if too_large else CloseReason.INVALID_TEXT)
        return 0

    def _write_some(self) -> int:
        """Write what the system takes; return what to wait for, nothing when all is written."""
        while self._outgoing and self._reason is None:
            try:
                with memoryview(self._outgoing) as view, view[:_READ_SIZE] as piece:
                    size = self._sock.send(piece)
            except (BlockingIOError, tls.SSLWantWriteError):
                return _WRITE
            except tls.SSLWantReadError:
                return _READ
            except OSError as error:
                self._lost(error)
            else:
                self._bytes_sent += size
                del self._outgoing[:size]
        return 0

    def _end_output(self) -> None:
        # Closing with unread input would reset the connection, which can destroy what the server has not read yet.
        with contextlib.suppress(OSError):
            if isinstance(self._sock, tls.SSLSocket):
                self._sock.unwrap()  # sends the end; the answer to it is not waited for
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _discard_until_end(self, deadline: float | None) -> None:
        while not self._is_ended:
            try:
                data = self._sock.recv(_READ_SIZE)
                self._is_ended = not data
            except BlockingIOError:
                self._wait(_READ, deadline, "")
            except OSError:
                return

    def _lost(self, error: OSError) -> None:
        logger.debug("%r: %s", self, error)
        self._end(CloseReason.PEER_CLOSED if self._is_ended else CloseReason.CONNECTION_LOST)

    def _end(self, reason: CloseReason) -> None:
        if self._reason is None:
            self._reason = reason
            self._outgoing.clear()
            self._selector.close()
            self._sock.close()

    def _raise_closed(self) -> NoReturn:
        raise ConnectionClosedError(self._reason or CloseReason.PEER_CLOSED) from self._decoder.error


@overload
def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    ssl: tls.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    encoding: str = "utf-8",
    errors: ErrorRule = "strict",
    **limits: Unpack[BlockingLimitOptions],
) -> Connection[str]: ...


@overload
def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    ssl: tls.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    encoding: None,
    errors: ErrorRule = "strict",
    **limits: Unpack[BlockingLimitOptions],
) -> Connection[bytes]: ...


def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    ssl: tls.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    encoding: str | None = "utf-8",
    errors: ErrorRule = "strict",
    **limits: Unpack[BlockingLimitOptions],
) -> Connection[Any]:
    """Open a connection to a server. It closes at the end of a ``with`` statement.

    Args:
        host: Name or address of the server. With several addresses each is tried.
        port: TCP port.
        path: Connect to a Unix socket instead.
        ssl: ``True`` for TLS with the system's certificates, or a context.
        server_hostname: Name that the certificate must have, where it differs from ``host``.
        encoding: Encoding of the text; ``None`` hands on ``bytes``.
        errors: What to do with text that does not fit: ``"strict"`` closes the connection, ``"replace"``, ``"flash"``.
        **limits: These fields of :class:`xmlsocket.Limits`: ``open_timeout``, ``close_timeout``, ``idle_timeout``,
            ``max_message_size``, ``receive_high_water`` and ``max_send_backlog``.

    Raises:
        ConfigurationError: An argument cannot work.
        OpenError: Unknown host, refused, unreachable, wrong certificate.
        OpenTimeoutError: Not open within ``open_timeout``; looking up the name may take longer.
    """
    target = find_target(host, port, path, ssl, server_hostname)
    checked = from_options(Limits, limits, side="client")
    for name in limits:
        if name not in BlockingLimitOptions.__annotations__:
            raise ConfigurationError(f"{name} bounds nothing here: xmlsocket.connect(), of a loop, takes it")
    codec = None if encoding is None else text_codec(encoding, errors)
    sock = dial(target, checked.open_timeout)
    try:
        return Connection[Any](sock, codec, checked)
    except OSError as error:  # the server has reset the connection already, so it has no addresses
        sock.close()
        raise target.open_error(error) from error


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
