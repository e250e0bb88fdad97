"""The load for many small rooms: builds ``rooms_load.c``, runs it, reads what it found."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("rooms_load.c")
_PROGRAM: Final = Path(__file__).parents[1] / "build" / "rooms_load"
_TIMEOUT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to do: see the head of ``rooms_load.c``. Without a ``rate`` as fast as the server answers."""

    connections: int = 2_000
    members: int = 10
    speakers: int = 2
    depth: int = 4
    seconds: float = 4.0
    settle: float = 1.0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it: counts, seconds (wall, and of the load's own processor), and times from saying to hearing."""

    said: int
    deliveries: int
    missing: int
    seconds: float
    load_cpu: float
    p50: float
    p99: float


class RunningLoad:
    """A load under way."""

    def __init__(self, load: Load, port: int) -> None:
        build()
        numbers = (load.connections, load.members, load.speakers, load.depth, load.seconds, load.settle, load.rate)
        self._process = subprocess.Popen(
            [str(_PROGRAM), str(port), *map(str, numbers)], stdout=subprocess.PIPE, text=True
        )

    def wait_until_ready(self) -> None:
        """Wait until everybody is in a room, and the load begins."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def finish(self) -> Found:
        """Wait for the end.

        Raises:
            SystemExit: Something came that must not.
        """
        output, _ = self._process.communicate(timeout=_TIMEOUT)
        if self._process.returncode:
            raise SystemExit("the load found a fault")
        return Found(**json.loads(output))


def run_load(load: Load, port: int, ready: Callable[[], object] = lambda: None) -> Found:
    """Run a load to its end; ``ready`` is called when it begins."""
    running = RunningLoad(load, port)
    running.wait_until_ready()
    ready()
    return running.finish()


def build() -> None:
    """Compile it where it is older than its source."""
    if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < _SOURCE.stat().st_mtime:
        _PROGRAM.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(_PROGRAM), str(_SOURCE)], check=True)
