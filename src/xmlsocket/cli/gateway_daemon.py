"""A process that runs a gateway until it is told to stop: what ``gateway`` and ``ruffle serve`` have in common."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import logging
import signal
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from ..errors import ConfigurationError
from ..gateway import Gateway, GatewayOptions, Targets
from ..limits import GatewayLimits, Limits
from ..net import Server
from ..net.process import new_event_loop, settle_process, tune_process
from .certificates import load_certificate, renew_certificate
from .console import announce, printable
from .daemon import Stopper, describe_totals
from .gateway_page import gateway_pages
from .logs import start_logging
from .operations import showing, watch
from .options import KnownLimit
from .ports import find_free_port

logger = logging.getLogger("xmlsocket.gateway")

GATEWAY_LIMITS: Final[Mapping[str, KnownLimit]] = {
    # A slow side stops the other, so nobody is dropped for being slow unless it is asked for.
    limit.name: KnownLimit(
        dataclasses.replace(limit, default=None) if limit.name == "max_send_backlog" else limit, owner
    )
    for owner in (Limits, GatewayLimits)
    for limit in owner.describe()
    if limit.side != "client" or limit.name == "open_timeout"  # it connects to servers, and tries once
}
"""Every limit of a gateway, by its name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What to run.

    Attributes:
        host: Where to listen; ``*`` for every address of the machine.
        port: TCP port; 0 for any that is free.
        targets: Where clients may go.
        mode: See :class:`xmlsocket.gateway.GatewayOptions`.
        speaks_first: See there.
        proxy_protocol: See there.
        tls_cert: File with the certificate chain, or ``None``.
        tls_key: File with its key, where that is not in the same file.
        options: More keyword arguments for ``Gateway.serve``.
        limits: Limits that differ from their defaults.
        log_level: The least level that is logged.
        operations: Where to show metrics and health; ``"none"`` for nowhere, ``None`` for the default.
    """

    host: str
    port: int
    targets: Targets
    mode: str = "messages"
    speaks_first: bool = False
    proxy_protocol: int | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    limits: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    log_level: str = "warning"
    operations: str | None = "none"

    @property
    def listen_host(self) -> str | None:
        """The host as ``serve`` takes it."""
        return None if self.host == "*" else self.host


def run_gateway(settings: GatewaySettings, describe: Callable[[int], Iterable[Text]]) -> None:
    """Run a gateway until SIGTERM or SIGINT, then close gracefully; a second one ends the process at once.

    Args:
        settings: What to run.
        describe: Makes the lines to print once it runs; it is given the port.

    Raises:
        ConfigurationError: The settings cannot work.
        ListenError: The port is taken or needs privilege, or the host is not ours.
    """
    if importlib.util.find_spec("websockets") is None:
        raise ConfigurationError('a gateway needs the package websockets: pip install "xmlsocket[daemon]"')
    start_logging(settings.log_level)
    tune_process()
    stopper = Stopper()
    gateway = _make_gateway(settings)
    options = dict(settings.options)
    if settings.tls_cert is not None:
        options["ssl"] = load_certificate(settings.tls_cert, settings.tls_key)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(settings, gateway, options, describe, stopper))


def _make_gateway(settings: GatewaySettings) -> Gateway:
    own = {name: value for name, value in settings.limits.items() if GATEWAY_LIMITS[name].owner is GatewayLimits}
    how: dict[str, Any] = {
        "mode": settings.mode,
        "speaks_first": settings.speaks_first,
        "proxy_protocol": settings.proxy_protocol,
    }
    return Gateway(settings.targets, GatewayOptions(**how, limits=GatewayLimits(**own)))


async def _run(
    settings: GatewaySettings,
    gateway: Gateway,
    options: Mapping[str, Any],
    describe: Callable[[int], Iterable[Text]],
    stopper: Stopper,
) -> None:
    stop = await stopper.watch()
    limits = {name: value for name, value in settings.limits.items() if GATEWAY_LIMITS[name].owner is Limits}
    close_timeout = limits.get("close_timeout", Limits().close_timeout)
    host = settings.listen_host
    port = settings.port or find_free_port(host)
    status = watch(stop)
    pages = options.get("pages") or gateway_pages(settings.targets, lambda: gateway.links)
    async with (
        showing(settings.operations, status, by_default=settings.port != 0) as watched_at,
        gateway.serve(host, port, **{**options, "pages": pages}, **limits) as running,
    ):
        status.server, status.upstreams, status.count_links = running.server, gateway.upstreams, lambda: gateway.links
        _reload_on_hangup(settings, options.get("ssl"), running.server)
        settle_process()
        began = time.monotonic()
        *lines, last = describe(running.port)
        for line in (*lines, *([watched_at] if watched_at is not None else []), last):
            announce(line)
        await stop.wait()
        announce(f"stopping; connections have {close_timeout:g} s to end, and a second signal ends them now")
    server = running.server
    announce(describe_totals(server.closed_by_reason, server.traffic, time.monotonic() - began))


def _reload_on_hangup(settings: GatewaySettings, context: ssl.SSLContext | None, server: Server[bytes]) -> None:
    """Read policy file and certificate anew at SIGHUP, as daemons do; a file with an error in it changes nothing."""
    policy = settings.options.get("policy")

    def reload() -> None:
        if not isinstance(policy, Path) and context is None:
            logger.warning("SIGHUP reads the policy file and the certificate anew, and there is neither")
        if isinstance(policy, Path):
            try:
                server.reload_policy(policy)
            except ConfigurationError as error:
                logger.error("the old policy stays: %s", error)
            else:
                announce(f"read {printable(str(policy))} anew")
        if context is not None and settings.tls_cert is not None:
            renew_certificate(context, settings.tls_cert, settings.tls_key)

    # Where the process has a terminal, its window may be closed; the signal that says so is taken to stop it.
    if hasattr(signal, "SIGHUP") and not callable(signal.getsignal(signal.SIGHUP)):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
