from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time

import pytest
import trustme
from tests.cluster.cluster_nodes import MORTAL, QUICK, Node, NodeProcess, nodes, subscribe
from tests.net.peers import until

from xmlsocket import BrokerError, ConfigurationError
from xmlsocket.limits import ClusterLimits

AWKWARD = [
    "a.b",
    "a.*",
    "a.>",
    ">",
    "*",
    "a b",
    " ",
    "",
    "\t\r\n",
    "é",
    "E",
    "e",
    "日本",
    "💬",
    "n-a",
    "x" * 1000,
    "é" * 1000,
]


def run(main):
    asyncio.run(main)


def gather(node, kind):
    return [name for _, what, name in node.ear.events if what == kind]


class Way:
    """A way to a server that can be closed for what the server sends, while everything stays connected."""

    def __init__(self, port):
        self._target = port
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks = set()

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        always = asyncio.Event()
        always.set()
        for source, target, gate in ((reader, back, always), (there, writer, self.is_open)):
            self._tasks.add(asyncio.create_task(self._pass(source, target, gate)))

    async def _pass(self, source, target, gate):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await gate.wait()
                target.write(data)
                await target.drain()
        target.close()


# What arrives


def test_messages_of_each_sender_arrive_everywhere_once_and_in_its_order(shared_nats, new_prefix, runner):
    async def main():
        async with nodes(3, shared_nats.url, prefix=new_prefix) as three:
            await subscribe("a", *three)
            for number in range(600):
                for sender, node in enumerate(three):
                    node.broker.publish("a", f"{sender} {number}")
                if number % 7 == 0:
                    await asyncio.sleep(0)
            await until(lambda: all(len(node.texts()) >= 1800 for node in three))
            for node in three:
                for sender in range(3):
                    said = [text for text in node.texts() if text.startswith(f"{sender} ")]
                    assert said == [f"{sender} {number}" for number in range(600)]
                assert node.ear.gaps == []
                assert node.counters["outgoing_dropped_total"] == 0

    runner(main())


def test_what_was_said_before_the_start_is_heard_here_and_what_follows_everywhere(shared_nats, new_prefix):
    async def main():
        one, two = Node(shared_nats.url, prefix=new_prefix), Node(shared_nats.url, prefix=new_prefix)
        one.broker.publish("a", "0")
        one.broker.subscribe("a")
        one.broker.arrive("a", "ana")
        await two.broker.start()
        await one.broker.start()
        await until(lambda: one.counters["nodes"] == two.counters["nodes"] == 2)
        await subscribe("a", two)
        one.broker.publish("a", "1")
        await until(lambda: two.texts() == ["1"])
        assert await two.broker.present("a") == ["ana"]
        await one.broker.close()
        await two.broker.close()

    run(main())


def test_own_members_have_a_message_when_publish_returns_also_without_a_broker():
    async def main():
        node = Node("nats://127.0.0.1:1")
        node.broker.subscribe("a")
        node.broker.publish("a", "hi")
        node.broker.arrive("a", "ana")
        assert (node.texts(), node.ear.events) == (["hi"], [("a", "+", "ana")])

    run(main())


def test_names_of_rooms_never_reach_another_room(shared_nats, new_prefix):
    async def main():
        async with nodes(2, shared_nats.url, prefix=new_prefix) as (one, two):
            for room in AWKWARD:
                two.broker.subscribe(room)
            await asyncio.gather(*(two.broker.present(room) for room in AWKWARD))
            for room in AWKWARD:
                one.broker.publish(room, f"in {room}")
                one.broker.arrive(room, f"name in {room}")
            await until(lambda: len(two.ear.heard) >= len(AWKWARD) and len(two.ear.events) >= len(AWKWARD))
            assert sorted(two.ear.heard) == sorted((room, f"in {room}") for room in AWKWARD)
            assert sorted(two.ear.events) == sorted((room, "+", f"name in {room}") for room in AWKWARD)
            assert await two.broker.rooms() == dict.fromkeys(AWKWARD, 1)

    run(main())


@pytest.mark.parametrize("prefixes", [("", "x"), ("x", "y")])
def test_services_with_different_prefixes_do_not_notice_each_other(shared_nats, new_prefix, prefixes):
    async def main():
        one, two = (Node(shared_nats.url, prefix=new_prefix + prefix) for prefix in prefixes)
        for node in (one, two):
            await node.broker.start()
            node.broker.subscribe("a")
        one.broker.publish("a", "hi")
        one.broker.arrive("a", "ana")
        assert await two.broker.present("a") == []
        assert (two.texts(), two.counters["nodes"]) == ([], 1)
        await one.broker.close()
        await two.broker.close()

    run(main())


@pytest.mark.parametrize("message", ["", "é💬\ud800", "x" * 3_000_000 + "é", b"\xff", b"\xfe" * 3_000_000])
def test_any_message_arrives_as_it_was_however_long(shared_nats, new_prefix, message):
    async def main():
        async with nodes(2, shared_nats.url, prefix=new_prefix) as (one, two):
            await subscribe("a", two)
            one.broker.publish("a", message)
            one.broker.publish("a", "end")
            await until(lambda: len(two.texts()) == 2)
            assert two.texts() == [message, "end"]

    run(main())


def test_who_left_a_room_hears_it_no_more_and_who_is_back_soon_has_missed_nothing(shared_nats, new_prefix):
    async def main():
        async with nodes(2, shared_nats.url, prefix=new_prefix) as (one, two):
            await subscribe("a", two)
            two.broker.unsubscribe("a")
            two.broker.subscribe("a")
            one.broker.publish("a", "1")
            await until(lambda: two.texts() == ["1"])
            two.broker.unsubscribe("a")
            await until(lambda: two.counters["live_rooms_heard"] == 0)
            one.broker.publish("a", "2")
            await asyncio.sleep(0)
            await one.session.flush()
            await subscribe("a", two)
            one.broker.publish("a", "3")
            await until(lambda: two.texts()[-1:] == ["3"])
            assert (two.texts(), two.ear.gaps) == (["1", "3"], [])

    run(main())


# Who is there


def test_who_comes_later_learns_who_is_there_and_everybody_hears_of_who_comes_and_goes(shared_nats, new_prefix):
    async def main():
        async with nodes(3, shared_nats.url, prefix=new_prefix) as (one, two, three):
            await subscribe("a", one, two)
            one.broker.arrive("a", "ana")
            two.broker.arrive("a", "bob")
            assert sorted(await three.broker.present("a")) == ["ana", "bob"]
            three.broker.subscribe("a")
            assert sorted(await three.broker.present("a")) == ["ana", "bob"]
            three.broker.arrive("a", "cid")
            one.broker.depart("a", "ana")
            await until(lambda: all(len(gather(node, "-")) == 1 for node in (one, two, three)))
            await until(lambda: "cid" in gather(one, "+") and "cid" in gather(two, "+"))
            assert three.ear.events == [("a", "+", "cid"), ("a", "-", "ana")]
            assert [await node.broker.present("a") for node in (one, two, three)] == [
                ["bob", "cid"],
                ["bob", "cid"],
                ["cid", "bob"],
            ]
            assert await one.broker.rooms() == {"a": 2}

    run(main())


def test_a_room_of_very_many_names_is_told_in_parts(shared_nats, new_prefix):
    async def main():
        async with nodes(2, shared_nats.url, prefix=new_prefix) as (one, two):
            one.broker.subscribe("a")
            names = [f"somebody with a long name {number}" for number in range(30_000)]
            for name in names:
                one.broker.arrive("a", name)
            await asyncio.sleep(0)
            await one.session.flush()
            two.broker.subscribe("a")
            assert await two.broker.present("a") == names
            assert gather(two, "+") == []

    run(main())


def test_after_any_comings_and_goings_all_nodes_agree_and_told_every_change_once(shared_nats, new_prefix):
    chance = random.Random(7)

    async def main():
        async with nodes(3, shared_nats.url, prefix=new_prefix) as three:
            here = {node: set() for node in three}
            await subscribe("a", *three)
            for step in range(900):
                node, name = chance.choice(three), f"name {chance.randrange(12)}"
                if name in here[node]:
                    here[node].remove(name)
                    node.broker.depart("a", name)
                else:
                    here[node].add(name)
                    node.broker.arrive("a", name)
                if step % 50 == 0:
                    await asyncio.sleep(0.01)
                if step == 450:
                    three[0].drop(0, 1, 2, 5)
            there = set().union(*here.values())
            await until(lambda: all(set(node.broker.present("a").value) == there for node in three))
            for node in three:
                assert set(await node.broker.present("a")) == there
                told = {}
                for _, kind, name in node.ear.events:
                    assert told.get(name) != kind, "told twice"
                    told[name] = kind
                assert {name for name, kind in told.items() if kind == "+"} == there

    run(main())


# What is lost is noticed


def test_a_hole_is_counted_to_the_message_and_told_to_the_room(shared_nats, new_prefix):
    async def main():
        async with nodes(2, shared_nats.url, prefix=new_prefix) as (one, two):
            await subscribe("a", one, two)
            one.drop(1, 2)
            for turn in range(5):
                for number in range(3):
                    one.broker.publish("a", f"{turn} {number}")
                one.broker.arrive("a", f"name {turn}")
                await asyncio.sleep(0.01)
            await until(lambda: len(two.texts()) == 9 and len(two.ear.events) == 5)
            assert two.ear.gaps == [("a", 6)]
            assert (two.counters["live_gaps_total"], two.counters["live_missed_messages_total"]) == (1, 6)
            assert sorted(gather(two, "+")) == [f"name {turn}" for turn in range(5)]

    run(main())


def test_a_lost_beginning_and_a_lost_tail_are_noticed_without_another_word(shared_nats, new_prefix):
    async def main():
        async with nodes(2, shared_nats.url, prefix=new_prefix) as (one, two):
            await subscribe("a", two)
            one.drop(0, 2)
            for number in range(3):
                one.broker.publish("a", str(number))
                if number == 2:
                    one.broker.arrive("a", "ana")
                await asyncio.sleep(0.01)
            await until(lambda: two.missed() == 2 and gather(two, "+") == ["ana"])
            assert two.texts() == ["1"]

    run(main())


def test_a_flood_beyond_the_queue_is_dropped_counted_and_told_and_nobody_waits(nats_server):
    async def main():
        limits = ClusterLimits(announce_interval=0.5, max_outgoing_size=300_000)
        async with nodes(2, nats_server.url, limits=limits) as (one, two):
            await subscribe("a", two)
            nats_server.pause()
            for _ in range(100):
                for _ in range(100):
                    one.broker.publish("a", "x" * 1000)
                await asyncio.sleep(0)
            assert len(one.texts()) == 10_000
            assert one.session.outgoing_size < 600_000
            nats_server.resume()
            assert one.counters["outgoing_dropped_total"] > 0
            await until(lambda: len(two.texts()) + two.missed() == 10_000)
            assert two.missed() > 0
            one.broker.publish("a", "after")
            await until(lambda: two.texts()[-1:] == ["after"])

    run(main())


def test_what_a_broker_drops_for_a_node_that_does_not_read_is_counted_to_the_message(make_nats, tmp_path):
    settings = tmp_path / "nats.conf"
    settings.write_text("max_pending: 2000000\nwrite_deadline: '1s'\n")
    server = make_nats("-c", str(settings)).start()

    async def main():
        way = Way(server.port)
        async with way, nodes(1, server.url) as (one,):
            two = Node(f"nats://127.0.0.1:{way.port}", limits=QUICK)
            await two.broker.start()
            await subscribe("a", one, two)
            one.broker.publish("a", "0")
            await until(lambda: two.texts() == ["0"])
            way.is_open.clear()
            said = 1
            for _ in range(300):
                for _ in range(40):
                    one.broker.publish("a", f"{said} {'x' * 1000}")
                    said += 1
                await asyncio.sleep(0.001)
            await until(lambda: "Slow Consumer" in server.log.read_text())
            way.is_open.set()
            await until(lambda: two.counters["reconnects_total"] >= 1 and two.broker.state.is_ready)
            await until(lambda: len(two.texts()) + two.missed() == said)
            assert two.missed() > 0
            numbers = [int(text.split()[0]) for text in two.texts()]
            assert numbers == sorted(set(numbers))
            assert one.counters["outgoing_dropped_total"] == 0
            await two.broker.close()

    run(main())


# Nodes and brokers that come and go


def test_a_dead_node_is_left_by_its_members_everywhere_once_and_a_stopped_one_comes_back(nats_server):
    async def main():
        async with nodes(2, nats_server.url, limits=MORTAL) as two:
            await subscribe("a", *two)
            killed, stopped = (NodeProcess(nats_server.url, "xmlsocket", name) for name in ("ana", "bob"))
            try:
                await until(lambda: all(sorted(gather(node, "+")) == ["ana", "bob"] for node in two))
                killed.send(signal.SIGKILL)
                stopped.send(signal.SIGSTOP)
                began = time.monotonic()
                await until(lambda: all(sorted(gather(node, "-")) == ["ana", "bob"] for node in two))
                assert await two[0].broker.present("a") == []
                # So long that it, too, holds the others for dead when it goes on.
                await asyncio.sleep(max(0.0, MORTAL.node_timeout + 0.5 - (time.monotonic() - began)))
                stopped.send(signal.SIGCONT)
                await until(lambda: all(gather(node, "+").count("bob") == 2 for node in two))
                assert all(sorted(gather(node, "-")) == ["ana", "bob"] for node in two)
                assert await two[1].broker.present("a") == ["bob"]
                heard = len(two[0].texts())
                await until(lambda: len(two[0].texts()) > heard + 20)
            finally:
                killed.end()
                stopped.end()

    run(main())


def test_a_node_that_says_goodbye_is_left_at_once(shared_nats, new_prefix):
    async def main():
        limits = ClusterLimits(node_timeout=1000, heartbeat_interval=0.5)
        async with nodes(2, shared_nats.url, prefix=new_prefix, limits=limits) as (one, two):
            await subscribe("a", one, two)
            one.broker.arrive("a", "ana")
            two.broker.arrive("a", "bob")
            await until(lambda: "bob" in gather(one, "+"))
            await two.broker.close()
            await until(lambda: gather(one, "-") == ["bob"])

    run(main())


def test_a_broker_that_is_killed_and_comes_back_costs_what_was_said_meanwhile_and_that_is_told(any_nats_server, runner):
    async def main():
        async with nodes(2, any_nats_server.url) as (one, two):
            await subscribe("a", one, two)
            one.broker.arrive("a", "ana")
            two.broker.arrive("a", "bob")
            one.broker.publish("a", "before")
            await until(lambda: two.texts() == ["before"] and len(one.ear.events) == len(two.ear.events) == 2)
            any_nats_server.kill()
            await until(lambda: not one.broker.state.is_ready and not two.broker.state.is_ready)
            assert "away" in one.broker.state.sentence
            one.broker.publish("a", "lost")
            one.broker.arrive("a", "cid")
            assert one.texts() == ["before", "lost"]
            any_nats_server.start()
            await until(lambda: one.broker.state.is_ready and two.broker.state.is_ready)
            await until(lambda: two.missed() == 1 and "cid" in gather(two, "+"))
            one.broker.publish("a", "after")
            await until(lambda: two.texts() == ["before", "after"])
            assert one.ear.states == two.ear.states == [False, True]
            assert gather(one, "-") == gather(two, "-") == []

    runner(main())


def test_a_node_that_is_cut_off_for_long_tells_its_own_that_the_others_left_and_then_that_they_are_back(nats_server):
    async def main():
        limits = ClusterLimits(heartbeat_interval=0.4, node_timeout=1.2, announce_interval=0.5)
        async with nodes(2, nats_server.url, limits=limits) as (one, two):
            await subscribe("a", one, two)
            one.broker.arrive("a", "ana")
            two.broker.arrive("a", "bob")
            await until(lambda: len(one.ear.events) == len(two.ear.events) == 2)
            nats_server.kill()
            await until(lambda: gather(one, "-") == ["bob"] and gather(two, "-") == ["ana"])
            assert await one.broker.present("a") == ["ana"]
            nats_server.start()
            await until(lambda: gather(one, "+").count("bob") == gather(two, "+").count("ana") == 2)
            assert gather(one, "-") == ["bob"]

    run(main())


def test_a_node_that_starts_while_the_broker_is_away_serves_its_own_and_joins_when_it_is_there(make_nats):
    server = make_nats()

    async def main():
        one, two = Node(server.url, limits=ClusterLimits(connect_timeout=0.3)), Node(server.url, limits=QUICK)
        one.broker.subscribe("a")
        await one.broker.start()
        assert not one.broker.state.is_ready
        one.broker.publish("a", "alone")
        one.broker.arrive("a", "ana")
        assert (one.texts(), await one.broker.present("a"), one.ear.states) == (["alone"], ["ana"], [False])
        server.start()
        await until(lambda: one.broker.state.is_ready)
        assert one.ear.states == [False, True]
        await two.broker.start()
        two.broker.subscribe("a")
        await until(lambda: two.counters["nodes"] == 2)
        assert await two.broker.present("a") == ["ana"]
        one.broker.publish("a", "together")
        await until(lambda: two.texts() == ["together"])
        await one.broker.close()
        await two.broker.close()

    run(main())


def test_a_server_of_three_is_killed_and_its_nodes_go_to_another(nats_cluster):
    async def main():
        async with nodes(3, nats_cluster.urls) as three:
            await subscribe("a", *three)
            nats_cluster.servers[0].kill()
            said = 0
            for _ in range(200):
                three[0].broker.publish("a", str(said))
                said += 1
                await asyncio.sleep(0.005)
            await until(lambda: all(node.broker.state.is_ready for node in three))
            await until(lambda: all(len(node.texts()) + node.missed() == said for node in three[1:]))
            assert three[0].texts() == [str(number) for number in range(said)]

    run(main())


# What trying again would not mend


def test_a_wrong_password_fails_the_start_and_the_right_one_does_not(make_nats):
    server = make_nats("--user", "ana", "--pass", "p@ss").start()
    address = server.url.removeprefix("nats://")

    async def main():
        for secrets in ("", "ana:wrong@"):
            with pytest.raises(BrokerError, match="Authorization Violation") as caught:
                await Node(f"nats://{secrets}{address}").broker.start()
            assert "wrong" not in str(caught.value)
        node = Node(f"nats://ana:p%40ss@{address}")
        await node.broker.start()
        assert node.broker.state.is_ready
        await node.broker.close()

    run(main())


def test_tls_is_checked_and_spoken(make_nats, tmp_path):
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    for name, one in (("right.pem", authority), ("wrong.pem", other)):
        one.cert_pem.write_to_path(tmp_path / name)
    files = ("--tlscert", str(tmp_path / "certificate.pem"), "--tlskey", str(tmp_path / "key.pem"))
    address = make_nats("--tls", *files).start().url.replace("nats://", "tls://")

    async def main():
        for options in ({}, {"tls_ca": tmp_path / "wrong.pem"}):
            with pytest.raises(BrokerError, match="TLS"):
                await Node(address, **options).broker.start()
        node = Node(address, tls_ca=tmp_path / "right.pem")
        await node.broker.start()
        assert node.broker.state.is_ready
        await node.broker.close()

    run(main())


def test_secrets_are_not_sent_in_the_clear_to_a_server_that_does_not_ask_for_tls(make_nats):
    seen = bytearray()

    async def pretend(reader, writer):
        writer.write(b'INFO {"version":"2.15.1","auth_required":true,"max_payload":1048576,"headers":true}\r\n')
        with contextlib.suppress(ConnectionError):
            seen.extend(await reader.read(1000))
        writer.close()

    async def main():
        async with await asyncio.start_server(pretend, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(BrokerError, match="TLS"):
                await Node(f"tls://ana:secret@127.0.0.1:{port}").broker.start()

    run(main())
    assert b"secret" not in seen


@pytest.mark.parametrize(
    "address", ["", ",", "http://a", "nats://", "nats://a:99999", "nats://a/b", "nats://u:secret@a:x"]
)
def test_what_is_no_address_of_a_broker_is_refused_at_once_without_showing_secrets(address):
    with pytest.raises(ConfigurationError) as caught:
        Node(address)
    assert "secret" not in str(caught.value)
