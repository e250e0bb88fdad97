"""Where a client connects to, and why that failed, in a sentence."""

from __future__ import annotations

import errno
import os
import socket
import ssl as tls
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ..errors import ConfigurationError, OpenError, OpenTimeoutError

NEVER: Final = 86_400.0
"""Seconds, where asyncio wants a timeout and another of ours is in force."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address that has been looked at: a host and a port, or the path of a Unix socket.

    Attributes:
        host: Name or address; empty for a Unix socket.
        port: TCP port; 0 for a Unix socket.
        path: Path of the Unix socket, or ``None``.
        tls_context: How to speak TLS, or ``None``.
        server_hostname: The name that the certificate must have.
    """

    host: str
    port: int
    path: str | None
    tls_context: tls.SSLContext | None
    server_hostname: str | None

    def __str__(self) -> str:
        return self.path if self.path is not None else show_address(self.host, self.port)

    def open_error(self, error: OSError) -> OpenError:
        """Explain why there is no connection."""
        if isinstance(error, tls.SSLCertVerificationError):
            text = f"the certificate of {self} is not to be trusted: {error.verify_message}"
        elif isinstance(error, tls.SSLError):
            text = f"no TLS with {self}: {error.reason or error}; does the server speak TLS on that port?"
        elif _is_refusal(error):
            text = f"{self} refused the connection: nothing listens there"
        elif isinstance(error, socket.gaierror):
            text = f"the host of {self} is unknown: {error.strerror}"
        else:
            # asyncio puts words of its own where the system's are.
            reason = os.strerror(error.errno) if error.errno else error.strerror
            text = f"cannot connect to {self}: {reason or error or type(error).__name__}"
        return OpenError(text)

    def timeout_error(self, timeout: float | None) -> OpenTimeoutError:
        """Say that it took too long."""
        return OpenTimeoutError(f"no connection to {self} within open_timeout ({timeout} s)")


def find_target(
    host: str | None,
    port: int | None,
    path: str | os.PathLike[str] | None,
    ssl: tls.SSLContext | bool | None,
    server_hostname: str | None,
) -> Target:
    """Check where a client is told to connect.

    Raises:
        ConfigurationError: The arguments contradict each other or cannot work.
    """
    if (path is None) == (host is None or port is None) or (path is not None and (host, port) != (None, None)):
        raise ConfigurationError("say where to connect: a host and a port, or a path")
    if port is not None:
        check_port(port, lowest=1)
    for name in (host, server_hostname):
        if name is not None:
            check_host(name)
    if path is not None:
        check_path(path)
    context = tls.create_default_context() if ssl is True else ssl or None
    if context is None and server_hostname is not None:
        raise ConfigurationError("server_hostname is the name in a certificate: it needs ssl")
    if context is not None and path is not None and server_hostname is None:
        raise ConfigurationError("TLS over a Unix socket needs server_hostname, the name in the certificate")
    return Target(
        host=host or "",
        port=port or 0,
        path=None if path is None else os.fspath(path),
        tls_context=context,
        server_hostname=server_hostname or host if context is not None else None,
    )


def check_port(port: int, *, lowest: int) -> None:
    """Refuse what is no TCP port.

    Raises:
        ConfigurationError: It is not a whole number from ``lowest`` to 65535.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not lowest <= port <= 65_535:
        raise ConfigurationError(f"a port is a whole number from {lowest} to 65535, not {port!r}")


def check_host(host: str) -> None:
    """Refuse what cannot be the name or address of a host, before the system is asked for it.

    Raises:
        ConfigurationError: It is no text, is empty, has a NUL, or has a label that is empty or over 63 characters.
    """
    if not isinstance(host, str) or not host or "\0" in host:
        raise ConfigurationError(f"{host!r} cannot be the name of a host; it is a text such as 'example.org' or '::1'")
    try:
        host.encode("idna")
    except UnicodeError as error:
        reason = error.__cause__ or error  # the outer one says no more than "encoding failed"
        raise ConfigurationError(f"{host!r} cannot be the name of a host: {reason}") from error


def check_hosts(hosts: str | Sequence[str] | None) -> None:
    """Refuse what a server cannot be told to listen on.

    Raises:
        ConfigurationError: It is no name, address or sequence of them. Empty names are allowed and mean all addresses,
            as ``None`` does.
    """
    is_list = isinstance(hosts, Iterable) and not isinstance(hosts, str | bytes)
    names: list[Any] = list(cast("Iterable[Any]", hosts)) if is_list else [hosts]
    if not names:
        raise ConfigurationError("an empty list of hosts is nowhere to listen; None means all addresses")
    for name in names:
        if name is not None and name != "":
            check_host(name)


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse what cannot be the path of a Unix socket.

    Raises:
        ConfigurationError: It is no text, is empty, or has a NUL elsewhere than at its start (which Linux takes for a
            name outside the file system).
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text[1:]:
        raise ConfigurationError(f"{path!r} cannot be the path of a Unix socket")


def show_address(host: str, port: int) -> str:
    """Write host and port as people do, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def keep_alive(sock: socket.socket) -> None:
    """Have the system find out when the peer is gone without a word; XMLSocket itself has no ping."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _is_refusal(error: OSError) -> bool:
    if isinstance(error, ConnectionRefusedError):
        return True
    # Several addresses were tried, and asyncio joins what they said into one text.
    refusal = f"[Errno {errno.ECONNREFUSED}]"
    parts = str(error).removeprefix("Multiple exceptions: ").split(", [Errno")
    return error.errno is None and all(part.startswith((refusal, refusal.removeprefix("[Errno"))) for part in parts)
