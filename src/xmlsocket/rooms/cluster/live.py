"""Live rooms over many nodes: messages, arrivals and departures, and that every hole is noticed.

Members on this node get everything at once. For the others, what is said in a room in one turn of the loop goes as one
envelope. Nothing here waits for the broker.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Iterator, Sequence

from ..broker import Done, Receiver
from .connecting import Msg
from .envelope import ARRIVAL, DEPARTURE, MESSAGE, TEXT, Head, Standing, read
from .heard_room import HeardRoom, Peer
from .inquiries import Inquiries, Inquiry
from .nodes import Nodes
from .session import Session, Unsubscribe
from .speech import Speech

_TICK = 0.25
_PACE = 0.1  # seconds between questions to one node for rooms whose state is not known
_LIST_AGE = 1.0  # seconds that a list of all rooms is good for
_FORGET_AFTER = 600.0  # seconds until a dead node will not come back


class _Open:
    """A room that this node listens to, and how it came to."""

    __slots__ = ("closing", "heard", "inquiry", "opened", "unsubscribe")

    def __init__(self, heard: HeardRoom, opened: float) -> None:
        self.heard = heard
        self.opened = opened
        self.inquiry: Inquiry | None = None
        self.closing: asyncio.TimerHandle | None = None
        self.unsubscribe: Unsubscribe | None = None

    @property
    def is_settling(self) -> bool:
        """Whether the others are still being asked who is here."""
        return self.inquiry is not None and not self.inquiry.over.done()


class Live:
    """The live side of a broker.

    Attributes:
        gaps: How many holes were found in what the others say.
        missed: How many messages were lost in them.
        heard: How many came from others.

    Args:
        session: The way to the others.
        nodes: Who is alive.
    """

    def __init__(self, session: Session, nodes: Nodes) -> None:
        self.gaps = self.missed = self.heard = 0
        self._session = session
        self._nodes = nodes
        self._receiver: Receiver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._speech = Speech(session)
        self._rooms: dict[str, _Open] = {}
        self._wanted: dict[str, dict[str, None]] = {}
        self._asking: asyncio.Handle | None = None
        self._uncertain: dict[str, float] = {}  # nodes that have yet to list their rooms, and when they were asked
        self._surveyed: dict[str, float] = {}  # nodes that have listed their rooms, and when
        self._dead: dict[str, float] = {}  # nodes that are, and since when
        self._list: Inquiry | None = None
        self._task: asyncio.Task[None] | None = None
        self._inquiries = Inquiries(session, nodes, stand=self._stand, learn=self._learn, complete=self._complete)
        session.on_change(self._connected)
        nodes.on_change(self._changed)

    def attach(self, receiver: Receiver) -> None:
        """See ``Broker``."""
        self._receiver = receiver

    def start(self) -> None:
        """Begin to tell others. Before the session starts."""
        self._loop = asyncio.get_running_loop()
        self._speech.start()
        self._task = asyncio.create_task(self._tick(), name="live rooms")

    async def close(self) -> None:
        """Send what is due, and stop."""
        self._speech.flush()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._inquiries.close()
        for room in self._rooms.values():
            if room.closing is not None:
                room.closing.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self._loop = None

    @property
    def counters(self) -> dict[str, float]:
        """Numbers for those who watch."""
        return {
            "live_envelopes_sent_total": self._speech.sent,
            "live_envelopes_received_total": self.heard,
            "live_gaps_total": self.gaps,
            "live_missed_messages_total": self.missed,
            "live_rooms_heard": len(self._rooms),
            "live_rooms_spoken": len(self._speech.rooms),
        }

    # What this node does.

    def subscribe(self, room: str) -> None:
        """See ``Broker``."""
        entry = self._rooms.get(room)
        if entry is not None:
            if entry.closing is not None:
                entry.closing.cancel()
                entry.closing = None
            return
        own = self._speech.rooms.get(room)
        entry = self._rooms[room] = _Open(
            HeardRoom(room, self._receiver, own.names if own else ()), 0.0 if self._loop is None else self._loop.time()
        )
        entry.unsubscribe = self._session.listen(
            self._session.subjects.live(room), functools.partial(self._hear, entry)
        )
        if self._session.is_connected:
            entry.inquiry = self._inquiries.ask_soon(room)

    def unsubscribe(self, room: str) -> None:
        """See ``Broker``."""
        entry = self._rooms.get(room)
        if entry is None or entry.closing is not None:
            return
        if self._loop is None:
            self._stop_hearing(room)
        else:
            entry.closing = self._loop.call_later(self._session.limits.unsubscribe_delay, self._stop_hearing, room)

    def _stop_hearing(self, room: str) -> None:
        entry = self._rooms.pop(room)
        assert entry.unsubscribe is not None
        entry.unsubscribe()

    def publish(self, room: str, message: str | bytes) -> None:
        """See ``Broker``."""
        self._receiver.receive(room, message)
        if isinstance(message, bytes):
            self._speech.say_bytes(room, message)
        else:
            self._speech.say(room, MESSAGE + message)

    def arrive(self, room: str, name: str) -> None:
        """See ``Broker``."""
        names = self._speech.open(room).names
        count = names.get(name, 0)
        names[name] = count + 1
        if not count:
            entry = self._rooms.get(room)
            if entry is not None:
                entry.heard.add(name)
            self._speech.say(room, ARRIVAL + name)

    def depart(self, room: str, name: str) -> None:
        """See ``Broker``."""
        own = self._speech.rooms.get(room)
        count = 0 if own is None else own.names.get(name, 0)
        if own is None or not count:
            return
        if count > 1:
            own.names[name] = count - 1
            return
        del own.names[name]
        entry = self._rooms.get(room)
        if entry is not None:
            entry.heard.remove(name)
        self._speech.say(room, DEPARTURE + name)

    def present(self, room: str) -> Awaitable[list[str]]:
        """See ``Broker``."""
        entry = self._rooms.get(room)
        if entry is None and self._session.is_connected:
            return self._present_later(room, self._inquiries.ask_soon(room))
        if entry is not None and entry.is_settling:
            assert entry.inquiry is not None
            return self._present_later(room, entry.inquiry)
        return Done(self._present_now(room))

    async def _present_later(self, room: str, inquiry: Inquiry) -> list[str]:
        await asyncio.shield(inquiry.over)
        names = self._present_now(room)
        return names if room in self._rooms else list(dict.fromkeys([*names, *inquiry.names.get(room, ())]))

    def _present_now(self, room: str) -> list[str]:
        own = self._speech.rooms.get(room)
        names = list(own.names) if own is not None else []
        entry = self._rooms.get(room)
        return names if entry is None else entry.heard.names(names)

    async def rooms(self) -> dict[str, int]:
        """See ``Broker``. Asks the others at most once a second, however often it is called."""
        inquiry = self._list
        loop = asyncio.get_running_loop()
        if self._session.is_connected and (inquiry is None or inquiry.asked + _LIST_AGE < loop.time()):
            inquiry = self._list = self._inquiries.survey()
        if inquiry is not None:
            await asyncio.shield(inquiry.over)
        found = {own.name: len(own.names) for own in self._speech.rooms.values() if own.names}
        if inquiry is not None and self._session.is_connected:
            for room, size in inquiry.sizes.items():
                found[room] = found.get(room, 0) + size
        for room, entry in self._rooms.items():
            if not entry.is_settling:
                found[room] = len(entry.heard.present)  # it is known exactly
        return {room: size for room, size in found.items() if size}

    # Hearing.

    def _hear(self, entry: _Open, message: Msg) -> None:
        head, body = read(message.data)
        node = head.node
        self.heard += 1
        is_alive = self._nodes.is_alive(node)
        is_baseline = node not in entry.heard.peers and self._is_baseline(node, entry)
        self._count(entry.heard.hear(head, body, is_baseline=is_baseline, is_alive=is_alive))
        peer = entry.heard.peers[node]
        if not peer.is_known and is_alive:
            self._want(node, entry.heard.name, peer)

    def _is_baseline(self, node: str, entry: _Open) -> bool:
        """Whether a node may have spoken in the room before we listened: it has not said since that it had not."""
        if entry.inquiry is not None and node in entry.inquiry.complete:
            return False
        return self._surveyed.get(node, -1.0) <= entry.opened

    def _count(self, missed: int) -> None:
        if missed:
            self.gaps += 1
            self.missed += missed

    def _want(self, node: str, room: str, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - peer.asked < self._session.limits.presence_timeout:
            return
        peer.asked = loop.time()
        self._wanted.setdefault(node, {})[room] = None
        if self._asking is None:
            self._asking = loop.call_soon(self._ask_wanted)

    def _ask_wanted(self) -> None:
        self._asking = None
        for node, rooms in list(self._wanted.items()):
            rest = self._inquiries.ask(node, rooms)
            self._wanted[node] = dict.fromkeys(rest)
            if not rest:
                del self._wanted[node]
        if self._wanted:
            self._asking = asyncio.get_running_loop().call_later(_PACE, self._ask_wanted)

    # Questions and answers.

    def _stand(self, rooms: Sequence[str] | None) -> Iterator[Standing]:
        self._speech.flush()  # so that what was said before the answer goes before it
        if rooms is None:
            yield from (own.standing(has_names=False) for own in list(self._speech.rooms.values()))
            return
        for room in rooms:
            own = self._speech.rooms.get(room)
            if own is not None:
                yield own.standing(has_names=True)

    def _learn(self, node: str, standing: Standing, is_list: bool, inquiry: Inquiry | None) -> None:
        entry = self._rooms.get(standing.room)
        if entry is None or not self._nodes.is_alive(node):
            return
        is_baseline = self._is_baseline(node, entry)
        if is_list:
            head = Head(TEXT, node, standing.epoch, standing.seq, standing.texts)
            self._count(entry.heard.hear(head, b"", is_baseline=is_baseline, is_alive=True))
            peer = entry.heard.peers[node]
            if not peer.is_known and not standing.size:
                entry.heard.clear(node, is_known=True)
            elif not peer.is_known:
                self._want(node, standing.room, peer)
        else:
            is_first = entry.is_settling and entry.inquiry is inquiry
            self._count(entry.heard.learn(node, standing, is_told=not is_first, is_baseline=is_baseline))

    def _complete(self, node: str, inquiry: Inquiry) -> None:
        spoken = inquiry.answered[node][0]
        if inquiry.rooms is None:
            self._uncertain.pop(node, None)
            self._surveyed[node] = asyncio.get_running_loop().time()
        for room in list(self._rooms) if inquiry.rooms is None else inquiry.rooms:
            entry = self._rooms.get(room)
            if entry is not None and room not in spoken and node in entry.heard.peers:
                entry.heard.clear(node, is_known=True)

    def _connected(self, is_connected: bool) -> None:
        if is_connected and self._nodes.alive:
            now = asyncio.get_running_loop().time()
            self._uncertain.update(dict.fromkeys(self._nodes.alive, now))
            self._inquiries.survey()

    def _changed(self, node: str, is_alive: bool) -> None:
        if is_alive:
            self._dead.pop(node, None)
            self._uncertain[node] = asyncio.get_running_loop().time()
            self._inquiries.survey(node)
            return
        self._uncertain.pop(node, None)
        self._surveyed.pop(node, None)
        self._wanted.pop(node, None)
        self._dead[node] = asyncio.get_running_loop().time()
        for entry in list(self._rooms.values()):
            entry.heard.clear(node, is_known=False)
        self._inquiries.forget(node)

    # What has to be done again and again.

    async def _tick(self) -> None:
        limits = self._session.limits
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            self._speech.announce(now, max(1, int(limits.max_announcements * _TICK)))
            self._inquiries.sweep()
            for node in [node for node, since in self._dead.items() if now - since > _FORGET_AFTER]:
                del self._dead[node]
                for entry in self._rooms.values():
                    entry.heard.forget(node)
            for node, asked in list(self._uncertain.items()):
                if now - asked > 2 * limits.presence_timeout:
                    self._uncertain[node] = now
                    self._inquiries.survey(node)
