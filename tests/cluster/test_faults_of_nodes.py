"""Chat in processes of ``xmlsocket serve`` while nodes fail, and a journal of each run that adds up."""

from __future__ import annotations

import asyncio
import datetime
import time

import pytest
from tests.cluster.person import Person
from tests.cluster.service import ROOM, Service


def test_a_node_is_killed_and_another_stands_still_and_the_journal_adds_up(nats_server, tmp_path):
    async def main():
        async with Service(tmp_path, nats_server.url) as service:
            one, two, three = await service.start("one", "two", "three")
            ann, abe = await service.enter(one, "ann", "abe")
            bea, bob = await service.enter(two, "bea", "bob")
            cat, col = await service.enter(three, "cat", "col")
            await service.flow(60)

            four = service.begin("four")
            service.kill(two)
            service.note("three stands still")
            three.stand_still()
            stood = time.monotonic()
            await service.leave_everywhere((ann, abe), "bea", "bob", "cat", "col")
            await asyncio.gather(bea.is_over.wait(), bob.is_over.wait())

            # Who was there can come back on another node; and take the name of somebody whose node is held for dead.
            await four.serve()
            await service.enter_as(four, "bob", "bob again")
            await service.enter_as(one, "col", "the other col")
            await service.flow(40)

            assert time.monotonic() - stood > 6
            service.note("three goes on")
            three.go_on()
            await service.be_replaced(col)
            three.is_healthy = True
            await service.flow(40)
            assert ann.stays[ROOM].has_returned("cat")
            assert abe.stays[ROOM].has_returned("cat")
            # She was given what was said while her node stood still, and that its people have left, once.
            assert cat.stays[ROOM].count("left", "bea") == 1
            sums = await service.finish()
            assert sums["accepted"] > 140

    asyncio.run(main())


def is_stamped(service, name, hours):
    """Whether the latest message of somebody has a time that is so many hours off."""
    stamps = [message.stamp for message in service.journal.messages.values() if message.sender == name]
    stamp = next(filter(None, reversed(stamps)))
    ahead = datetime.datetime.fromisoformat(stamp) - datetime.datetime.now(datetime.UTC)
    return abs(ahead.total_seconds() / 3600 - hours) < 0.1


@pytest.mark.timeout(120)
def test_a_partition_is_healed_after_20_seconds_while_a_clock_jumps_and_the_journal_adds_up(
    make_nats, far_network, clock, tmp_path
):
    server = make_nats(host=far_network.broker).start()

    async def main():
        async with Service(tmp_path, server.url) as service:
            near = service.begin("near")
            far = service.begin("far", host=far_network.host, launcher=far_network.launcher)
            jumping = service.begin("jumping", variables=clock.variables)
            await asyncio.gather(near.serve(), far.serve(), jumping.serve())
            ann, abe = await service.enter(near, "ann", "abe")
            bea, bob = await service.enter(far, "bea", "bob")
            cat, col = await service.enter(jumping, "cat", "col")
            await service.flow(60)

            service.note("the clock jumps an hour forward")
            clock.jump(3600)
            await service.journal.until(lambda: is_stamped(service, "cat", 1), "a clock that jumped")
            await service.flow(60)
            service.note("the far network is cut off, the clock jumps two hours back")
            far.is_healthy = False
            far_network.cut()
            cut = time.monotonic()
            clock.jump(-3600)
            await service.leave_everywhere((ann, abe, cat, col), "bea", "bob")
            await service.leave_everywhere((bea, bob), "ann", "abe", "cat", "col")
            assert is_stamped(service, "cat", -1)
            await service.journal.until(lambda: service.journal.count("refused", "bea"), "somebody there is refused")
            await service.enter_as(near, "bob", "the other bob")
            await service.flow(60)
            assert bea.stays[ROOM].notices == ["cut-off"]

            await asyncio.sleep(cut + 20 - time.monotonic())
            service.note("the far network is back")
            far_network.heal()
            await service.be_replaced(bob)
            far.is_healthy = True
            await service.flow(60)
            assert bea.stays[ROOM].notices == ["cut-off", "reconnected"]
            assert all(watcher.stays[ROOM].has_returned("bea") for watcher in (ann, abe, cat, col))
            assert all(bea.stays[ROOM].has_returned(name) for name in ("ann", "abe", "cat", "col"))
            # Whose clock jumped was never gone.
            assert not ann.stays[ROOM].count("left", "cat") + cat.stays[ROOM].count("left", "ann")
            sums = await service.finish()
            assert sums["refused"] > 0

    asyncio.run(main())


def test_two_nodes_claim_names_at_once_again_and_again_and_the_journal_adds_up(nats_server, tmp_path):
    async def race(service, number, nodes):
        """Two want one name at once; then the other one wants it as soon as it is free."""
        rivals = [Person(service.journal, node, f"Star{number}", f"star {number} of {node.label}") for node in nodes]
        service.people += rivals
        for rival in rivals:
            await rival.connect()
        answers = await asyncio.gather(*(rival.log_in() for rival in rivals))
        assert sorted(answers) == ["name-taken", "welcome"]
        winner, loser = rivals if answers[0] == "welcome" else reversed(rivals)
        for rival in (winner, loser):
            if rival is loser:
                await rival.log_in_at_last()
            await rival.join(ROOM)
            text = rival.say(ROOM)
            await service.journal.until(lambda text=text: service.journal.messages[text].outcome == "accepted", text)
            await rival.go()

    async def main():
        async with Service(tmp_path, nats_server.url) as service:
            nodes = await service.start("one", "two")
            (ann,) = await service.enter(nodes[0], "ann")
            await service.enter(nodes[1], "bea")
            await service.flow(10)
            for start in range(0, 60, 12):
                await asyncio.gather(*(race(service, number, nodes) for number in range(start, start + 12)))
            logins = [line["label"] for line in service.journal.read() if line["event"] == "login"]
            assert len(logins) == len(set(logins)) == 2 + 2 * 60
            await service.flow(10)
            sums = await service.finish()
            assert sums["accepted"] == sums["sent"] > 120
            assert ann.stays[ROOM].events.count(("left", "Star7")) <= 2

    asyncio.run(main())
