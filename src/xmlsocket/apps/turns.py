"""One request after the other: each connection gets its answers in the order of what it asked.

Most requests are answered at once. Where one must wait, for a broker or because the client does not read, those after
it wait too, and the connection is not read from meanwhile; so a client can never make the server hold more than one
read of requests and one answer. ``pace.py`` says why requests may also have to wait for the next turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from ..errors import BrokerUnavailableError, CloseReason, OversizedMessageError, RoomLimitError
from ..net import Connection
from ..rooms import Done
from . import markup
from .app import AppHandler
from .pace import Pace
from .requests import Request, RequestError

_T = TypeVar("_T")

logger = logging.getLogger("xmlsocket.chat")


class Session:
    """What the chat knows of a connection.

    Attributes:
        connection: To the client.
        name: Who is logged in, or ``None``.
        key: What no other name may have in common with it.
        waiting: Requests that have not had their turn, oldest first.
        is_busy: A request waits for the broker; the next has its turn when that one is answered.
        unsettled: How many of its messages are on their way into the history.
        is_held: The next request has been looked at, and waits until all of those are there.
        replay: What is still to be sent of an answer that has many messages.
        is_ending: The client sends no more; when all is answered, the connection is closed.
        is_gone: The connection is over.
    """

    __slots__ = (
        "connection",
        "is_busy",
        "is_ending",
        "is_gone",
        "is_held",
        "key",
        "name",
        "replay",
        "unsettled",
        "waiting",
    )

    def __init__(self, connection: Connection[bytes]) -> None:
        self.connection = connection
        self.name: str | None = None
        self.key = ""
        self.waiting: list[bytes] = []
        self.is_busy = False
        self.unsettled = 0
        self.is_held = False
        self.replay: Iterator[str] | None = None
        self.is_ending = False
        self.is_gone = False

    @property
    def is_stalled(self) -> bool:
        """Whether the next request must wait: for the answer to the one before, or for the client to read."""
        return (
            self.is_busy
            or (self.is_held and self.unsettled > 0)
            or self.replay is not None
            or self.connection.is_send_paused
        )

    @property
    def is_settled(self) -> bool:
        """Whether every request that was taken has been answered."""
        return not (self.waiting or self.is_busy or self.unsettled or self.replay is not None)

    def send(self, text: str) -> None:
        """Send an answer; not to one who has gone meanwhile.

        Raises:
            OversizedMessageError: It is longer than the connection takes.
        """
        if self.connection.is_open:
            self.connection.send_nowait(text)

    def refuse(self, code: str, sentence: str, line: int, column: int, ref: str | None = None) -> None:
        """Send an error."""
        try:
            self.send(markup.error(code, sentence, line, column, ref))
        except OversizedMessageError:  # where messages must be that short, the code says enough
            self.send(markup.error(code, "", line, column, ref))

    def go_on(self) -> bool:
        """Send what is left of the replay, as far as the client reads it. False if there is more."""
        if self.replay is not None:
            for text in self.replay:
                try:
                    self.send(text)
                except OversizedMessageError as error:
                    self.refuse("too-long", f"A message is left out here: {error}.", 1, 1)
                if self.connection.is_send_paused:
                    return False
            self.replay = None
        return True


class Turns(AppHandler):
    """A handler whose connections have sessions, and take turns with their requests.

    Args:
        publish_high_water: Bytes of requests in one turn of the event loop.
    """

    def __init__(self, publish_high_water: int) -> None:
        self.sessions: dict[int, Session] = {}
        self._pace = Pace(publish_high_water, self._next_turn)
        self._paced: list[Session] = []
        self._pending: set[asyncio.Future[object]] = set()
        self._is_draining = False

    def handle(self, session: Session, message: bytes) -> bool:
        """Answer a request, or begin to. False if its turn has not come: it will be handed over again."""
        raise TypeError(f"{type(self).__name__} does not say what to do with a request")

    async def drain(self) -> None:
        self._is_draining = True
        for session in self.sessions.values():
            session.connection.pause_reading()
        while self._pending or self._paced:
            if self._pending:
                await asyncio.wait(self._pending)
            await asyncio.sleep(0)  # their callbacks run first; they may begin what comes next

    def connected(self, connection: Connection[bytes]) -> None:
        self.sessions[connection.id] = Session(connection)
        if self._is_draining:
            connection.pause_reading()

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        session = self.sessions[connection.id]
        if session.waiting:
            session.waiting.extend(messages)
        else:
            session.waiting = messages
        self._take(session)

    def writable(self, connection: Connection[bytes]) -> None:
        self.go_on(self.sessions[connection.id])

    def ended(self, connection: Connection[bytes]) -> None:
        session = self.sessions[connection.id]
        session.is_ending = True
        if session.is_settled:
            connection.close_nowait()

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        session = self.sessions.pop(connection.id)
        session.is_gone = True
        session.waiting = []
        session.replay = None

    def _take(self, session: Session) -> None:
        """Let the waiting requests have their turn, as far as that goes now."""
        connection = session.connection
        waiting = session.waiting
        taken = 0
        for message in waiting:
            if self._pace.is_exhausted:
                self._paced.append(session)
                break
            if session.is_stalled or not connection.is_open or not self.handle(session, message):
                break
            self._pace.spend(len(message) + 1)
            taken += 1
        del waiting[:taken]
        if waiting:
            connection.pause_reading()
        elif session.is_ending and session.is_settled:
            connection.close_nowait()
        elif not self._is_draining:
            connection.resume_reading()

    def go_on(self, session: Session) -> None:
        """Continue after something that the session waited for."""
        if not session.is_gone and session.go_on():
            self._take(session)

    def _next_turn(self) -> None:
        paced, self._paced = self._paced, []
        for session in paced:
            self.go_on(session)

    def when_done(self, session: Session, result: Awaitable[_T], finish: Callable[[asyncio.Future[_T]], None]) -> None:
        """Call ``finish`` when a result of the broker is there, and let the session go on."""
        future = asyncio.ensure_future(result)
        pending: asyncio.Future[object] = future  # type: ignore[assignment]  # only waited for, never given a result
        self._pending.add(pending)

        def finished(done: asyncio.Future[_T]) -> None:
            self._pending.discard(pending)
            try:
                finish(done)
                self.go_on(session)
            except Exception:  # as in a callback of the handler: whatever fails ends its own connection only
                logger.exception("the chat failed with %r", session.connection)
                session.connection.close_nowait()

        future.add_done_callback(finished)

    def attempt(self, session: Session, request: Request, step: Callable[[], None]) -> None:
        """Carry out a step of a request; what it may fail with is the answer then."""
        try:
            step()
        except RequestError as error:
            refuse(session, error)
        except RoomLimitError as error:
            refuse(session, request.error("limit-reached", f"No more than that: {error}."))
        except BrokerUnavailableError as error:
            detail = f" ({error})" if str(error) else ""
            refuse(session, request.error("unavailable", f"This cannot be done now{detail}; try again later."))
        except OversizedMessageError as error:
            refuse(session, request.error("too-long", f"What is to be sent is too long: {error}."))

    def await_result(
        self,
        session: Session,
        request: Request,
        result: Awaitable[_T],
        then: Callable[[_T], None],
        lastly: Callable[[], None] | None = None,
    ) -> None:
        """Go on with a result: now if it is there, else when it is, with the requests after this one waiting.

        ``lastly`` is called after that, whatever happened.
        """
        if isinstance(result, Done):
            try:
                then(result.value)
            finally:
                if lastly is not None:
                    lastly()
            return
        session.is_busy = True

        def finish(done: asyncio.Future[_T]) -> None:
            session.is_busy = False
            try:
                self.attempt(session, request, lambda: then(result_of(done)))
            finally:
                if lastly is not None:
                    lastly()

        self.when_done(session, result, finish)


def refuse(session: Session, error: RequestError) -> None:
    """Answer a request with why it is refused."""
    session.refuse(error.code, error.sentence, error.line, error.column, error.ref)


def result_of(done: asyncio.Future[_T]) -> _T:
    """Take the result of what is done.

    Raises:
        BrokerUnavailableError: There is none; or whatever else the broker raised.
    """
    if done.cancelled():
        raise BrokerUnavailableError("it was given up")
    return done.result()
