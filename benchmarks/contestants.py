"""Who takes part: how each server is started, and which of them this machine has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
POLICY = HERE / "policy.xml"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server: ``command`` with ``{mode}``, ``{port}`` and ``{policy}`` left open, and what it needs to be there."""

    name: str
    title: str
    ours: bool
    command: tuple[str, ...]

    def command_for(self, mode: str, port: int) -> list[str]:
        policy = (str(POLICY),) if mode == "policy" else ()
        if self.name == "daemon":
            app = "relay" if mode == "relay" else "echo"
            return [
                *self.command,
                app,
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                *(("--policy", *policy) if policy else ()),
            ]
        if self.ours:
            return [*self.command, str(port), *policy]
        return [*self.command, mode, str(port), *policy]


_PYTHON = sys.executable
_PEERS = HERE / "peers"
_DAEMON = Path(sys.executable).with_name("xmlsocket")

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("c", "C epoll", False, (str(BUILD / "server"),)),
        Contestant("node", "Node.js net", False, ("node", str(_PEERS / "node_server.js"))),
        Contestant("streams", "asyncio streams", False, (_PYTHON, str(_PEERS / "streams_server.py"))),
        Contestant("twisted", "Twisted", False, (_PYTHON, str(_PEERS / "twisted_server.py"))),
        Contestant("handler", "Handler", True, (_PYTHON, "-m", "benchmarks.servers.echo_handler")),
        Contestant("bytes", "Handler, bytes", True, (_PYTHON, "-m", "benchmarks.servers.echo_bytes")),
        Contestant("coroutine", "coroutine", True, (_PYTHON, "-m", "benchmarks.servers.echo_coroutine")),
        Contestant("daemon", "xmlsocket serve", True, (str(_DAEMON), "serve")),
    )
}


class MissingToolError(Exception):
    """Something that the benchmarks cannot do without is not on this machine."""


def find_missing() -> dict[str, str]:
    """Name the contestants that cannot run here, each with the reason."""
    missing = {}
    if not shutil.which("node"):
        missing["node"] = "node is not installed"
    if not find_spec("twisted"):
        missing["twisted"] = "twisted is not installed"
    if not _DAEMON.exists():
        missing["daemon"] = f"the command {_DAEMON.name} is not installed beside {Path(_PYTHON).name}"
    return missing


def build_programs() -> None:
    """Compile the load generator and the C peer where their sources are newer.

    Raises:
        MissingToolError: There is no C compiler, or it refuses.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    BUILD.mkdir(exist_ok=True)
    for source in (HERE / "loadgen.c", _PEERS / "server.c"):
        program = BUILD / source.stem
        newest = max(path.stat().st_mtime for path in (*source.parent.glob("*.c"), *source.parent.glob("*.h")))
        if program.exists() and program.stat().st_mtime > newest:
            continue
        if not compiler:
            raise MissingToolError("no C compiler found (cc, gcc or clang): the load generator is written in C")
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise MissingToolError(f"{source.name} does not compile (it needs Linux):\n{done.stderr}")
