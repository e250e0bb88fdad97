"""The few requests to JetStream that kept rooms need. They are alike in all servers since 2.9.

Streams are asked through ``STREAM.MSG.GET``, which only the stream's leader answers: what it says is the newest, unless
the servers have just lost each other; see :meth:`JetStream.settle`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ...errors import BrokerUnavailableError
from .connecting import NoRespondersError
from .session import Session

_MESSAGE_NOT_FOUND: Final = 10037
_WRONG_LAST_SEQUENCE: Final = 10071
_STREAM_NOT_FOUND: Final = 10059
_BATCHES_SINCE: Final = (2, 11, 0)
_BATCH_SIZE: Final = 1_048_576  # bytes of one answer with several messages, more or less


class JetStreamError(Exception):
    """JetStream answered that it cannot do what was asked; nothing was done. Does not leave this package.

    Attributes:
        code: JetStream's number of the error; 0 if JetStream is not there at all.
        description: Its sentence.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description

    def __str__(self) -> str:
        return f"{self.description} (JetStream error {self.code})" if self.code else self.description


class ConflictError(JetStreamError):
    """The subject's last sequence is not the expected one.

    Attributes:
        last: What it is, if the server says so.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(code, description)
        found = re.search(r"\d+$", description)
        self.last = int(found[0]) if found else None


class NoJetStreamError(JetStreamError):
    """Nobody listens where JetStream would. Servers that have it and choose a leader do not answer at all instead."""


class StreamNotFoundError(JetStreamError):
    """There is no such stream."""


class Stored(NamedTuple):
    """A message in a stream."""

    sequence: int
    payload: bytes


class JetStream:
    """One node's way to JetStream.

    Args:
        session: The connection.
        timeout: For an answer, in seconds.
    """

    def __init__(self, session: Session, timeout: float) -> None:
        self._session = session
        self._timeout = timeout

    async def ask(self, api: str, request: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Ask the API that ends with ``api``.

        Raises:
            JetStreamError: It refused.
            BrokerUnavailableError: It did not answer; it may have done it.
        """
        payload = b"" if request is None else json.dumps(request).encode()
        return await self._request(f"$JS.API.{api}", payload)

    async def store(self, stream: str, subject: str, payload: bytes, expected: int) -> int:
        """Store a message if ``expected`` is the sequence of the subject's last one (0: there is none).

        The expected sequence makes it impossible to store it twice, so there is no ``Nats-Msg-Id``, for which a server
        keeps a table.

        Returns:
            Its sequence.

        Raises:
            ConflictError: It is not, and nothing was stored.
            JetStreamError: Nothing was stored.
            BrokerUnavailableError: It may have been stored.
        """
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected), "Nats-Expected-Stream": stream}
        return int((await self._request(subject, payload, headers))["seq"])

    async def last(self, stream: str, subject: str) -> Stored | None:
        """Get the subject's last message."""
        return await self._get(stream, {"last_by_subj": subject})

    async def next(self, stream: str, subject: str, sequence: int) -> Stored | None:
        """Get the subject's first message with this sequence or a higher one."""
        return await self._get(stream, {"seq": max(sequence, 1), "next_by_subj": subject})

    async def following(self, stream: str, subject: str, sequence: int, count: int) -> list[Stored]:
        """Get up to ``count`` messages of a subject, the first that have this sequence or a higher one.

        In one request where the server can (since 2.11), which any server that has the stream answers: its latest
        messages may not have come there yet, so none does not mean that there is none.
        """
        version = self._session.server_version
        if version is None or version < _BATCHES_SINCE or count == 1:
            found = await self.next(stream, subject, sequence)
            return [] if found is None else [found]
        request = {"seq": max(sequence, 1), "next_by_subj": subject, "batch": count, "max_bytes": _BATCH_SIZE}
        payload = json.dumps(request).encode()
        try:
            parts = await self._session.request_many(f"$JS.API.DIRECT.GET.{stream}", payload, timeout=self._timeout)
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, NoRespondersError):
                return []  # the leader is asked, who says why
            raise
        return [Stored(int((part.headers or {})["Nats-Sequence"]), part.data) for part in parts]

    async def purge(self, stream: str, subject: str, sequence: int) -> None:
        """Delete the subject's messages with lower sequences."""
        if sequence > 1:  # to the server 1 means all of them
            await self.ask(f"STREAM.PURGE.{stream}", {"filter": subject, "seq": sequence})

    async def settle(self, stream: str, nobody: str) -> None:
        """Wait until the servers that have a stream agree on what is in it.

        When servers have lost each other, one that was the leader goes on answering for some seconds with what it knew.
        A purge, here of nothing, has to be agreed upon.

        Args:
            stream: Which.
            nobody: One of its subjects that is never used.
        """
        await self.ask(f"STREAM.PURGE.{stream}", {"filter": nobody})

    async def _get(self, stream: str, request: Mapping[str, object]) -> Stored | None:
        try:
            found = (await self.ask(f"STREAM.MSG.GET.{stream}", request))["message"]
        except JetStreamError as error:
            if error.code == _MESSAGE_NOT_FOUND:
                return None
            raise
        return Stored(int(found["seq"]), base64.b64decode(found.get("data", "")))

    async def _request(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            message = await self._session.request(subject, payload, headers=headers, timeout=self._timeout)
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, NoRespondersError):
                raise NoJetStreamError(0, "no JetStream answers: it is disabled, or has no leader now") from error
            raise
        try:
            answer: dict[str, Any] = json.loads(message.data)
        except ValueError as error:
            raise BrokerUnavailableError(f"what answers at {subject} is no JetStream") from error
        refusal = answer.get("error")
        if refusal is not None:
            code, description = int(refusal.get("err_code", 0)), str(refusal.get("description", "no reason given"))
            kinds = {_WRONG_LAST_SEQUENCE: ConflictError, _STREAM_NOT_FOUND: StreamNotFoundError}
            raise kinds.get(code, JetStreamError)(code, description)
        return answer
