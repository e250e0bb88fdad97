"""The broker of a single process whose history is in a file, and survives it."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ..errors import BrokerUnavailableError
from .broker import BrokerState, KeptMessage
from .history import History, NewMessage
from .process import ProcessBroker

logger = logging.getLogger("xmlsocket.history")


class _Keep(NamedTuple):
    message: NewMessage
    origin: object
    future: asyncio.Future[KeptMessage]


class _Call(NamedTuple):
    """Something else to do in the writer's thread, between two commits."""

    function: Callable[[], Any]
    future: asyncio.Future[Any]


class HistoryBroker(ProcessBroker):
    """One order for all members, exactly once; a message is shown to anybody only when it is on the disk.

    A thread of its own writes. While it waits for the disk, what is said meanwhile gathers and goes with the next
    commit, so that a busy room costs one for many messages. When the file cannot be written (the disk is full, say)
    messages are refused until it can be again, and nothing else stops.

    Args:
        open_history: Opens the file; called in :meth:`start`.
    """

    def __init__(self, open_history: Callable[[], History]) -> None:
        super().__init__()
        self._open_history = open_history
        self._gathered: list[_Keep] = []
        self._is_committing = False
        self._jobs: queue.SimpleQueue[list[_Keep] | _Call | None] = queue.SimpleQueue()
        self._pending = 0
        self._thread: threading.Thread | None = None
        self._is_failing = False
        self._kept = self._refused = self._commits = 0
        self._commit_seconds = 0.0

    async def start(self) -> None:
        """Open the file.

        Raises:
            HistoryError: It cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._history = await self._loop.run_in_executor(None, self._open_history)
        self._max_pending = self._history.limits.max_pending_messages
        self._thread = threading.Thread(target=self._write, name="xmlsocket-history", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what was said, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._hand_over()
            self._jobs.put(None)
            await self._loop.run_in_executor(None, thread.join)
            await asyncio.sleep(0)  # what the thread has handed over is delivered
        self._forget_everybody()

    @property
    def state(self) -> BrokerState:
        """See :class:`Broker`."""
        counters = {
            "history_pending": self._pending,
            "history_kept_total": self._kept,
            "history_refused_total": self._refused,
            "history_commit_seconds_count": self._commits,
            "history_commit_seconds_sum": self._commit_seconds,
        }
        if self._is_failing:
            return BrokerState(
                False, "the history file cannot be written; messages that are to be kept are refused", counters
            )
        return BrokerState(True, "in this process alone, with its history in a file", counters)

    def keep(self, room: str, sender: str, text: str, origin: object = None) -> Awaitable[KeptMessage]:
        """See :class:`Broker`."""
        future: asyncio.Future[KeptMessage] = asyncio.get_running_loop().create_future()
        if self._thread is None:
            _fail(future, BrokerUnavailableError("the history is not open"))
        elif self._pending >= self._max_pending:
            self._refused += 1
            _fail(future, BrokerUnavailableError("the disk is slower than what is said"))
        else:
            self._pending += 1
            self._gathered.append(_Keep(NewMessage(room, sender, text), origin, future))
            if not self._is_committing:
                self._is_committing = True
                self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        # One commit at a time: what is said until it is shown gathers and goes with the next. Two that overlap were
        # slower, as most of the cost is to write to the members, and that is done once a commit.
        self._is_committing = bool(self._gathered)
        if self._gathered:
            self._jobs.put(self._gathered)
            self._gathered = []

    def history(self, room: str, after: int | None, limit: int) -> Awaitable[list[KeptMessage]]:
        """See :class:`Broker`."""
        return self._call(lambda: self._history.find(room, after, limit))

    def _call(self, function: Callable[[], Any]) -> Awaitable[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._thread is None:
            future.set_exception(BrokerUnavailableError("the history is not open"))
        else:
            self._jobs.put(_Call(function, future))
        return future

    # In the writer's thread

    def _write(self) -> None:
        is_open = True
        while is_open:
            job = self._jobs.get()
            if job is None:
                is_open = False
            elif isinstance(job, _Call):
                self._run(job)
            else:
                self._commit(job)
        self._history.close()

    def _commit(self, keeps: list[_Keep]) -> None:
        outcome: list[KeptMessage] | Exception
        began = time.perf_counter()
        try:
            outcome = self._history.append([keep.message for keep in keeps])
        except Exception as error:  # whatever it is, the senders are told, and the thread goes on
            outcome = error
        self._commits += 1
        self._commit_seconds += time.perf_counter() - began
        self._loop.call_soon_threadsafe(self._settle, keeps, outcome)
        try:
            self._history.prune()
        except sqlite3.Error as error:
            logger.warning("the history file cannot be tidied now: %s", error)

    def _run(self, job: _Call) -> None:
        try:
            result = job.function()
        except Exception as error:  # whatever it is, who asked is told, and the thread goes on
            self._loop.call_soon_threadsafe(_fail, job.future, BrokerUnavailableError(f"no history now: {error}"))
        else:
            self._loop.call_soon_threadsafe(_succeed, job.future, result)

    # In the event loop again

    def _settle(self, keeps: list[_Keep], outcome: list[KeptMessage] | Exception) -> None:
        self._pending -= len(keeps)
        # Not before the loop has looked at the sockets again: who was waiting for these messages answers then.
        self._loop.call_soon(self._loop.call_soon, self._hand_over)
        if isinstance(outcome, Exception):
            self._refused += len(keeps)
            if not self._is_failing:
                logger.error("messages cannot be kept and are refused: %s", outcome)
            self._is_failing = True
            for keep in keeps:
                _fail(keep.future, BrokerUnavailableError(f"the history cannot be written: {outcome}"))
            return
        if self._is_failing:
            logger.warning("messages are kept again")
            self._is_failing = False
        self._kept += len(keeps)
        for keep, message in zip(keeps, outcome, strict=True):
            self._receive(keep, message)
            _succeed(keep.future, message)

    def _receive(self, keep: _Keep, message: KeptMessage) -> None:
        try:
            self._receiver.receive_kept(keep.message.room, message, keep.origin)
        except Exception:
            # A fault in what an application writes must not take the messages after it from the others.
            logger.exception("a kept message of room %r could not be handed on", keep.message.room)

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to keep messages failed."""
        return self._is_failing


def _succeed(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():  # whoever waited may have given up
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BrokerUnavailableError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller may drop the future, as the contract allows; then nobody else looks at it
