"""Questions between nodes about who is in which room, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from .connecting import Msg
from .envelope import (
    DONE,
    HEAD_SIZE,
    LIST,
    LIST_QUESTION,
    QUESTION,
    STANDINGS,
    Note,
    Standing,
    read_note,
    read_standings,
    write_note,
    write_standings,
)
from .nodes import Nodes
from .session import Session

_MOST_ROOMS = 500  # in one question
_LONGEST_NOTE = 262_144
_GREETING_TIME = 0.3  # seconds from connecting until the others have said that they are there
_FORGET_AFTER = 30.0


class Inquiry:
    """A question, and what is known of its answers.

    Attributes:
        number: Its number.
        rooms: The rooms that it is about; ``None`` for all.
        waiting: The nodes that have not answered.
        answered: For every node the rooms that it has spoken of, and how many notes it took.
        complete: The nodes whose answers came whole: rooms that they did not speak of are none of theirs.
        names: Names by room, for rooms that nobody listens to here.
        sizes: How many names there are by room, for a list.
        over: Done when all have answered or the time is over; never fails.
    """

    __slots__ = ("answered", "asked", "complete", "names", "number", "over", "rooms", "sizes", "waiting")

    def __init__(self, number: int, rooms: list[str] | None, waiting: Iterable[str]) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.rooms = rooms
        self.waiting = set(waiting)
        self.answered: dict[str, tuple[set[str], int]] = {}
        self.complete: set[str] = set()
        self.names: dict[str, dict[str, None]] = {}
        self.sizes: dict[str, int] = {}
        self.over: asyncio.Future[None] = loop.create_future()
        self.asked = loop.time()

    def finish(self) -> None:
        """Wait no longer."""
        if not self.over.done():
            self.over.set_result(None)


class Inquiries:
    """Asks the other nodes, answers theirs, and knows when a question has been answered by all.

    Args:
        session: The way to the others.
        nodes: Who is alive.
        stand: Where this node stands in these rooms, with names; for ``None`` in all, without.
        learn: Called with a node, what it says of one room, whether that is from a list, and to which question.
        complete: Called when a node has answered a question completely: rooms that it has not spoken of are none of
            its own.
    """

    def __init__(
        self,
        session: Session,
        nodes: Nodes,
        *,
        stand: Callable[[Sequence[str] | None], Iterable[Standing]],
        learn: Callable[[str, Standing, bool, Inquiry | None], None],
        complete: Callable[[str, Inquiry], None],
    ) -> None:
        self._session = session
        self._nodes = nodes
        self._stand = stand
        self._learn = learn
        self._complete = complete
        self._open: dict[int, Inquiry] = {}
        self._number = 0
        self._gathering: Inquiry | None = None
        session.listen(session.subjects.ask, self._hear)
        session.listen(session.subjects.node(session.node), self._hear)

    def ask_soon(self, room: str) -> Inquiry:
        """Ask all nodes about a room, together with the other rooms of this turn of the loop."""
        inquiry = self._gathering
        if inquiry is None or inquiry.rooms is None or len(inquiry.rooms) >= _MOST_ROOMS:
            inquiry = self._gathering = self._begin([], self._nodes.alive)
            asyncio.get_running_loop().call_soon(self._ask_gathered, inquiry)
        assert inquiry.rooms is not None
        inquiry.rooms.append(room)
        return inquiry

    def _ask_gathered(self, inquiry: Inquiry) -> None:
        if self._gathering is inquiry:
            self._gathering = None
        self._send(inquiry, self._session.subjects.ask)

    def ask(self, node: str, rooms: Iterable[str]) -> list[str]:
        """Ask one node about rooms. Returns those that are too many for one question."""
        rooms = list(rooms)
        self._send(self._begin(rooms[:_MOST_ROOMS], [node]), self._session.subjects.node(node))
        return rooms[_MOST_ROOMS:]

    def survey(self, node: str | None = None) -> Inquiry:
        """Ask one node, or all, for all rooms in which it stands."""
        subjects = self._session.subjects
        inquiry = self._begin(None, self._nodes.alive if node is None else [node])
        self._send(inquiry, subjects.ask if node is None else subjects.node(node))
        return inquiry

    def _begin(self, rooms: list[str] | None, waiting: Iterable[str]) -> Inquiry:
        self._number += 1
        inquiry = self._open[self._number] = Inquiry(self._number, rooms, waiting)
        return inquiry

    def _send(self, inquiry: Inquiry, subject: str) -> None:
        kind = LIST_QUESTION if inquiry.rooms is None else QUESTION
        note = write_note(Note(kind, self._session.node, inquiry.number, inquiry.rooms or []))
        limit = self._session.max_payload - HEAD_SIZE
        if len(note) > limit and inquiry.rooms is not None and len(inquiry.rooms) > 1:
            # Extraordinarily long names: what does not fit is asked apart, and whoever waits waits for the first part.
            rest = self._begin(inquiry.rooms[len(inquiry.rooms) // 2 :], inquiry.waiting)
            del inquiry.rooms[len(inquiry.rooms) // 2 :]
            self._send(inquiry, subject)
            self._send(rest, subject)
            return
        loop = asyncio.get_running_loop()
        if not self._session.publish(subject, note):
            self._end(inquiry)
            return
        loop.call_later(self._session.limits.presence_timeout, inquiry.finish)
        self._check(inquiry)

    def _check(self, inquiry: Inquiry) -> None:
        if inquiry.waiting or inquiry.over.done():
            return
        loop = asyncio.get_running_loop()
        since = self._session.connected_since
        early = 0.0 if since is None else since + _GREETING_TIME - loop.time()
        if early > 0:
            loop.call_later(early, self._end, inquiry)
        else:
            self._end(inquiry)

    def _end(self, inquiry: Inquiry) -> None:
        self._open.pop(inquiry.number, None)
        inquiry.finish()

    def forget(self, node: str) -> None:
        """A node is dead: nobody waits for it."""
        for inquiry in list(self._open.values()):
            inquiry.waiting.discard(node)
            self._check(inquiry)

    def sweep(self) -> None:
        """Forget questions that will not be answered any more. Called now and then."""
        now = asyncio.get_running_loop().time()
        for inquiry in list(self._open.values()):
            if inquiry.asked + _FORGET_AFTER > now:
                return
            self._end(inquiry)

    def close(self) -> None:
        """Let nobody wait."""
        for inquiry in list(self._open.values()):
            self._end(inquiry)

    def _hear(self, message: Msg) -> None:
        note = read_note(message.data)
        if note.node == self._session.node:
            return
        if note.kind == QUESTION:
            self._answer(note, STANDINGS, self._stand(note.fields))
        elif note.kind == LIST_QUESTION:
            self._answer(note, LIST, self._stand(None))
        elif note.kind == DONE:
            self._done(note)
        elif note.kind in (STANDINGS, LIST):
            self._answered(note)

    def _answer(self, question: Note, kind: str, standings: Iterable[Standing]) -> None:
        subject, node = self._session.subjects.node(question.node), self._session.node
        count = 0
        for fields in write_standings(standings, min(_LONGEST_NOTE, self._session.max_payload)):
            self._session.publish(subject, write_note(Note(kind, node, question.number, fields)))
            count += 1
        self._session.publish(subject, write_note(Note(DONE, node, question.number, [str(count)])))

    def _answered(self, note: Note) -> None:
        inquiry = self._open.get(note.number)
        seen: set[str] = set()
        for standing in read_standings(note.fields):
            seen.add(standing.room)
            if inquiry is not None:
                inquiry.sizes[standing.room] = inquiry.sizes.get(standing.room, 0) + standing.size
                inquiry.names.setdefault(standing.room, {}).update(dict.fromkeys(standing.names))
            self._learn(note.node, standing, note.kind == LIST, inquiry)
        if inquiry is not None:
            before, count = inquiry.answered.get(note.node, (set(), 0))
            inquiry.answered[note.node] = (before | seen, count + 1)

    def _done(self, note: Note) -> None:
        inquiry = self._open.get(note.number)
        if inquiry is None:
            return
        inquiry.waiting.discard(note.node)
        if inquiry.answered.setdefault(note.node, (set(), 0))[1] == int(note.fields[0]):
            inquiry.complete.add(note.node)
            self._complete(note.node, inquiry)
        self._check(inquiry)
