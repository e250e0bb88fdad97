"""A worker: one of several processes that serve a port together, started by ``workers.py`` as a program of its own.

It is told what to do in one line of JSON over its channel, where no other user can read it, and inherits the listening
sockets. It ends when it is told to, or when the supervising process is gone, whatever ended that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import faulthandler
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from ..errors import ConfigurationError, XMLSocketError
from ..limits import Limits
from ..net import Server
from ..net.policy_server import PolicyServer
from ..net.process import new_event_loop, settle_process, tune_process
from ..operations.workers import answerers as operations_answerers
from ..rooms import Rooms
from .certificates import load_certificate
from .channel import Channel, ChannelClosedError
from .configuration import ServeOptions
from .console import complain, tolerate_any_text
from .daemon import (
    Stopper,
    answering_policy,
    drain,
    holding_signals_back,
    limits_of,
    listening,
    port_served,
)
from .loading import LoadError, Service, load_service
from .logs import start_logging
from .operations import watch
from .reloading import show_load_error

BROKER_VARIABLE: Final = "XMLSOCKET_BROKER"
"""The environment variable by which a handler of one's own learns the broker that its process shares with others."""

_SPARE: Final = 3.0
"""Seconds beyond twice ``close_timeout`` after which a worker whose supervisor is gone ends whatever it does."""


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What a worker is to do.

    Attributes:
        slot: Which of the slots is its own, from 0.
        sockets: Descriptors of the listening sockets, by slot.
        policy_sockets: Descriptors of those of the policy port.
        lifeline: Descriptor that comes to its end when the supervising process ends.
        broker: Address of the broker for a handler of one's own, or ``None``.
        options: What to serve.
    """

    slot: int
    sockets: list[list[int]]
    policy_sockets: list[int]
    lifeline: int
    broker: str | None
    options: ServeOptions

    def to_json(self) -> bytes:
        """Write it as a line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Task:
        """Read it from a line."""
        values: dict[str, Any] = json.loads(line)
        given: dict[str, Any] = values["options"]
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**values | {"options": ServeOptions(**cast("Any", options))})


def main(descriptor: int) -> int:
    """Work.

    Returns:
        The exit code, as that of every command.
    """
    tolerate_any_text()
    faulthandler.enable()  # a worker that hangs is ended by SIGABRT, and says where it hung
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # means something to the supervising process only
    sock = socket.socket(fileno=descriptor)
    task = _receive_task(sock)
    _end_with_supervisor(task)
    try:
        _work(task, sock)
    except ChannelClosedError:
        return 1  # there is nobody to tell
    except LoadError as error:
        show_load_error(error)
        return 2
    except XMLSocketError as error:
        complain(str(error))
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


def _receive_task(sock: socket.socket) -> Task:
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(65_536)
        if not data:
            sys.exit(1)
        line += data
    task = Task.from_json(line)
    for number in (sock.fileno(), task.lifeline, *task.policy_sockets, *(one for row in task.sockets for one in row)):
        os.set_inheritable(number, False)  # for programs that a handler starts
    return task


def _end_with_supervisor(task: Task) -> None:
    close_timeout = task.options.limits.get("close_timeout", Limits().close_timeout) or 0.0

    def watch_it() -> None:
        os.read(task.lifeline, 1)  # nobody writes: this returns when the other end is gone
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * close_timeout + _SPARE)
        os._exit(1)  # a handler blocks the event loop

    with holding_signals_back():
        threading.Thread(target=watch_it, name="lifeline", daemon=True).start()


def _work(task: Task, sock: socket.socket) -> None:
    options = task.options
    start_logging(options.log_level, f"worker {task.slot + 1}")
    tune_process()
    stopper = Stopper()
    if task.broker is not None:
        os.environ[BROKER_VARIABLE] = task.broker
    service = load_service(options)
    context = None if options.tls_cert is None else load_certificate(options.tls_cert, options.tls_key)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(task, sock, service, context, stopper))


async def _serve(
    task: Task, sock: socket.socket, service: Service, context: ssl.SSLContext | None, stopper: Stopper
) -> None:
    stop = await stopper.watch()
    rooms = getattr(service.handler, "rooms", None)
    status = watch(stop)
    status.rooms = rooms if isinstance(rooms, Rooms) else None
    ending = _Ending(stop, task)
    channel = await Channel.open(sock, {"stop": ending.order, "ping": lambda: None, **operations_answerers(status)})
    channel.closed.add_done_callback(lambda _: stop.set())
    app, close_timeout = service.app_handler, limits_of(service).close_timeout
    if app is not None:
        await app.start()
    try:
        async with (
            listening(task.options, service, context, _open(task.sockets[task.slot])) as server,
            answering_policy(task.options, _open(task.policy_sockets)) as policy_server,
        ):
            status.server = server
            status.start()
            channel.answerers |= _covering(server, task, stop)
            settle_process()
            await channel.ask("ready", **_introduce(task, service, server, policy_server))
            await stop.wait()
            await ending.tell(channel)
            await _stop_accepting(server, policy_server, close_timeout)
            if app is not None:
                await drain(app.drain, close_timeout)
    finally:
        status.stop()
        if app is not None:
            await app.close()
    faults = {reason.name: count for reason, count in server.closed_by_reason.items()}
    with contextlib.suppress(ChannelClosedError, TimeoutError):
        await channel.ask("stopped", timeout=close_timeout, closed_by_reason=faults, traffic=list(server.traffic))
    channel.close()


def _introduce(
    task: Task, service: Service, server: Server[Any], policy_server: PolicyServer | None
) -> Mapping[str, Any]:
    return {
        "name": service.name,
        "example": service.example,
        "port": port_served(task.options, server),
        "policy_port": None if policy_server is None else policy_server.port,
    }


class _Ending:
    """Why this worker ends: the supervising process said so, or somebody else, of which it hears then.

    Args:
        stop: Set when it is to end.
        task: Whose sockets are let go of.
    """

    def __init__(self, stop: asyncio.Event, task: Task) -> None:
        self._stop = stop
        self._descriptors = {*task.policy_sockets, *(number for row in task.sockets for number in row)}
        self._was_ordered = False

    def order(self, for_good: bool) -> None:
        """What the supervising process calls. When all end, clients are refused at once rather than left waiting."""
        self._was_ordered = True
        self._stop.set()
        if for_good:
            for number in self._descriptors:
                os.close(number)
            self._descriptors.clear()

    async def tell(self, channel: Channel) -> None:
        """Say that somebody else ended it, so that its clients need not wait for its successor."""
        if not self._was_ordered:
            with contextlib.suppress(ChannelClosedError, TimeoutError):
                await channel.ask("leaving", timeout=1.0)


def _covering(server: Server[Any], task: Task, stop: asyncio.Event) -> dict[str, Callable[..., Any]]:
    """What lets the supervisor have this worker accept from another slot, whose own worker is gone, for a while."""
    covered: dict[int, list[asyncio.Server]] = {}

    async def cover(slot: int) -> None:
        if slot not in covered and not stop.is_set():
            covered[slot] = []
            for sock in _open(task.sockets[slot]):
                covered[slot].append(await server.accept_from(sock))

    async def uncover(slot: int) -> None:
        for place in covered.pop(slot, ()):
            await server.stop_accepting(place)

    return {"cover": cover, "uncover": uncover}


def _open(descriptors: Sequence[int]) -> list[socket.socket]:
    """Make sockets of descriptors, which stay open when the sockets are closed."""
    return list(_duplicates(descriptors))


def _duplicates(descriptors: Sequence[int]) -> Iterator[socket.socket]:
    for number in descriptors:
        yield socket.socket(fileno=os.dup(number))


async def _stop_accepting(server: Server[Any], policy_server: PolicyServer | None, longest: float) -> None:
    with contextlib.suppress(TimeoutError):  # who has not said by then what he wants is sent away
        async with asyncio.timeout(longest):
            await server.stop_accepting()
            if policy_server is not None:
                await policy_server.stop_accepting()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
