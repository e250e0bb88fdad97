"""The listening sockets of a daemon with several workers, which live as long as the daemon.

Each worker has a slot: a socket of its own for every address, all on one port (``SO_REUSEPORT``), among which the
kernel spreads the connections by a hash of both addresses. With one socket for all, whoever wakes first takes all that
wait: of 2,000 connections made one after another, two workers then took 786 and 1,214, and with slots 977 and 1,023.

The sockets belong to the supervising process, and workers inherit them. When a socket of a worker's own is closed, what
waits at it is reset; here nothing is closed until the end: a worker's successor accepts from the same queue, and while
there is none, another worker does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import stat
import sys
from collections.abc import Sequence

from ..errors import ConfigurationError
from ..limits import Limits
from ..net.ports import listen_error, show_hosts
from .configuration import ServeOptions
from .ports import find_free_port


@dataclasses.dataclass(slots=True)
class Slots:
    """The sockets.

    Attributes:
        sockets: Those of each slot.
        policy_sockets: For the policy port, which all workers share: who asks there is gone at once.
        is_shared: Whether all slots have one and the same, as a Unix socket cannot be one of several.
        path: Of the Unix socket.
    """

    sockets: list[list[socket.socket]]
    policy_sockets: list[socket.socket]
    is_shared: bool
    path: str | None = None

    @property
    def descriptors(self) -> list[int]:
        """The descriptors of all of them."""
        return sorted({sock.fileno() for socks in [*self.sockets, self.policy_sockets] for sock in socks})

    def close(self) -> None:
        """Close them: whoever waits is told, as far as no worker has them open any more."""
        for sock in {sock for socks in [*self.sockets, self.policy_sockets] for sock in socks}:
            sock.close()
        if self.path is not None and os.path.exists(self.path):
            os.unlink(self.path)
        self.path = None


def check_system() -> None:
    """Refuse systems where several processes cannot share a port evenly.

    Raises:
        ConfigurationError: This is one.
    """
    if sys.platform != "linux":
        raise ConfigurationError(
            "--workers needs Linux, whose kernel spreads connections over processes; here run one worker, or several "
            "daemons with --broker behind a proxy"
        )


def open_slots(options: ServeOptions) -> Slots:
    """Open and bind the sockets. Whether the place is taken must be known: others may share a port with us silently.

    Raises:
        ListenError: It cannot listen there.
    """
    backlog = int(options.limits.get("accept_backlog") or Limits().accept_backlog)
    policy_sockets: list[socket.socket] = []
    if options.policy_port is not None:
        policy_sockets = _bind(options.listen_host if options.path is None else None, options.policy_port, backlog)
    if options.path is not None:
        shared = [_bind_path(options.path, backlog)]
        return Slots([shared] * options.workers, policy_sockets, is_shared=True, path=options.path)
    first = _bind(options.listen_host, options.port, backlog)
    port = int(first[0].getsockname()[1])
    others = [_bind(options.listen_host, port, backlog) for _ in range(options.workers - 1)]
    return Slots([first, *others], policy_sockets, is_shared=False)


def _bind(host: str | None, port: int, backlog: int) -> list[socket.socket]:
    port = port or find_free_port(host)
    socks: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            sock = socket.socket(family, socket.SOCK_STREAM)
            socks.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
    except OSError as error:
        for sock in socks:
            sock.close()
        raise listen_error(error, show_hosts(host, port)) from error
    return socks


def _addresses(host: str | None, port: int) -> Sequence[tuple[int, tuple[object, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind_path(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)  # nobody listens there: that has been tried
        sock.bind(path)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise listen_error(error, path) from error
    return sock
