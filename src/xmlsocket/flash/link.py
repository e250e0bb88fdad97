"""One attempt of a socket to connect, and the connection that comes of it.

A socket that connects again gets a new link, and a link that is no longer its socket's own has nothing to say: so
nothing of an old connection, neither events nor half a message, ever reaches the new one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
from typing import Any, Protocol

from ..errors import CloseReason, ConfigurationError, ConnectionClosedError, OpenError
from ..net import Connection, Handler, connect
from ..net.target import check_host
from ..policy import Decision, PolicySearch, choose_host, make_printable
from .conversion import toString
from .errors import numbered
from .player import Player
from .system import Content

logger = logging.getLogger("xmlsocket.flash")

_ORDERLY = (CloseReason.CLOSED, CloseReason.PEER_CLOSED)


class Failure(enum.Enum):
    """Why no connection came to be."""

    NETWORK = enum.auto()
    POLICY = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class LinkOptions:
    """How a link behaves.

    Attributes:
        timeout: Seconds for everything up to the open connection, policy files included.
        encoding: Encoding of what is received; ``None`` hands on bytes.
        max_message_size: See :class:`xmlsocket.Limits`.
        max_send_backlog: See :class:`xmlsocket.Limits`.
    """

    timeout: float
    encoding: str | None = "utf-8"
    max_message_size: int | None = None
    max_send_backlog: int | None = None


class LinkOwner(Protocol):
    """A socket of either ActionScript. Each is called from the event loop, and only by the owner's own link."""

    _link: Link | None

    def _on_connected(self) -> None:
        """A connection is open."""

    def _on_received(self, link: Link, messages: list[Any]) -> None:
        """Messages arrived. Who stops being the owner of the link while handling one must drop the rest."""

    def _on_failed(self, link: Link, failure: Failure) -> None:
        """No connection came to be. The link is the owner's no more."""

    def _on_ended(self, link: Link, *, is_lost: bool) -> None:
        """The connection is over, though the owner did not close it. The link is the owner's no more."""


class Link(Handler[Any]):
    """A socket's way to its server.

    Args:
        owner: The socket.
        content: The content it was made in.
        host: Where to; ``None`` or empty text is the host that the content came from. It is cut at a NUL.
        port: Where to. Nothing answers at 0, so that attempt fails.
        options: How it behaves.

    Raises:
        SecurityError: The sandbox forbids it whatever the server says (number 2010 or 2146), or there is no such port
            (2003).
        RuntimeError: No event loop is running.
    """

    def __init__(self, owner: LinkOwner, content: Content, host: str | None, port: int, options: LinkOptions) -> None:
        self.content = content
        self.host = choose_host(None if host is None else toString(host), content.requester)
        self.port = port
        self._owner = owner
        self._options = options
        self._connection: Connection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._check()
        self._player = Player.current()
        self._deadline = asyncio.timeout(options.timeout)

    def _check(self) -> None:
        """Refuse what no policy file could permit."""
        # Port 0 is none that a policy could be asked about; it is the network that says no to it.
        step = PolicySearch(self.content.requester, self.host, self.port or 1).next_step(0.0)
        if isinstance(step, Decision) and step.is_thrown:
            values = (self.content.url, "XMLSocket.connect()", self.content.requester.allow_networking.value)
            raise numbered(step.error or 0, *values)

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as the owner was told."""
        return self._connection is not None

    def start(self) -> None:
        """Begin to connect."""
        self._player.add(self)
        self._task = asyncio.get_running_loop().create_task(self._run())
        # Not at the end of the task, for one that is cancelled before its first step has no end.
        self._task.add_done_callback(self._tried)

    def send(self, text: str) -> bool:
        """Send text, which is several messages if there is a NUL in it; whether the connection is open for that."""
        if self._connection is None:
            return False
        try:
            if "\0" in text:
                self._connection.send_many(text.split("\0"))
            else:
                self._connection.send_nowait(text)
        except ConnectionClosedError:
            return False
        return True

    def close(self) -> None:
        """Send what is queued and close, or stop connecting. The owner hears nothing more of it."""
        if self._connection is not None:
            self._connection.close_nowait()
        elif self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        """End at once; what is queued is lost."""
        if self._connection is not None:
            self._connection.abort()
        elif self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            async with self._deadline:
                failure = await self._connect()
        except TimeoutError:
            logger.info("no connection to %s:%d within %s s", self.host, self.port, self._options.timeout)
            # Players since 10 say so for content that policy files are for; trusted content has always had an ioError.
            failure = Failure.NETWORK if self.content.isTrusted else Failure.POLICY
        if failure is not None and self._leave_owner():
            self._owner._on_failed(self, failure)

    def _tried(self, task: asyncio.Task[None]) -> None:
        if self._connection is None:
            self._player.discard(self)

    async def _connect(self) -> Failure | None:
        address = self.host
        if self.port == 0:
            return Failure.NETWORK
        if not self.content.isTrusted:
            content = self.content
            locations = content.policyLocations
            decision = await content.policyClient.decide(content.requester, self.host, self.port, locations)
            if not decision.allowed:
                logger.info("%s", make_printable(decision.explanation.replace("\n", " ")))
                return Failure.POLICY
            address = decision.address
        options = self._options
        try:
            check_host(address)
        except ConfigurationError as error:
            logger.info("%s", make_printable(str(error)))
            return Failure.NETWORK
        try:
            await connect(
                address,
                self.port,
                handler=self,
                encoding=options.encoding,
                errors="flash" if options.encoding else "strict",
                open_timeout=None,
                max_message_size=options.max_message_size,
                max_send_backlog=options.max_send_backlog,
            )
        except OpenError as error:
            logger.info("%s", error)
            return Failure.NETWORK
        return None

    def _leave_owner(self) -> bool:
        """Stop being the owner's link; whether this was it."""
        if self._owner._link is not self:
            return False
        self._owner._link = None
        return True

    # What the connection calls

    def connected(self, connection: Connection[Any]) -> None:
        """See :class:`xmlsocket.Handler`."""
        if self._deadline.expired() or self._owner._link is not self:
            connection.abort()  # it came to be in the very moment in which nobody wanted it any more
            return
        self._connection = connection
        self._deadline.reschedule(None)
        self._owner._on_connected()

    def received(self, connection: Connection[Any], messages: list[Any]) -> None:
        """See :class:`xmlsocket.Handler`."""
        if self._owner._link is self:
            self._owner._on_received(self, messages)

    def ended(self, connection: Connection[Any]) -> None:
        """See :class:`xmlsocket.Handler`."""
        connection.close_nowait()
        if self._leave_owner():
            self._owner._on_ended(self, is_lost=False)

    def closed(self, connection: Connection[Any], reason: CloseReason) -> None:
        """See :class:`xmlsocket.Handler`."""
        if self._leave_owner():
            if reason not in _ORDERLY:
                logger.info("the connection to %s:%d ended: %s", self.host, self.port, reason.value)
            self._owner._on_ended(self, is_lost=reason not in _ORDERLY)
        self._player.discard(self)
