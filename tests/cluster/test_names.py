from __future__ import annotations

import asyncio
import os
import signal

import pytest
from tests.cluster.name_holder import QUICK, Holder, HolderProcess, holders
from tests.net.peers import DEADLINE, until

from xmlsocket import BrokerUnavailableError
from xmlsocket.limits import ClusterLimits


def test_of_two_nodes_that_claim_a_name_at_once_exactly_one_has_it(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            names = [f"name {number}" for number in range(100)]
            claims = [holder.claim(name) for name in names for holder in (one, two)]
            results = await asyncio.gather(*claims)
            assert [sorted(results[place : place + 2]) for place in range(0, 200, 2)] == [[False, True]] * 100
            held = [set(holder.names._held) for holder in (one, two)]
            assert held[0] | held[1] == set(names)
            assert not held[0] & held[1]

    asyncio.run(main())


def test_a_name_that_is_given_back_is_free_for_all_nodes_at_once(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            for _ in range(20):
                assert await one.claim("ana")
                assert not await two.claim("ana")
                one.names.release("ana")
                assert await two.claim("ana")  # whether the release has arrived or not
                assert not await one.claim("ana")
                two.names.release("ana")
            await until(lambda: not one.names.counters["names_unsettled"] + two.names.counters["names_unsettled"])
            assert (one.ear.lost, two.ear.lost) == ([], [])

    asyncio.run(main())


def test_names_given_back_leave_nothing_behind(shared_nats, new_prefix):
    async def main():
        async with holders(1, shared_nats.url, new_prefix) as (one,):
            for number in range(50):
                assert await one.claim(str(number))
            for number in range(50):
                one.names.release(str(number))
            await until(lambda: not one.names.counters["names_unsettled"])
            state = (await one.names._records._jetstream.ask(f"STREAM.INFO.{one.names._records._stream}"))["state"]
            assert state["messages"] == 0

    asyncio.run(main())


def test_a_node_that_closes_gives_its_names_back(shared_nats, new_prefix):
    async def main():
        async with holders(1, shared_nats.url, new_prefix) as (one,):
            other = Holder(shared_nats.url, new_prefix)
            await other.start()
            assert await other.claim("ana")
            await other.close()
            assert await one.claim("ana")

    asyncio.run(main())


def test_what_is_told_to_a_name_reaches_its_holder_on_any_node_and_the_answer_comes_back(shared_nats, new_prefix):
    async def main():
        async with holders(3, shared_nats.url, new_prefix) as (one, two, three):
            name, text = "💬 a.*>", "hi <there> \n ä日本 " + "x" * 100_000
            assert await two.claim(name)
            for teller in (one, two, three):
                assert await teller.tell(name, text) == f"{name} has it"
            assert two.ear.private == [(name, text)] * 3
            assert one.ear.private == three.ear.private == []
            assert await one.tell("nobody", text) is None
            two.names.release(name)
            assert await three.tell(name, text) is None

    asyncio.run(main())


def test_names_and_messages_may_hold_what_is_no_text(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await two.claim("half \ud83d")
            assert await one.tell("half \ud83d", "a pair \ude00") == "half \ud83d has it"
            assert two.ear.private == [("half \ud83d", "a pair \ude00")]

    asyncio.run(main())


def test_a_record_of_a_living_node_that_does_not_hold_the_name_is_taken_over(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await one.claim("ana")
            await until(lambda: two.nodes.is_alive(one.session.node))
            del one.names._held["ana"]  # as if the answer to the claim, or the release, had been lost
            assert await two.claim("ana")
            assert not await one.claim("ana")

    asyncio.run(main())


def test_the_names_of_a_node_that_was_killed_are_free_when_it_is_dead_and_not_before(shared_nats, new_prefix):
    async def main():
        process = HolderProcess(shared_nats.url, new_prefix, "ana", "bob")
        async with holders(1, shared_nats.url, new_prefix) as (one,):
            try:
                assert await process.line() == "holding"
                await until(lambda: one.nodes.alive)
            finally:
                process.kill()
            assert not await one.claim("ana")
            await one.claim_when_free("ana")
            assert await one.claim("bob")
            assert await one.tell("nobody", "hi") is None

    asyncio.run(main())


def test_a_node_that_was_stopped_loses_the_names_that_others_took_and_keeps_the_rest(shared_nats, new_prefix):
    async def main():
        process = HolderProcess(shared_nats.url, new_prefix, "ana", "bob", "eve")
        try:
            async with holders(1, shared_nats.url, new_prefix) as (one,):
                assert await process.line() == "holding"
                await until(lambda: one.nodes.alive)
                os.kill(process.pid, signal.SIGSTOP)
                await one.claim_when_free("ana")
                await one.claim_when_free("eve")
                os.kill(process.pid, signal.SIGCONT)
                assert sorted([await process.line(), await process.line()]) == ["lost ana", "lost eve"]
                await until(lambda: one.nodes.alive)
                if await one.claim("bob"):  # it was swept away, as a dead node's, and is not written again yet
                    assert await process.line() == "lost bob"
                assert one.ear.lost == []
        finally:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()

    asyncio.run(main())


def test_a_node_that_learns_that_its_name_was_taken_lets_go_of_it_though_it_was_never_away(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await one.claim("ana")
            # As of signs of life that come too late by a little: held for dead by the other, and not knowing it.
            two.nodes.is_alive = lambda node: False
            await until(lambda: asyncio.get_running_loop().time() - two.session.connected_since > 2)
            jetstream, last = two.names._records._jetstream, two.names._records._jetstream.last

            async def without_leases(stream, subject):
                return None if stream.endswith("_nodes") else await last(stream, subject)

            jetstream.last = without_leases
            assert await two.claim("ana")
            await until(lambda: one.ear.lost == ["ana"])
            assert await one.tell("ana", "hi") == "ana has it"
            assert two.ear.private == [("ana", "hi")]

    asyncio.run(main())


def test_names_outlive_the_broker_and_nobody_is_told_that_one_is_lost(any_nats_server):
    async def main():
        async with holders(2, any_nats_server.url, "x") as (one, two):
            names = [str(number) for number in range(100)]
            for name in names:
                assert await one.claim(name)
            any_nats_server.kill()
            await until(lambda: not one.session.is_connected and not two.session.is_connected)
            with pytest.raises(BrokerUnavailableError):
                await two.claim("new")
            with pytest.raises(BrokerUnavailableError):
                await two.tell("1", "hi")
            one.names.release("0")
            any_nats_server.start()
            await until(lambda: one.session.is_connected and two.session.is_connected)
            await two.claim_when_free("0")
            await until(lambda: not one.names.counters["names_unsettled"])
            for name in names[1:]:
                assert not await two.claim(name)
            assert await two.claim("new")
            assert (one.ear.lost, two.ear.lost) == ([], [])

    asyncio.run(main())


def test_a_broker_that_has_forgotten_everything_is_told_the_names_again(any_nats_server):
    async def main():
        async with holders(2, any_nats_server.url, "x") as (one, two):
            assert await one.claim("ana")
            await one.names._records._jetstream.ask(f"STREAM.DELETE.{one.names._records._stream}")
            any_nats_server.restart()
            await until(lambda: one.session.reconnects and two.session.reconnects)
            await until(lambda: not one.names.counters["names_unsettled"])
            assert not await two.claim("ana")
            assert one.ear.lost == []
            one.names.release("ana")
            assert await two.claim("ana")

    asyncio.run(main())


def test_a_node_that_was_cut_off_loses_what_others_took_meanwhile(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await one.claim("ana")
            assert await one.claim("bob")
            # The connection ends, and no server is to be found for a while.
            addresses, one.session._addresses = one.session._addresses, []
            one.session._nc.discovered_servers.clear()
            one.session._addresses = [type(addresses[0])("127.0.0.1", 9)]
            one.session._nc._transport._io_writer.transport.abort()
            await until(lambda: not one.session.is_connected)
            with pytest.raises(BrokerUnavailableError):
                await one.claim("eve")
            await two.claim_when_free("ana")
            one.session._addresses = addresses
            await until(lambda: one.ear.lost == ["ana"])
            assert not await two.claim("bob")
            assert await one.tell("ana", "hi") == "ana has it"
            assert two.ear.private == [("ana", "hi")]

    asyncio.run(main())


def test_a_claim_whose_answer_was_lost_can_be_made_again(shared_nats, new_prefix):
    async def main():
        async with holders(1, shared_nats.url, new_prefix) as (one,):
            store = one.names._records.store

            async def store_and_lose_the_answer(*arguments):
                await store(*arguments)
                raise BrokerUnavailableError("no answer")

            one.names._records.store = store_and_lose_the_answer
            with pytest.raises(BrokerUnavailableError):
                await one.claim("ana")
            one.names._records.store = store
            assert await one.claim("ana")
            assert not await one.claim("ana")

    asyncio.run(main())


def test_without_jetstream_a_claim_says_why_it_fails(make_nats):
    async def main():
        server = make_nats(has_jetstream=False).start()
        async with holders(1, server.url, "x") as (one,):
            with pytest.raises(BrokerUnavailableError, match="JetStream"):
                await one.claim("ana")

    asyncio.run(main())


def test_names_that_dead_nodes_left_are_swept_away_and_those_of_the_living_stay(shared_nats, new_prefix):
    async def main():
        mortal = ClusterLimits(heartbeat_interval=0.3, node_timeout=1.0)
        async with holders(2, shared_nats.url, new_prefix, mortal) as (one, two):

            async def left():
                info = f"STREAM.INFO.{one.names._records._stream}"
                return (await one.names._records._jetstream.ask(info))["state"]["messages"]

            await one.claim_when_free("ana")
            await two.claim_when_free("bob")
            for number in range(40):
                await one.names._records.store(f"left {number}", b"deadnode0000 1", 0)
            one.names._changed("deadnode0000", False)
            async with asyncio.timeout(20):
                while await left() > 2:  # noqa: ASYNC110  # what is asked for is elsewhere, so there is no event
                    await asyncio.sleep(0.05)
            await until(lambda: one.names._sweep._task.done() and two.names._sweep._task.done())
            assert await left() == 2
            assert not await one.claim("bob")
            assert not await two.claim("ana")

    asyncio.run(main())


def test_of_two_nodes_whose_servers_had_lost_each_other_one_keeps_the_name(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await one.claim("ana")
            assert await one.claim("bob")
            await until(lambda: one.nodes.alive and two.nodes.alive)
            # Both stay connected and reach the servers' store, but no word passes between them.
            publish = {node: node.session.publish for node in (one, two)}
            for node in (one, two):
                node.session.publish = lambda subject, payload, **options: True
            await two.claim_when_free("ana")
            assert one.ear.lost == two.ear.lost == []
            for node in (one, two):
                node.session.publish = publish[node]
            # Mostly the first; but it may have swept away what it took for the name of a dead node.
            await until(lambda: one.ear.lost + two.ear.lost == ["ana"])
            await until(lambda: all(node.names._sweep._task.done() for node in (one, two)))
            for node in (one, two, one, two):  # what each has to tell the other is heard
                await node.session.flush()
            await until(lambda: not any(node.names.counters["names_unsettled"] for node in (one, two)))
            assert not await one.claim("ana")
            assert not await two.claim("ana")
            assert not await two.claim("bob")
            assert one.ear.lost + two.ear.lost == ["ana"]

    asyncio.run(main())


def test_a_node_that_comes_back_while_its_records_are_swept_away_keeps_its_names(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await two.claim("ana")
            await until(lambda: one.nodes.alive)
            sweep = one.names._sweep

            async def is_dead(node: str) -> bool:
                return True

            await sweep.close()  # the one after the start, which waits
            sweep._is_dead, sweep._delay = is_dead, 0
            sweep._is_alive = lambda node: sweep.swept > 0  # back as soon as its record is deleted
            sweep.begin_soon()
            await until(lambda: sweep.swept == 1)
            async with asyncio.timeout(DEADLINE):
                while await one.names._records.find("ana") is None:
                    pass
            assert not await one.claim("ana")
            assert two.ear.lost == []

    asyncio.run(main())


def test_a_node_that_was_held_for_dead_without_knowing_it_looks_its_names_up(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await one.claim("ana")
            await until(lambda: one.nodes.alive and two.nodes.alive)
            # Nothing that the first says reaches the second, which is heard all the time.
            publish, one.session.publish = one.session.publish, lambda subject, payload, **options: True
            say, two.session.publish = (
                two.session.publish,
                lambda subject, payload, **options: ".names." in subject or say(subject, payload, **options),
            )
            await two.claim_when_free("ana")
            assert one.ear.lost == []
            one.session.publish, two.session.publish = publish, say
            await until(lambda: one.ear.lost == ["ana"])

    asyncio.run(main())


def test_what_a_server_knew_before_a_name_was_taken_does_not_end_it(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            assert await two.claim("ana")
            old = await one.names._records.find("ana")
            two.names.release("ana")
            await until(lambda: not two.names.counters["names_unsettled"])
            assert await one.claim("ana")
            find = one.names._records.find
            stale = [old]

            async def find_what_was(name):
                return stale.pop() if stale else await find(name)

            one.names._records.find = find_what_was
            one.names._doubt(["ana"])
            await until(lambda: not one.names.counters["names_unsettled"])
            assert not stale
            assert one.ear.lost == []
            assert not await two.claim("ana")

    asyncio.run(main())


def test_names_that_are_lost_are_let_go_of_though_one_of_them_cannot_be(shared_nats, new_prefix):
    async def main():
        async with holders(2, shared_nats.url, new_prefix) as (one, two):
            names = ["ana", "bob", "eve"]
            for name in names:
                assert await one.claim(name)
            lost = []

            def lose_name(name):
                lost.append(name)
                raise RuntimeError("a fault of the application")

            one.ear.lose_name = lose_name
            for name in names:
                record = await one.names._records.find(name)
                await two.names._records.store(name, f"{two.session.node} 1".encode(), record.sequence)
            one.names._doubt(names)
            await until(lambda: lost == names)
            await until(lambda: not one.names.counters["names_unsettled"])

    asyncio.run(main())


def test_the_leader_of_three_servers_is_killed_and_no_name_is_lost_or_taken_twice(nats_cluster):
    async def main():
        urls = nats_cluster.urls
        async with holders(1, urls, "x", QUICK) as (one,):
            await one.claim_when_free("before")
        async with holders(2, urls, "x", QUICK, replicas=3) as (one, two):
            held = [f"name {number}" for number in range(50)]
            for name in held:
                await one.claim_when_free(name)
            for stream in ("KV_x_names", "KV_x_nodes"):  # begun with one replica, by the nodes before these
                info = await one.names._records._jetstream.ask(f"STREAM.INFO.{stream}")
                assert info["config"]["num_replicas"] == 3
            info = await one.names._records._jetstream.ask("STREAM.INFO.KV_x_names")
            await until_current(one)
            leader = int(info["cluster"]["leader"].removeprefix("server"))
            await asyncio.to_thread(nats_cluster.servers[leader].kill)
            await two.claim_when_free("new")
            await until(lambda: one.session.is_connected and not one.names.counters["names_unsettled"])
            for name in [*held, "new"]:
                assert not await (two if name in held else one).claim_for_sure(name)
            assert await two.tell("name 7", "hi") == "name 7 has it"
            one.names.release("name 7")
            await two.claim_when_free("name 7")
            assert (one.ear.lost, two.ear.lost) == ([], [])

    asyncio.run(main())


async def until_current(holder):
    """Wait until all three servers have all names."""
    async with asyncio.timeout(30):
        while True:
            info = await holder.names._records._jetstream.ask("STREAM.INFO.KV_x_names")
            replicas = info["cluster"].get("replicas", ())
            if len(replicas) == 2 and all(replica["current"] for replica in replicas):
                return
            await asyncio.sleep(0.05)
