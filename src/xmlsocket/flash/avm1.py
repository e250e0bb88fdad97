"""The ``XMLSocket`` of ActionScript 1 and 2, which calls functions of its own instead of dispatching events."""

from __future__ import annotations

from typing import Final

from ..wire import decode_like_flash
from .conversion import number_to_text_as2, toNumber, toString
from .document import XML, XMLNode
from .errors import SecurityError
from .link import Failure, Link, LinkOptions
from .sending import toMessage
from .system import Content
from .uncaught import report

__all__ = ["XML", "XMLNode", "XMLSocket"]

_BOM: Final = b"\xef\xbb\xbf"


class XMLSocket:
    """A socket for text messages, which calls these functions of its own.

    Assign them to the object, or define them in a subclass:

    - ``onConnect(success)``: a connection is open, or none came to be;
    - ``onData(src)``: a message has arrived whole. Unless replaced, it passes the message on to ``onXML``;
    - ``onXML(doc)``: the same, parsed as an :class:`XML`;
    - ``onClose()``: the server has closed the connection, or it was lost.

    They are looked up when they are called. Methods never raise for what happens on the network.
    """

    _content: Content | None = None
    _link: Link | None = None
    _timeout = 20_000

    def __init__(self) -> None:
        self._content = Content.current()

    def connect(self, url: str | None, port: int) -> bool:
        """Begin to connect; a connection or attempt that this socket has is closed first.

        Args:
            url: Name or address of the server; ``None`` or empty text is the host that the content came from.
            port: Port of the server.

        Returns:
            ``False`` if that is forbidden from the start: no such port, or a sandbox without sockets. ``onConnect`` is
            then not called.

        Raises:
            RuntimeError: No event loop is running.
        """
        options = LinkOptions(self._timeout / 1000, encoding=None)
        try:
            link = Link(self, self._content or Content.current(), url, int(toNumber(port)), options)
        except SecurityError:
            return False
        previous, self._link = self._link, link
        if previous is not None:
            previous.close()
        link.start()
        return True

    def send(self, object: object) -> None:
        """Send a value as one message, an :class:`XML` as its markup; nothing happens without a connection.

        ``None`` is sent as ``undefined``, and numbers have 15 digits at most.
        """
        if isinstance(object, (list, tuple, float)):
            text = toString(object, number_to_text_as2)
        else:
            text = "undefined" if object is None else toMessage(object)
        if self._link is not None:
            self._link.send(text)

    def close(self) -> None:
        """Close the connection after sending what is queued, or stop connecting; otherwise nothing happens."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def getTimeout(self) -> int:
        """Milliseconds for a connection to come to be."""
        return self._timeout

    def setTimeout(self, value: float) -> None:
        """Change what :meth:`getTimeout` says, for the next :meth:`connect`; 0 lets every attempt fail."""
        self._timeout = max(0, int(toNumber(value)))

    def onData(self, src: str) -> None:
        """Parse a message and call ``onXML`` with it; put your own in its place to get the text."""
        self._call("onXML", XML(src))

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self, name, None)
        if not callable(function):
            return
        try:
            function(*arguments)
        except Exception as error:  # whatever the program raises, as the player goes on too
            report(error, None)

    def _on_connected(self) -> None:
        self._call("onConnect", True)

    def _on_received(self, link: Link, messages: list[bytes]) -> None:
        for message in messages:
            # Only ActionScript 3 takes a byte order mark away, so here one is added for the decoder to take.
            self._call("onData", decode_like_flash(_BOM + message))
            if self._link is not link:
                return

    def _on_failed(self, link: Link, failure: Failure) -> None:
        self._call("onConnect", False)

    def _on_ended(self, link: Link, *, is_lost: bool) -> None:
        self._call("onClose")
