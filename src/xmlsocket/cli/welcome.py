"""What the daemon says when it has started: where to connect, and how to try it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from typing import Final

from rich.text import Text

from ..limits import Limits
from .configuration import ServeOptions

_RESERVE: Final = 64
"""Descriptors that the process needs for other things than connections: listeners, files, the event loop."""

_EVERYWHERE: Final = {
    "*": ("every address of this machine", "localhost"),
    "0.0.0.0": ("every IPv4 address of this machine", "127.0.0.1"),
    "::": ("every IPv6 address of this machine", "::1"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """What there is to say about a daemon that has started.

    Attributes:
        name: Of what it serves.
        example: A message to try it with.
        port: Where it listens, if it does so by TCP.
        policy_port: Where it answers policy requests and nothing else.
        history: Where what is said is kept.
        broker: What joins it with others.
        notes: What else to know.
        watched_at: The line that says where it can be watched.
    """

    name: str
    example: str
    port: int | None
    policy_port: int | None
    history: str | None = None
    broker: str | None = None
    notes: tuple[str, ...] = ()
    watched_at: Text | None = None


def describe(options: ServeOptions, started: Started) -> Iterator[Text]:
    """Write the lines."""
    tls = ", TLS" if options.tls_cert else ""
    if options.path is not None:
        where, address = f"the Unix socket {options.path}", options.path
    else:
        name, host = _describe_host(options.host)
        where = f"{name}, port {started.port}"
        address = f"[{host}]:{started.port}" if ":" in host else f"{host}:{started.port}"
    by = f", by {options.workers} workers" if options.workers > 1 else ""
    yield Text.assemble("serving ", (started.name, "bold"), f" on {where}{tls}{by}")
    flag = "--tls " if options.tls_cert else ""
    yield Text(f"  connect: xmlsocket connect {flag}{shlex.quote(address)}")
    if not options.tls_cert or (options.detect and not options.require_tls):
        yield Text(f"  netcat:  {_netcat(options, started)}")
    if options.path is None and options.websocket and options.detect:
        yield Text(f"  browser: {'https' if options.tls_cert else 'http'}://{address}/")
    if started.history is not None:
        yield Text(f"  history: {started.history}")
    if started.broker is not None:
        yield Text(f"  broker:  {started.broker}")
    yield Text(f"  policy:  {_policy(options, started.policy_port)}")
    if started.watched_at is not None:
        yield started.watched_at
    for note in started.notes:
        yield Text(f"  note:    {note}")
    yield Text("  stop:    Ctrl-C, or SIGTERM")


def _netcat(options: ServeOptions, started: Started) -> str:
    # -w 1 ends every netcat in circulation a second after the last byte; -N and -q are not in all of them.
    if options.path is not None:
        target = f"-U {shlex.quote(options.path)}"
    else:
        target = f"{_describe_host(options.host)[1]} {started.port}"
    return f"printf '{started.example}\\0' | nc -w 1 {target}"


def _describe_host(host: str) -> tuple[str, str]:
    """Name a host to listen on, and one by which clients on this machine reach it."""
    return _EVERYWHERE.get(host, (host, host))


def _policy(options: ServeOptions, policy_port: int | None) -> str:
    if options.policy is None:
        return "none, so Flash Player cannot connect to this port; --policy FILE lets it"
    also = "" if policy_port is None else f", and on port {policy_port}"
    return f"{options.policy}, for whoever asks here{also}"


def describe_shortage(descriptors: int | None, limits: Limits) -> str | None:
    """Say that the system allows fewer connections than the limits do, if it does."""
    if descriptors is None:
        return None
    room = max(descriptors - _RESERVE, 0)
    if limits.max_connections is not None and limits.max_connections <= room:
        return None
    wanted = (
        "no limit on connections" if limits.max_connections is None else f"max_connections {limits.max_connections:,}"
    )
    return (
        f"  note:    this system allows {descriptors:,} descriptors to this process, so about {room:,} connections "
        f"({wanted}); raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or lower max_connections"
    )
