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
    """A server, and how it is started.

    In ``command`` stand ``{mode}`` (``echo``, ``relay``, ``policy``), ``{app}`` (the same for ``xmlsocket serve``),
    ``{port}`` and ``{upstream}`` (the port of the server behind a gateway); ``policy_option`` follows where the policy
    is asked for.
    """

    name: str
    title: str
    ours: bool
    command: tuple[str, ...]
    policy_option: tuple[str, ...] = (str(POLICY),)

    def command_for(self, mode: str, port: int, upstream: int = 0) -> list[str]:
        app = "relay" if mode == "relay" else "echo"
        command = [part.format(mode=mode, app=app, port=port, upstream=upstream) for part in self.command]
        return [*command, *(self.policy_option if mode == "policy" else ())]


_PYTHON = sys.executable
_PEERS = HERE / "peers"
_DAEMON = Path(sys.executable).with_name("xmlsocket")
_WS = HERE.parent / "tests" / "npm" / "node_modules" / "ws"


def _peer(name: str, title: str, *command: str) -> Contestant:
    return Contestant(name, title, False, command)


def _own(name: str, title: str, *command: str) -> Contestant:
    return Contestant(name, title, True, (_PYTHON, "-m", *command))


def _script(name: str) -> str:
    return str(_PEERS / name)


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        _peer("c", "C epoll", str(BUILD / "server"), "{mode}", "{port}"),
        _peer("node", "Node.js net", "node", _script("node_server.js"), "{mode}", "{port}"),
        _peer("streams", "asyncio streams", _PYTHON, _script("streams_server.py"), "{mode}", "{port}"),
        _peer("twisted", "Twisted", _PYTHON, _script("twisted_server.py"), "{mode}", "{port}"),
        _peer("c-ws", "C WebSocket", str(BUILD / "websocket_server"), "{mode}", "{port}"),
        _peer("node-ws", "Node.js ws", "node", _script("node_websocket.js"), "{mode}", "{port}", "plain"),
        _peer("node-cork", "Node.js ws, corked", "node", _script("node_websocket.js"), "{mode}", "{port}", "corked"),
        _peer("websockets", "websockets", _PYTHON, _script("websockets_server.py"), "{mode}", "{port}"),
        _peer("node-gateway", "Node.js ws + net", "node", _script("node_gateway.js"), "{port}", "{upstream}"),
        _peer("websockify", "websockify", _PYTHON, "-m", "websockify", "127.0.0.1:{port}", "127.0.0.1:{upstream}"),
        _own("handler", "Handler", "benchmarks.servers.echo_handler", "{port}"),
        _own("bytes", "Handler, bytes", "benchmarks.servers.echo_bytes", "{port}"),
        _own("coroutine", "coroutine", "benchmarks.servers.echo_coroutine", "{port}"),
        _own("room-memory", "room in memory", "benchmarks.servers.kept_room", "memory", "{port}"),
        _own("room-sqlite", "kept room", "benchmarks.servers.kept_room", "sqlite", "{port}"),
        Contestant(
            "daemon",
            "xmlsocket serve",
            True,
            (str(_DAEMON), "serve", "{app}", "--host", "127.0.0.1", "--port", "{port}"),
            ("--policy", str(POLICY)),
        ),
        Contestant(
            "gateway",
            "xmlsocket gateway",
            True,
            (str(_DAEMON), "gateway", "--listen", "127.0.0.1:{port}", "--target", "127.0.0.1:{upstream}"),
        ),
    )
}


class MissingToolError(Exception):
    """Something that the benchmarks cannot do without is not on this machine."""


def find_missing() -> dict[str, str]:
    """Name the contestants that cannot run here, each with the reason."""
    missing = {}
    if not shutil.which("node"):
        missing["node"] = "node is not installed"
    for name in ("node-ws", "node-cork", "node-gateway"):
        if not shutil.which("node"):
            missing[name] = "node is not installed"
        elif not _WS.exists():
            missing[name] = "the npm package ws is not installed; make browsers does that"
    for name in ("twisted", "websockets", "websockify"):
        if not find_spec(name):
            missing[name] = f"{name} is not installed"
    if not _DAEMON.exists():
        for name in ("daemon", "gateway"):
            missing[name] = f"the command {_DAEMON.name} is not installed beside {Path(_PYTHON).name}"
    return missing


def build_programs() -> None:
    """Compile the load generator and the C peers where their sources are newer.

    Raises:
        MissingToolError: There is no C compiler, or it refuses.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    BUILD.mkdir(exist_ok=True)
    for source in (HERE / "loadgen.c", _PEERS / "server.c", _PEERS / "websocket_server.c"):
        program = BUILD / source.stem
        newest = max(path.stat().st_mtime for path in (source, *HERE.glob("*.h"), *_PEERS.glob("*.h")))
        if program.exists() and program.stat().st_mtime > newest:
            continue
        if not compiler:
            raise MissingToolError("no C compiler found (cc, gcc or clang): the load generator is written in C")
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise MissingToolError(f"{source.name} does not compile (it needs Linux):\n{done.stderr}")
