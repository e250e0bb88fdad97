"""Reading a room's kept messages from the stream by their numbers."""

from __future__ import annotations

from typing import Final

from ..broker import KeptMessage
from .jetstream import JetStream, Stored
from .kept_envelope import KeptBatch, decode_batch

_AT_ONCE: Final = 256  # batches that are asked for
_BEFORE: Final = 8  # and of them those before the first message, as `find` stops a little before it


class Reader:
    """Finds messages in the stream. A batch says its first number, and the stream is searched by that.

    Args:
        jetstream: The way to the stream.
        stream: Its name.
    """

    def __init__(self, jetstream: JetStream, stream: str) -> None:
        self._jetstream = jetstream
        self._stream = stream

    async def settle(self, nobody: str) -> None:
        """See :meth:`JetStream.settle`."""
        await self._jetstream.settle(self._stream, nobody)

    async def last(self, subject: str) -> Stored | None:
        """Get a room's last batch."""
        return await self._jetstream.last(self._stream, subject)

    async def next(self, subject: str, sequence: int) -> Stored | None:
        """Get a room's first batch from a sequence on."""
        return await self._jetstream.next(self._stream, subject, sequence)

    async def messages(self, subject: str, first: int, count: int) -> list[KeptMessage]:
        """Read the first ``count`` messages with the number ``first`` or a higher one.

        Numbers may be missing: of what was forgotten, cannot be read, or was not in what was imported.

        Raises:
            JetStreamError: They cannot be read.
            BrokerUnavailableError: No answer.
        """
        head = await self.last(subject)
        if head is None:
            return []
        found: list[KeptMessage] = []
        sequence = await self.find(subject, first, head)
        while sequence <= head.sequence:
            some = [head] if sequence == head.sequence else await self._following(subject, sequence, count - len(found))
            if not some:
                break
            for stored in some:
                batch = _decode(stored)
                if batch is not None:
                    found += [message for message in batch.messages() if first <= message.id]
            if len(found) >= count:
                break
            sequence = some[-1].sequence + 1
        return found[:count]

    async def _following(self, subject: str, sequence: int, count: int) -> list[Stored]:
        some = await self._jetstream.following(self._stream, subject, sequence, min(count + _BEFORE, _AT_ONCE))
        if not some:
            stored = await self.next(subject, sequence)
            return [] if stored is None else [stored]
        return some

    async def find(self, subject: str, number: int, head: Stored) -> int:
        """Find where to begin to read: at the batch with a message of this number, or a little before.

        Searches backwards from ``head`` in growing steps, then halves what is left: a dozen requests in a long stream.
        """
        batch = _decode(head)
        if batch is not None and batch.first_id <= number:
            return head.sequence
        # From `low` on nothing is missed; the batch found from `high` on begins after the number.
        high, low = head.sequence, 1
        step = max(8, 0 if batch is None else batch.first_id - number)
        while high - step > low:
            begin, sequence, _ = await self._probe(subject, high - step, head)
            if begin is not None and begin <= number:
                low = sequence
                break
            high -= step
            step *= 4
        while high - low > 8:
            middle = (low + high) // 2
            begin, sequence, end = await self._probe(subject, middle, head)
            if begin is None or begin > number:
                high = middle
            elif end >= number:
                return sequence
            else:
                low = max(sequence, middle)
        return low

    async def _probe(self, subject: str, sequence: int, head: Stored) -> tuple[int | None, int, int]:
        stored = await self.next(subject, sequence)
        batch = None if stored is None else _decode(stored)
        if stored is None or batch is None:
            return None, head.sequence, 0
        return batch.first_id, stored.sequence, batch.last_id


def _decode(stored: Stored) -> KeptBatch | None:
    try:
        return decode_batch(stored.payload)
    except ValueError:
        return None
