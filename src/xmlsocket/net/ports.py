"""Why a server cannot listen, in a sentence that says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError, ListenError
from .target import show_address

ACCEPTS_IN_A_TURN: Final = 16
"""What asyncio is told as backlog. It accepts so many in one turn of its loop, and when descriptors run out it logs and
tries again so many times: with a backlog of thousands that would keep the process busy with nothing else."""

_LISTEN = "0A"  # TCP_LISTEN in the tables of the kernel
_ATTEMPTS = 20  # to find a port that is free at all addresses


def listen_error(error: OSError, where: str) -> ListenError:
    """Explain why listening at ``where`` (``host:port`` or a path) failed."""
    port = where.rpartition(":")[2]
    if error.errno is None and "could not bind on any address" in str(error):  # so says asyncio since Python 3.13
        error.errno = errno.EADDRNOTAVAIL
    if error.errno == errno.EADDRINUSE and not port.isdigit():
        text = f"{where} is there already and no socket; remove it or choose another path"
    elif error.errno == errno.EADDRINUSE:
        owner = port_owner(int(port))
        by = f" by {owner}" if owner else ""
        text = f"{where} is taken already{by}; stop that, or choose another port (0 picks a free one)"
    elif error.errno == errno.EACCES and port.isdigit():
        text = (
            f"{where} needs a privilege that this process lacks, as ports below 1024 do; choose a port from 1024 on, "
            "or grant CAP_NET_BIND_SERVICE"
        )
    elif isinstance(error, socket.gaierror):
        text = (
            f"{where}: the host name is unknown; use a name or address of this machine, or leave the host out for all"
        )
    elif error.errno == errno.EADDRNOTAVAIL:
        text = f"{where} is not an address of this machine; use one of its own, or leave the host out for all"
    else:
        text = f"cannot listen on {where}: {error.strerror or error}"
    failure = ListenError(text)
    failure.errno = error.errno
    return failure


def show_hosts(hosts: str | Sequence[str] | None, port: int) -> str:
    """Write where a server listens, for messages."""
    names = [hosts] if isinstance(hosts, str) else list(hosts or ())
    return ", ".join(show_address(name, port) for name in names if name) or f"*:{port}"


async def listen_on_one_port(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], asyncio.BaseProtocol],
    host: str | Sequence[str] | None,
    port: int,
    options: dict[str, Any],
) -> asyncio.Server:
    """Listen on the same port at all addresses; port 0 means one that is free at all of them.

    Raises:
        OSError: It is taken or needs privilege, or an address is not ours.
    """
    server = await loop.create_server(make, host, port, **options)
    for _ in range(_ATTEMPTS):
        ports = [sock.getsockname()[1] for sock in server.sockets]
        if len(set(ports)) == 1:
            break
        # The system chose one for each address, and a client that knows a name would find only one of them.
        server.close()
        await server.wait_closed()
        try:
            server = await loop.create_server(make, host, ports[0], **options)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            server = await loop.create_server(make, host, port, **options)
    return server


def sockets_of(given: socket.socket | Sequence[socket.socket]) -> tuple[socket.socket, ...]:
    """Take one socket or several for several.

    Raises:
        ConfigurationError: There is none.
    """
    socks = (given,) if isinstance(given, socket.socket) else tuple(given)
    if not socks:
        raise ConfigurationError("sock is an empty list: give one bound socket or more")
    return socks


async def listen_on_socket(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], asyncio.BaseProtocol],
    sock: socket.socket,
    options: dict[str, Any],
) -> asyncio.Server:
    """Listen on a socket that somebody has bound; what is at a path of his is his to remove.

    Raises:
        OSError: It cannot listen.
    """
    if sock.family != getattr(socket, "AF_UNIX", None):
        return await loop.create_server(make, sock=sock, **options)
    if sys.version_info >= (3, 13):  # from then on event loops remove the path unless they are told not to
        options = options | {"cleanup_socket": False}
    return await loop.create_unix_server(make, sock=sock, **options)


async def stop_listening(loop: asyncio.AbstractEventLoop, servers: Sequence[asyncio.Server]) -> None:
    """Close listening sockets so that everybody who has been accepted gets his protocol.

    Python's own loop accepts in one turn and makes the protocol in the next, which fails when the server was closed in
    between: so that loop stops to accept first, and closes after it has turned.
    """
    if isinstance(loop, asyncio.SelectorEventLoop):
        for server in servers:
            for sock in server.sockets:
                loop.remove_reader(sock.fileno())
        for _ in range(2):
            await asyncio.sleep(0)
    for server in servers:
        server.close()


def set_backlog(sock: socket.socket, backlog: int) -> None:
    """Let so many connections wait to be accepted, whatever the event loop was told."""
    with sock.dup() as duplicate:
        duplicate.listen(backlog)


def identify_socket(path: str) -> tuple[str, int] | None:
    """Note which socket is at a path; ``None`` for one that is not in the file system."""
    return None if path.startswith("\0") else (path, os.stat(path).st_ino)


def remove_socket(path: str, number: int) -> None:
    """Remove a server's Unix socket from the file system, unless another server has put its own there."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_ino == number:
            os.unlink(path)


def port_owner(port: int) -> str | None:
    """Name the process that listens on a TCP port, where the system tells (Linux, own processes unless root)."""
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if os.path.exists(table)
        for fields in (line.split() for line in Path(table).read_text().splitlines()[1:])
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if not inodes.isdisjoint(_sockets(process)):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return None


def _sockets(process: Path) -> Iterator[str]:
    for link in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since the folder was listed
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link)):
                yield match[1]
