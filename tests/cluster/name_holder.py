"""A process that holds names, and writes down what becomes of them; and nodes for names in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contracts.broker_contract")

from tests.contracts.broker_contract import Listener  # noqa: E402  # after its asserts are made to explain

from xmlsocket import BrokerUnavailableError  # noqa: E402
from xmlsocket.limits import ClusterLimits  # noqa: E402
from xmlsocket.rooms.cluster.names import Names  # noqa: E402
from xmlsocket.rooms.cluster.nodes import Nodes  # noqa: E402
from xmlsocket.rooms.cluster.session import Session  # noqa: E402

QUICK = ClusterLimits(heartbeat_interval=0.4, node_timeout=1.5, connect_timeout=2.0)


class Holder:
    """A node that knows nothing but names."""

    def __init__(self, url: str | list[str], prefix: str, limits: ClusterLimits = QUICK, replicas: int = 1) -> None:
        self.session = Session(url, prefix=prefix, limits=limits)
        self.nodes = Nodes(self.session)
        self.names = Names(self.session, self.nodes, replicas=replicas)
        self.ear = Listener()
        self.names.attach(self.ear)

    async def start(self) -> None:
        self.nodes.start()
        with contextlib.suppress(BrokerUnavailableError):
            await self.session.start()
        await self.names.start()

    async def close(self) -> None:
        for part in (self.names, self.nodes, self.session):
            async with asyncio.timeout(20):
                await part.close()

    async def claim(self, name: str) -> bool:
        async with asyncio.timeout(30):
            return await self.names.claim(name)

    async def claim_for_sure(self, name: str) -> bool:
        """Claim, and again while nobody can tell."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(BrokerUnavailableError):
                    return await self.claim(name)
                await asyncio.sleep(0.05)

    async def tell(self, name: str, message: str) -> str | None:
        async with asyncio.timeout(30):
            return await self.names.tell(name, message)

    async def claim_when_free(self, name: str) -> None:
        """Try until the name is ours."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(BrokerUnavailableError):
                    if await self.claim(name):
                        return
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def holders(
    count: int, url: str | list[str], prefix: str, limits: ClusterLimits = QUICK, replicas: int = 1
) -> AsyncIterator[list[Holder]]:
    made = [Holder(url, prefix, limits, replicas) for _ in range(count)]
    try:
        for one in made:
            await one.start()
        yield made
    finally:
        for one in made:
            await one.close()


class HolderProcess:
    """A node in a process of its own that claims names and says what it lost."""

    def __init__(self, url: str, prefix: str, *names: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, url, prefix, *names],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": "."},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    async def line(self) -> str:
        """The next thing that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(40):
            return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _hold(url: str, prefix: str, names: list[str]) -> None:
    holder = Holder(url, prefix)
    holder.ear.lose_name = lambda name: _say(f"lost {name}")
    await holder.start()
    for name in names:
        assert await holder.names.claim(name), name
    _say("holding")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], sys.argv[2], sys.argv[3:]))
