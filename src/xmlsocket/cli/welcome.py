"""What the daemon says when it has started: where to connect, and how to try it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Final

from rich.text import Text

from ..limits import Limits
from ..net import Server
from ..net.policy_server import PolicyServer
from .configuration import ServeOptions
from .loading import Service

_RESERVE: Final = 64
"""Descriptors that the process needs for other things than connections: listeners, files, the event loop."""

_EVERYWHERE: Final = {
    "*": ("every address of this machine", "localhost"),
    "0.0.0.0": ("every IPv4 address of this machine", "127.0.0.1"),
    "::": ("every IPv6 address of this machine", "::1"),
}


def describe(
    options: ServeOptions,
    service: Service,
    server: Server[Any],
    policy_server: PolicyServer | None,
    watched_at: Text | None = None,
) -> Iterator[Text]:
    """Write the lines; ``watched_at`` is the one that says where the daemon can be watched."""
    tls = ", TLS" if options.tls_cert else ""
    if options.path is not None:
        where, address = f"the Unix socket {options.path}", options.path
    else:
        name, host = _describe_host(options.host)
        where = f"{name}, port {server.port}"
        address = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
    yield Text.assemble("serving ", (service.name, "bold"), f" on {where}{tls}")
    flag = "--tls " if options.tls_cert else ""
    yield Text(f"  connect: xmlsocket connect {flag}{shlex.quote(address)}")
    if not options.tls_cert or (options.detect and not options.require_tls):
        yield Text(f"  netcat:  {_netcat(options, server, service.example)}")
    if options.path is None and options.websocket and options.detect:
        yield Text(f"  browser: {'https' if options.tls_cert else 'http'}://{address}/")
    if service.history_file is not None:
        yield Text(f"  history: {service.history_file}")
    yield Text(f"  policy:  {_policy(options, policy_server)}")
    if watched_at is not None:
        yield watched_at
    yield Text("  stop:    Ctrl-C, or SIGTERM")


def _netcat(options: ServeOptions, server: Server[Any], message: str) -> str:
    # -w 1 ends every netcat in circulation a second after the last byte; -N and -q are not in all of them.
    if options.path is not None:
        target = f"-U {shlex.quote(options.path)}"
    else:
        target = f"{_describe_host(options.host)[1]} {server.port}"
    return f"printf '{message}\\0' | nc -w 1 {target}"


def _describe_host(host: str) -> tuple[str, str]:
    """Name a host to listen on, and one by which clients on this machine reach it."""
    return _EVERYWHERE.get(host, (host, host))


def _policy(options: ServeOptions, policy_server: PolicyServer | None) -> str:
    if options.policy is None:
        return "none, so Flash movies from other hosts cannot connect; --policy FILE lets them"
    also = "" if policy_server is None else f", and on port {policy_server.port}"
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
