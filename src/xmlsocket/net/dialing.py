"""A connected socket for the blocking client."""

from __future__ import annotations

import socket
import time
from typing import Any

from .target import Target, keep_alive


def dial(target: Target, timeout: float | None) -> socket.socket:
    """Connect, with the TLS handshake where one is asked for; the socket is then set not to block.

    Raises:
        OpenError: Unknown host, refused, unreachable, wrong certificate.
        OpenTimeoutError: Not open within the timeout; looking up the name may take longer.
    """
    try:
        return _try_all(target, None if timeout is None else time.monotonic() + timeout)
    except TimeoutError as error:
        if error.errno is not None:  # the system's own, ETIMEDOUT
            raise target.open_error(error) from error
        raise target.timeout_error(timeout) from error
    except OSError as error:  # the errors of TLS and of name resolution are among them
        raise target.open_error(error) from error


def _try_all(target: Target, deadline: float | None) -> socket.socket:
    if target.path is not None:
        return _try(target, socket.AF_UNIX, target.path, deadline)
    failure: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        try:
            return _try(target, family, address, deadline)
        except OSError as error:
            failure = error
    raise failure or OSError("the name has no address")


def _try(target: Target, family: int, address: Any, deadline: float | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(_remaining(deadline))
        sock.connect(address)
        keep_alive(sock)
        if target.path is None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls_context is not None:
            sock = target.tls_context.wrap_socket(
                sock, server_hostname=target.server_hostname, do_handshake_on_connect=False
            )
            sock.settimeout(_remaining(deadline))
            sock.do_handshake()
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
