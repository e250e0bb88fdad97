"""What a service of many nodes costs, as formulas over measured costs.

All members of a service speak at one mean rate, and rooms have sizes drawn from a distribution. Nobody arranges who
connects where: each member is on a node at random. A message then costs

- the node of its speaker: to take it in, to hand it to the broker, and to write it to the room's members there;
- the broker: to take it in once, and to hand it to each other node that has members of the room;
- each of those nodes: to take it from the broker, and to write it to the members there.

``simulation.py`` checks the formulas by playing them message by message, with queues.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

COSTS: Final = Path(__file__).with_name("costs.json")
ALONE: Final = "alone"
"""The costs of messages that come one by one: the most that each can cost, so what to plan with."""
BUSY: Final = "busy"
"""The costs when nodes have all they can do, and do several messages at once."""
USABLE: Final = 0.6
"""How much of a core may be in use on average; above it the waiting times grow fast (see the simulation)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured by ``costs.py``: processor seconds on one core, and bytes.

    Attributes:
        receive: A message that a node takes from one of its clients.
        deliver: Writing it to one member.
        hand_over: Giving it to the broker.
        take_over: Getting it from the broker.
        broker_in: What the broker needs to take it.
        broker_out: What the broker needs to give it to one node.
        connection_memory: A connection that is in a room.
        room_memory: A room on a node that has members of it.
        idle: A node with nothing to do, as a part of a core, for each of its connections.
    """

    receive: float
    deliver: float
    hand_over: float
    take_over: float
    broker_in: float
    broker_out: float
    connection_memory: float
    room_memory: float
    idle: float


def load_costs(name: str) -> Costs:
    """Read what was measured last, ``ALONE`` or ``BUSY``."""
    return Costs(**json.loads(COSTS.read_text())[name])


def save_costs(measured: Mapping[str, Costs], facts: dict[str, str]) -> None:
    """Write them for the next time, with what was measured where."""
    content = {name: asdict(costs) for name, costs in measured.items()}
    COSTS.write_text(json.dumps({**content, "facts": facts}, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Service:
    """A service to be forecast.

    Attributes:
        nodes: How many processes of one core each.
        connections: Of all nodes together.
        rate: Messages a second that a member says, on average.
        room_sizes: Rooms of these sizes, each as often as it stands here, repeated until everybody is in one.
        is_shared: Whether rooms may have members on several nodes. False where a load balancer sends all members of a
            room to one node.
        uses_broker: Whether messages go to a broker at all.
    """

    nodes: int
    connections: int
    rate: float
    room_sizes: Sequence[int]
    is_shared: bool = True
    uses_broker: bool = True


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a service needs.

    Attributes:
        node_load: Processor seconds a second on each node: above 1 it cannot work, above ``USABLE`` it is late.
        broker_load: The same of the broker, in cores.
        hops: Other nodes that a message goes to, on average.
        messages: Said a second in all.
        deliveries: Written a second in all.
        node_memory: Bytes on each node beside the interpreter.
    """

    node_load: float
    broker_load: float
    hops: float
    messages: float
    deliveries: float
    node_memory: float


def expect_nodes(size: int, nodes: int) -> float:
    """How many nodes have members of a room, if each member is on one at random."""
    return float(nodes * (1 - (1 - 1 / nodes) ** size))


def forecast(service: Service, costs: Costs) -> Forecast:
    """Compute what a service needs; everything is a mean."""
    sizes = service.room_sizes
    members = sum(sizes)
    # A message is said in a room as often as the room has members.
    listeners = sum(size * size for size in sizes) / members
    spread = service.nodes if service.is_shared else 1
    hops = sum(size * (expect_nodes(size, spread) - 1) for size in sizes) / members
    messages = service.connections * service.rate
    deliveries = messages * listeners
    node_work = costs.receive + listeners * costs.deliver
    broker_work = 0.0
    if service.uses_broker:
        node_work += costs.hand_over + hops * costs.take_over
        broker_work = costs.broker_in + hops * costs.broker_out
    connections_of_node = service.connections / service.nodes
    rooms = service.connections / (members / len(sizes))
    rooms_of_node = rooms * sum(expect_nodes(size, spread) for size in sizes) / len(sizes) / service.nodes
    return Forecast(
        node_load=messages * node_work / service.nodes + connections_of_node * costs.idle,
        broker_load=messages * broker_work,
        hops=hops,
        messages=messages,
        deliveries=deliveries,
        node_memory=connections_of_node * costs.connection_memory + rooms_of_node * costs.room_memory,
    )


def find_capacity(service: Service, costs: Costs, broker_cores: float, node_memory: float) -> tuple[int, str]:
    """Find how many connections a service of so many nodes holds, and what ends it first.

    Everything grows in proportion to the connections, so one forecast tells.
    """
    result = forecast(service, costs)
    room = {
        "the nodes' processors": USABLE / result.node_load,
        "the nodes' memory": node_memory / result.node_memory,
    }
    if result.broker_load:
        room["the broker's processors"] = USABLE * broker_cores / result.broker_load
    what, factor = min(room.items(), key=lambda item: item[1])
    return int(service.connections * factor), what
