"""Forgetting: a kept room has its latest messages in the stream, and not many more."""

from __future__ import annotations

import logging
from typing import Final

from ...errors import BrokerUnavailableError
from .follower import Follower
from .jetstream import JetStream, JetStreamError
from .kept_room import KeptRoom
from .reading import Reader

logger = logging.getLogger("xmlsocket.cluster")

# A room may exceed its number of messages by this share before the oldest go, so that not every message deletes one.
_SLACK: Final = 0.1


class Retention:
    """Deletes a room's oldest batches beside its writing. Age and size the server looks after.

    Args:
        jetstream: The way to the stream.
        stream: Its name.
        reader: Finds messages in it.
        follower: Runs the work.
        max_messages: How many of a room are kept; ``None`` for all.
    """

    def __init__(
        self, jetstream: JetStream, stream: str, reader: Reader, follower: Follower, max_messages: int | None
    ) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._reader = reader
        self._follower = follower
        self._max = max_messages
        self._busy: set[str] = set()

    def look_at(self, room: KeptRoom) -> None:
        """Begin to delete if there is enough. Called after each batch; mostly it returns."""
        if self._max is None or room.name in self._busy:
            return
        oldest = room.last_id - self._max + 1
        if oldest - max(room.pruned_to, 1) > self._max * _SLACK:
            self._busy.add(room.name)
            room.pruned_to = oldest
            self._follower.spawn(self._prune(room.name, room.subject, oldest))

    async def _prune(self, name: str, subject: str, oldest: int) -> None:
        try:
            head = await self._reader.last(subject)
            if head is not None:
                # The batch with the oldest message stays, and the last one too: the numbers go on from there.
                await self._jetstream.purge(self._stream, subject, await self._reader.find(subject, oldest, head))
        except (JetStreamError, BrokerUnavailableError) as error:
            logger.warning("old messages of room %r cannot be forgotten now: %s", name, error)
        finally:
            self._busy.discard(name)
