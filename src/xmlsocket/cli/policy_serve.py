"""``policy serve``: a process that answers policy requests and nothing else."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from ..errors import ConfigurationError
from ..limits import PolicyLimits, from_options
from ..net.policy_server import PolicyServer, serve_policy
from ..net.process import new_event_loop, settle_process, tune_process
from ..policy import MASTER_PORT
from .configuration import LOG_LEVELS
from .console import announce, printable
from .daemon import Stopper
from .inherited import take_inherited_sockets
from .logs import start_logging
from .options import KnownLimit, add_limits, choose, explicit, option_name, parse_limit, with_default
from .policy_report import AllowEverybody

logger = logging.getLogger("xmlsocket.policy")

_LIMITS: Final = {
    limit.name: KnownLimit(limit, PolicyLimits) for limit in PolicyLimits.describe() if limit.side == "server"
}


def _serve(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")],
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help=with_default("Name or address to listen on; * for every one of this machine.", "*"),
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65_535,
            help=with_default("TCP port; 0 takes a free one and says which.", "843"),
            show_default=False,
        ),
    ] = None,
    served_from: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=1,
            max=65_535,
            help="The port that players ask, where it is another, as behind a port redirect.",
        ),
    ] = None,
    allow_everybody: AllowEverybody = False,
    log_level: Annotated[
        str,
        typer.Option(metavar="LEVEL", help=f"Least level to log: {', '.join(LOG_LEVELS)}.", case_sensitive=False),
    ] = "warning",
    **limits: str | None,
) -> None:
    """Answer policy requests with a file until Ctrl-C or SIGTERM, and read the file anew at SIGHUP.

    A file in which the linter finds an error is refused; at SIGHUP the old one then stays. Where systemd passes
    listening sockets, those are used, and no privilege is needed. Exits with 0 when it was stopped, 1 when it cannot
    listen, and 2 when the file or an option cannot work.
    """
    level = choose(log_level.lower(), LOG_LEVELS, "--log-level")
    bounds = {
        name: parse_limit(_LIMITS[name].description, value, option_name(name))
        for name, value in explicit(limits).items()
    }
    inherited = take_inherited_sockets()
    if inherited and (host is not None or port is not None):
        raise ConfigurationError("--host and --port mean nothing where systemd passes the sockets; leave them out")
    start_logging(level)
    tune_process()
    stopper = Stopper()
    listening = serve_policy(
        Path(file),  # never text of a policy, whatever its name begins with
        None if host in (None, "*") else host,
        MASTER_PORT if port is None else port,
        sock=inherited or None,
        served_from=served_from,
        allow_everybody=allow_everybody,
        limits=from_options(PolicyLimits, bounds),
    )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(file, listening, stopper))


serve = add_limits(_serve, _LIMITS)


async def _run(file: str, listening: serve_policy, stopper: Stopper) -> None:
    stop = await stopper.watch()
    began = time.monotonic()
    async with listening as server:
        _reload_on_hangup(file, server)
        settle_process()
        announce(f"answering policy requests with {printable(file)} on {_show(server.sockets)}")
        announce("  stop: Ctrl-C, or SIGTERM; SIGHUP reads the file anew")
        await stop.wait()
    done = server.statistics
    announce(
        f"stopped after {time.monotonic() - began:.1f} s: {done.served:,} served, {done.bogus:,} bogus, "
        f"{done.timeouts:,} too slow, {done.left:,} left, {done.refused:,} refused"
    )


def _reload_on_hangup(file: str, server: PolicyServer) -> None:
    def reload() -> None:
        try:
            server.reload()
        except ConfigurationError as error:
            logger.error("the old policy stays: %s", error)
        else:
            announce(f"read {printable(file)} anew")

    # Where the process has a terminal, its window may be closed; the signal that says so is taken to stop it.
    if hasattr(signal, "SIGHUP") and not callable(signal.getsignal(signal.SIGHUP)):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def _show(sockets: Sequence[socket.socket]) -> str:
    return ", ".join(dict.fromkeys(_show_place(sock) for sock in sockets))


def _show_place(sock: socket.socket) -> str:
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"the Unix socket {printable(str(name))}"
    where = "every address of this machine" if name[0] in ("0.0.0.0", "::") else name[0]
    return f"{where}, port {name[1]}"
