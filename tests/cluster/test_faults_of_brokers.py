"""Chat in processes of ``xmlsocket serve`` while what joins them fails, and a journal of each run that adds up."""

from __future__ import annotations

import asyncio
import json
import random

from tests.cluster.cable import Cable
from tests.cluster.person import Person
from tests.cluster.service import ROOM, Service

from xmlsocket.rooms.cluster.session import Session


async def in_thread(action):
    """Do something that waits for a process, while people go on."""
    await asyncio.get_running_loop().run_in_executor(None, action)


def test_a_broker_is_killed_a_node_starts_without_it_it_is_back_and_the_journal_adds_up(nats_server, tmp_path):
    async def main():
        async with Service(tmp_path, nats_server.url) as service:
            one, two = await service.start("one", "two")
            ann, abe, bea = [*await service.enter(one, "ann", "abe"), *await service.enter(two, "bea")]
            await service.flow(40)

            service.note("the broker is killed")
            await in_thread(nats_server.kill)
            (three,) = await service.start("three")
            early = Person(service.journal, three, "cat", "early cat")
            service.people.append(early)
            assert await early.log_in() == "unavailable"
            await service.journal.until(
                lambda: all(service.journal.count("refused", person.name) for person in (ann, abe, bea)),
                "everybody is refused something",
            )
            service.note("the broker is started")
            await in_thread(nats_server.start)
            await early.log_in_at_last()
            await early.join(ROOM)
            await service.flow(40)

            service.note("the broker is killed, and started at once")
            await in_thread(nats_server.restart)
            await service.flow(40)
            for person in (ann, abe, bea):
                assert person.stays[ROOM].notices == ["cut-off", "reconnected"] * 2
            sums = await service.finish()
            assert sums["unknown"] == 0
            refused = {message.code for message in service.journal.messages.values() if message.outcome == "refused"}
            assert all(code.startswith("unavailable: ") for code in refused)

    asyncio.run(main())


def test_the_leader_of_three_brokers_is_killed_and_the_journal_adds_up(nats_cluster, tmp_path):
    async def find_leader():
        session = Session(nats_cluster.urls)
        await session.start()
        info = json.loads((await session.request("$JS.API.STREAM.INFO.xmlsocket_kept", b"", timeout=10)).data)
        await session.close()
        number = int(info["cluster"]["leader"].removeprefix("server"))
        return nats_cluster.servers[number]

    async def main():
        async with Service(tmp_path, *nats_cluster.urls, options=("--broker-replicas", "3")) as service:
            one, two = await service.start("one", "two")
            await service.enter(one, "ann", "abe")
            await service.enter(two, "bea", "bob")
            await service.flow(40)
            service.note("the leader is killed")
            await in_thread((await find_leader()).kill)
            await service.flow(60)
            sums = await service.finish()
            assert sums["unknown"] == 0

    asyncio.run(main())


def test_a_slow_broker_delays_and_the_journal_adds_up(nats_server, tmp_path):
    chance = random.Random(5)

    async def main():
        async with (
            Cable(nats_server.port) as first,
            Cable(nats_server.port) as second,
            Service(tmp_path, nats_server.url) as service,
        ):
            one, two = service.begin("one", first.url), service.begin("two", second.url)
            await asyncio.gather(one.serve(), two.serve())
            await service.enter(one, "ann", "abe")
            await service.enter(two, "bea", "bob")
            await service.flow(40)
            service.note("the broker is slow, and for one of them slower")
            first.delay = lambda: chance.uniform(0.0, 0.05)
            second.delay = lambda: chance.uniform(0.05, 0.3)
            await service.flow(80)
            slow = service.journal.count("accepted", "bea")
            await service.journal.until(
                lambda: service.journal.count("accepted", "bea") > slow + 5, "the slower speaks"
            )
            assert service.journal.count("refused") == 0
            service.note("nothing comes for longer than a node waits for an answer")
            second.delay = lambda: 3.5
            await service.journal.until(lambda: service.journal.count("refused", "bea"), "somebody is refused")
            service.note("the broker is as quick as ever")
            first.delay = second.delay = None
            await service.flow(40)
            sums = await service.finish()
            assert sums["unknown"] == 0

    asyncio.run(main())


def test_the_brokers_disk_is_full_and_has_room_again_and_the_journal_adds_up(make_nats, small_disk, tmp_path):
    server = make_nats("-js", "-sd", str(small_disk.folder), has_jetstream=False).start()

    async def main():
        async with Service(tmp_path, server.url, options=("--max-history-file-size", "4000000")) as service:
            one, two = await service.start("one", "two")
            await service.enter(one, "ann")
            await service.enter(two, "bea")
            await service.flow(20)
            service.note("the disk is full")
            small_disk.fill()
            await service.journal.until(
                lambda: service.journal.count("refused", "ann") > 3 and service.journal.count("refused", "bea") > 3,
                "both are refused something",
            )
            service.note("the disk has room again")
            small_disk.free()
            await in_thread(server.restart)  # a server whose disk was full has given up its streams until then
            await service.flow(40)
            sums = await service.finish()
            assert sums["unknown"] == 0

    asyncio.run(main())
