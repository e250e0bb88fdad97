"""Numbers that never go back, also when all that had them is forgotten.

A bucket of NATS's key-value store has a record for each room: the ceiling, above which no number was ever given. It is
raised in steps before numbers pass it, and every stored batch repeats it. So it is read only when a room has nothing in
the stream, and written once in a thousand messages.
"""

from __future__ import annotations

from typing import Final

from .jetstream import ConflictError, JetStream
from .subjects import token_of

STEP: Final = 1000


class Numbers:
    """The ceilings of all rooms.

    Args:
        jetstream: The way to them.
        prefix: First part of the bucket's name.
        replicas: On how many servers the bucket is.
    """

    def __init__(self, jetstream: JetStream, prefix: str, replicas: int) -> None:
        self._jetstream = jetstream
        self._bucket = f"{prefix}_numbers"
        self._stream = f"KV_{self._bucket}"
        self._replicas = replicas

    @property
    def configuration(self) -> dict[str, object]:
        """The stream below the bucket, as the key-value store of NATS lays it out."""
        return {
            "name": self._stream,
            "subjects": [f"$KV.{self._bucket}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "num_replicas": self._replicas,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
        }

    async def read(self, room: str) -> int | None:
        """Find the room's ceiling; ``None`` if it never had one.

        Raises:
            JetStreamError: It cannot be read.
            BrokerUnavailableError: No answer.
        """
        return (await self._find(room))[0]

    async def raise_to(self, room: str, needed: int) -> int:
        """Make the ceiling at least ``needed``; returns it. Others may do so at the same time.

        Raises:
            JetStreamError: It cannot be written.
            BrokerUnavailableError: No answer; it may be raised.
        """
        while True:
            ceiling, revision = await self._find(room)
            if ceiling is not None and ceiling >= needed:
                return ceiling
            if await self._write(room, needed + STEP, revision):
                return needed + STEP

    async def take_new(self, room: str) -> bool:
        """Begin to count in a room that never had a number. False if somebody has.

        Raises:
            JetStreamError: It cannot be written.
            BrokerUnavailableError: No answer; it may have begun.
        """
        return await self._write(room, STEP, 0)

    async def pass_all(self, room: str) -> int:
        """Find a number below which all may have been given, and take the next ``STEP`` above it for this caller alone.

        Raises:
            JetStreamError: It cannot be written.
            BrokerUnavailableError: No answer; they may be taken, and are left out.
        """
        while True:
            ceiling, revision = await self._find(room)
            if await self._write(room, (ceiling or 0) + STEP, revision):
                return ceiling or 0

    async def _find(self, room: str) -> tuple[int | None, int]:
        found = await self._jetstream.last(self._stream, self._subject(room))
        if found is None:
            return None, 0
        # A record that somebody deleted with NATS's own tools is empty: the numbers begin anew.
        return (int(found.payload) if found.payload else None), found.sequence

    async def _write(self, room: str, ceiling: int, revision: int) -> bool:
        try:
            await self._jetstream.store(self._stream, self._subject(room), str(ceiling).encode(), revision)
        except ConflictError:
            return False
        return True

    def _subject(self, room: str) -> str:
        return f"$KV.{self._bucket}.{token_of(room)}"
