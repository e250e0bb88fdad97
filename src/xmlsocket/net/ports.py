"""Why a server cannot listen, in a sentence that says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from ..errors import ListenError

_LISTEN = "0A"  # TCP_LISTEN in the tables of the kernel


def listen_error(error: OSError, where: str) -> ListenError:
    """Explain why listening at ``where`` (``host:port`` or a path) failed."""
    port = where.rpartition(":")[2]
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(int(port)) if port.isdigit() else None
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
