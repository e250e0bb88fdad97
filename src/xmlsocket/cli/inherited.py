"""Listening sockets that systemd opened for this process: how it serves port 843 without any privilege."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from ..errors import ConfigurationError
from ..net.policy_answer import port_of
from ..policy import MASTER_PORT
from .configuration import ServeOptions

_FIRST: Final = 3  # SD_LISTEN_FDS_START: what follows standard input, output and error
_POLICY: Final = "policy"  # FileDescriptorName= of the socket unit


def take_inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Take the sockets that were passed by socket activation (``LISTEN_FDS``), or none.

    What tells of them is taken out of the environment, so that no child process believes them to be its own.

    Raises:
        ConfigurationError: Something else than a listening socket was passed.
    """
    return [sock for _, sock in _take_all(environment)]


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceSockets:
    """What a daemon was passed to listen on.

    Attributes:
        connections: For its clients.
        policy: For those who ask for the policy file and nothing else.
    """

    connections: Sequence[socket.socket] = ()
    policy: Sequence[socket.socket] = ()

    def adopt(self, options: ServeOptions) -> ServeOptions:
        """Let the options say what is true now: where these sockets are is where it listens.

        Raises:
            ConfigurationError: There is a socket for policy requests, and no policy.
        """
        if self.connections:
            name = self.connections[0].getsockname()
            if isinstance(name, tuple):
                host = "*" if name[0] in ("0.0.0.0", "::") else name[0]
                options = dataclasses.replace(options, host=host, port=name[1], path=None)
            else:
                options = dataclasses.replace(options, path=os.fsdecode(name))
        if self.policy:
            if options.policy is None:
                raise ConfigurationError(f"a socket named {_POLICY} was passed; it needs --policy FILE to answer with")
            options = dataclasses.replace(options, policy_port=port_of(self.policy[0]) or MASTER_PORT)
        return options


def take_service_sockets(environment: MutableMapping[str, str] = os.environ) -> ServiceSockets:
    """Take the sockets of a daemon: those that the socket unit names ``policy`` are for the policy port.

    Raises:
        ConfigurationError: As for :func:`take_inherited_sockets`.
    """
    passed = _take_all(environment)
    return ServiceSockets(
        [sock for name, sock in passed if name != _POLICY], [sock for name, sock in passed if name == _POLICY]
    )


def _take_all(environment: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    told, count = environment.get("LISTEN_PID"), environment.get("LISTEN_FDS", "")
    if told != str(os.getpid()) or not count.isdecimal():
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    socks = [_take(number) for number in range(_FIRST, _FIRST + int(count))]
    names += [""] * (len(socks) - len(names))
    return list(zip(names, socks, strict=False))


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
