"""Listening sockets that systemd opened for this process: how it serves port 843 without any privilege."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Final

from ..errors import ConfigurationError

_FIRST: Final = 3  # SD_LISTEN_FDS_START: what follows standard input, output and error


def take_inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Take the sockets that were passed by socket activation (``LISTEN_FDS``), or none.

    What tells of them is taken out of the environment, so that no child process believes them to be its own.

    Raises:
        ConfigurationError: Something else than a listening socket was passed.
    """
    told, count = environment.get("LISTEN_PID"), environment.get("LISTEN_FDS", "")
    if told != str(os.getpid()) or not count.isdecimal():
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    return [_take(number) for number in range(_FIRST, _FIRST + int(count))]


def _take(number: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=number)
        is_listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        raise ConfigurationError(
            f"descriptor {number} was passed as a socket, and is none: {error.strerror}"
        ) from error
    if not is_listening:
        raise ConfigurationError(f"descriptor {number} is no listening socket; say ListenStream= in the socket unit")
    os.set_inheritable(number, False)
    return sock
