"""The command ``xmlsocket serve``, started for a measurement and stopped after it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..processes import find_family, find_free_port, read_cpu_time, read_memory

DEADLINE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon: where it listens, and its first process."""

    port: int
    pid: int

    @property
    def cpu_time(self) -> float:
        """Processor seconds so far, of the daemon with all its children."""
        return read_cpu_time(find_family(self.pid))

    @property
    def memory(self) -> int:
        """Resident bytes, of the daemon with all its children."""
        return read_memory(find_family(self.pid))


@contextlib.contextmanager
def run_daemon(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """Serve on a free port; waits until it accepts connections."""
    port = find_free_port()
    place = ["--host", "127.0.0.1", "--port", str(port), "--max-connections", "10000"]
    command = [sys.executable, "-m", "xmlsocket.cli", "serve", *arguments, *place]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        wait_until_listening(port, process)
        yield Daemon(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody accepts connections at a port."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the daemon does not start") from None
            time.sleep(0.05)
        else:
            return
