"""A process that serves until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from rich.text import Text

from ..errors import CloseReason, ConfigurationError, ListenError
from ..limits import Limits, PolicyLimits, from_options
from ..net import Server, Traffic
from ..net import serve as listen
from ..net.policy_answer import PolicyAnswer, load_policy
from ..net.policy_server import PolicyServer, serve_policy
from ..net.ports import listen_error, show_hosts
from ..net.process import new_event_loop, settle_process, tune_process
from ..net.target import check_host, check_path
from . import welcome
from .certificates import load_certificate, renew_certificate
from .configuration import ServeOptions
from .console import announce, err, printable
from .inherited import ServiceSockets, take_service_sockets
from .loading import Service, describe_broker, describe_history, load_service, notes_on_history
from .logs import start_logging
from .operations import watching
from .options import LIMITS

logger = logging.getLogger("xmlsocket.daemon")

HANGUP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)  # Windows has none


@functools.cache
def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask the process to stop.

    SIGHUP is one where there is a terminal, whose window may be closed; a process without asks by it for another thing.
    """
    if HANGUP is not None and os.isatty(0):
        return (signal.SIGTERM, signal.SIGINT, HANGUP)
    return (signal.SIGTERM, signal.SIGINT)


def run_daemon(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT, then close gracefully; a second one ends the process at once.

    Raises:
        ConfigurationError: The options cannot work.
        ListenError: The port is taken or needs privilege, or the host is not ours.
    """
    start_logging(options.log_level)
    tuning = tune_process()
    stopper = Stopper()
    inherited = take_service_sockets()
    options = inherited.adopt(options)
    service = load_service(options)
    context = None if options.tls_cert is None else load_certificate(options.tls_cert, options.tls_key)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(options, service, context, tuning.descriptors, stopper, inherited))


class Stopper:
    """Turns the first signal to stop into an event, and the second into the end of the process.

    Not by the loop's own handlers: those wait their turn, and a user's handler may be what blocks the loop.
    """

    def __init__(self, at_once: Callable[[], object] = lambda: None) -> None:
        """``at_once`` is called before the end that a second signal brings."""
        self._at_once = at_once
        self._stop: Callable[[], object] | None = None
        self._was_asked = False
        for number in stop_signals():
            if signal.getsignal(number) is not signal.SIG_IGN:  # so said whoever started the process
                signal.signal(number, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._was_asked or self._stop is None:
            self._at_once()
            _leave(128 + number)
        self._was_asked = True
        self._stop()

    async def watch(self) -> asyncio.Event:
        """Make the event that the first signal sets, on the running loop."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        with holding_signals_back():
            # Starts the threads that uvloop resolves names with. They inherit the mask, so signals go to this thread:
            # Python hears of one that went to theirs only when the loop turns, and perhaps it never does.
            await loop.getnameinfo(("127.0.0.1", 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        self._stop = lambda: loop.call_soon_threadsafe(event.set)
        parent = parent_process()
        if parent is not None:  # it watches for changed files; without it nobody would ever stop this process
            loop.add_reader(parent.sentinel, event.set)
        return event


@contextlib.contextmanager
def holding_signals_back() -> Iterator[None]:
    """Start threads within: they inherit that no signal to stop goes to them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(code: int) -> NoReturn:
    os.write(2, b"stopped at once; what was not sent is lost\n")
    os._exit(code)


async def _serve(
    options: ServeOptions,
    service: Service,
    context: ssl.SSLContext | None,
    descriptors: int | None,
    stopper: Stopper,
    inherited: ServiceSockets,
) -> None:
    stop = await stopper.watch()
    limits = limits_of(service)
    app = service.app_handler
    if not inherited.connections:
        await refuse_taken_place(options)
    async with watching(options, service, stop) as watched:
        if app is not None:
            await app.start()
        try:
            async with (
                listening(options, service, context, inherited.connections) as server,
                answering_policy(options, inherited.policy) as policy_server,
            ):
                watched.status.server = server
                _reload_on_hangup(options, context, server, policy_server)
                settle_process()
                began = time.monotonic()
                for line in welcome.describe(options, _started(options, service, server, policy_server, watched.line)):
                    announce(line)
                if (warning := welcome.describe_shortage(descriptors, limits)) is not None:
                    err.print(warning, style="yellow")
                await stop.wait()
                announce(describe_stop(limits.close_timeout))
                if app is not None:
                    await drain(app.drain, limits.close_timeout)
        finally:
            if app is not None:
                await app.close()
    announce(describe_totals(server.closed_by_reason, server.traffic, time.monotonic() - began))


async def unless(stop: asyncio.Event, doing: Coroutine[Any, Any, None]) -> bool:
    """Do something, unless told to stop meanwhile; give whether it was done."""
    task, stopping = asyncio.create_task(doing), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


def limits_of(service: Service) -> Limits:
    """The limits of a service's connections."""
    return Limits(**{name: service.options[name] for name in service.options if name in Limits.__slots__})


def port_served(options: ServeOptions, server: Server[Any]) -> int | None:
    """The TCP port that a server listens on; ``None`` for a Unix socket."""
    return server.port if options.path is None else None


def _started(
    options: ServeOptions,
    service: Service,
    server: Server[Any],
    policy_server: PolicyServer | None,
    watched_at: Text | None,
) -> welcome.Started:
    return welcome.Started(
        service.name,
        service.example,
        port_served(options, server),
        None if policy_server is None else policy_server.port,
        history=describe_history(options, service.history_file),
        broker=describe_broker(options),
        notes=tuple(notes_on_history(options, service.history_file)),
        watched_at=watched_at,
    )


def describe_stop(close_timeout: float) -> str:
    """Write the line that says that it stops."""
    return f"stopping; connections have {close_timeout:g} s to end, and a second signal ends them now"


async def drain(what: Callable[[], Awaitable[None]], longest: float) -> None:
    """Let an application answer what it has taken, for so many seconds at most."""
    try:
        async with asyncio.timeout(longest):
            await what()
    except TimeoutError:
        logger.warning("some requests were not answered within close_timeout (%g s)", longest)


def listening(
    options: ServeOptions,
    service: Service,
    context: ssl.SSLContext | None,
    socks: Sequence[socket.socket] = (),
) -> listen[Any]:
    """Make the server; with ``socks`` it listens there, and the options only say what that means.

    Raises:
        ConfigurationError: The policy file cannot be used.
    """
    if socks:
        place: dict[str, Any] = {"sock": socks}
    elif options.path is not None:
        place = {"path": options.path}
    else:
        place = {"host": options.listen_host, "port": options.port}
    return listen(service.handler, **place, ssl=context, policy=_policy_of(options), **service.options)


async def refuse_taken_place(options: ServeOptions) -> None:
    """Look before anything else is opened: the second of two daemons shall hear of the port, not of the history.

    Raises:
        ConfigurationError: There can be no such host or path.
        ListenError: It cannot listen there.
    """
    if options.path is not None:
        check_path(options.path)
        _refuse_taken_path(options.path)
        return
    loop, host, port = asyncio.get_running_loop(), options.listen_host, options.port
    if host:
        check_host(host)
    try:
        server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    except OSError as error:
        raise listen_error(error, show_hosts(host, port)) from error
    server.close()


def _refuse_taken_path(path: str) -> None:
    """Leave a Unix socket alone that somebody listens on; the event loop would put ours in its place.

    Raises:
        ListenError: Somebody does.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return  # nothing there, or left over by a process that is gone
    raise ListenError(f"{path} is taken already; stop whatever listens there, or choose another path")


def _policy_of(options: ServeOptions) -> PolicyAnswer | None:
    """Read the policy file. Where a policy port serves it too, it is judged as players see it there first.

    Raises:
        ConfigurationError: It cannot be read, or has an error.
    """
    if options.policy is None:
        return None
    port = (
        options.policy_served_from
        or options.policy_port
        or (None if options.path is not None else options.port or None)
    )
    return load_policy(Path(options.policy), served_from=port)


@contextlib.asynccontextmanager
async def answering_policy(
    options: ServeOptions, socks: Sequence[socket.socket] = ()
) -> AsyncIterator[PolicyServer | None]:
    """Answer policy requests on the policy port, if there is to be one; with ``socks`` it listens there.

    Raises:
        ConfigurationError: The policy file cannot be used.
        ListenError: It cannot listen.
    """
    if options.policy_port is None or options.policy is None:
        yield None
        return
    bounds = {name: value for name, value in options.limits.items() if LIMITS[name].owner is PolicyLimits}
    host = options.listen_host if options.path is None else None
    limits = from_options(PolicyLimits, bounds)
    async with serve_policy(
        Path(options.policy),
        host,
        options.policy_port,
        sock=socks or None,
        served_from=options.policy_served_from,
        limits=limits,
    ) as server:
        yield server


def _reload_on_hangup(
    options: ServeOptions, context: ssl.SSLContext | None, server: Server[Any], policy_server: PolicyServer | None
) -> None:
    """Read policy file and certificate anew at SIGHUP, as daemons do; a file with an error in it changes nothing."""

    def reload() -> None:
        if options.policy is None and context is None:
            logger.warning("SIGHUP reads the policy file and the certificate anew, and there is neither")
        try:
            if (answer := _policy_of(options)) is not None:
                server.reload_policy(answer)
                if policy_server is not None:
                    policy_server.reload()
                announce(f"read {printable(str(options.policy))} anew")
        except ConfigurationError as error:
            logger.error("the old policy stays: %s", error)
        if context is not None and options.tls_cert is not None:
            renew_certificate(context, options.tls_cert, options.tls_key)

    if HANGUP is not None and HANGUP not in stop_signals():
        asyncio.get_running_loop().add_signal_handler(HANGUP, reload)


def describe_totals(closed_by_reason: Counter[CloseReason], traffic: Traffic, seconds: float) -> str:
    """Write the last line: how long it ran, and what went over it."""
    count = sum(closed_by_reason.values())
    faults = [
        f"{number} x {reason.value}"
        for reason, number in closed_by_reason.most_common()
        if not reason.is_orderly and reason is not CloseReason.CONNECTION_LOST
    ]
    line = (
        f"stopped after {seconds:.1f} s: {count:,} connection{'s' * (count != 1)}, "
        f"{traffic.messages_received:,} messages received, {traffic.messages_sent:,} sent"
    )
    return line + (f" ({'; '.join(faults)})" if faults else "")
