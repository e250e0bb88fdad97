"""``serve --workers N``: several processes that share a port, and the one that supervises them.

The supervising process owns the listening sockets (see ``slots.py``) and the private broker, and serves nothing but the
operations address. It replaces workers that die, and at SIGHUP all of them, one by one: the new one accepts from the
same queue as the old one, and only when it serves, the old one is told to end. A worker that reads an option, a policy
file or a certificate that has become wrong does not come up, and then the old one stays.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any

from rich.text import Text

from ..errors import CloseReason
from ..limits import Limits, WorkerLimits, from_options
from ..net import Traffic
from ..net.process import new_event_loop, tune_process
from ..operations.workers import Ask, WorkersStatus
from . import welcome
from .backoff import Backoff
from .configuration import ServeOptions
from .console import announce, err
from .covering import Covering
from .daemon import HANGUP, Stopper, describe_stop, describe_totals, refuse_taken_place, stop_signals, unless
from .loading import (
    describe_broker,
    describe_history,
    find_broker_folder,
    is_own_code,
    needs_broker,
    notes_on_history,
)
from .logs import start_logging
from .operations import showing
from .options import LIMITS
from .own_status import OwnStatus
from .private_broker import PrivateBroker, find_server
from .slots import open_slots
from .worker import Task
from .worker_process import Slot, WorkerProcess, describe_end

logger = logging.getLogger("xmlsocket.workers")

_EXPLAINED = (1, 2)  # exit codes of a worker that has said what is wrong


def run_workers(options: ServeOptions) -> int:
    """Serve by several processes until SIGTERM or SIGINT; a second one ends all of them at once.

    Returns:
        The exit code: 0, or that of a worker that cannot serve and has said why.

    Raises:
        ConfigurationError: The options cannot work.
        ListenError: The port is taken or needs privilege, or the host is not ours.
        BrokerError: The private broker does not start.
    """
    start_logging(options.log_level, "supervisor")
    tuning = tune_process()
    supervisor = Supervisor(options)
    stopper = Stopper(supervisor.kill)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(supervisor.run(stopper, tuning.descriptors))


class _GaveUpError(Exception):
    """There is no use in going on.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Supervisor:
    """Supervises the workers of a daemon.

    Attributes:
        broker: The private broker, if there is one.
        restarts: How many workers had to be replaced unasked, by the reason; see ``own_status.py``.
        renewals: How many were replaced because of SIGHUP.
    """

    def __init__(self, options: ServeOptions) -> None:
        own = {name: value for name, value in options.limits.items() if LIMITS[name].owner is WorkerLimits}
        self._options = options
        self._limits = from_options(WorkerLimits, own)
        self._close_timeout = options.limits.get("close_timeout", Limits().close_timeout) or 0.0
        self._slots: list[Slot] = []
        self._processes: set[WorkerProcess] = set()
        self._has_served = False
        self._renew = asyncio.Event()
        self._lifeline = os.pipe()
        self._closed_by_reason: Counter[CloseReason] = Counter()
        self._traffic = Traffic(0, 0, 0, 0)
        self._lost = 0
        self._endings: set[asyncio.Task[None]] = set()
        self.broker: PrivateBroker | None = None
        self.restarts: Counter[str] = Counter()
        self.renewals = 0

    async def run(self, stopper: Stopper, descriptors: int | None) -> int:
        """Serve until told to stop. See :func:`run_workers`."""
        stop = await stopper.watch()
        if HANGUP is not None and HANGUP not in stop_signals():
            asyncio.get_running_loop().add_signal_handler(HANGUP, self._renew.set)
        options = self._options
        await refuse_taken_place(options)
        if options.policy_port is not None:
            await refuse_taken_place(dataclasses.replace(options, path=None, port=options.policy_port))
        self._sockets = open_slots(options)
        self._slots = [Slot(number, Backoff(self._limits)) for number in range(options.workers)]
        self._covering = Covering(self._slots, is_shared=self._sockets.is_shared)
        own = OwnStatus(self)
        own.is_draining = stop.is_set
        status = WorkersStatus(own, self.find_workers, expected=options.workers)
        has_place = options.path is not None or options.port != 0
        try:
            async with AsyncExitStack() as stack:
                self.broker = self._choose_broker()
                if self.broker is not None:
                    stack.push_async_callback(self.broker.close)
                    if not await unless(stop, self.broker.start()):
                        return 0
                line = await stack.enter_async_context(showing(options.operations, status, by_default=has_place))
                stack.push_async_callback(self._stop_all)
                code = await self._serve(stop, line, descriptors)
                if not code:
                    announce(describe_stop(self._close_timeout))
        finally:
            self._sockets.close()
        if not code:
            lost = f"; what {self._lost} that died have counted is not among it" if self._lost else ""
            announce(describe_totals(self._closed_by_reason, self._traffic, time.monotonic() - self._began) + lost)
        return code

    def kill(self) -> None:
        """End all processes now."""
        for worker in self._processes:
            worker.kill()
        if self.broker is not None:
            self.broker.kill()

    def _choose_broker(self) -> PrivateBroker | None:
        options = self._options
        if options.broker or not needs_broker(options):
            return None
        if is_own_code(options.app) and find_server() is None:
            return None  # it may do without
        return PrivateBroker(find_broker_folder(options), self._limits)

    async def _serve(self, stop: asyncio.Event, watched_at: Text | None, descriptors: int | None) -> int:
        """Run the workers until told to stop, or until there is no use in it; give the exit code."""
        self._began = time.monotonic()
        running = asyncio.create_task(self._run_all(watched_at, descriptors))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            return 0
        except _GaveUpError as error:
            return error.code
        except BaseExceptionGroup as group:
            given_up, others = group.split(_GaveUpError)
            if others is not None or given_up is None:
                raise
            return max(error.code for error in given_up.exceptions if isinstance(error, _GaveUpError))
        return 0

    async def _run_all(self, watched_at: Text | None, descriptors: int | None) -> None:
        first = self._slots[0]
        first.worker = await self._bring_up(first)  # alone, so that what is wrong is said once
        self._note_filled(first)
        async with asyncio.TaskGroup() as group:
            for slot in self._slots:
                group.create_task(self._keep(slot))
            await asyncio.gather(*(slot.is_filled.wait() for slot in self._slots))
            self._welcome(first.worker, watched_at, descriptors)
            group.create_task(self._renew_when_asked())

    def _welcome(self, worker: WorkerProcess, watched_at: Text | None, descriptors: int | None) -> None:
        options, said = self._options, worker.ready.result()
        folder = find_broker_folder(options) if self.broker is not None else None
        notes = list(notes_on_history(options, folder))
        if is_own_code(options.app) and self.broker is None and not options.broker:
            notes.append("each worker knows only its own clients: no NATS server was found for them to share")
        started = welcome.Started(
            said["name"],
            said["example"],
            said["port"],
            said["policy_port"],
            history=describe_history(options, None if is_own_code(options.app) else folder),
            broker=describe_broker(options),
            notes=tuple(notes),
            watched_at=watched_at,
        )
        for text in welcome.describe(options, started):
            announce(text)
        bounds = {name: value for name, value in options.limits.items() if LIMITS[name].owner is Limits}
        if (warning := welcome.describe_shortage(descriptors, from_options(Limits, bounds))) is not None:
            err.print(warning, style="yellow")

    # The workers

    def find_workers(self) -> dict[str, Ask]:
        """The workers that clients come to now, by name."""
        return {str(slot.number + 1): worker.ask for slot, worker in self._serving()}

    def find_unserved(self) -> list[int]:
        """The numbers of the slots, from 1, whose clients wait, as nobody accepts there."""
        return self._covering.find_unserved()

    def _serving(self) -> Iterator[tuple[Slot, WorkerProcess]]:
        for slot in self._slots:
            if slot.worker is not None and slot.worker.serves:
                yield slot, slot.worker

    async def _keep(self, slot: Slot) -> None:
        """Have a worker in a slot, always."""
        while True:
            async with slot.lock:  # it may be that one is started because of SIGHUP
                if slot.worker is None:
                    slot.worker = await self._bring_up(slot)
                    self._note_filled(slot)
                worker = slot.worker
            is_hung = await self._watch(worker)
            if slot.worker is not worker:
                continue  # it has been replaced
            slot.worker = None
            slot.is_filled.clear()
            self._note_loss(worker, is_hung=is_hung)
            self._covering.update()

    async def _watch(self, worker: WorkerProcess) -> bool:
        """Wait until a worker is over, or does not answer any more; give whether it hangs."""
        longest = self._limits.worker_hang_timeout
        if longest is None:
            await asyncio.shield(worker.over)
            return False
        watching = asyncio.create_task(worker.watch(longest))
        try:
            await asyncio.wait({watching, worker.over}, return_when=asyncio.FIRST_COMPLETED)
            return not worker.over.done()
        finally:
            watching.cancel()

    def _note_loss(self, worker: WorkerProcess, *, is_hung: bool) -> None:
        """Count and say that a worker is gone or going, and see to it that it goes."""
        which = f"worker {worker.slot + 1} (process {worker.pid})"
        if is_hung:
            self.restarts["hung"] += 1
            self._lost += 1
            longest = self._limits.worker_hang_timeout
            logger.error(
                "%s has not answered for %g s (worker_hang_timeout): a handler blocks its event loop, or the process "
                "is stopped. Killing and replacing it",
                which,
                longest,
            )
            self._end(worker.abort())
        elif worker.has_left:
            self.restarts["left"] += 1
            logger.warning("%s was told to end, and not by the supervising process: replacing it", which)
            self._end(worker.stop(self._close_timeout))
        else:
            self.restarts["died"] += 1
            if not worker.ended.done():  # it closed its channel, or does not end
                self._end(worker.stop(self._close_timeout))
                return
            code = worker.ended.result()
            self._lost += bool(code)
            logger.error("%s %s: replacing it", which, describe_end(code))

    def _end(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _note_filled(self, slot: Slot) -> None:
        self._has_served = True
        slot.is_filled.set()
        self._covering.update()

    async def _bring_up(self, slot: Slot) -> WorkerProcess:
        """Start a worker until one serves.

        Raises:
            _GaveUpError: What is wrong has been said, or it went wrong too often.
        """
        failures = 0
        while True:
            await slot.backoff.wait()
            worker = await self._start(slot)
            if worker is not None and worker.serves:
                return worker
            if worker is not None:
                code = worker.ended.result() if worker.ended.done() else 0
                if not self._has_served and code in _EXPLAINED:
                    raise _GaveUpError(code)
                logger.error("worker %d %s before it served", slot.number + 1, worker.describe_failure())
            failures += 1
            if failures >= self._limits.max_worker_starts and not any(self._serving()):
                logger.critical("no worker serves, and %d starts were in vain: giving up", failures)
                raise _GaveUpError(1)

    async def _start(self, slot: Slot) -> WorkerProcess | None:
        """Start a process, and wait until it serves or has ended; ``None`` if the system allows no further one."""
        slot.backoff.begin()
        sockets = self._sockets
        options, url = self._options, None
        if self.broker is not None:
            url = self.broker.url
            options = dataclasses.replace(options, broker=(url,))
        elif options.broker:
            url = ",".join(options.broker)
        task = Task(
            slot=slot.number,
            sockets=[[sock.fileno() for sock in row] for row in sockets.sockets],
            policy_sockets=[sock.fileno() for sock in sockets.policy_sockets],
            lifeline=self._lifeline[0],
            broker=url,
            options=options,
        )
        try:
            worker = WorkerProcess(task, sockets.descriptors, self._note_totals)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot.number + 1, error.strerror)
            return None
        self._processes.add(worker)
        worker.ended.add_done_callback(lambda _: self._forget(worker))
        try:
            await worker.start(self._limits.worker_start_timeout)
        except asyncio.CancelledError:
            worker.kill()
            raise
        return worker

    def _forget(self, worker: WorkerProcess) -> None:
        self._processes.discard(worker)
        worker.close()

    def _note_totals(self, closed_by_reason: dict[str, int], traffic: list[int]) -> None:
        self._closed_by_reason.update({CloseReason[name]: count for name, count in closed_by_reason.items()})
        self._traffic += Traffic(*traffic)

    # SIGHUP

    async def _renew_when_asked(self) -> None:
        while True:
            await self._renew.wait()
            self._renew.clear()
            announce("replacing the workers one by one")
            if await self._renew_all():
                announce(f"all {len(self._slots)} workers are new")

    async def _renew_all(self) -> bool:
        for slot in self._slots:
            await slot.is_filled.wait()
            async with slot.lock:
                worker = await self._start(slot)
                if worker is None or not worker.serves:
                    end = "cannot be started" if worker is None else worker.describe_failure()
                    logger.error("the new worker %d %s: the old one stays, and those after it", slot.number + 1, end)
                    return False
                old, slot.worker = slot.worker, worker
                self._note_filled(slot)
            self.renewals += 1
            if old is not None:
                await old.stop(self._close_timeout)
        return True

    # The end

    async def _stop_all(self) -> None:
        self._sockets.close()
        await asyncio.gather(*(worker.stop(self._close_timeout, for_good=True) for worker in list(self._processes)))
