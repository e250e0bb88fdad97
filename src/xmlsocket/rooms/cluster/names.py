"""Names that one connection in the whole cluster holds.

A bucket of NATS's key-value store has a record for each name that is held: which node holds it. Whoever writes the
record first has the name, for the server takes a record only if the one before it is the one that the writer knows.

A record of a node that is dead is taken over. A node is held for dead only if three things agree: no sign of life has
come from it, its lease in the bucket of nodes has run out, and this node has itself been connected for as long as that
takes. A node that was out of reach so long looks all its names up when it is back, and lets go of those it has lost.
A record of a living node that does not hold the name (a release or an answer was lost on the way) is taken over too:
the node is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from ...errors import BrokerUnavailableError
from ..broker import Done, Receiver
from .connecting import Msg, NoRespondersError
from .envelope import decode, encode
from .jetstream import ConflictError, JetStreamError, Stored
from .name_records import NameRecords, owner_of
from .name_sweep import NameSweep
from .nodes import Nodes
from .session import Session, Unsubscribe

logger = logging.getLogger("xmlsocket.cluster")

_VERSION: Final = "1"
_HELD, _TAKEN, _TELL, _BACK = "held", "taken", "tell", "back"
_YES, _NO = "yes", "no"
_ATTEMPTS: Final = 5  # of one claim, each lost to somebody who wrote the record meanwhile
_AT_ONCE: Final = 64  # records that are looked up or deleted at a time
_PAUSE: Final = 0.5  # seconds until what failed is tried again
_MOST_SILENT: Final = 1000  # nodes that may come back


class Names:
    """The names that this node holds, and its way to those of the others.

    Args:
        session: The way to the others.
        nodes: Who is alive.
        replicas: On how many servers the bucket is.
    """

    def __init__(self, session: Session, nodes: Nodes, *, replicas: int = 1) -> None:
        self._session = session
        self._nodes = nodes
        self._records = NameRecords(session, replicas)
        self._sweep = NameSweep(
            self._records, self._is_dead, nodes.is_alive, self._welcome_back, session.limits.node_timeout
        )
        self._receiver: Receiver
        self._held: dict[str, int] = {}  # and the revision of the record
        self._claiming: set[str] = set()
        self._left: dict[str, int] = {}  # records that are still to be deleted
        self._doubtful: dict[str, None] = {}
        self._silent: dict[str, None] = {}  # nodes that were held for dead, latest last
        self._claims = 0
        self._work: asyncio.Task[None] | None = None
        self._lost = 0
        self._taken_over = 0
        self._unsubscribe: Unsubscribe = session.listen(session.subjects.names(session.node), self._asked)
        session.on_change(self._connected)
        nodes.on_lapse(self._doubt_all)
        nodes.on_change(self._changed)

    @property
    def counters(self) -> dict[str, float]:
        """Numbers for those who watch."""
        return {
            "names_held": len(self._held),
            "names_lost_total": self._lost,
            "names_taken_over_total": self._taken_over,
            "names_unsettled": len(self._left) + len(self._doubtful),
        }

    def attach(self, receiver: Receiver) -> None:
        """See ``Broker``."""
        self._receiver = receiver

    async def start(self) -> None:
        """Make the buckets, if NATS is there; else the first claim does."""
        with contextlib.suppress(BrokerUnavailableError, JetStreamError):
            await self._records.prepare()
        self._sweep.begin_soon()

    async def close(self) -> None:
        """Give all names back, as far as that goes in a moment; the others follow when the lease has run out."""
        await self._sweep.close()
        self._doubtful.clear()
        self._left.update(self._held)
        self._held.clear()
        if self._left and self._session.is_connected:
            self._start_work()
            assert self._work is not None
            await asyncio.wait({self._work}, timeout=self._session.limits.connect_timeout)
        self._left.clear()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})
        self._unsubscribe()

    # What is asked for on this node.

    def claim(self, name: str) -> Awaitable[bool]:
        """See ``Broker``."""
        if name in self._held or name in self._claiming:
            return Done(False)
        self._claiming.add(name)
        claim = asyncio.ensure_future(self._claim(name))
        claim.add_done_callback(_look_at)
        return claim

    def release(self, name: str) -> None:
        """See ``Broker``."""
        revision = self._held.pop(name, None)
        self._doubtful.pop(name, None)
        if revision is not None:
            self._left[name] = revision
            self._start_work()

    def tell(self, name: str, message: str) -> Awaitable[str | None]:
        """See ``Broker``."""
        if name in self._held:
            return Done(self._receiver.receive_private(name, message))
        return self._tell(name, message)

    async def _claim(self, name: str) -> bool:
        try:
            await self._records.prepare()
            revision = await self._take(name)
        except JetStreamError as error:
            raise BrokerUnavailableError(f"names cannot be taken now: {error}") from error
        finally:
            self._claiming.discard(name)
        if revision is None:
            return False
        self._held[name] = revision
        return True

    async def _take(self, name: str) -> int | None:
        """Write the record; its revision, or ``None`` if somebody has the name."""
        self._claims += 1
        value = f"{self._session.node} {self._claims}".encode()
        expected, owner = self._left.pop(name, 0), ""
        for _ in range(_ATTEMPTS):
            try:
                revision = await self._records.store(name, value, expected)
            except ConflictError:
                found = await self._records.find(name)
                if found is not None and found.payload == value:
                    return found.sequence  # it was stored, and the conflict is with ourselves
                if found is not None and not await self._is_free(name, found):
                    return None
                expected, owner = (0, "") if found is None else (found.sequence, owner_of(found))
            else:
                self._tell_loser(owner, name)
                return revision
        return None

    def _tell_loser(self, owner: str, name: str) -> None:
        if owner and owner != self._session.node:
            self._taken_over += 1
            self._session.publish(self._session.subjects.names(owner), _write(_TAKEN, name))

    async def _is_free(self, name: str, record: Stored) -> bool:
        """Whether the record's owner is dead, or alive and does not know of it."""
        owner = owner_of(record)
        if owner == self._session.node:
            return name not in self._held
        if self._nodes.is_alive(owner):
            try:
                return await self._ask(owner, _write(_HELD, name)) == _NO
            except BrokerUnavailableError:
                return False
        return await self._is_dead(owner)

    async def _is_dead(self, owner: str) -> bool:
        """Whether three things say so; see above."""
        if not owner:
            return True  # somebody deleted the record with NATS's own tools
        if self._nodes.is_alive(owner):
            return False
        since = self._session.connected_since
        if since is None or asyncio.get_running_loop().time() - since < self._session.limits.node_timeout:
            return False
        if await self._records.has_lease(owner):
            return False
        self._note_silence(owner)  # if it is not dead after all, it has to be told
        return True

    async def _tell(self, name: str, message: str) -> str | None:
        request = _write(_TELL, name, message)
        if len(request) > self._session.max_payload:
            raise BrokerUnavailableError(f"{len(request)} bytes are more than NATS takes at once")
        try:
            await self._records.prepare()
            record = await self._records.find(name)
        except JetStreamError as error:
            raise BrokerUnavailableError(f"nobody can be found by name now: {error}") from error
        if record is None:
            return None
        owner = owner_of(record)
        if owner == self._session.node:  # taken while we looked, or a leftover
            return self._receiver.receive_private(name, message) if name in self._held else None
        try:
            answer = await self._ask(owner, request)
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, NoRespondersError) and not self._nodes.is_alive(owner):
                return None
            raise
        return answer[1:] if answer.startswith("+") else None

    # What other nodes ask.

    async def _ask(self, node: str, request: bytes) -> str:
        subject, timeout = self._session.subjects.names(node), self._session.limits.connect_timeout
        return decode((await self._session.request(subject, request, timeout=timeout)).data)

    def _asked(self, message: Msg) -> None:
        version, kind, name, text = decode(message.data).split("\0", 3)
        if version != _VERSION:
            raise ValueError(f"version {version!r} of a node that is newer or older than this one")
        if kind == _TAKEN:
            if name in self._held:
                self._doubt([name])
        elif kind == _BACK:
            self._doubt_all()
        elif kind == _HELD:
            self._answer(message, _YES if name in self._held or name in self._claiming else _NO)
        elif kind == _TELL:
            answer = self._receiver.receive_private(name, text) if name in self._held else None
            self._answer(message, "-" if answer is None else f"+{answer}")

    def _answer(self, message: Msg, answer: str) -> None:
        self._session.publish(message.reply, encode(answer))

    # What is put right afterwards.

    def _connected(self, is_connected: bool) -> None:
        self._records.forget()
        if is_connected:
            self._doubt_all()  # the server may have lost its records

    def _changed(self, node: str, is_alive: bool) -> None:
        if not is_alive:
            self._note_silence(node)
            self._sweep.begin_soon()
        elif node in self._silent:
            # Each may have held the other for dead, if their servers had lost each other, and taken its names; or only
            # this one did, and the other does not know of it.
            del self._silent[node]
            self._welcome_back(node)
            self._doubt_all()

    def _welcome_back(self, node: str) -> None:
        """Have a node look up its names, that was held for dead and is not."""
        self._session.publish(self._session.subjects.names(node), _write(_BACK, ""))

    def _note_silence(self, node: str) -> None:
        self._silent[node] = None
        if len(self._silent) > _MOST_SILENT:
            del self._silent[next(iter(self._silent))]

    def _doubt_all(self) -> None:
        self._doubt(self._held)

    def _doubt(self, names: Iterable[str]) -> None:
        self._doubtful.update(dict.fromkeys(names))
        self._start_work()

    def _start_work(self) -> None:
        if (self._left or self._doubtful) and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self._put_right(), name="names")

    async def _put_right(self) -> None:
        while self._left or self._doubtful:
            try:
                await self._records.prepare()
                if self._doubtful:
                    await self._records.settle()
                doubtful = [functools.partial(self._verify, name) for name in list(self._doubtful)]
                left = [functools.partial(self._delete, *item) for item in list(self._left.items())]
                await _do_all([*doubtful, *left])
            except (BrokerUnavailableError, JetStreamError) as error:
                logger.debug("names are put right later: %s", error)
                await asyncio.sleep(_PAUSE)

    async def _verify(self, name: str) -> None:
        """Find out whether a name is still ours, and make the record again if it is gone."""
        while (revision := self._held.get(name)) is not None:
            found = await self._records.find(name)
            if self._held.get(name) != revision:
                continue
            if found is None or found.sequence < revision:
                # The server has forgotten ours, or knows less than it did: the record before ours says nothing.
                await self._write_again(name, revision, found)
                continue
            if owner_of(found) == self._session.node:
                self._held[name] = found.sequence
            else:
                self._lose(name)
            break
        self._doubtful.pop(name, None)

    async def _write_again(self, name: str, revision: int, found: Stored | None) -> None:
        value = f"{self._session.node} {self._claims}".encode()
        expected, owner = (0, "") if found is None else (found.sequence, owner_of(found))
        with contextlib.suppress(ConflictError):
            made = await self._records.store(name, value, expected)
            self._tell_loser(owner, name)
            if self._held.get(name) == revision:
                self._held[name] = made
            else:
                self._left.setdefault(name, made)

    def _lose(self, name: str) -> None:
        del self._held[name]
        self._lost += 1
        logger.warning("another node has taken a name that was held here")
        try:
            self._receiver.lose_name(name)
        except Exception:
            logger.exception("a name that was lost could not be let go of")  # the others must be looked up all the same

    async def _delete(self, name: str, revision: int) -> None:
        await self._records.delete(revision)
        if self._left.get(name) == revision:
            del self._left[name]


async def _do_all(steps: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """Carry all steps out, so many at a time; the first error is raised when those beside it have ended."""
    for start in range(0, len(steps), _AT_ONCE):
        results = await asyncio.gather(*(step() for step in steps[start : start + _AT_ONCE]), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


def _write(kind: str, name: str, text: str = "") -> bytes:
    return encode("\0".join((_VERSION, kind, name, text)))


def _look_at(claim: asyncio.Future[bool]) -> None:
    # Whoever claimed may have dropped the result; then nobody else looks at its exception.
    if not claim.cancelled():
        claim.exception()
