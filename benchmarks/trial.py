"""One trial: start a server, put a load on it, see that nothing was lost and nothing left behind, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from . import processes
from .contestants import BUILD, CONTESTANTS, HERE, POLICY, Contestant
from .scenarios import Scenario

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
LOAD_TIMEOUT = 120.0
RELEASE_TIMEOUT = 5.0
SPARE_DESCRIPTORS = 8


class TrialError(Exception):
    """A server did not start, lost or altered something, died, or kept connections that had ended."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run showed. Rates are per second, times in the unit of their name, ``others`` in cores.

    ``frames`` came from the server over WebSocket; ``odd_frames`` of them did not hold exactly one whole message.
    """

    scenario: str
    contestant: str
    round: int
    messages: int
    seconds: float
    rate: float
    latency_p50_us: float
    latency_p99_us: float
    client_cpu: float
    server_cost_us: float
    memory_kib: float | None
    others: float
    frames: int = 0
    odd_frames: int = 0


def _pin(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


def _wait_until_listening(server: subprocess.Popen[bytes], port: int, errors: IO[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        if server.poll() is not None:
            raise TrialError(f"the server ended with {server.returncode} before it listened:\n{_tail(errors)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise TrialError(f"the server did not listen within {START_TIMEOUT:.0f} s") from None
            time.sleep(0.01)
        else:
            return


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read()[-1500:].decode(errors="replace").strip()


@contextlib.contextmanager
def _running(
    contestant: Contestant, mode: str, port: int, cores: set[int], upstream: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as errors:
        server = subprocess.Popen(
            contestant.command_for(mode, port, upstream),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=HERE.parent,
            preexec_fn=lambda: _pin(cores),  # safe: this process has one thread
        )
        try:
            _wait_until_listening(server, port, errors)
            try:
                yield server
            except TrialError as error:
                said = _tail(errors)
                raise TrialError(f"{error}; the server said:\n{said}" if said else str(error)) from None
            if server.poll() is not None:
                raise TrialError(f"the server died under the load with {server.returncode}:\n{_tail(errors)}")
        finally:
            server.terminate()
            try:
                server.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextlib.contextmanager
def _upstream(scenario: Scenario, cores: set[int]) -> Iterator[tuple[int, list[int]]]:
    """Run the server behind a gateway, on the load's core; give its port and process, if one is needed."""
    if not scenario.has_upstream:
        yield 0, []
        return
    port = processes.find_free_port()
    with _running(CONTESTANTS["c"], "echo", port, cores) as server:
        yield port, [server.pid]


def _expect_release(pid: int, before: int) -> None:
    """All connections are over: the server must have let go of them."""
    deadline = time.monotonic() + RELEASE_TIMEOUT
    while (held := processes.count_descriptors(processes.find_family(pid)) - before) > SPARE_DESCRIPTORS:
        if time.monotonic() > deadline:
            raise TrialError(f"the server still holds {held} descriptors {RELEASE_TIMEOUT:.0f} s after the load ended")
        time.sleep(0.02)


def _communicate(load: subprocess.Popen[str], server: int, *, is_idle: bool) -> tuple[str, str, int]:
    memory = 0
    if is_idle and load.stdout and load.stdout.readline():
        memory = processes.read_memory(processes.find_family(server))
    output, errors = load.communicate("go on\n" if is_idle and load.poll() is None else None, LOAD_TIMEOUT)
    return output, errors, memory


def _load_command(scenario: Scenario, port: int, server: int, seconds: float, warm_up: float) -> list[str]:
    return [
        *(str(BUILD / "loadgen"), *scenario.load, "--port", str(port), "--policy", str(POLICY)),
        *("--seconds", str(seconds), "--warm-up", str(warm_up), "--server-pids", str(server)),
        *(("--server-children",) if scenario.has_upstream else ()),
    ]


def run_trial(
    scenario: Scenario, contestant: Contestant, *, round_number: int, seconds: float, warm_up: float
) -> Trial:
    """Run one scenario once on one server.

    Raises:
        TrialError: Anything went wrong; what, is in the text.
    """
    server_cores, load_cores = processes.choose_cores()
    port = processes.find_free_port()
    with (
        _upstream(scenario, load_cores) as (upstream_port, upstream),
        _running(contestant, scenario.mode, port, server_cores, upstream_port) as server,
    ):
        family = processes.find_family(server.pid)
        descriptors, memory = processes.count_descriptors(family), processes.read_memory(family)
        started, busy, own = time.monotonic(), processes.read_busy_time(), _own_cpu([*family, *upstream])
        load = subprocess.Popen(
            _load_command(scenario, port, server.pid, seconds, warm_up),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: _pin(load_cores),  # safe: this process has one thread
        )
        try:
            output, errors, memory_held = _communicate(load, server.pid, is_idle=scenario.is_idle)
        except subprocess.TimeoutExpired:
            raise TrialError(f"the load did not end within {LOAD_TIMEOUT:.0f} s") from None
        finally:
            load.kill()
            load.wait()
        if load.returncode != 0:
            raise TrialError(errors.strip() or f"the load generator ended with {load.returncode}")
        own = _own_cpu([*processes.find_family(server.pid), *upstream]) - own
        others = (processes.read_busy_time() - busy - own) / (time.monotonic() - started)
        _expect_release(server.pid, descriptors)
    result = json.loads(output.splitlines()[-1])
    if contestant.ours and result["odd_frames"]:
        raise TrialError(f"{result['odd_frames']} of {result['frames']} frames did not hold exactly one whole message")
    return Trial(
        scenario=scenario.name,
        contestant=contestant.name,
        round=round_number,
        messages=result["messages"],
        seconds=result["seconds"],
        rate=result["rate"],
        latency_p50_us=result["latency_p50_us"],
        latency_p99_us=result["latency_p99_us"],
        client_cpu=result["client_cpu_seconds"] / result["seconds"],
        server_cost_us=result["server_cpu_seconds"] / result["messages"] * 1e6,
        memory_kib=(memory_held - memory) / result["messages"] / 1024 if scenario.is_idle else None,
        others=max(0.0, others),
        frames=result["frames"],
        odd_frames=result["odd_frames"],
    )


def _own_cpu(server: list[int]) -> float:
    """Processor seconds of this program, of the loads it has waited for, and of the server."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime + processes.read_cpu_time(server)
