"""A worker as the supervising process sees it: a child process, a channel to it, and what became of it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .backoff import Backoff
from .channel import AnswerError, Channel, ChannelClosedError
from .worker import Task

KILL_TIMEOUT: Final = 5.0
"""Seconds beyond twice ``close_timeout`` after which a worker that does not end is killed."""


def watch_process(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Get a future that is done when a child process has ended: its exit code, or minus the signal that ended it."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    descriptor = os.pidfd_open(process.pid)

    def note_end() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended.set_result(process.wait())

    loop.add_reader(descriptor, note_end)
    return ended


def describe_end(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class WorkerProcess:
    """A worker.

    Attributes:
        slot: Its slot, from 0.
        ready: Done when it serves, with what it says of itself.
        ended: Done when the process has ended; see :func:`watch_process`.
        is_stopping: Whether it has been told to stop.

    Args:
        task: What it is to do.
        descriptors: What it inherits.
        note_totals: Called with what it counted, when it stops gracefully.
    """

    def __init__(self, task: Task, descriptors: Sequence[int], note_totals: Callable[..., None]) -> None:
        self.slot = task.slot
        self.is_stopping = False
        self._note_totals = note_totals
        self._channel: Channel | None = None
        self._parent_end, child_end = socket.socketpair()
        inherited = [child_end.fileno(), task.lifeline, *descriptors]
        # Without the current directory on the path (-P), where a user's module may have the name of one of Python's.
        # In a session of its own, as keys and the end of the terminal are for the supervising process.
        command = [sys.executable, "-P", "-m", "xmlsocket.cli.worker", str(child_end.fileno())]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited, start_new_session=True)
        child_end.close()
        self._task = task.to_json()
        self.ended = watch_process(self._process)
        self.ready: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<worker {self.slot + 1}, process {self._process.pid}>"

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def serves(self) -> bool:
        """Whether it serves, and is to go on."""
        return self.ready.done() and not self.is_stopping and not self.ended.done()

    async def start(self, longest: float) -> bool:
        """Tell it what to do, and wait until it serves, for so many seconds at most.

        Returns:
            Whether it does; if not, it has ended or is killed.
        """
        self._channel = await Channel.open(self._parent_end, {"ready": self._note_ready, "stopped": self._note_totals})
        self._channel.write(self._task)
        waited_for: set[asyncio.Future[Any]] = {self.ready, self.ended}
        await asyncio.wait(waited_for, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            self.kill()
            await self.ended
        return not self.ended.done()

    def _note_ready(self, **introduction: Any) -> None:
        self.ready.set_result(introduction)

    async def ask(self, name: str, /, **details: Any) -> Any:
        """Ask it something. Bound the time from outside.

        Raises:
            ChannelClosedError: It is gone.
            AnswerError: It could not answer.
        """
        if self._channel is None:
            raise ChannelClosedError("it has not begun yet")
        return await self._channel.ask(name, **details)

    async def stop(self, close_timeout: float) -> None:
        """Have it end gracefully, and wait until it has; one that does not is killed."""
        self.is_stopping = True
        if not self.ready.done():
            self.kill()
        try:
            async with asyncio.timeout(2 * close_timeout + KILL_TIMEOUT):
                if not self.ended.done():
                    await self.ask("stop")
                await asyncio.shield(self.ended)
        except (ChannelClosedError, AnswerError, TimeoutError):
            self.kill()
            await self.ended

    def kill(self) -> None:
        """End it now."""
        self.is_stopping = True
        if not self.ended.done():
            self._process.kill()

    def close(self) -> None:
        """Let go of the channel of one that has ended."""
        if self._channel is not None:
            self._channel.close()


@dataclasses.dataclass(slots=True)
class Slot:
    """A worker's place.

    Attributes:
        number: From 0.
        backoff: Before the next start.
        worker: The one that serves or ends here; its successor is another.
        is_filled: Set while one serves.
        cover: Who accepts here while none of its own does.
    """

    number: int
    backoff: Backoff
    worker: WorkerProcess | None = None
    is_filled: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    cover: WorkerProcess | None = None
