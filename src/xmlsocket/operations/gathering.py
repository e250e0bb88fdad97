"""What a running service has counted, read off its objects when somebody asks. Nothing is counted for this alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import CloseReason
from ..net import Server
from ..net.census import Census, take_census, take_upstream_census
from ..net.upstream import UpstreamEndpoint
from ..rooms import Broker, Rooms
from .samples import Sample

OUTCOMES: Final[Mapping[str, frozenset[CloseReason]]] = {
    "policy": frozenset({CloseReason.POLICY_ANSWERED, CloseReason.POLICY_REFUSED}),
    "http": frozenset({CloseReason.HTTP_ANSWERED}),
    "refused": frozenset(
        {CloseReason.TOO_MANY_CONNECTIONS, CloseReason.TOO_MANY_FROM_ADDRESS, CloseReason.PROTOCOL_REFUSED}
    ),
    "failed": frozenset({CloseReason.HANDSHAKE_FAILED, CloseReason.HANDSHAKE_TIMEOUT, CloseReason.FIRST_BYTE_TIMEOUT}),
}
"""What becomes of clients that are no connection, by the reason for their end."""

_UPSTREAM_FAILURES: Final = {"refused": CloseReason.UPSTREAM_REFUSED, "lost": CloseReason.UPSTREAM_LOST}

_RENAMED: Final[Mapping[str, str]] = {
    "hops_total": "hop_seconds_count",
    "kept_batches": "kept_commit_seconds_count",
    "kept_commit_seconds": "kept_commit_seconds_sum",
    "kept_messages": "kept_messages_total",
    "kept_conflicts": "kept_conflicts_total",
    "kept_lookups": "kept_lookups_total",
    "kept_refused": "kept_refused_total",
    "kept_catch_ups": "kept_catch_ups_total",
    "kept_unreadable": "kept_unreadable_total",
    "kept_lost": "kept_lost_total",
}
"""What brokers call otherwise than Prometheus would have it; parts of one time belong to one name."""


async def server_samples(server: Server[Any]) -> list[Sample]:
    """Read a server's connections, traffic and ends."""
    closed = server.closed_by_reason.copy()  # as of the same turn of the loop in which the census begins
    census = await take_census(server)
    return [*_connections(census, closed), *_traffic(census)]


def _connections(census: Census, closed: Counter[CloseReason]) -> Iterator[Sample]:
    for transport in ("tcp", "unix", "websocket"):
        yield Sample("xmlsocket_connections", getattr(census, transport), {"transport": transport})
    if census.max_connections is not None:
        yield Sample("xmlsocket_connections_limit", census.max_connections)
    yield Sample("xmlsocket_openings", census.opening)
    yield Sample("xmlsocket_clients_total", census.open + closed.total())
    for outcome, reasons in OUTCOMES.items():
        count = sum(closed[reason] for reason in reasons)
        yield Sample("xmlsocket_other_clients_total", count, {"outcome": outcome})
    for reason in CloseReason:
        yield Sample("xmlsocket_closes_total", closed[reason], {"reason": reason.name.lower()})


def _traffic(census: Census) -> Iterator[Sample]:
    traffic = census.traffic
    yield Sample("xmlsocket_messages_received_total", traffic.messages_received)
    yield Sample("xmlsocket_messages_sent_total", traffic.messages_sent)
    yield Sample("xmlsocket_received_bytes_total", traffic.bytes_received)
    yield Sample("xmlsocket_sent_bytes_total", traffic.bytes_sent)
    yield Sample("xmlsocket_send_backlog_bytes", census.backlog)
    yield Sample("xmlsocket_send_backlog_max_bytes", census.largest_backlog)
    yield Sample("xmlsocket_send_paused", census.paused)
    yield Sample("xmlsocket_receive_paused", census.reading_paused)


def room_samples(rooms: Rooms) -> Iterator[Sample]:
    """Count rooms and their members."""
    found = [room for name in rooms.names if (room := rooms.get(name)) is not None]
    yield Sample("xmlsocket_rooms", len(found))
    yield Sample("xmlsocket_members", sum(map(len, found)))


def broker_samples(broker: Broker) -> Iterator[Sample]:
    """Read what a broker says of itself; its counters become metrics by their names."""
    state = broker.state
    yield Sample("xmlsocket_broker_ready", int(state.is_ready))
    for name, value in state.counters.items():
        prefix = "xmlsocket_" if name.startswith("history_") else "xmlsocket_broker_"
        yield Sample(prefix + _RENAMED.get(name, name), value)


def history_samples(file: Path) -> Iterator[Sample]:
    """Look at the size of the history's files."""
    sizes = [size for suffix in ("", "-wal") if (size := _size_of(file.with_name(file.name + suffix))) is not None]
    if sizes:
        yield Sample("xmlsocket_history_file_bytes", sum(sizes))


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:  # not there yet, or no more
        return None


async def upstream_samples(upstreams: UpstreamEndpoint, closed: Counter[CloseReason]) -> list[Sample]:
    """Read a gateway's connections to the servers behind it.

    Args:
        upstreams: Has the connections.
        closed: Why the gateway's clients ended.
    """
    closed, ended = closed.copy(), upstreams.closed_by_reason.total()
    census = await take_upstream_census(upstreams)
    traffic = census.traffic
    failures = [
        Sample("xmlsocket_upstream_failures_total", closed[reason], {"reason": label})
        for label, reason in _UPSTREAM_FAILURES.items()
    ]
    return [
        Sample("xmlsocket_upstream_connections", census.open),
        Sample("xmlsocket_upstream_connects_total", census.open + ended),
        *failures,
        Sample("xmlsocket_upstream_messages_received_total", traffic.messages_received),
        Sample("xmlsocket_upstream_messages_sent_total", traffic.messages_sent),
        Sample("xmlsocket_upstream_received_bytes_total", traffic.bytes_received),
        Sample("xmlsocket_upstream_sent_bytes_total", traffic.bytes_sent),
        Sample("xmlsocket_upstream_send_backlog_bytes", census.backlog),
    ]
