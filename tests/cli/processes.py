"""The console script as people run it: a process of its own, real sockets, and what it prints."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SCRIPT = str(Path(sys.executable).with_name("xmlsocket"))
DEADLINE = 30.0
"""Seconds after which a test that waits for something has failed."""


def environment(**extra: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PY_COLORS", "COLUMNS")}
    return {**plain, "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1", **extra}


def run(
    *arguments: str, input: bytes | None = b"", cwd: Any = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [SCRIPT, *arguments], input=input, capture_output=True, timeout=DEADLINE, cwd=cwd, env=env or environment()
    )


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds, and give what it gave."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE} s: {what}")


class Daemon:
    """A running ``xmlsocket serve``; its output is collected while it runs."""

    def __init__(self, arguments: Sequence[str], **options: Any) -> None:
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
        self.pieces: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self.threads = [threading.Thread(target=self._collect, args=(name,), daemon=True) for name in self.pieces]
        for thread in self.threads:
            thread.start()

    def _collect(self, name: str) -> None:
        stream = getattr(self.process, name)
        while data := os.read(stream.fileno(), 65_536):
            self.pieces[name].append(data)

    @property
    def stdout(self) -> str:
        return b"".join(self.pieces["stdout"]).decode()

    @property
    def stderr(self) -> str:
        return b"".join(self.pieces["stderr"]).decode()

    def wait_for(self, pattern: str, stream: str = "stdout", count: int = 1) -> re.Match[str]:
        """Wait until a pattern is in the output for the ``count``-th time."""

        def found() -> re.Match[str] | None:
            matches = list(re.finditer(pattern, getattr(self, stream), re.MULTILINE))
            if len(matches) < count and self.process.poll() is not None:
                for thread in self.threads:
                    thread.join(DEADLINE)
                matches = list(re.finditer(pattern, getattr(self, stream), re.MULTILINE))
                assert len(matches) >= count, f"ended with {self.process.returncode}: {self.stdout}\n{self.stderr}"
            return matches[count - 1] if len(matches) >= count else None

        return until(found, f"{pattern!r} in\n{self.stdout}\n{self.stderr}")

    @property
    def port(self) -> int:
        self.wait_for(r"^  stop:")
        return int(self.wait_for(r"port (\d+)")[1])

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end, and give the exit code."""
        code = self.process.wait(DEADLINE)
        for thread in self.threads:
            thread.join(DEADLINE)
        return code

    def stop(self) -> int:
        self.send_signal(signal.SIGTERM)
        return self.wait()


@contextlib.contextmanager
def serving(*arguments: str, listen: Sequence[str] = ("--port", "0"), **options: Any) -> Iterator[Daemon]:
    """Run ``xmlsocket serve``, by default on a free port, and stop it at the end."""
    options.setdefault("env", environment())
    daemon = Daemon([SCRIPT, "serve", *arguments, *listen], **options)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.process.wait(10)
            except subprocess.TimeoutExpired:
                daemon.process.kill()
        daemon.wait()
        daemon.process.stdout.close()
        daemon.process.stderr.close()


class Client:
    """A plain TCP socket that cuts what it reads at the NULs; nothing of ours is in it."""

    def __init__(self, port: int, host: str = "localhost") -> None:
        self.sock = socket.create_connection((host, port), DEADLINE)
        self.rest = b""

    def send(self, *messages: str) -> None:
        self.sock.sendall("".join(message + "\0" for message in messages).encode())

    def receive(self) -> str:
        while b"\0" not in self.rest:
            data = self.sock.recv(65_536)
            assert data, f"the stream ended after {self.rest!r}"
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return message.decode()

    def read_all(self) -> list[str]:
        """Everything up to the end of the stream; the last message must be whole."""
        pieces = [self.rest]
        while data := self.sock.recv(65_536):
            pieces.append(data)
        *messages, tail = b"".join(pieces).split(b"\0")
        assert tail == b"", f"a message was cut: {tail!r}"
        return [message.decode() for message in messages]

    def is_readable(self) -> bool:
        return bool(self.rest) or bool(select.select([self.sock], [], [], 0)[0])

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(port: int, *messages: str) -> list[str]:
    """Send messages, end our direction, and give all answers."""
    with Client(port) as client:
        client.send(*messages)
        client.sock.shutdown(socket.SHUT_WR)
        return client.read_all()
