"""What the kernel tells of processes: who belongs to whom, memory, processor time, descriptors. Linux only."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def find_family(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    children: dict[int, list[int]] = {}
    for directory in _PROC.iterdir():
        if directory.name.isdigit():
            try:
                stat = (directory / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(directory.name))
    family = [pid]
    for member in family:  # grows while it is walked
        family += children.get(member, [])
    return family


def read_memory(pids: list[int]) -> int:
    """Sum the resident memory of processes, in bytes. What several of them share is divided among them (PSS)."""
    file, field = ("status", "VmRSS:") if len(pids) == 1 else ("smaps_rollup", "Pss:")
    total = 0
    for pid in pids:
        for line in _read(pid, file).splitlines():
            if line.startswith(field):
                total += int(line.split()[1]) * 1024
    return total


def _read(pid: int, name: str) -> str:
    """Return what the kernel says of a process, or nothing when it has ended."""
    try:
        return (_PROC / str(pid) / name).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def count_descriptors(pids: list[int]) -> int:
    """Count the open descriptors of processes."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(_PROC / str(pid) / "fd"))
        except FileNotFoundError:
            continue  # it ended meanwhile
    return total


def read_cpu_time(pids: list[int]) -> float:
    """Sum the processor seconds that processes, and children of theirs that have ended, have used so far."""
    total = 0.0
    for pid in pids:
        stat = _read(pid, "stat").rpartition(")")[2].split()
        if stat:
            total += sum(map(int, stat[13:15])) / _TICKS
            with contextlib.suppress(OSError):  # it ended meanwhile
                total += time.clock_gettime((~pid << 3) | 2)  # its clock, clock_getcpuclockid(3)
    return total


def read_busy_time() -> float:
    """Return the seconds that all cores together have been busy since the machine started."""
    fields = [int(field) for field in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / _TICKS


def find_free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def choose_cores() -> tuple[set[int], set[int]]:
    """Choose a core for the server and another for the load; both are empty sets on a machine with one core."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) > 1 else (set(), set())
