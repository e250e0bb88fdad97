"""Nodes for the tests: in this process, with an ear that writes down what they tell, and in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import Listener  # noqa: E402  # after its asserts are made to explain
from tests.net.peers import until  # noqa: E402

from xmlsocket import BrokerUnavailableError  # noqa: E402
from xmlsocket.limits import ClusterLimits  # noqa: E402
from xmlsocket.rooms.cluster import NatsBroker  # noqa: E402
from xmlsocket.rooms.cluster.session import Session  # noqa: E402

QUICK = ClusterLimits(announce_interval=0.5, unsubscribe_delay=0.1)
MORTAL = ClusterLimits(announce_interval=0.5, unsubscribe_delay=0.1, heartbeat_interval=0.5, node_timeout=2.0)
"""Nodes that are held for dead soon."""


class Node:
    """A broker with live rooms, and what it tells."""

    def __init__(self, url: str | list[str], **options) -> None:
        options.setdefault("limits", QUICK)
        options.setdefault("keeps", False)
        self.broker = NatsBroker(url, **options)
        self.ear = Listener()
        self.broker.attach(self.ear)

    @property
    def session(self) -> Session:
        return self.broker._session

    @property
    def counters(self):
        return self.broker.state.counters

    def texts(self, room: str = "a") -> list[str | bytes]:
        return [message for where, message in self.ear.heard if where == room]

    def missed(self, room: str = "a") -> int:
        return sum(missed for where, missed in self.ear.gaps if where == room)

    def drop(self, *numbers: int, subject: str = ".live.") -> None:
        """Lose some of the next envelopes of live rooms on their way to the broker, counted from 0."""
        publish, count = self.session.publish, 0

        def publish_some(where: str, payload: bytes, **options: bool) -> bool:
            nonlocal count
            if subject in where:
                count += 1
                if count - 1 in numbers:
                    return True
            return publish(where, payload, **options)

        self.session.publish = publish_some


@contextlib.asynccontextmanager
async def nodes(count: int, url: str | list[str], **options) -> AsyncIterator[list[Node]]:
    """Nodes that have started and know each other."""
    made = [Node(url, **options) for _ in range(count)]
    try:
        for node in made:
            await node.broker.start()
        await until(lambda: all(node.counters["nodes"] == count for node in made))
        yield made
    finally:
        for node in made:
            async with asyncio.timeout(20):
                await node.broker.close()


async def subscribe(room: str, *several: Node) -> None:
    """Have nodes listen to a room, each until it knows who is there."""
    for node in several:
        node.broker.subscribe(room)
    for node in several:
        await node.broker.present(room)


class NodeProcess:
    """A node in a process of its own, which is in room ``a`` under a name and says numbers there."""

    def __init__(self, url: str, prefix: str, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, url, prefix, name],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": "."},
        )

    def send(self, how: signal.Signals) -> None:
        self._process.send_signal(how)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(20)


async def _be(url: str, prefix: str, name: str) -> None:
    broker = NatsBroker(url, prefix=prefix, keeps=False, limits=MORTAL)
    broker.attach(Listener())
    with contextlib.suppress(BrokerUnavailableError):
        await broker.start()
    broker.subscribe("a")
    broker.arrive("a", name)
    number = 0
    while True:
        broker.publish("a", f"{name} {number}")
        number += 1
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(_be(*sys.argv[1:]))
