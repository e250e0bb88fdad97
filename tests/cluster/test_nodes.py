from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.net.peers import until

from xmlsocket import ConfigurationError
from xmlsocket.limits import ClusterLimits
from xmlsocket.rooms.cluster.nodes import Nodes
from xmlsocket.rooms.cluster.session import Session

QUICK = ClusterLimits(heartbeat_interval=0.4, node_timeout=1.2)


class Clock:
    """A clock that can be set forward."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return asyncio.get_running_loop().time() + self.ahead


class Watched:
    """A node, and what it says of the others."""

    def __init__(self, url, prefix):
        self.clock = Clock()
        self.session = Session(url, prefix=prefix, limits=QUICK)
        self.nodes = Nodes(self.session, self.clock)
        self.seen = []
        self.lapses = 0
        self.nodes.on_change(lambda node, is_alive: self.seen.append((node, is_alive)))
        self.nodes.on_lapse(self.lapse)

    def lapse(self):
        self.lapses += 1


@contextlib.asynccontextmanager
async def watched(count, url, prefix):
    several = [Watched(url, prefix) for _ in range(count)]
    for one in several:
        one.nodes.start()
        await one.session.start()
    try:
        yield several
    finally:
        for one in several:
            await one.nodes.close()
            await one.session.close()


def test_nodes_know_each_other_at_once_and_of_a_goodbye_at_once(shared_nats, new_prefix):
    async def main():
        async with watched(3, shared_nats.url, new_prefix) as (one, two, three):
            await until(lambda: all(len(node.nodes.alive) == 2 for node in (one, two, three)))
            assert one.nodes.is_alive(two.session.node)
            assert one.nodes.is_alive(one.session.node)
            assert not one.nodes.is_alive("nobody")
            await two.nodes.close()
            await until(lambda: (two.session.node, False) in one.seen and (two.session.node, False) in three.seen)
            assert one.nodes.alive == [three.session.node]

    asyncio.run(main())


def test_a_silent_node_is_dead_once_and_alive_again_with_its_next_sign_of_life(shared_nats, new_prefix):
    async def main():
        async with watched(2, shared_nats.url, new_prefix) as (one, two):
            await until(lambda: one.nodes.alive and two.nodes.alive)
            say, two.session.publish = two.session.publish, lambda *_, **__: True
            await until(lambda: one.seen == [(two.session.node, True), (two.session.node, False)])
            two.session.publish = say
            await until(lambda: one.seen[2:] == [(two.session.node, True)])

    asyncio.run(main())


def test_a_node_that_was_held_up_itself_does_not_hold_the_others_for_dead_and_knows_that_its_lease_lapsed(
    shared_nats, new_prefix
):
    async def main():
        async with watched(2, shared_nats.url, new_prefix) as (one, two):
            await until(lambda: one.nodes.alive and two.nodes.alive and one.nodes.hops)
            one.clock.ahead += 100
            await until(lambda: one.lapses == 1)
            beats = one.nodes.hops
            await until(lambda: one.nodes.hops >= beats + 3)
            assert one.seen == [(two.session.node, True)]
            assert (one.lapses, two.lapses) == (1, 0)

    asyncio.run(main())


def test_nodes_that_lose_the_broker_are_dead_to_each_other_and_find_each_other_again(nats_server):
    async def main():
        async with watched(2, nats_server.url, "p") as (one, two):
            await until(lambda: one.nodes.alive and two.nodes.alive)
            nats_server.kill()
            await until(lambda: not one.nodes.alive and not two.nodes.alive)
            nats_server.start()
            await until(lambda: one.nodes.alive and two.nodes.alive)
            assert [is_alive for _, is_alive in one.seen] == [True, False, True]
            await until(lambda: one.lapses == two.lapses == 1)

    asyncio.run(main())


def test_a_node_timeout_that_one_lost_heartbeat_would_pass_is_refused():
    with pytest.raises(ConfigurationError, match="node_timeout"):
        ClusterLimits(heartbeat_interval=2.0, node_timeout=4.0)


def test_a_goodbye_is_the_last_word_of_a_node(shared_nats, new_prefix):
    async def main():
        one, two = Session(shared_nats.url, prefix=new_prefix), Session(shared_nats.url, prefix=new_prefix)
        others, changes = Nodes(two), []
        others.on_change(lambda node, is_alive: changes.append(is_alive))
        nodes = Nodes(one)
        nodes.start()
        others.start()
        await one.start()
        await two.start()
        await until(lambda: changes == [True])
        nodes._beat()
        await nodes.close()
        await one.flush()
        await until(lambda: changes[1:])
        await two.flush()
        assert changes == [True, False]
        await one.close()
        await others.close()
        await two.close()

    asyncio.run(main())
