"""Where a daemon shows how it is: the option ``--operations``, and its default."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.text import Text

from ..errors import ConfigurationError, ListenError
from ..operations import ProcessStatus, Status, serve_operations
from ..rooms import Rooms
from .options import NO_LIMIT, parse_port, with_default

if TYPE_CHECKING:
    from .configuration import ServeOptions
    from .loading import Service

DEFAULT_PORT: Final = 9464
OPERATIONS_HELP: Final = with_default(
    "Show /metrics, /healthz and /readyz here, for Prometheus and xmlsocket top; without HOST to this machine only, by "
    "*:PORT to all; none shows nothing.",
    f"localhost:{DEFAULT_PORT}, if that is free",
)


class Place(NamedTuple):
    """Where to listen.

    Attributes:
        host: ``*`` for every address of this machine.
        port: 0 for any that is free.
    """

    host: str
    port: int


def parse_operations(text: str, where: str) -> Place | None:
    """Read ``[HOST:]PORT``, or ``none``.

    Raises:
        ConfigurationError: It is neither.
    """
    text = text.strip()
    if text.lower() == NO_LIMIT:
        return None
    host, colon, port = text.rpartition(":")
    if colon and not host:
        raise ConfigurationError(f"{where} must say *{text} for every address, or {port} for this machine only")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise ConfigurationError(f"{where} must be [HOST:]PORT, with an IPv6 address in brackets, not {text!r}")
    return Place(host.strip("[]") or "localhost", parse_port(port, f"the port of {where}"))


@asynccontextmanager
async def showing(chosen: str | None, status: Status, *, by_default: bool = True) -> AsyncIterator[Text | None]:
    """Show a status until the end of the ``async with`` block; gives the line that says where.

    By default too, so that a service can be looked at without having been prepared for it; but not at any price:
    nobody asked, so a port that is taken is no reason not to serve.

    Args:
        chosen: The option, or ``None`` where it was not given.
        status: What to show.
        by_default: Whether to show anything where it was not given.

    Raises:
        ConfigurationError: What was chosen cannot be.
        ListenError: The port that was chosen is taken or needs privilege, or the host is not ours.
    """
    place = Place("localhost", DEFAULT_PORT)
    if chosen is not None:
        named = parse_operations(chosen, "--operations")
        by_default, place = named is not None, named or place
    elif importlib.util.find_spec("websockets") is None:
        by_default = False  # the requests could not be read
    if not by_default:
        yield None
        return
    serving = serve_operations(status, None if place.host == "*" else place.host, place.port)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serving)
        except ListenError:
            if chosen is not None:
                raise
            line = Text(f"  watch:   nowhere, as {place.host}:{place.port} is taken; --operations PORT chooses another")
        else:
            line = _describe(place, server.port)
        yield line


def watch(stop: asyncio.Event) -> ProcessStatus:
    """Make the status of this process.

    Args:
        stop: Set when it is told to stop.
    """
    status = ProcessStatus()
    status.is_draining = stop.is_set
    return status


@dataclass(frozen=True, slots=True)
class Watched:
    """A daemon that shows how it is.

    Attributes:
        status: What it shows; whoever starts the server puts it in.
        line: Where, for the welcome.
    """

    status: ProcessStatus
    line: Text | None


@asynccontextmanager
async def watching(options: ServeOptions, service: Service, stop: asyncio.Event) -> AsyncIterator[Watched]:
    """Show how a daemon is, from before it listens until it has stopped.

    One on a port that the system chooses shows nothing unless asked to: there may be many of them.

    Args:
        options: Of the daemon.
        service: What it serves.
        stop: Set when it is told to stop.

    Raises:
        ConfigurationError: As :func:`showing`.
        ListenError: As :func:`showing`.
    """
    status = watch(stop)
    rooms = getattr(service.handler, "rooms", None)
    status.rooms = rooms if isinstance(rooms, Rooms) else None
    status.history_file = service.history_file
    has_place = options.path is not None or options.port != 0
    async with showing(options.operations, status, by_default=has_place) as line:
        yield Watched(status, line)


def _describe(place: Place, port: int) -> Text:
    host = "localhost" if place.host in ("*", "0.0.0.0", "::") else place.host
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = "xmlsocket top" if shown == f"localhost:{DEFAULT_PORT}" else f"xmlsocket top {shown}"
    return Text(f"  watch:   {command}; http://{shown}/metrics")
