"""Two workers against one: 2,000 connections in rooms of ten, two of each speaking as fast as their messages come back.

The load runs on the same cores as the workers and their broker, so two workers cannot be twice as fast here; what each
process took of the processors stands beside the rates, and what the model says of them. ``python -m
benchmarks.cluster.workers``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Final

from .costs import SERVER
from .daemon import Daemon, run_daemon
from .load import Found, Load, run_load
from .model import BUSY, Service, forecast, load_costs

LOAD: Final = Load(connections=2_000, members=10, speakers=2, depth=4, seconds=5.0, settle=2.0)
WORKERS: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class WorkersResult:
    """One run: what was found, and the processor seconds of the server with its broker while it ran."""

    workers: int
    found: Found
    server_cpu: float

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.found.deliveries / self.found.seconds


def try_workers(count: int) -> WorkersResult:
    """Run the load once against so many workers."""
    arguments = ("--workers", str(count)) if count > 1 else ()
    with run_daemon(*SERVER, *arguments) as daemon:
        return observe(daemon, count)


def observe(daemon: Daemon, count: int) -> WorkersResult:
    cpu = 0.0

    def ready() -> None:
        nonlocal cpu
        cpu = daemon.cpu_time

    found = run_load(LOAD, daemon.port, ready)
    return WorkersResult(count, found, daemon.cpu_time - cpu)


def forecast_rate(workers: int, cores: float, load_cost: float) -> float:
    """Deliveries a second that the model expects when load, workers and broker share so many cores.

    ``load_cost`` is what the load generator needs for a delivery, in processor seconds.
    """
    costs = load_costs(BUSY)  # as the load comes as fast as it is answered
    service = Service(workers, LOAD.connections, 1.0, (LOAD.members,), uses_broker=workers > 1)
    told = forecast(service, costs)
    work = told.node_load * workers + told.broker_load + told.deliveries * load_cost
    by_all = told.deliveries * cores / work
    by_a_worker = told.deliveries / told.node_load
    return min(by_all, by_a_worker)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for _ in range(options.rounds):
        for count in WORKERS:
            print(try_workers(count), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
