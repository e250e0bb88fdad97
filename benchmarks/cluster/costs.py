"""Measures what the model needs: what a message, a delivery, a hop, a connection and a room cost, alone and when busy.

*Alone* messages come evenly and not too many, so that each costs what it costs by itself. *Busy* they come as fast as
they are answered, and a node does several in one turn of its loop. Each cost follows from two runs that differ in
nothing else. ``python -m benchmarks.cluster.costs``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from typing import Final

from .. import machine
from ..processes import read_cpu_time
from .daemon import Daemon, run_daemon
from .load import Found, Load, RunningLoad, run_load
from .model import ALONE, BUSY, Costs, save_costs
from .nats_server import start_nats_server

SERVER: Final = ("benchmarks.servers.room_relay:RoomRelay", "--encoding", "none")
CONNECTIONS: Final = 2_000
MANY: Final = 8_000
SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Regime:
    """How messages come.

    Attributes:
        small: To small rooms.
        large: To large ones, in the same way.
        hop: What two nodes and a broker are measured with.
    """

    small: Load
    large: Load
    hop: Load


_ALONE_SMALL: Final = Load(CONNECTIONS, 2, 1, seconds=SECONDS, rate=4_000.0)
_ALONE_LARGE: Final = Load(CONNECTIONS, 50, 1, seconds=SECONDS, rate=800.0)
_BUSY_SMALL: Final = Load(CONNECTIONS, 5, 2, depth=4, seconds=SECONDS)
_BUSY_LARGE: Final = Load(CONNECTIONS, 20, 2, depth=4, seconds=SECONDS)
# Busy nodes with small rooms have more to say to the broker than their connection takes, and what is dropped has no
# cost: so the large ones there.
REGIMES: Final = {
    ALONE: Regime(_ALONE_SMALL, _ALONE_LARGE, _ALONE_SMALL),
    BUSY: Regime(_BUSY_SMALL, _BUSY_LARGE, _BUSY_LARGE),
}


def settle(daemon: Daemon, load: Load) -> tuple[float, float, Found]:
    """Run a load; returns processor seconds of the daemon a message, bytes a connection, and what the load found."""
    empty = daemon.memory
    cpu = memory = 0.0

    def ready() -> None:
        nonlocal cpu, memory
        memory = daemon.memory
        cpu = daemon.cpu_time

    found = run_load(load, daemon.port, ready)
    if found.missing:
        raise SystemExit(f"{found.missing} messages are missing")
    return (daemon.cpu_time - cpu) / found.said, (memory - empty) / load.connections, found


def measure_idle(daemon: Daemon) -> float:
    """A core's part for each connection that says nothing, beyond what a daemon without any takes."""
    empty = _watch(daemon)
    load = RunningLoad(Load(MANY, 2, 0, seconds=SECONDS + 1, rate=1.0), daemon.port)
    load.wait_until_ready()
    full = _watch(daemon)
    load.finish()
    return max(0.0, full - empty) / MANY


def _watch(daemon: Daemon) -> float:
    cpu, start = daemon.cpu_time, time.monotonic()
    time.sleep(SECONDS)
    return (daemon.cpu_time - cpu) / (time.monotonic() - start)


def measure_node(regime: Regime) -> dict[str, float]:
    """What one node costs that knows no other."""
    with run_daemon(*SERVER) as daemon:
        of_small, memory_small, _ = settle(daemon, regime.small)
    with run_daemon(*SERVER) as daemon:
        of_large, memory_large, _ = settle(daemon, regime.large)
    with run_daemon(*SERVER) as daemon:
        idle = measure_idle(daemon)
    small, large = regime.small.members, regime.large.members
    deliver = (of_large - of_small) / (large - small)
    room = (memory_small - memory_large) / (1 / small - 1 / large)
    return {
        "receive": of_small - small * deliver,
        "deliver": deliver,
        "room_memory": max(0.0, room),
        "connection_memory": memory_large - max(0.0, room) / large,
        "idle": idle,
    }


def measure_hop(load: Load, node: dict[str, float]) -> dict[str, float]:
    """What a broker adds: on the node of the speaker, on another node, and in the broker itself."""
    with start_nats_server() as (url, broker):
        environment = {**os.environ, "XMLSOCKET_BROKER": url}
        with run_daemon(*SERVER, environment=environment) as first:
            broker_cpu = read_cpu_time([broker])
            of_one, _, found = settle(first, load)
            broker_one = (read_cpu_time([broker]) - broker_cpu) / found.said
            with run_daemon(*SERVER, environment=environment) as second:
                # The same rooms on the second node; nobody speaks there.
                quiet = Load(load.connections, load.members, 0, seconds=SECONDS + 5, rate=1.0)
                listening = RunningLoad(quiet, second.port)
                listening.wait_until_ready()
                time.sleep(1.0)
                cpu, broker_cpu = second.cpu_time, read_cpu_time([broker])
                _, _, found = settle(first, load)
                of_second = (second.cpu_time - cpu) / found.said
                broker_two = (read_cpu_time([broker]) - broker_cpu) / found.said
                heard = listening.finish().deliveries / load.members
    if heard < found.said * 0.98:
        raise SystemExit(f"of {found.said} messages only {heard:.0f} came over the broker: the machine is too busy")
    return {
        "hand_over": of_one - node["receive"] - load.members * node["deliver"],
        "take_over": of_second - load.members * node["deliver"],
        "broker_in": broker_one,
        "broker_out": broker_two - broker_one,
    }


def measure_regime(regime: Regime, rounds: int) -> Costs:
    """Measure everything some times; of each cost the median."""
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        node = measure_node(regime)
        for name, value in {**node, **measure_hop(regime.hop, node)}.items():
            seen.setdefault(name, []).append(value)
            print(f"{name:20} {value:.3g}", flush=True)
    return Costs(**{name: max(0.0, statistics.median(seen[name])) for name in Costs.__slots__})


def measure(rounds: int) -> dict[str, Costs]:
    """Measure both regimes; what does not depend on the messages is taken from the quiet one."""
    measured = {name: measure_regime(regime, rounds) for name, regime in REGIMES.items()}
    alone = measured[ALONE]
    measured[BUSY] = replace(
        measured[BUSY],
        connection_memory=alone.connection_memory,
        room_memory=alone.room_memory,
        idle=alone.idle,
    )
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster.costs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    measured = measure(options.rounds)
    save_costs(measured, machine.describe())
    print(measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
