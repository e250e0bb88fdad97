"""All connections of a server counted, for whoever watches it: nothing is counted that the connections do not know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from .endpoint import Endpoint, Traffic
from .server import Server

# Looking at so many takes half a millisecond; then the others have their turn.
_SLICE: Final = 500
_NOTHING: Final = Traffic(0, 0, 0, 0)


@dataclass(slots=True)
class Census:
    """What was counted.

    Attributes:
        traffic: What went over all connections since the start.
        tcp: Connections open now that came by TCP.
        unix: Those that came by a Unix socket.
        websocket: Those that speak WebSocket, whatever they came by.
        opening: Clients whose protocol is not known yet, or that have been answered and are about to go.
        backlog: Bytes that wait in this process for all peers to read.
        largest_backlog: Those of the peer for which most wait.
        paused: Connections for which more than ``send_high_water`` bytes wait.
        reading_paused: Connections that are not read from now.
        max_connections: How many there may be, or ``None``.
    """

    traffic: Traffic = _NOTHING
    tcp: int = 0
    unix: int = 0
    websocket: int = 0
    opening: int = 0
    backlog: int = 0
    largest_backlog: int = 0
    paused: int = 0
    reading_paused: int = 0
    max_connections: int | None = None

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self.tcp + self.unix + self.websocket


async def take_census(server: Server[Any]) -> Census:
    """Count the connections of a server, some at a time, so that fifty thousand of them delay no message."""
    listener = server._listener
    census = Census(max_connections=listener.max_connections)
    census.opening = len(listener.openings)
    await _count(listener, census)
    return census


def full_at(server: Server[Any]) -> int | None:
    """The limit on connections of a server, if it is reached and further clients are turned away; else ``None``."""
    listener = server._listener
    limit = listener.max_connections
    return limit if limit is not None and len(listener.connections) + len(listener.openings) >= limit else None


async def take_upstream_census(endpoint: Endpoint[Any]) -> Census:
    """Count the connections that a server has opened for its clients."""
    census = Census()
    await _count(endpoint, census)
    return census


async def _count(endpoint: Endpoint[Any], census: Census) -> None:
    # What a connection closes with that is counted below is not in the sum taken here: each is counted once, and the
    # totals of one census are never below those of the census before.
    traffic = endpoint._closed_traffic
    received, sent, bytes_in, bytes_out = traffic
    for number, connection in enumerate(list(endpoint.connections.values()), 1):
        received += connection._messages_received
        sent += connection._messages_sent
        bytes_in += connection._bytes_received
        bytes_out += connection._bytes_sent
        if connection._websocket is not None:
            census.websocket += 1
        elif isinstance(connection.local_address, str | bytes):
            census.unix += 1
        else:
            census.tcp += 1
        backlog = connection._transport.get_write_buffer_size() + connection._outbox_size
        census.backlog += backlog
        if backlog > census.largest_backlog:
            census.largest_backlog = backlog
        if connection._is_send_paused:
            census.paused += 1
        if connection._is_reading_paused:
            census.reading_paused += 1
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    census.traffic = Traffic(received, sent, bytes_in, bytes_out)
