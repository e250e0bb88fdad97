"""``--reload``: serve in a process of its own, and start it anew when a file changes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

from ..errors import ConfigurationError, XMLSocketError
from ..limits import Limits
from .configuration import ServeOptions
from .console import complain, err, note, printable, tolerate_any_text
from .daemon import run_daemon
from .loading import LoadError, is_own_code
from .ports import find_free_port

LOAD_FAILED: Final = 3
"""Exit code of the serving process when the user's code cannot be used: the next change may mend it."""

_INTERVAL: Final = 0.25
"""Least seconds between two looks at the files; a large tree is looked at less often, for a tenth of the time."""

_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})

Snapshot = dict[str, tuple[int, int]]


def run_reloading(options: ServeOptions) -> int:
    """Serve, and serve anew after each change of a Python file below the current directory.

    Returns:
        The exit code: that of the serving process when it ended by itself.

    Raises:
        ConfigurationError: It is not the user's own code that is served.
    """
    if not is_own_code(options.app):
        raise ConfigurationError(f"--reload watches your own code, as in module:handler; {options.app} has none")
    return _Supervisor(options).run()


class _Supervisor:
    def __init__(self, options: ServeOptions) -> None:
        if options.path is None and options.port == 0:  # the same one each time
            options = dataclasses.replace(options, port=find_free_port(options.listen_host))
        self._options = options
        self._child: BaseProcess | None = None
        self._is_stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)
        before = take_snapshot()
        self._start()
        while True:
            code = self._child.exitcode if self._child is not None else None
            if self._is_stopping or (code is not None and code != LOAD_FAILED):
                self._end_child()
                return 0 if self._is_stopping else code or 0
            began = time.monotonic()
            now = take_snapshot()
            if changed := find_changes(before, now):
                note(f"{', '.join(changed[:3])}{' and others' if len(changed) > 3 else ''} changed: starting anew")
                self._end_child()
                before = now
                if not self._is_stopping:
                    self._start()
            time.sleep(max(_INTERVAL, 9 * (time.monotonic() - began)))

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True
        if self._child is not None and self._child.is_alive():
            self._child.terminate()  # the first time to end gracefully, the second time at once

    def _start(self) -> None:
        # Ctrl-C reaches all processes of the terminal. The serving one is to hear of it from this one only, or it would
        # take one key for two signals.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._child = multiprocessing.get_context("spawn").Process(target=_serve_once, args=(self._options,))
        self._child.start()
        signal.signal(signal.SIGINT, before)

    def _end_child(self) -> None:
        child = self._child
        if child is None:
            return
        if child.is_alive() and not self._is_stopping:
            child.terminate()
        close_timeout = self._options.limits.get("close_timeout", Limits().close_timeout) or 0.0
        child.join(2 * close_timeout + 5)
        if child.is_alive():
            err.print("the serving process does not end: killing it", style="yellow")
            child.kill()
            child.join()


def _serve_once(options: ServeOptions) -> None:
    tolerate_any_text()
    # Compiled files are told apart by the second and the size of their source, which is too coarse for two quick edits.
    sys.dont_write_bytecode = True
    try:
        run_daemon(options)
    except LoadError as error:
        show_load_error(error)
        note("waiting for the next change")
        sys.exit(LOAD_FAILED)
    except ConfigurationError as error:
        complain(str(error))
        sys.exit(2)
    except XMLSocketError as error:
        complain(str(error))
        sys.exit(1)


def show_load_error(error: LoadError) -> None:
    """Show what is wrong with the user's code."""
    for line in error.trace.splitlines():
        err.print(printable(line))
    complain(str(error))


def take_snapshot(top: str = ".") -> Snapshot:
    """Look at every Python file below a directory, but for hidden folders, virtual environments and the like."""
    return dict(_look(top))


def _look(top: str) -> Iterator[tuple[str, tuple[int, int]]]:
    for folder, folders, files in os.walk(top):
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and name not in _SKIPPED and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        ]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                try:
                    state = os.stat(path)
                except OSError:
                    continue  # gone since the folder was listed
                yield os.path.relpath(path, top), (state.st_mtime_ns, state.st_size)


def find_changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Name the files that are new, gone or different."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
