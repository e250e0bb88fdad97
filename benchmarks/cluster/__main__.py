"""``python -m benchmarks.cluster``: everything about several nodes, into ``README.md``."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from xmlsocket.net.process import new_event_loop, tune_process

from .. import machine
from ..report import put_between_markers, write_number, write_table
from . import costs, deaths, hop, simulation, workers
from .daemon import run_daemon
from .model import ALONE, BUSY, USABLE, Costs, Service, find_capacity, forecast, save_costs

README = Path(__file__).parents[1] / "README.md"
BROKER_CORES = 8.0
NODE_MEMORY = 2.0 * 2**30
_FACTS = ("processor", "system", "xmlsocket", "python", "uvloop", "nats-server", "nats-py")


def write_hops(results: dict[str, list[hop.HopResult]]) -> str:
    """The hop of ours beside the bare one; ratios are medians over the rounds, each within its round."""
    bare, live = results["bare"], results["live"]
    pairs = list(zip(live, bare, strict=True))
    rows = []
    for name, field, unit, scale, must in (
        ("late, median", "p50", "ms", 1e3, "<= 2.5"),
        ("late, 99 %", "p99", "ms", 1e3, "<= 2.5"),
        ("messages a second", "rate", "", 1.0, ">= 0.5"),
        ("processor time of the publisher, a message", "publisher_cpu", "us", 1e6, "-"),
        ("processor time of the subscriber, a message", "subscriber_cpu", "us", 1e6, "-"),
    ):
        ratio = statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)
        values = [statistics.median(getattr(r, field) for r in side) * scale for side in (bare, live)]
        rows.append([name, *(f"{write_number(value)} {unit}".strip() for value in values), f"{ratio:.2f} x", must])
    return write_table(["", "bare nats-py", "xmlsocket, live room", "ratio", "must"], rows)


def write_workers(results: Sequence[workers.WorkersResult]) -> str:
    """Two workers beside one, with what the model says."""
    cores = float(os.cpu_count() or 1)
    rows = []
    for count in workers.WORKERS:
        runs = [result for result in results if result.workers == count]
        rate = statistics.median(result.rate for result in runs)
        load_cost = statistics.median(result.found.load_cpu / result.found.deliveries for result in runs)
        rows.append(
            [
                str(count),
                write_number(rate),
                write_number(workers.forecast_rate(count, cores, load_cost)),
                f"{statistics.median(result.server_cpu / result.found.seconds for result in runs):.2f} cores",
                f"{statistics.median(result.found.load_cpu / result.found.seconds for result in runs):.2f} cores",
                f"{write_number(statistics.median(result.found.p99 for result in runs) * 1000)} ms",
                str(sum(result.found.missing for result in runs)),
            ]
        )
    head = [
        "workers",
        "deliveries a second",
        "forecast",
        "server and broker took",
        "load took",
        "late, 99 %",
        "missing",
    ]
    return write_table(head, rows)


def write_deaths(results: dict[str, deaths.DeathsResult]) -> str:
    """The longest that a message was late, before and after."""
    rows = [
        [app, f"{result.before * 1000:.0f} ms", f"{result.after * 1000:.0f} ms", f"{result.messages:,}", "0"]
        for app, result in results.items()
    ]
    return write_table(["app", "latest message before", "after", "messages to the rest", "missing"], rows)


def write_idle(idle: float) -> str:
    return f"{idle * 1e6:.2f} millionths" if idle else "nothing that could be measured"


def write_costs(alone: Costs, busy: Costs) -> str:
    """The costs as the model uses them."""
    names = {
        "receive": "a message from a client",
        "deliver": "writing it to one member",
        "hand_over": "giving it to the broker",
        "take_over": "getting it from the broker",
        "broker_in": "the broker: taking it",
        "broker_out": "the broker: giving it to one node",
    }
    rows = [
        [text, *(f"{getattr(measured, name) * 1e6:.2f} us" for measured in (alone, busy))]
        for name, text in names.items()
    ]
    rows += [
        ["a connection in a room", f"{alone.connection_memory / 1024:.1f} KiB", "the same"],
        ["a room on a node", f"{alone.room_memory / 1024:.1f} KiB", "the same"],
        ["a silent connection, of a core", write_idle(alone.idle), "the same"],
    ]
    return write_table(["", "messages come one by one", "as fast as they are answered"], rows)


def write_capacities(alone: Costs, busy: Costs) -> str:
    """What so many nodes hold, and what ends it first, at several rates and ways of placing members."""
    rows = []
    for nodes in (1, 10, 100):
        for rate in (1 / 60, 1 / 10):
            for is_shared in (True, False) if nodes > 1 else (False,):
                service = Service(nodes, 1000 * nodes, rate, simulation.ROOM_SIZES, is_shared, uses_broker=nodes > 1)
                held, what = find_capacity(service, alone, BROKER_CORES, NODE_MEMORY)
                most, _ = find_capacity(service, busy, BROKER_CORES, NODE_MEMORY)
                told = forecast(replace(service, connections=held), alone)
                rows.append(
                    [
                        str(nodes),
                        f"one in {1 / rate:.0f} s",
                        "-" if nodes == 1 else "anywhere" if is_shared else "rooms together",
                        write_number(held),
                        what,
                        write_number(told.messages),
                        write_number(told.deliveries),
                        f"{told.hops:.1f}",
                        f"{told.broker_load:.1f}",
                        write_number(most),
                    ]
                )
    head = [
        *("nodes", "each says", "members are", "connections", "ended by", "messages a second"),
        *("deliveries a second", "hops", "broker, cores", "connections at best"),
    ]
    return write_table(head, rows)


def write_facts() -> str:
    facts = machine.describe()
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return "\n".join(f"- {name}: {facts[name]}" for name in _FACTS if name in facts) + f"\n- when: {when}"


def measure_deaths() -> dict[str, deaths.DeathsResult]:
    results = {}
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        for app, command in deaths.APPS.items():
            with run_daemon(*command) as daemon:
                results[app] = runner.run(deaths.observe(app, daemon.port))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    options = parser.parse_args()
    tune_process()
    measured = costs.measure(options.rounds)
    alone, busy = measured[ALONE], measured[BUSY]
    save_costs(measured, machine.describe())
    parts = [
        write_facts(),
        "### One hop",
        write_hops(hop.compare(options.rounds)),
        "### What things cost",
        write_costs(alone, busy),
        "### Two workers against one",
        write_workers([workers.try_workers(count) for _ in range(options.rounds) for count in workers.WORKERS]),
        "### 5,000 connections die",
        write_deaths(measure_deaths()),
        "### The model, and the service played message by message",
        "Pairs are what the formulas say, and what the simulation counted.",
        simulation.compare(alone),
        "### What so many nodes hold",
        f"A node has one core and {NODE_MEMORY / 2**30:g} GiB, the broker {BROKER_CORES:g} cores; "
        f"{USABLE:.0%} of a core may be busy. Rooms have {', '.join(map(str, simulation.ROOM_SIZES))} members. "
        "*At best* is with the costs of busy nodes; everything else with those of messages that come one by one.",
        write_capacities(alone, busy),
    ]
    text = "\n\n".join(parts)
    print(text)
    if not options.print:
        put_between_markers(README, "cluster", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
