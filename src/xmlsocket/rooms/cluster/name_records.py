"""What NATS knows of names: a bucket with a record for each that is held, and a bucket with the leases of nodes."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from .jetstream import JetStream, JetStreamError, Stored, StreamNotFoundError
from .session import Session
from .stream_settings import differences
from .subjects import token_of

logger = logging.getLogger("xmlsocket.cluster")

_AT_ONCE: Final = 256  # records that are read
_SHORTEST_AGE: Final = 0.1  # seconds; the server takes no bucket that forgets sooner


class NameRecords:
    """Reads and writes both buckets, and makes them.

    All methods but :meth:`forget` raise ``JetStreamError`` if it cannot be done, and ``BrokerUnavailableError`` if
    nobody knows whether it was done.

    Args:
        session: The way to NATS.
        replicas: On how many servers the buckets are.
    """

    def __init__(self, session: Session, replicas: int) -> None:
        self._session = session
        self._replicas = replicas
        self._jetstream = JetStream(session, session.limits.connect_timeout)
        self._bucket = f"{session.prefix}_names"
        self._stream = f"KV_{self._bucket}"
        self._lease_stream = f"KV_{session.prefix}_nodes"
        self._is_prepared = False
        self._preparing: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """Look at the buckets again before they are used: they may be gone."""
        self._is_prepared = False

    async def prepare(self) -> None:
        """Make the buckets if they are not there, or as they have to be."""
        if self._is_prepared:
            return
        if self._preparing is None:  # thousands may claim a name when the broker is back, and wait for the same
            self._preparing = asyncio.create_task(self._make_all(), name="names: buckets")
            self._preparing.add_done_callback(self._has_prepared)
        await asyncio.shield(self._preparing)

    def _has_prepared(self, task: asyncio.Task[None]) -> None:
        self._preparing = None
        self._is_prepared = not task.cancelled() and task.exception() is None and self._session.is_connected

    async def _make_all(self) -> None:
        # Leases are in memory: a server that restarts has none, and every node renews its own within seconds.
        age = int(max(self._session.limits.node_timeout, _SHORTEST_AGE) * 1e9)
        leases = self._settings(self._lease_stream, f"$KV.{self._session.prefix}_nodes.>")
        leases |= {"storage": "memory", "max_age": age, "duplicate_window": min(age, 120 * 10**9)}
        for settings in (leases, self._settings(self._stream, f"$KV.{self._bucket}.>")):
            await self._make(settings)

    async def _make(self, settings: dict[str, object]) -> None:
        name = settings["name"]
        try:
            found = (await self._jetstream.ask(f"STREAM.INFO.{name}"))["config"]
        except StreamNotFoundError:
            await self._jetstream.ask(f"STREAM.CREATE.{name}", settings)
            return
        changes = differences(found, settings)
        if changes:
            logger.warning("the stream %s of NATS has other settings and is changed: %s", name, "; ".join(changes))
            await self._jetstream.ask(f"STREAM.UPDATE.{name}", {**found, **settings})

    async def settle(self) -> None:
        """Wait until the servers agree on who has which name."""
        await self._jetstream.settle(self._stream, f"$KV.{self._bucket}.nobody")

    async def find(self, name: str) -> Stored | None:
        """Find who has a name."""
        return await self._jetstream.last(self._stream, self._subject(name))

    async def some(self, sequence: int) -> list[Stored]:
        """Find some of all records, the first from a revision on; none if there are no more."""
        everybody = f"$KV.{self._bucket}.>"
        found = await self._jetstream.following(self._stream, everybody, sequence, _AT_ONCE)
        if found:
            return found
        one = await self._jetstream.next(self._stream, everybody, sequence)
        return [] if one is None else [one]

    async def store(self, name: str, value: bytes, expected: int) -> int:
        """Write a name's record if the one before it is the expected one; returns its revision.

        Raises:
            ConflictError: It is not.
        """
        return await self._jetstream.store(self._stream, self._subject(name), value, expected)

    async def delete(self, revision: int) -> None:
        """Delete a record, if it is there. By its sequence: whatever somebody has written since stays."""
        try:
            await self._jetstream.ask(f"STREAM.MSG.DELETE.{self._stream}", {"seq": revision, "no_erase": True})
        except JetStreamError as error:
            if error.code == 0:
                raise

    async def has_lease(self, node: str) -> bool:
        """Whether a node has given a sign of life of late, as far as the servers know."""
        return await self._jetstream.last(self._lease_stream, self._session.subjects.lease(node)) is not None

    def _subject(self, name: str) -> str:
        return f"$KV.{self._bucket}.{token_of(name)}"

    def _settings(self, name: str, subject: str) -> dict[str, object]:
        return {
            "name": name,
            "subjects": [subject],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "num_replicas": self._replicas,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
        }


def owner_of(record: Stored) -> str:
    """The node that holds the name."""
    return record.payload.decode("ascii", "replace").partition(" ")[0]
