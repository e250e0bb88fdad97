"""The chat: people with names, rooms, and messages that are kept.

Every request is one XML element and has one answer, which the requests after it wait for: what a client gets is in the
order of what it asked. A refused request is answered by ``<error code line column>`` with a sentence in it; the place
is that of the fault, or of the request's tag. The connection stays, and the requests after it have their turn. The
attribute ``ref`` comes back on the answer or the error, to nobody but the one who asked; with ``<history>`` it is on
the ``<end>``. Attributes that are not known are ignored.

========================================  ==================================================================
``<login name>``                          ``<welcome name id server>``. Once a connection. The name is free again
                                          when the connection is over. ``names.py`` has the rules.
``<join room>``                           ``<joined room>`` with a ``<member name>`` for everybody there, on all
                                          nodes, this one's first and its oldest first, the one who joins
                                          included. Joining again gives the list again.
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

What comes unasked: ``<entered room name>`` and ``<left room name>`` when others come and go, on this node or another;
``<said>`` and ``<told>``; and ``<notice room code>`` with a sentence when this node loses the others (``cut-off``),
finds them again (``reconnected``), or has missed something of theirs (``gap``, with ``missed``). Clients ignore what
they do not know. A name belongs to one connection on all nodes. If another node takes it, which can happen to one
that was out of reach, ``<error code="name-taken">`` comes and the connection ends.

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
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Final, TypeVar

from ..errors import CloseReason, OversizedMessageError
from ..limits import ChatLimits, RoomLimits
from ..net import Connection
from ..rooms import Broker, Done, KeptMessage, OwnCopy, Room, Rooms
from . import markup, private
from .chat_renderer import ChatRenderer, cut_off, left
from .names import clean, fold
from .requests import Request, RequestError, RequestParser, shorten
from .turns import Session, Turns, refuse, result_of

_T = TypeVar("_T")


class Chat(Turns):
    """The chat, as a handler of connections that hand on ``bytes`` (``encoding=None``).

    Args:
        broker: Joins nodes and keeps messages, or its address; by default one in memory, for this process alone.
        limits: Bounds requests.
        room_limits: Bounds rooms and history.
        server: What ``<welcome>`` calls this server.
        clock: Seconds since 1970, for private messages; for tests.
    """

    def __init__(
        self,
        broker: Broker | str | None = None,
        *,
        limits: ChatLimits | None = None,
        room_limits: RoomLimits | None = None,
        server: str = "xmlsocket",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits or ChatLimits()
        self.rooms = Rooms(broker, render=ChatRenderer(), limits=room_limits, holders=self)
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
        self.rooms.forget(connection)
        if session.name is not None:
            del self._people[session.key]
            self.rooms.broker.release(session.key)

    def handle(self, session: Session, message: bytes) -> bool:
        if session.unsettled >= self.limits.max_pending and session.unsettled:
            return False
        request: Request | RequestError
        try:
            request = self._parser.parse(message)
        except RequestError as error:
            request = error
        # What one client says may be kept together; all other answers wait until what it said before is there.
        session.is_held = session.unsettled > 0 and (isinstance(request, RequestError) or request.kind != "say")
        if session.is_held:
            return False
        if isinstance(request, RequestError):
            refuse(session, request)
        else:
            self.attempt(session, request, partial(_ANSWERS[request.kind], self, session, request))
        return True

    # What other nodes bring

    def receive_private(self, name: str, message: str) -> str | None:
        """See :class:`~xmlsocket.rooms.NameHolders`."""
        session = self._people.get(name)
        if session is None or session.name is None or not session.connection.is_open:
            return None
        sender, at, text = private.read(message)
        try:
            session.send(markup.told(sender, session.name, at, text))
        except OversizedMessageError as error:
            return private.write_answer(session.name, str(error))
        return private.write_answer(session.name)

    def lose_name(self, name: str) -> None:
        """See :class:`~xmlsocket.rooms.NameHolders`."""
        session = self._people.get(name)
        if session is None:
            return
        sentence = (
            f"This server was out of reach for too long, and somebody has logged in as {session.name} on another one. "
            "You can log in again by another name."
        )
        self.rooms.leave_all(session.connection)
        session.refuse("name-taken", sentence, 1, 1)
        session.connection.close_nowait()

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
        self.await_result(
            session, request, self.rooms.broker.claim(key), partial(self._enter, session, request, name, key)
        )

    def _enter(self, session: Session, request: Request, name: str, key: str, is_free: bool) -> None:
        if session.is_gone and is_free:
            self.rooms.broker.release(key)
        elif not is_free:
            raise _taken(request, name)
        else:
            session.name, session.key = name, key
            self._people[key] = session
            identity = [("name", name), ("id", str(session.connection.id)), ("server", self._server)]
            session.send(markup.element("welcome", [*identity, ("ref", request.ref)]))

    def _join(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        room_name = self._room_name(request)
        room = self.rooms.get(room_name)
        if room is not None and session.connection in room:
            self._send_members(session, request, "joined", room_name)
            return
        self.rooms.check_join(room_name, session.connection)
        hold = self.rooms.hold(room_name)  # who is there already is known first, so that <joined> is what comes first
        there = self.rooms.broker.present(room_name)
        enter = partial(self._enter_room, session, request, room_name, name)
        self.await_result(session, request, there, enter, hold.release)

    def _enter_room(self, session: Session, request: Request, room: str, name: str, there: list[str]) -> None:
        if session.connection.is_open:
            self.rooms.join(room, session.connection, name)
            self._send_members(session, request, "joined", room)

    def _leave(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        room = self._own_room(session, request)
        self.rooms.leave(room.name, session.connection)
        session.send(left(room.name, name, request.ref))

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
            self.attempt(session, request, lambda: _ignore(result_of(done)))

        self.when_done(session, kept, finish)

    def _tell(self, session: Session, request: Request) -> None:
        name = _require_login(session, request)
        to = request.required("to")
        try:
            key = fold(clean(to, self.limits.max_name_length))
        except ValueError:
            raise _unknown_name(request, to) from None
        at = self._clock()
        other = self._people.get(key)
        if other is None:
            answer = self.rooms.broker.tell(key, private.write(name, at, request.text))
            self.await_result(session, request, answer, partial(self._confirm, session, request, name, to, at))
            return
        if other.name is None or not other.connection.is_open:
            raise _unknown_name(request, to)
        if other is not session:
            other.send(markup.told(name, other.name, at, request.text))
        session.send(markup.told(name, other.name, at, request.text, request.ref))

    def _confirm(self, session: Session, request: Request, name: str, to: str, at: float, answer: str | None) -> None:
        if answer is None:
            raise _unknown_name(request, to)
        holder, problem = private.read_answer(answer)
        if problem:
            raise request.error("too-long", f"What is to be sent is too long: {problem}.")
        session.send(markup.told(name, holder, at, request.text, request.ref))

    def _members(self, session: Session, request: Request) -> None:
        name = self._room_name(request)
        self._send_members(session, request, "members", name)

    def _rooms(self, session: Session, request: Request) -> None:
        def found(rooms: dict[str, int]) -> None:
            entries = [markup.room(name, count) for name, count in rooms.items()]
            self._send_list(session, "rooms", [("ref", request.ref)], entries)

        self.await_result(session, request, self.rooms.broker.rooms(), found)

    def _history(self, session: Session, request: Request) -> None:
        name = self._room_name(request)
        after, limit = request.number("after"), request.number("limit")
        limit = min(self.limits.default_history if limit is None else limit, self.limits.max_history)
        find = self.rooms.broker.history

        def found(messages: list[KeptMessage]) -> None:
            if messages or name in self.rooms:
                self._replay(session, request, name, messages)
            else:  # nothing new in a room that is empty now, or nothing ever?
                self.await_result(session, request, find(name, None, 1), found_any)

        def found_any(messages: list[KeptMessage]) -> None:
            if messages:
                self._replay(session, request, name, [])
            else:
                self.await_result(session, request, self.rooms.broker.present(name), found_people)

        def found_people(names: list[str]) -> None:
            if not names:
                raise _unknown_room(request, name)
            self._replay(session, request, name, [])

        self.await_result(session, request, find(name, after, limit), found)

    def _replay(self, session: Session, request: Request, room: str, messages: list[KeptMessage]) -> None:
        end = markup.element("end", [("room", room), ("ref", request.ref)])
        session.replay = chain((markup.said(room, message) for message in messages), (end,))
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

    def _send_members(self, session: Session, request: Request, tag: str, room: str) -> None:
        def found(names: list[str]) -> None:
            if not names and tag == "members":
                raise _unknown_room(request, room)
            self._send_list(
                session, tag, [("room", room), ("ref", request.ref)], [markup.member(name) for name in names]
            )
            if tag == "joined" and not self.rooms.is_connected:
                session.send(cut_off(room))

        self.await_result(session, request, self.rooms.broker.present(room), found)

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


def _taken(request: Request, name: str) -> RequestError:
    return request.error("name-taken", f"Somebody is logged in as {name}, or by a name that looks the same.")


def _unknown_name(request: Request, name: str) -> RequestError:
    return request.error("unknown-name", f"Nobody is logged in as {shorten(name)}.")


def _unknown_room(request: Request, name: str) -> RequestError:
    return request.error("unknown-room", f"There is no room {name}.")


def _ignore(result: object) -> None:
    """Do nothing with a result that only had to be looked at for an error."""
