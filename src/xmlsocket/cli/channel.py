"""How the supervising process and a worker talk: lines of JSON over a pair of sockets, the same at both ends.

Either end asks by name, and the other's answerer of that name answers::

    {"ask": "metrics", "id": 7, "with": {}}
    {"id": 7, "answer": [...]}             or, when the answerer raised, {"id": 7, "error": "what went wrong"}

The pair is private to two processes of one user, so what comes is believed; only its size is bounded.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

logger = logging.getLogger("xmlsocket.workers")

Answerer = Callable[..., Any]
"""Answers one kind of question. Called with what was asked as keywords; may be a coroutine function."""

_LONGEST_LINE: Final = 64 * 1024 * 1024  # bytes; the figures of a busy worker are some hundred KiB


class ChannelClosedError(ConnectionError):
    """The process at the other end is gone, or going."""


class AnswerError(Exception):
    """The other end could not answer; the text says why."""


class Channel(asyncio.Protocol):
    """One end. Make it with :meth:`open`.

    Attributes:
        answerers: What this end answers, by name; may be added to at any time.
        closed: Done when the other end is gone.
    """

    def __init__(self, answerers: Mapping[str, Answerer]) -> None:
        self.answerers = dict(answerers)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = cast("asyncio.Transport", None)  # until connection_made
        self._received = bytearray()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, sock: socket.socket, answerers: Mapping[str, Answerer]) -> Channel:
        """Begin to talk over one socket of a pair, which the channel closes."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(answerers), sock=sock)
        return channel

    async def ask(self, name: str, /, *, timeout: float | None = None, **details: Any) -> Any:  # noqa: ASYNC109  # not all answers take as long
        """Ask, and wait for the answer.

        Args:
            name: Of the other end's answerer.
            timeout: Seconds to wait for the answer.
            **details: What JSON can say.

        Raises:
            ChannelClosedError: The other end is gone, or went before it answered.
            AnswerError: It could not answer.
            TimeoutError: It did not answer in time.
        """
        if self.closed.done():
            raise ChannelClosedError("the other process is gone")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"ask": name, "id": number, "with": details})
        try:
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            self._waiting.pop(number, None)

    def write(self, line: bytes) -> None:
        """Say something that is no question, before the other end has opened its channel."""
        self._transport.write(line)

    def close(self) -> None:
        """End it; what was said is still sent."""
        self._transport.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._received += data
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        if len(rest) > _LONGEST_LINE:
            logger.error("the other process says more than %d bytes at once: not listening any more", _LONGEST_LINE)
            self._transport.abort()
        for line in lines:
            self._take(json.loads(line))

    def connection_lost(self, error: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ChannelClosedError("the other process went before it answered"))
        if not self.closed.done():
            self.closed.set_result(None)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "ask" in message:
            task = asyncio.get_running_loop().create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        answer = self._waiting.get(message["id"])
        if answer is None or answer.done():
            return  # who asked has given up
        if "error" in message:
            answer.set_exception(AnswerError(message["error"]))
        else:
            answer.set_result(message["answer"])

    async def _answer(self, message: Mapping[str, Any]) -> None:
        reply: dict[str, Any] = {"id": message["id"]}
        try:
            answerer = self.answerers.get(message["ask"])
            if answerer is None:
                raise LookupError(f"nobody here answers {message['ask']!r}")
            answer = answerer(**message["with"])
            reply["answer"] = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # whatever an answerer raises is told to whoever asked
            logger.debug("cannot answer %r", message["ask"], exc_info=True)
            reply["error"] = f"{type(error).__name__}: {error}"
        if not self._transport.is_closing():
            self._send(reply)
