"""What one process can say of itself: its samples, and whether it is well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..net import Server
from ..net.census import full_at
from ..net.upstream import UpstreamEndpoint
from ..rooms import Rooms
from .gathering import broker_samples, history_samples, room_samples, server_samples, upstream_samples
from .lag import LoopLag
from .process import build_info, process_samples
from .samples import Sample


@dataclass(frozen=True, slots=True)
class Health:
    """Whether to leave it running, and whether to send clients to it.

    Attributes:
        faults: Why it is not alive, a sentence each; empty if it is.
        obstacles: Why it is not ready, a sentence each; empty if it is.
    """

    faults: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()


class Status(Protocol):
    """What the operations address shows: one process, or a parent and its workers."""

    def start(self) -> None:
        """Begin to watch the event loop that runs."""

    def stop(self) -> None:
        """End watching."""

    async def samples(self) -> list[Sample]:
        """Gather everything there is now."""
        ...

    async def health(self) -> Health:
        """Find out how it is."""
        ...


class ProcessStatus:
    """The status of this process. What it watches is set as it comes into being.

    Attributes:
        server: The clients' side, once it listens.
        rooms: Those of the application, if it has any.
        history_file: Where they are kept.
        upstreams: A gateway's connections to the servers behind.
        count_links: How many clients a gateway leads.
        is_draining: Whether the process has been told to stop.
    """

    def __init__(self) -> None:
        self.server: Server[Any] | None = None
        self.rooms: Rooms | None = None
        self.history_file: Path | None = None
        self.upstreams: UpstreamEndpoint | None = None
        self.count_links: Callable[[], int] | None = None
        self.is_draining: Callable[[], bool] = lambda: False
        self._lag = LoopLag()
        self._began = time.monotonic()

    def start(self) -> None:
        """See :class:`Status`."""
        self._lag.start()

    def stop(self) -> None:
        """See :class:`Status`."""
        self._lag.stop()

    async def samples(self) -> list[Sample]:
        """See :class:`Status`."""
        loop = asyncio.get_running_loop()
        found = [build_info(loop), Sample("xmlsocket_uptime_seconds", time.monotonic() - self._began)]
        found += self._lag.samples()
        found += process_samples()
        if self.server is not None:
            found += await server_samples(self.server)
            if self.upstreams is not None:
                found += await upstream_samples(self.upstreams, self.server.closed_by_reason)
        if self.count_links is not None:
            found.append(Sample("xmlsocket_gateway_links", self.count_links()))
        if self.rooms is not None:
            found += room_samples(self.rooms)
            found += broker_samples(self.rooms.broker)
        if self.history_file is not None:
            found += history_samples(self.history_file)
        return found

    async def health(self) -> Health:
        """See :class:`Status`. Whoever gets an answer has seen that the loop turns."""
        return Health(obstacles=tuple(self._obstacles()))

    def _obstacles(self) -> Iterator[str]:
        server = self.server
        if self.is_draining():
            yield "it is stopping"
        elif server is None:
            yield "it is starting, and does not accept connections yet"
        elif not (server.is_serving and server.sockets):
            yield "it accepts no connections any more"
        elif (limit := full_at(server)) is not None:
            yield f"max_connections ({limit:,}) is reached, and further clients are turned away"
        if self.rooms is not None and server is not None and not (state := self.rooms.broker.state).is_ready:
            yield state.sentence
