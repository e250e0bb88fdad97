"""A free port for every address of a host."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

_ATTEMPTS: Final = 20


def find_free_port(host: str | None) -> int:
    """Find a TCP port that is free on all addresses of a host, ``None`` for all of this machine.

    The system chooses a port for one socket at a time, so a server that listens on IPv4 and IPv6 would get two. Where
    none is found, or the host is unknown, 0: listening then says what is wrong.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return 0
    addresses = sorted({(family, str(address[0])) for family, _, _, _, address in found})
    for _ in range(_ATTEMPTS):
        with contextlib.ExitStack() as probes:
            port = 0
            try:
                for family, address in addresses:
                    probe = probes.enter_context(socket.socket(family, socket.SOCK_STREAM))
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    probe.bind((address, port))
                    port = int(probe.getsockname()[1])
            except OSError:
                continue  # taken on one of the others
            return port
    return 0
