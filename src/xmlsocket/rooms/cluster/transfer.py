"""Moving kept messages into NATS and out of it, with their numbers, times and senders.

A service that has one process keeps them in a file (``history.py``); one on several machines keeps them in NATS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from itertools import groupby
from types import TracebackType
from typing import Final, Self

from ...errors import BrokerError, BrokerUnavailableError, HistoryError
from ...limits import HistoryLimits
from ..broker import KeptMessage
from ..history import ExportedMessage, History, without_surrogates
from .jetstream import ConflictError, JetStream, JetStreamError, StreamNotFoundError
from .kept_envelope import KeptBatch, decode_batch, encoded_size
from .nodes import Nodes
from .numbers import Numbers
from .playback import Playback
from .reading import Reader
from .session import Session
from .stream_settings import kept_stream_settings, prepare_stream
from .writer import OVERHEAD

logger = logging.getLogger("xmlsocket.cluster")

_MAX_MESSAGES: Final = 500
_MAX_BATCH_SIZE: Final = 262_144
_TIME_SIZE: Final = 25  # of a time in a batch, written out
_AT_ONCE: Final = 16
_NO_LIMITS: Final = HistoryLimits(max_kept_messages=None, max_history_file_size=None)


class Transfer:
    """The kept messages of a service in NATS, for whoever moves them. Use it with ``async with``.

    Args:
        session: The connection; it is opened and closed here.
        replicas: On how many servers the stream is to be if there is none yet.
    """

    def __init__(self, session: Session, *, replicas: int = 1) -> None:
        self._session = session
        self._replicas = replicas
        self._settings = kept_stream_settings(session.prefix, _NO_LIMITS, replicas)
        self._stream = str(self._settings["name"])
        self._jetstream = JetStream(session, 10 * session.limits.store_timeout)
        self._numbers = Numbers(self._jetstream, session.prefix, replicas)
        self._reader = Reader(self._jetstream, self._stream)
        self._nodes = Nodes(session)
        self._stored = 0
        self._size = 0

    async def __aenter__(self) -> Self:
        try:
            await self._session.start()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._nodes.close()
        await self._session.close()

    async def export(self, room: str | None = None) -> AsyncGenerator[ExportedMessage, None]:
        """Read all messages, or those of a room; those of each room oldest first, the rooms as they spoke.

        Works while the service runs. What cannot be read is left out, and said in the log. Lone halves of surrogate
        pairs are replaced, as no file can hold them.

        Raises:
            BrokerError: They cannot be read; nothing is kept there by a service with this prefix, say.
        """
        async for _, batch in self._batches(room):
            if isinstance(batch, str):
                logger.warning("%s", batch)
                continue
            name = without_surrogates(batch.room)
            for message in batch.messages():
                sender, text = without_surrogates(message.sender), without_surrogates(message.text)
                yield ExportedMessage(name, KeptMessage(message.id, message.at, sender, text))

    async def check(self) -> AsyncGenerator[ExportedMessage | str, None]:
        """Read all messages, and between them a sentence for each fault that is found.

        Raises:
            BrokerError: They cannot be read.
        """
        last: dict[str, int] = {}
        async for sequence, batch in self._batches(None):
            if isinstance(batch, str):
                yield batch
                continue
            before = last.get(batch.room, 0)
            if batch.first_id <= before:
                yield f"message {sequence} of the stream: room {batch.room!r} has {batch.first_id} after {before}"
            last[batch.room] = batch.last_id
            for message in batch.messages():
                yield ExportedMessage(batch.room, message)

    async def _batches(self, room: str | None) -> AsyncGenerator[tuple[int, KeptBatch | str], None]:
        subjects = self._session.subjects
        wanted = f"{subjects.prefix}.kept.>" if room is None else subjects.kept(room)
        try:
            async for stored in Playback(self._session, self._jetstream, self._stream, wanted).batches():
                try:
                    yield stored.sequence, decode_batch(stored.payload)
                except ValueError as error:
                    yield stored.sequence, f"message {stored.sequence} of the stream cannot be read: {error}"
        except StreamNotFoundError as error:
            raise BrokerError(
                f"nothing is kept in NATS by a service with the prefix {subjects.prefix!r} (there is no stream "
                f"{self._stream})"
            ) from error
        except JetStreamError as error:
            raise BrokerError(f"the history in NATS cannot be read: {error}") from error

    async def load(self, history: History, *, replaces: bool = False) -> int:
        """Take over all messages of a file with their numbers; returns how many are new.

        What is in NATS already is passed over. Everything is looked at before anything is stored; if NATS fails in
        the middle, what was stored stays, and the same call goes on from there.

        Args:
            history: Where they come from.
            replaces: Forget what NATS has of the rooms that are in the file.

        Raises:
            HistoryError: A room has different messages in NATS, or a message is longer than NATS takes.
            BrokerError: A node of the service is running, or NATS cannot keep the messages.
        """
        await self._refuse_nodes()
        try:
            await self._prepare()
            starts = [
                (room, await self._find_start(room, messages, replaces=replaces))
                for room, messages in groupby(history.export(), key=lambda exported: exported.room)
            ]
            await self._check_space()
            return await self._load_rooms(history, iter(starts), replaces=replaces)
        except ConflictError as error:
            raise BrokerError(f"somebody else writes into the same rooms ({error}); stop the service before") from error
        except JetStreamError as error:
            raise BrokerError(f"NATS does not keep the messages: {error}; import again to go on") from error

    async def _refuse_nodes(self) -> None:
        """Running nodes would show what is imported to their members as if it were said now."""
        # In turns of the loop and not by the clock: while this process stands still no heartbeat is read.
        for _ in range(round((self._session.limits.heartbeat_interval + 0.5) / 0.05)):
            if self._nodes.alive:
                raise BrokerError(
                    f"the service with the prefix {self._session.prefix!r} is running: {len(self._nodes.alive)} "
                    "node(s) can be heard; stop it before the import"
                )
            await asyncio.sleep(0.05)

    async def _prepare(self) -> None:
        # A stream that is there stays as it is: its limits are the service's business.
        for name, settings in ((self._stream, self._settings), (None, self._numbers.configuration)):
            try:
                await self._jetstream.ask(f"STREAM.INFO.{name or settings['name']}")
            except StreamNotFoundError:
                await prepare_stream(self._session, self._jetstream, settings)

    async def _check_space(self) -> None:
        """What does not fit would push out the oldest messages of all rooms, and nobody would be told."""
        found = await self._jetstream.ask(f"STREAM.INFO.{self._stream}")
        limit = int(found["config"]["max_bytes"])
        free = limit - int(found["state"]["bytes"])
        if limit > 0 and self._size > free:
            raise HistoryError(
                f"the messages take about {self._size:,} bytes, and the stream {self._stream} has {free:,} left of its "
                f"{limit:,} (max_history_file_size); nothing was imported"
            )

    async def _find_start(self, room: str, messages: Iterable[ExportedMessage], *, replaces: bool) -> int:
        """Find the number after which a room's messages are new, having looked at all of them."""
        longest = self._session.max_payload - OVERHEAD - 4 * len(room)
        head = None if replaces else await self._reader.last(self._session.subjects.kept(room))
        try:
            start = 0 if head is None else decode_batch(head.payload).last_id
        except ValueError as error:
            raise HistoryError(
                f"the last message of room {room!r} in NATS cannot be read: {error}; nothing was imported"
            ) from error
        shared: KeptMessage | None = None
        last = 0
        for _, message in messages:
            size = encoded_size(message.sender, message.text) + _TIME_SIZE
            if size > longest:
                raise HistoryError(
                    f"message {message.id} of room {room!r} is longer than NATS takes ({longest:,} bytes, by its "
                    "max_payload); nothing was imported"
                )
            last = message.id
            if last <= start:
                shared = message
            else:
                self._size += size
        if shared is not None:
            await self._compare(room, shared)
        elif head is None and not replaces:
            given = await self._numbers.read(room)
            if given is not None and given > last:
                raise HistoryError(
                    f"room {room!r} has given numbers up to {given} in NATS, and forgotten the messages; nothing was "
                    "imported. With --replace its numbers go on after the imported ones"
                )
        return start

    async def _compare(self, room: str, message: KeptMessage) -> None:
        found = await self._reader.messages(self._session.subjects.kept(room), message.id, 1)
        if found != [message]:
            what = "a different" if found and found[0].id == message.id else "forgotten its"
            raise HistoryError(
                f"room {room!r} has {what} message {message.id} in NATS; nothing was imported. With --replace "
                "everything that NATS has of the imported rooms is forgotten first"
            )

    async def _load_rooms(self, history: History, starts: Iterator[tuple[str, int]], *, replaces: bool) -> int:
        count = 0

        async def work() -> None:
            nonlocal count
            for room, start in starts:
                if replaces:
                    filter_ = {"filter": self._session.subjects.kept(room)}
                    await self._jetstream.ask(f"STREAM.PURGE.{self._stream}", filter_)
                stored = await self._load_room(room, history, start)
                count += stored  # not in one line, which would read the count before it waits

        workers = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return count

    async def _load_room(self, room: str, history: History, start: int) -> int:
        subject = self._session.subjects.kept(room)
        head = await self._reader.last(subject)
        previous = 0 if head is None else head.sequence
        new = (message for _, message in history.export(room) if message.id > start)
        count = ceiling = 0
        for messages in _batched(new, min(_MAX_BATCH_SIZE, self._session.max_payload - OVERHEAD - 4 * len(room))):
            if messages[-1].id > ceiling:
                ceiling = await self._numbers.raise_to(room, messages[-1].id)
            self._stored += 1
            batch = KeptBatch(
                node=self._session.node,
                epoch=0,
                number=self._stored,
                previous=previous,
                first_id=messages[0].id,
                ceiling=ceiling,
                at=messages[-1].at,
                room=room,
                said=[(message.sender, message.text) for message in messages],
                times=[message.at for message in messages] if len({message.at for message in messages}) > 1 else (),
            )
            previous = await self._store(subject, batch)
            count += len(messages)
        return count

    async def _store(self, subject: str, batch: KeptBatch) -> int:
        try:
            return await self._jetstream.store(self._stream, subject, batch.encode(), batch.previous)
        except BrokerUnavailableError as error:
            raise BrokerUnavailableError(f"{error}; import again to go on from there") from error


def _batched(messages: Iterable[KeptMessage], max_size: int) -> Iterator[list[KeptMessage]]:
    """Put together what follows one another without a hole, each of at most ``max_size`` bytes or one message."""
    batch: list[KeptMessage] = []
    size = 0
    for message in messages:
        added = encoded_size(message.sender, message.text) + _TIME_SIZE
        is_next = not batch or message.id == batch[-1].id + 1
        if batch and (not is_next or size + added > max_size or len(batch) == _MAX_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += added
    if batch:
        yield batch
