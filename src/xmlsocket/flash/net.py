"""``flash.net.XMLSocket``: Adobe's class on top of this package's connections.

What it does differently from the player, and why, is listed in the reference, page "Deviations from Flash Player".
"""

from __future__ import annotations

from typing import Final

from ..errors import EmbeddedNulError
from .conversion import toNumber
from .dispatcher import EventDispatcher
from .errors import numbered
from .events import DataEvent, Event, IOErrorEvent, SecurityErrorEvent, make_data_event
from .link import Failure, Link, LinkOptions
from .sending import toMessage
from .system import Content
from .uncaught import report

_SHORTEST_TIMEOUT: Final = 250


class XMLSocket(EventDispatcher):
    """A socket for text messages, each ended by a zero byte.

    It works inside a running event loop: in what is passed to :func:`xmlsocket.flash.run`, or in any coroutine. No
    method waits, and no event is dispatched inside a call; all come later, from the loop. The events are:

    - ``connect`` (:class:`~xmlsocket.flash.events.Event`): a connection is open;
    - ``data`` (:class:`~xmlsocket.flash.events.DataEvent`): a message has arrived whole, empty ones too;
    - ``close`` (``Event``): the server has closed the connection, or it was lost;
    - ``ioError`` (:class:`~xmlsocket.flash.events.IOErrorEvent`): no connection came to be, or it was lost (then
      ``close`` follows);
    - ``securityError`` (:class:`~xmlsocket.flash.events.SecurityErrorEvent`): no policy file lets the content connect.

    Args:
        host: Connect at once, as :meth:`connect` does; ``None`` does not.
        port: The port for that.

    Raises:
        SecurityError: See :meth:`connect`.
        RuntimeError: See :meth:`connect`.
    """

    maxMessageSize: int | None = None
    """Longest message in bytes, from the next :meth:`connect` on. A longer one that arrives ends the connection, one to
    be sent is an :class:`~xmlsocket.OversizedMessageError`. No limit by default, as in the player, which has no such
    property."""
    maxSendBacklog: int | None = None
    """Bytes to keep for a server that does not read; more ends the connection. No limit by default, as in the player,
    which has no such property."""
    refusesEmbeddedNul: bool = False
    """Whether :meth:`send` raises for text with a NUL. Otherwise several messages are sent, as by the player, which has
    no such property."""

    _content: Content | None = None
    _link: Link | None = None
    _timeout = 20_000

    def __init__(self, host: str | None = None, port: int = 0) -> None:
        super().__init__()
        self._content = Content.current()
        if host is not None:
            self.connect(host, port)

    @property
    def connected(self) -> bool:
        """Whether there is a connection. True in the listeners of ``connect``, false in those of ``close``."""
        return self._link is not None and self._link.is_connected

    @property
    def timeout(self) -> int:
        """Milliseconds for a connection to come to be, from the next :meth:`connect` on; 20,000, and at least 250."""
        return self._timeout

    @timeout.setter
    def timeout(self, value: float) -> None:
        self._timeout = max(_SHORTEST_TIMEOUT, int(toNumber(value)))

    def connect(self, host: str | None, port: int) -> None:
        """Begin to connect; what comes of it is told by exactly one event: connect, ioError or securityError.

        A connection or attempt that this socket has is closed first, without an event. If the call raises, it stays.

        Args:
            host: Name or address; ``None`` or empty text is the host that the content came from.
            port: Port of the server.

        Raises:
            SecurityError: There is no such port (number 2003), or the sandbox of the content forbids sockets altogether
                (2010, 2146).
            RuntimeError: No event loop is running.
        """
        options = LinkOptions(
            self._timeout / 1000, max_message_size=self.maxMessageSize, max_send_backlog=self.maxSendBacklog
        )
        link = Link(self, self._content or Content.current(), host, int(toNumber(port)), options)
        previous, self._link = self._link, link
        if previous is not None:
            previous.close()
        link.start()

    def send(self, object: object) -> None:
        """Send a value as one message: text as it is, an :class:`~xmlsocket.flash.XML` as its markup.

        What else becomes of values is said at :func:`xmlsocket.flash.sending.toMessage`. It does not wait: the message
        is queued, however much is queued already.

        Raises:
            TypeError: The value is ``None`` (number 1009); nothing is sent, whether connected or not.
            IOError: There is no connection (2002).
            EmbeddedNulError: The text has a NUL and ``refusesEmbeddedNul`` is set; nothing is sent.
        """
        text = toMessage(object)
        if self.refusesEmbeddedNul and "\0" in text:
            raise EmbeddedNulError(text.index("\0"))
        if self._link is None or not self._link.send(text):
            raise numbered(2002)

    def close(self) -> None:
        """Close the connection after sending what is queued, or stop connecting. There is no event for it.

        Raises:
            IOError: There is neither a connection nor an attempt (number 2002).
        """
        link, self._link = self._link, None
        if link is None:
            raise numbered(2002)
        link.close()

    def _on_connected(self) -> None:
        self._deliver(Event(Event.CONNECT))

    def _on_received(self, link: Link, messages: list[str]) -> None:
        listeners = None
        for message in messages:
            if self._is_direct:
                # What dispatchEvent would do, without the calls: this is the one place where there may be a million
                # events a second.
                if self._listeners is not listeners:
                    listeners = self._listeners
                    calls = [registration.call for registration in listeners.get("data", ())]
                event = make_data_event(message, self)
                for call in calls:
                    try:
                        call(event)
                    except Exception as error:
                        report(error, event)
                    if event._stopped == 2:
                        break
            else:
                self._deliver(DataEvent(DataEvent.DATA, False, False, message))
            if self._link is not link:
                return

    def _on_failed(self, link: Link, failure: Failure) -> None:
        if failure is Failure.POLICY:
            error = numbered(2048, link.content.url, f"{link.host}:{link.port}")
            self._deliver(
                SecurityErrorEvent(SecurityErrorEvent.SECURITY_ERROR, False, False, error.message, error.errorID)
            )
        else:
            self._deliver_io_error(link.host)

    def _on_ended(self, link: Link, *, is_lost: bool) -> None:
        if is_lost:
            self._deliver_io_error(link.host)
            if self._link is not None:
                return  # it has been connected anew, and a close would seem to be that connection's
        self._deliver(Event(Event.CLOSE))

    def _deliver_io_error(self, host: str) -> None:
        error = numbered(2031)
        text = f"{error.message} URL: {host}"
        self._deliver(IOErrorEvent(IOErrorEvent.IO_ERROR, False, False, text, error.errorID))

    def _deliver(self, event: Event) -> None:
        try:
            self.dispatchEvent(event)
        except Exception as error:  # of a dispatchEvent of the program's own, or listeners without end
            report(error, event)
