"""Measures what the model needs: what a message, a delivery, a hop, a connection and a room cost.

Messages come evenly and not too many, so that each costs what it costs alone: nothing is saved by doing several at
once. Each cost follows from two runs that differ in nothing else. ``python -m benchmarks.cluster.costs``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

from .. import machine
from ..processes import read_cpu_time
from .daemon import Daemon, run_daemon
from .load import Load, RunningLoad, run_load
from .model import Costs
from .nats_server import start_nats_server

SERVER: Final = ("benchmarks.servers.room_relay:RoomRelay", "--encoding", "none")
CONNECTIONS: Final = 2_000
SMALL, LARGE = 2, 50
RATE_SMALL, RATE_LARGE = 4_000.0, 800.0
SECONDS: Final = 4.0


def settle(daemon: Daemon, load: Load) -> tuple[float, float]:
    """Run a load; returns processor seconds of the daemon a message, and bytes a connection."""
    empty = daemon.memory
    cpu = memory = 0.0

    def ready() -> None:
        nonlocal cpu, memory
        memory = daemon.memory
        cpu = daemon.cpu_time

    found = run_load(load, daemon.port, ready)
    if found.missing:
        raise SystemExit(f"{found.missing} messages are missing")
    return (daemon.cpu_time - cpu) / found.said, (memory - empty) / load.connections


def measure_idle(daemon: Daemon) -> float:
    """A core's part for each connection that says nothing."""
    load = RunningLoad(Load(CONNECTIONS, SMALL, 0, seconds=SECONDS, rate=1.0), daemon.port)
    load.wait_until_ready()
    cpu, start = daemon.cpu_time, time.monotonic()
    load.finish()
    return (daemon.cpu_time - cpu) / (time.monotonic() - start) / CONNECTIONS


def small(**changes: float) -> Load:
    return Load(CONNECTIONS, SMALL, 1, seconds=SECONDS, rate=changes.get("rate", RATE_SMALL))


def measure_alone() -> dict[str, float]:
    """What one node costs that knows no other."""
    with run_daemon(*SERVER) as daemon:
        of_small, memory_small = settle(daemon, small())
    with run_daemon(*SERVER) as daemon:
        of_large, memory_large = settle(daemon, Load(CONNECTIONS, LARGE, 1, seconds=SECONDS, rate=RATE_LARGE))
    with run_daemon(*SERVER) as daemon:
        idle = measure_idle(daemon)
    deliver = (of_large - of_small) / (LARGE - SMALL)
    room = (memory_small - memory_large) / (1 / SMALL - 1 / LARGE)
    return {
        "receive": of_small - SMALL * deliver,
        "deliver": deliver,
        "room_memory": max(0.0, room),
        "connection_memory": memory_large - max(0.0, room) / LARGE,
        "idle": idle,
        "of_small": of_small,
    }


def measure_hop(alone: dict[str, float]) -> dict[str, float]:
    """What a broker adds: on the node of the speaker, on another node, and in the broker itself."""
    with start_nats_server() as (url, broker):
        environment = {**os.environ, "XMLSOCKET_BROKER": url}
        with run_daemon(*SERVER, environment=environment) as first:
            broker_cpu = read_cpu_time([broker])
            of_one, _ = settle(first, small())
            broker_one = (read_cpu_time([broker]) - broker_cpu) / (RATE_SMALL * SECONDS)
            with run_daemon(*SERVER, environment=environment) as second:
                # The same rooms on the second node; nobody speaks there.
                listening = RunningLoad(Load(CONNECTIONS, SMALL, 0, seconds=SECONDS + 2, rate=1.0), second.port)
                listening.wait_until_ready()
                time.sleep(1.0)
                cpu, broker_cpu = second.cpu_time, read_cpu_time([broker])
                settle(first, small())
                of_second = (second.cpu_time - cpu) / (RATE_SMALL * SECONDS)
                broker_two = (read_cpu_time([broker]) - broker_cpu) / (RATE_SMALL * SECONDS)
                listening.finish()
    return {
        "hand_over": of_one - alone["of_small"],
        "take_over": of_second - SMALL * alone["deliver"],
        "broker_in": broker_one,
        "broker_out": broker_two - broker_one,
    }


def measure(rounds: int) -> Costs:
    """Measure everything some times; of each cost the median."""
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        alone = measure_alone()
        for name, value in {**alone, **measure_hop(alone)}.items():
            seen.setdefault(name, []).append(value)
            print(f"{name:20} {value:.3g}", flush=True)
    pick: Callable[[str], float] = lambda name: max(0.0, statistics.median(seen[name]))  # noqa: E731  # said once
    return Costs(**{name: pick(name) for name in Costs.__slots__})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster.costs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    costs = measure(options.rounds)
    costs.save(machine.describe())
    print(costs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
