"""The chat: people with names, rooms, and messages that are kept.

Every request is one XML element and has one answer, which the requests after it wait for: what a client gets is in the
order of what it asked. A refused request is answered by ``<error code line column>`` with a sentence in it; the place
is that of the fault, or of the request's tag. The connection stays, and the requests after it have their turn. The
attribute ``ref`` comes back on the answer or the error, to nobody but the one who asked; with ``<history>`` it is on
the ``<end>``. Attributes that are not known are ignored.

========================================  ==================================================================
``<login name>``                          ``<welcome name id server>``. Once a connection. The name is free again
                                          when the connection is over. ``names.py`` has the rules.
``<join room>``                           ``<joined room>`` with a ``<member name>`` for everybody there, oldest
                                          first, the one who joins included. Joining again gives the list again.
``<leave room>``                          ``<left room name>``. A connection that ends leaves all its rooms.
``<say room>text</say>``                  ``<said room id from at>``, to all members. Any text, also none.
``<tell to>text</tell>``                  ``<told from to at>`` to both; one message if they are the same.
``<members room>``                        ``<members room>`` with a list as ``<joined>`` has it.
``<rooms>``                               ``<rooms>`` with a ``<room name members>`` for each, oldest first.
``<history room after limit>``            The ``<said>`` messages as they were, then ``<end room>``. A ``limit`` above
                                          ``max_history`` is taken for that.
``<ping>``                                ``<pong>``
========================================  ==================================================================

``login`` comes before ``join``, ``leave``, ``say`` and ``tell``; who only looks needs no name. Names of people are the
same whatever their case; names of rooms are not. A room exists while somebody is in it, and can be asked for as long as
messages of it are held. A list too long for one message is cut, and its attribute ``more`` counts who was left out.

Codes: ``ill-formed``, ``forbidden-markup``, ``unexpected-element``, ``too-many-attributes``, ``unknown-request``,
``missing-attribute``, ``bad-attribute``, ``bad-name``, ``bad-room``, ``name-taken``, ``already-logged-in``,
``login-required``, ``unknown-room``, ``not-a-member``, ``unknown-name``, ``too-long``, ``limit-reached``,
``unavailable``.

A client that does not read its answers is not read from until it does. One that does not read what others say is
dropped at ``max_send_backlog``, as everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from ..errors import BrokerUnavailableError, CloseReason, OversizedMessageError, RoomLimitError
from ..limits import ChatLimits, RoomLimits
from ..net import Connection
from ..rooms import Broker, Done, KeptMessage, OwnCopy, Room, Rooms
from . import markup
from .names import clean, fold
from .requests import Request, RequestError, RequestParser, shorten
from .turns import Session, Turns, result_of

_T = TypeVar("_T")


class Chat(Turns):
    """The chat, as a handler of connections that hand on ``bytes`` (``encoding=None``).

    Args:
        broker: Joins nodes and keeps messages; by default one in memory, for this process alone.
        limits: Bounds requests.
        room_limits: Bounds rooms and history.
        server: What ``<welcome>`` calls this server.
        clock: Seconds since 1970, for private messages; for tests.
    """

    def __init__(
        self,
        broker: Broker | None = None,
        *,
        limits: ChatLimits | None = None,
        room_limits: RoomLimits | None = None,
        server: str = "xmlsocket",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits or ChatLimits()
        self.rooms = Rooms(broker, render=markup.said, limits=room_limits)
        super().__init__(self.rooms.limits.publish_high_water)
        self._server = server
        self._clock = clock
        self._parser = RequestParser(_ANSWERS.keys(), self.limits)
        self._people: dict[str, Session] = {}

    @property
    def people(self) -> list[str]:
        """Who is logged in here, in the order of login."""
        return [session.name for session in self._people.values() if session.name is not None]

    async def start(self) -> None:
        await self.rooms.start()

    async def close(self) -> None:
        await self.rooms.close()

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        session = self.sessions[connection.id]
        super().closed(connection, reason)
        rooms = self.rooms.rooms_of(connection)
        self.rooms.forget(connection)
        if session.name is not None:
            for room in rooms:
                self.rooms.broker.publish(room, _left(room, session.name))
            del self._people[session.key]
            self.rooms.broker.release(session.key)

    def handle(self, session: Session, message: bytes) -> bool:
        try:
            request = self._parser.parse(message)
        except RequestError as error:
            if session.unsettled:
                return False
            _refuse(session, error)
            return True
        # What one client says may be kept together; all other answers wait until what it said before is there.
        if session.unsettled and (request.kind != "say" or session.unsettled >= self.limits.max_pending):
            return False
        self._attempt(session, request, partial(_ANSWERS[request.kind], self, session, request))
        return True

    def _attempt(self, session: Session, request: Request, step: Callable[[], None]) -> None:
        try:
            step()
        except RequestError as error:
            _refuse(session, error)
        except RoomLimitError as error:
            _refuse(session, request.error("limit-reached", f"No more than that: {error}."))
        except BrokerUnavailableError as error:
            detail = f" ({error})" if str(error) else ""
            _refuse(session, request.error("unavailable", f"This cannot be done now{detail}; try again later."))
        except OversizedMessageError as error:
            _refuse(session, request.error("too-long", f"What is to be sent is too long: {error}."))

    def _await(self, session: Session, request: Request, result: Awaitable[_T], then: Callable[[_T], None]) -> None:
        """Go on with a result: now if it is there, else when it is, with the requests after this one waiting."""
        if isinstance(result, Done):
            then(result.value)
            return
        session.is_busy = True

        def finish(done: asyncio.Future[_T]) -> None:
            session.is_busy = False
            self._attempt(session, request, lambda: then(result_of(done)))

        self.when_done(session, result, finish)

    # The requests

    def _login(self, session: Session, request: Request) -> None:
        if session.name is not None:
            raise request.error("already-logged-in", f"You are logged in as {session.name}.")
        try:
            name = clean(request.required("name"), self.limits.max_name_length)
        except ValueError as error:
            raise request.error("bad-name", f"The name {error}.") from None
        key = fold(name)
        if key in self._people:
            raise _taken(request, name)
        self._await(session, request, self.rooms.broker.claim(key), partial(self._enter, session, request, name, key))

    def _enter(self, session: Session, request: Request, name: str, key: str, is_free: bool) -> None:
        if session.is_gone and is_free:
            self.rooms.broker.release(key)
        elif not is_free:
            raise _taken(request, name)
        else:
            session.name, session.key = name, key
            session.entry = markup.element("member", [("name", name)])
            self._people[key] = session
            identity = [("name", name), ("id", str(session.connection.id)), ("server", self._server)]
            session.send(markup.element("welcome", [*identity, ("ref", request.ref)]))

    def _join(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        room_name = self._room_name(request)
        room = self.rooms.get(room_name)
        if room is None or session.connection not in room:
            self.rooms.check_join(room_name, session.connection)
            entered = markup.element("entered", [("room", room_name), ("name", name)])
            self.rooms.broker.publish(room_name, entered)  # before joining: who joins does not hear of it
            room = self.rooms.join(room_name, session.connection).room
        self._send_members(session, request, "joined", room)

    def _leave(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        room = self._own_room(session, request)
        self.rooms.leave(room.name, session.connection)
        room.publish_nowait(_left(room.name, name))
        session.send(_left(room.name, name, request.ref))

    def _say(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        room = self._own_room(session, request)
        own_copy = None
        if request.ref is not None:
            own_copy = OwnCopy(session.connection, partial(markup.said, ref=request.ref))
        kept = room.keep(request.text, name, own_copy)
        if isinstance(kept, Done):
            return
        session.unsettled += 1

        def finish(done: asyncio.Future[KeptMessage]) -> None:
            session.unsettled -= 1
            self._attempt(session, request, lambda: _ignore(result_of(done)))

        self.when_done(session, kept, finish)

    def _tell(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        to = request.required("to")
        try:
            other = self._people.get(fold(clean(to, self.limits.max_name_length)))
        except ValueError:
            other = None
        if other is None or other.name is None or not other.connection.is_open:
            raise request.error("unknown-name", f"Nobody is logged in as {shorten(to)}.")
        at = self._clock()
        if other is not session:
            other.send(markup.told(name, other.name, at, request.text))
        session.send(markup.told(name, other.name, at, request.text, request.ref))

    def _members(self, session: Session, request: Request) -> None:
        name = self._room_name(request)
        room = self.rooms.get(name)
        if room is None:
            raise _unknown_room(request, name)
        self._send_members(session, request, "members", room)

    def _rooms(self, session: Session, request: Request) -> None:
        rooms = [room for name in self.rooms.names if (room := self.rooms.get(name)) is not None]
        entries = [markup.element("room", [("name", room.name), ("members", str(len(room)))]) for room in rooms]
        self._send_list(session, "rooms", [("ref", request.ref)], entries)

    def _history(self, session: Session, request: Request) -> None:
        name = self._room_name(request)
        after, limit = request.number("after"), request.number("limit")
        limit = min(self.limits.default_history if limit is None else limit, self.limits.max_history)
        find = self.rooms.broker.history

        def found(messages: list[KeptMessage]) -> None:
            if messages or name in self.rooms:
                self._replay(session, request, name, messages)
            else:  # nothing new in a room that is empty now, or nothing ever?
                self._await(session, request, find(name, None, 1), found_any)

        def found_any(messages: list[KeptMessage]) -> None:
            if not messages:
                raise _unknown_room(request, name)
            self._replay(session, request, name, [])

        self._await(session, request, find(name, after, limit), found)

    def _replay(self, session: Session, request: Request, room: str, messages: list[KeptMessage]) -> None:
        end = markup.element("end", [("room", room), ("ref", request.ref)])
        session.replay = iter([*(markup.said(room, message) for message in messages), end])
        session.go_on()

    def _ping(self, session: Session, request: Request) -> None:
        session.send(markup.element("pong", [("ref", request.ref)]))

    # What several of them need

    def _room_name(self, request: Request) -> str:
        name = request.required("room")
        if name in self.rooms:
            return name
        try:
            return clean(name, self.limits.max_room_length)
        except ValueError as error:
            raise request.error("bad-room", f"The name of the room {error}.") from None

    def _own_room(self, session: Session, request: Request) -> Room:
        name = self._room_name(request)
        room = self.rooms.get(name)
        if room is None:
            raise _unknown_room(request, name)
        if session.connection not in room:
            raise request.error("not-a-member", f"You are not in the room {name}; join it first.")
        return room

    def _send_members(self, session: Session, request: Request, tag: str, room: Room) -> None:
        entries = [self.sessions[member.id].entry for member in room.members]
        self._send_list(session, tag, [("room", room.name), ("ref", request.ref)], entries)

    def _send_list(
        self, session: Session, tag: str, attributes: list[tuple[str, str | None]], entries: list[str]
    ) -> None:
        try:
            session.send(markup.listing(tag, attributes, entries))
        except OversizedMessageError as error:
            session.send(markup.listing(tag, attributes, entries, error.limit))


_ANSWERS: Final[dict[str, Callable[[Chat, Session, Request], None]]] = {
    "login": Chat._login,
    "join": Chat._join,
    "leave": Chat._leave,
    "say": Chat._say,
    "tell": Chat._tell,
    "members": Chat._members,
    "rooms": Chat._rooms,
    "history": Chat._history,
    "ping": Chat._ping,
}


def _require_login(session: Session, request: Request) -> str:
    if session.name is None:
        raise request.error("login-required", f"Log in before you {request.kind}.")
    return session.name


def _left(room: str, name: str, ref: str | None = None) -> str:
    return markup.element("left", [("room", room), ("name", name), ("ref", ref)])


def _taken(request: Request, name: str) -> RequestError:
    return request.error("name-taken", f"Somebody is logged in as {name}, or by a name that looks the same.")


def _unknown_room(request: Request, name: str) -> RequestError:
    return request.error("unknown-room", f"There is no room {name}.")


def _refuse(session: Session, error: RequestError) -> None:
    session.refuse(error.code, error.sentence, error.line, error.column, error.ref)


def _ignore(result: object) -> None:
    """Do nothing with a result that only had to be looked at for an error."""
