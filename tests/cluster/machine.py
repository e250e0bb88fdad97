"""What the machine lends to fault runs: a network that can be cut in silence, a disk that is soon full, a clock."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _find(program: str, package: str, what: str) -> str:
    if os.geteuid() != 0:
        pytest.skip(f"{what} IS NOT TESTED: it needs root")
    path = shutil.which(program, path=_FOLDERS)
    if path is None:
        pytest.skip(f"{what} IS NOT TESTED: {program} is missing; apt install {package}")
    return path


class FarNetwork:
    """A network namespace with a cable to this one. It has two addresses at each end: for brokers and for clients.

    Cut for brokers, each side sends its packets to an Ethernet address that nobody has: no error, no answer, as behind
    a switch that has died.

    Attributes:
        broker: This side's address for brokers.
        host: That side's address for clients.
        launcher: A command that runs a command there.
    """

    def __init__(self) -> None:
        self._ip = _find("ip", "iproute2", "A PARTITION")
        number = os.getpid() % 512
        subnet = f"198.{18 + number // 256}.{number % 256}"  # of those that RFC 2544 sets aside for tests
        self.broker, self._far_broker, self._client, self.host = (f"{subnet}.{end}" for end in (1, 2, 5, 6))
        self._name, self._cable = f"xmlsocket{os.getpid()}", f"xs{os.getpid()}"
        self.launcher = (self._ip, "netns", "exec", self._name)

    def _run(self, command: str, *, is_there: bool = False) -> None:
        place = ["-n", self._name] if is_there else []
        done = subprocess.run([self._ip, *place, *command.split()], capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise OSError(f"ip {command}: {done.stderr.strip()}")

    def __enter__(self) -> FarNetwork:
        try:
            self._run(f"netns add {self._name}")
            self._run(
                f"link add {self._cable} address 02:00:00:00:00:01 type veth "
                f"peer name far address 02:00:00:00:00:02 netns {self._name}"
            )
            for address in (self.broker, self._client):
                self._run(f"addr add {address}/30 dev {self._cable}")
            for address in (self._far_broker, self.host):
                self._run(f"addr add {address}/30 dev far", is_there=True)
            self._run(f"link set {self._cable} up")
            self._run("link set far up", is_there=True)
            self._run("link set lo up", is_there=True)
        except OSError as error:
            self.__exit__()
            pytest.skip(f"A PARTITION IS NOT TESTED: no network namespaces here: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        for command in (f"link del {self._cable}", f"netns del {self._name}"):
            with contextlib.suppress(OSError):
                self._run(command)

    def cut(self) -> None:
        """Let nothing through between brokers and nodes, in silence. Clients do not notice."""
        self._point("02:00:00:00:00:0f", "02:00:00:00:00:0f")

    def heal(self) -> None:
        self._point("02:00:00:00:00:02", "02:00:00:00:00:01")

    def _point(self, there: str, here: str) -> None:
        self._run(f"neigh replace {self._far_broker} lladdr {there} nud permanent dev {self._cable}")
        self._run(f"neigh replace {self.broker} lladdr {here} nud permanent dev far", is_there=True)


class Clock:
    """The time of day of processes that were started with ``variables``.

    Attributes:
        variables: Environment for them.

    Args:
        folder: For a file of its own.
    """

    def __init__(self, folder: Path) -> None:
        libraries = glob.glob("/usr/lib/*/faketime/libfaketime.so.1") + glob.glob("/usr/lib/faketime/libfaketime.so.1")
        if not libraries:
            pytest.skip("CLOCK JUMPS ARE NOT TESTED: libfaketime is missing; apt install faketime")
        self._file = folder / "clock"
        self.variables = {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Set it to so many seconds after the true time, at once."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)


class SmallDisk:
    """A file system of its own in memory, which can be filled.

    Args:
        folder: Where it is mounted.
        size: In bytes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._size = size
        self._mount = _find("mount", "mount", "A FULL DISK")
        self._umount = _find("umount", "mount", "A FULL DISK")

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir()
        command = [self._mount, "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        if done.returncode:
            pytest.skip(f"A FULL DISK IS NOT TESTED: it cannot be mounted here: {done.stderr.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([self._umount, "-l", str(self.folder)], capture_output=True, timeout=20, check=True)

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        self._ballast.unlink()
