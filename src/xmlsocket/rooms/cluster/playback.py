"""Reading the whole kept stream, or all of one room, as fast as the server sends it and in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator
from typing import Final

from ...errors import BrokerUnavailableError
from .connecting import Msg
from .jetstream import JetStream, JetStreamError, Stored
from .session import Session

# So many batches are under way at one time, and this share of them is confirmed together.
_WINDOW: Final = 64
_CONFIRMED: Final = 16
# How long the next one may take, in seconds, and how many times in a row it may take longer.
_PATIENCE: Final = 5.0
_ATTEMPTS: Final = 3
_SECOND: Final = 1_000_000_000


class Playback:
    """Has the server send what is in the stream. What is stored after the beginning may come or not.

    Args:
        session: The connection.
        jetstream: The way to the stream.
        stream: Its name.
        subject: What is wanted of it, with wildcards.
    """

    _numbers = itertools.count(1)

    def __init__(self, session: Session, jetstream: JetStream, stream: str, subject: str) -> None:
        self._session = session
        self._jetstream = jetstream
        self._stream = stream
        self._subject = subject
        self._position = 0  # in the stream, of the last that was handed on
        self._is_complete = False

    async def batches(self) -> AsyncGenerator[Stored, None]:
        """Read everything, oldest first, each once.

        Raises:
            BrokerUnavailableError: The server is away, or sends no more.
            JetStreamError: It cannot be read.
        """
        attempts = 0
        while attempts < _ATTEMPTS:
            before = self._position
            async with contextlib.aclosing(self._attempt()) as attempt:
                async for stored in attempt:
                    self._position = stored.sequence
                    yield stored
            if self._is_complete:
                return
            # The connection was lost, or something on the way: ask again from there.
            attempts = 0 if self._position > before else attempts + 1
        raise BrokerUnavailableError(f"NATS sends no more of the stream {self._stream} after message {self._position}")

    async def _attempt(self) -> AsyncGenerator[Stored, None]:
        """Read on until the end, or until something is missing."""
        arrived: asyncio.Queue[Msg] = asyncio.Queue()  # of at most _WINDOW, as more is not sent
        target = f"{self._session.prefix}.read.{self._session.node}.{next(self._numbers)}"
        unsubscribe = await self._session.subscribe(target, arrived.put_nowait)
        consumer = None
        try:
            found = await self._jetstream.ask(f"CONSUMER.CREATE.{self._stream}", self._consumer(target))
            consumer = found["name"]
            pending, expected = int(found["num_pending"]), 1
            while pending:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        message = await arrived.get()
                except TimeoutError:
                    return
                metadata = message.metadata
                if metadata.sequence.consumer != expected:
                    return
                if expected % _CONFIRMED == 0:
                    self._session.publish(message.reply, b"+ACK")
                expected += 1
                pending = metadata.num_pending
                yield Stored(metadata.sequence.stream, message.data)
            self._is_complete = True
        finally:
            unsubscribe()
            if consumer is not None and self._session.is_connected:
                await self._forget(consumer)

    def _consumer(self, target: str) -> dict[str, object]:
        config = {
            "deliver_subject": target,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._position + 1,
            "filter_subject": self._subject,
            "ack_policy": "all",
            "ack_wait": 60 * _SECOND,
            "max_ack_pending": _WINDOW,
            "inactive_threshold": 30 * _SECOND,
        }
        return {"stream_name": self._stream, "config": config}

    async def _forget(self, consumer: str) -> None:
        with contextlib.suppress(JetStreamError, BrokerUnavailableError):  # the server forgets it by itself
            await self._jetstream.ask(f"CONSUMER.DELETE.{self._stream}.{consumer}")
