"""A worker as the supervising process sees it: a child process, a channel to it, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .backoff import Backoff
from .channel import AnswerError, Channel, ChannelClosedError
from .daemon import holding_signals_back
from .worker import Task

KILL_TIMEOUT: Final = 5.0
"""Seconds beyond twice ``close_timeout`` after which a worker that does not end is killed."""
_ABORT_TIMEOUT: Final = 2.0
"""Seconds for one that hangs to write down where, before it is killed."""
_LONGEST_PAUSE: Final = 1.0
"""Seconds from one look at whether a worker answers to the next."""


def watch_process(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Get a future that is done when a child process has ended: its exit code, or minus the signal that ended it."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # Linux before 5.3, a container that forbids it, or no descriptor is left
        _wait_in_thread(process, ended)
        return ended

    def note_end() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended.set_result(process.wait())

    loop.add_reader(descriptor, note_end)
    return ended


def _wait_in_thread(process: subprocess.Popen[bytes], ended: asyncio.Future[int]) -> None:
    loop = asyncio.get_running_loop()

    def wait() -> None:
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody wants to know any more
            loop.call_soon_threadsafe(ended.set_result, code)

    with holding_signals_back():
        threading.Thread(target=wait, name=f"process {process.pid}", daemon=True).start()


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
        over: Done when it is not to be counted on any more: it ended, or is about to.
        is_stopping: Whether it has been told to stop.
        is_late: Whether it was killed as it took too long to begin.
        has_left: Whether somebody else than the supervising process told it to.

    Args:
        task: What it is to do.
        descriptors: What it inherits.
        note_totals: Called with what it counted, when it stops gracefully.

    Raises:
        OSError: There can be no further process, or no further descriptor.
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
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=inherited, start_new_session=True
            )
        except OSError:
            self._parent_end.close()
            raise
        finally:
            child_end.close()
        self._task = task.to_json()
        self.ended = watch_process(self._process)
        self.ready: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_left = False
        self.is_late = False
        self.ended.add_done_callback(lambda _: self._give_up())

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
        answerers = {"ready": self._note_ready, "leaving": self._note_leaving, "stopped": self._note_totals}
        self._channel = await Channel.open(self._parent_end, answerers)
        self._channel.write(self._task)
        waited_for: set[asyncio.Future[Any]] = {self.ready, self.ended}
        await asyncio.wait(waited_for, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            self.is_late = not self.ended.done()
            self.kill()
            await self.ended
        return not self.ended.done()

    def describe_failure(self) -> str:
        """Say how one ended that never served."""
        if self.is_late:
            return "took longer than worker_start_timeout and was killed"
        return describe_end(self.ended.result()) if self.ended.done() else "was told to end"

    def _note_ready(self, **introduction: Any) -> None:
        self.ready.set_result(introduction)

    def _note_leaving(self) -> None:
        self.has_left = not self.is_stopping
        self._give_up()

    def _give_up(self) -> None:
        self.is_stopping = True
        if not self.over.done():
            self.over.set_result(None)

    async def watch(self, longest: float) -> None:
        """Return when it has not answered for so many seconds, which is when its event loop stands still.

        Time in which this process stood still too, as when the machine is frozen, counts for little.
        """
        pause = min(_LONGEST_PAUSE, longest / 4)
        while True:
            answer = asyncio.ensure_future(self.ask("ping"))
            try:
                silence = 0.0
                while not answer.done() and silence < longest:
                    began = time.monotonic()
                    await asyncio.wait({answer}, timeout=pause)
                    silence += min(time.monotonic() - began, 2 * pause)
                if not answer.done():
                    return
                answer.result()
            except (ChannelClosedError, AnswerError):
                await asyncio.wait({self.over}, timeout=longest)  # it is about to end
                return
            finally:
                answer.cancel()
            await asyncio.sleep(pause)

    async def abort(self) -> None:
        """End one that hangs: SIGABRT has it write where it stands; SIGKILL ends also what is stopped."""
        self._give_up()
        if not self.ended.done():
            self._process.send_signal(signal.SIGABRT)
            await asyncio.wait({self.ended}, timeout=_ABORT_TIMEOUT)
        self.kill()
        await asyncio.shield(self.ended)

    async def ask(self, name: str, /, **details: Any) -> Any:
        """Ask it something. Bound the time from outside.

        Raises:
            ChannelClosedError: It is gone.
            AnswerError: It could not answer.
        """
        if self._channel is None:
            raise ChannelClosedError("it has not begun yet")
        return await self._channel.ask(name, **details)

    async def stop(self, close_timeout: float, *, for_good: bool = False) -> None:
        """Have it end gracefully, and wait until it has; one that does not is killed.

        Args:
            close_timeout: Seconds that its connections have to end.
            for_good: Whether nobody takes its place, so that it lets go of the listening sockets at once.
        """
        self._give_up()
        if not self.ready.done():
            self.kill()
        try:
            async with asyncio.timeout(2 * close_timeout + KILL_TIMEOUT):
                if not self.ended.done():
                    await self.ask("stop", for_good=for_good)
                await asyncio.shield(self.ended)
        except (ChannelClosedError, AnswerError, TimeoutError):
            self.kill()
            await self.ended

    def kill(self) -> None:
        """End it now."""
        self._give_up()
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
        lock: Held by who starts a worker here.
    """

    number: int
    backoff: Backoff
    worker: WorkerProcess | None = None
    is_filled: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    cover: WorkerProcess | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    @property
    def is_served(self) -> bool:
        """Whether a worker of its own serves here."""
        return self.worker is not None and self.worker.serves
