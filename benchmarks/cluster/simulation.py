"""Plays a service message by message: are the formulas of ``model.py`` right, and how late do messages come?

Members are put on nodes at random, speak at random moments (a Poisson process), and every message waits its turn at
each processor it needs: its speaker's node, the broker, every other node with members of the room. A processor does one
thing at a time, in order; what a thing costs was measured. ``python -m benchmarks.cluster.simulation`` compares.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from ..report import write_number, write_table
from .model import ALONE, Costs, Service, forecast, load_costs

ROOM_SIZES: Final = (2, 2, 3, 4, 5, 5, 8, 10, 15, 30, 100)
"""Most rooms are small, most members are in large ones: the mean is 17, and a message has 62 listeners."""
SECONDS: Final = 20.0
MOST_MESSAGES: Final = 60_000
WARM_UP: Final = 0.2


@dataclass(frozen=True, slots=True)
class Played:
    """What happened: loads as parts of a core, hops for a message, and how late members got it, in seconds."""

    node_load: float
    busiest_node: float
    broker_load: float
    hops: float
    p50: float
    p99: float
    messages: int


class Processor:
    """One core, or several that share a queue: does one thing after the other, in the order in which they come."""

    __slots__ = ("busy", "free_at")

    def __init__(self, cores: int = 1) -> None:
        self.free_at = [0.0] * cores
        self.busy = 0.0

    def work(self, at: float, seconds: float) -> float:
        """Take a thing on; returns when it is done."""
        start = max(at, heapq.heappop(self.free_at))
        heapq.heappush(self.free_at, start + seconds)
        self.busy += seconds
        return start + seconds


def place_members(service: Service, source: random.Random) -> list[dict[int, int]]:
    """Make rooms until everybody is in one; for each, how many of its members are on which node."""
    rooms: list[dict[int, int]] = []
    left = service.connections
    for size in cycle(service.room_sizes):
        if left < size:
            return rooms
        left -= size
        room: dict[int, int] = {}
        home = source.randrange(service.nodes)
        for _ in range(size):
            node = source.randrange(service.nodes) if service.is_shared else home
            room[node] = room.get(node, 0) + 1
        rooms.append(room)
    raise AssertionError("a cycle has no end")


def play(service: Service, costs: Costs, *, broker_cores: int = 4, seed: int = 1) -> Played:
    """Let everybody speak for a while."""
    source = random.Random(seed)
    rooms = place_members(service, source)
    sizes = [sum(room.values()) for room in rooms]
    total_rate = sum(sizes) * service.rate
    seconds = min(SECONDS, MOST_MESSAGES / total_rate)
    nodes, broker = [Processor() for _ in range(service.nodes)], Processor(broker_cores)
    said = random_moments(total_rate, seconds, source)
    chosen = source.choices(range(len(rooms)), sizes, k=len(said))
    lateness: list[tuple[float, int]] = []
    hops = 0
    # What comes from the broker waits at a node with what its clients say: one queue, in the order of time.
    events: list[tuple[float, int, int, int, float]] = [
        (moment, index, -1, room, moment) for index, (moment, room) in enumerate(zip(said, chosen, strict=True))
    ]
    heapq.heapify(events)
    number = len(events)
    while events:
        at, _, to_node, room_index, moment = heapq.heappop(events)
        room = rooms[room_index]
        if to_node >= 0:
            done = nodes[to_node].work(at, costs.take_over + room[to_node] * costs.deliver)
            lateness.append((done - moment, room[to_node]))
            continue
        home = source.choices(list(room), list(room.values()))[0]
        work = costs.receive + room[home] * costs.deliver + (costs.hand_over if service.uses_broker else 0)
        done = nodes[home].work(at, work)
        lateness.append((done - moment, room[home]))
        others = [node for node in room if node != home]
        hops += len(others)
        if service.uses_broker:
            carried = broker.work(done, costs.broker_in + len(others) * costs.broker_out)
            for node in others:
                number += 1
                heapq.heappush(events, (carried, number, node, room_index, moment))
    loads = [node.busy / seconds for node in nodes]
    return Played(
        node_load=sum(loads) / len(loads),
        busiest_node=max(loads),
        broker_load=broker.busy / seconds,
        hops=hops / max(1, len(said)),
        p50=percentile(lateness, 0.5),
        p99=percentile(lateness, 0.99),
        messages=len(said),
    )


def random_moments(rate: float, seconds: float, source: random.Random) -> list[float]:
    """Moments of a Poisson process, in order."""
    moments, at = [], source.expovariate(rate)
    while at < seconds:
        moments.append(at)
        at += source.expovariate(rate)
    return moments


def percentile(lateness: Sequence[tuple[float, int]], part: float) -> float:
    """The time within which a part of all deliveries was made; each entry stands for so many of them."""
    wanted = part * sum(count for _, count in lateness)
    for late, count in sorted(lateness):
        wanted -= count
        if wanted <= 0:
            return late
    return 0.0


def compare(costs: Costs) -> str:
    """Forecast and play services of one, ten and a hundred nodes at several loads; returns the table."""
    rows = []
    for nodes in (1, 10, 100):
        for load in (0.3, 0.6, 0.85):
            one = forecast(Service(nodes, 1000 * nodes, 0.05, ROOM_SIZES, uses_broker=nodes > 1), costs)
            connections = int(1000 * nodes * load / one.node_load)
            service = Service(nodes, connections, 0.05, ROOM_SIZES, uses_broker=nodes > 1)
            told, played = forecast(service, costs), play(service, costs, broker_cores=max(1, nodes))
            rows.append(
                [
                    str(nodes),
                    write_number(connections),
                    f"{told.node_load:.2f}, {played.node_load:.2f}",
                    f"{told.broker_load:.2f}, {played.broker_load:.2f}",
                    f"{told.hops:.2f}, {played.hops:.2f}",
                    f"{played.busiest_node:.2f}",
                    f"{played.p50 * 1000:.2f} ms",
                    f"{played.p99 * 1000:.2f} ms",
                ]
            )
    head = ["nodes", "connections", "load of a node", "of the broker", "hops", "busiest node", "late, median", "99 %"]
    return write_table(head, rows)


def main() -> int:
    print(compare(load_costs(ALONE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
