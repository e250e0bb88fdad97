"""Kept rooms when something fails: every message is accepted once and seen everywhere, or refused and never seen."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
from tests.cluster.cable import Cable
from tests.cluster.kept_nodes import QUICK, node, opened, outcomes
from tests.net.peers import until

from xmlsocket import BrokerUnavailableError
from xmlsocket.errors import BrokerError
from xmlsocket.limits import ClusterLimits, HistoryLimits
from xmlsocket.rooms.cluster.session import Session


def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(any_nats_server):
    async def talk(stream, name, stop, journal):
        number = 0
        while not stop.is_set():
            number += 1
            text = f"{name}{number}"
            future = stream.keep("lobby", name, text)
            journal.append((text, future))
            if number % 4 == 0:
                await asyncio.wait([future], timeout=0.02)
            await asyncio.sleep(0.001)

    async def main():
        url = any_nats_server.url
        async with node(url) as one, node(url) as two, node(url) as watcher:
            await opened(one, two, watcher)
            stop, journal = asyncio.Event(), []
            talkers = [
                asyncio.create_task(talk(stream, name, stop, journal)) for stream, name in ((one, "a"), (two, "b"))
            ]
            loop = asyncio.get_running_loop()
            for _ in range(3):
                reached = watcher.listener.ids()[-1:] or [0]
                await until(lambda reached=reached: watcher.listener.ids()[-1:] > [reached[0] + 50])
                await loop.run_in_executor(None, any_nats_server.kill)
                await until(lambda: not watcher.session.is_connected)
                await asyncio.sleep(0.2)
                await loop.run_in_executor(None, any_nats_server.start)
                await opened(one, two, watcher)
            stop.set()
            await asyncio.gather(*talkers)
            ended = await outcomes([future for _, future in journal])
            accepted = {
                text: end.id for (text, _), end in zip(journal, ended, strict=True) if not isinstance(end, Exception)
            }
            refused = {
                text for (text, _), end in zip(journal, ended, strict=True) if isinstance(end, BrokerUnavailableError)
            }
            assert len(accepted) + len(refused) == len(journal)
            assert refused, "the broker was away, and some were told so"
            assert sorted(accepted.values()) == list(range(1, len(accepted) + 1))
            for stream in (one, two, watcher):
                await until(lambda stream=stream: len(stream.listener.ids()) >= len(accepted))
                assert stream.listener.ids() == list(range(1, len(accepted) + 1))
                assert {message.text: message.id for message in stream.listener.heard["lobby"]} == accepted
            found = await watcher.history("lobby", 0, len(accepted) + 10)
            assert {message.text: message.id for message in found} == accepted

    asyncio.run(main())


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "silent"])
def test_when_the_answer_is_lost_the_message_is_accepted_once_and_the_sender_is_told(shared_nats, new_prefix, is_cut):
    async def main():
        async with (
            Cable(shared_nats.port) as cable,
            node(cable.url, new_prefix, cluster=ClusterLimits(store_timeout=0.4, announce_interval=1.0)) as one,
            node(shared_nats.url, new_prefix) as two,
        ):
            await opened(one, two)
            assert (await one.keep("lobby", "ann", "first")).id == 1
            for number in range(2, 6):
                cable.loses_answers = True
                unsure = one.keep("lobby", "ann", f"unsure {number}")
                await until(lambda number=number: two.listener.ids()[-1:] == [number])
                assert not unsure.done()
                if is_cut:
                    cable.cut()
                    await until(lambda: not one.session.is_connected)
                cable.loses_answers = False
                async with asyncio.timeout(20):
                    assert (await unsure).id == number
                await opened(one)
            assert one.listener.heard == two.listener.heard
            assert one.counters["kept_lookups"] > 0

    asyncio.run(main())


def test_a_message_that_did_not_reach_the_broker_is_sent_again_behind_what_others_said(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix) as two:
            await opened(one, two)
            await one.keep("lobby", "ann", "first")
            request = one.session.request
            lost = []

            async def lose_stores(subject, payload, **options):
                if ".kept." in subject and not lost:
                    lost.append(payload)
                    await two.keep("lobby", "bob", "between")
                    raise BrokerUnavailableError("lost")
                return await request(subject, payload, **options)

            one.session.request = lose_stores
            kept = await outcomes([one.keep("lobby", "ann", "again"), one.keep("lobby", "ann", "and more")])
            assert [message.id for message in kept] == [3, 4]
            await until(lambda: len(two.listener.ids()) == 4)
            assert one.listener.texts() == two.listener.texts() == ["first", "between", "again", "and more"]

    asyncio.run(main())


def test_while_nats_is_there_and_does_not_store_what_waits_is_refused_at_once_and_that_is_said(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            await one.keep("lobby", "ann", "first")
            request, is_full = one.session.request, True

            async def store_nothing(subject, payload, **options):
                if is_full and ".kept." in subject:
                    await asyncio.sleep(0.1)
                    raise BrokerUnavailableError("NATS did not answer")
                return await request(subject, payload, **options)

            one.session.request = store_nothing
            unsure = one.keep("lobby", "ann", "unsure")
            await asyncio.sleep(0)
            behind = one.keep("lobby", "ann", "behind")
            with pytest.raises(BrokerUnavailableError, match="did not answer"):
                await behind
            assert not unsure.done()
            assert one.problem == "NATS did not answer"
            late = one.keep("lobby", "ann", "late")
            assert late.done()
            is_full = False
            assert (await unsure).id == 2
            await until(lambda: one.problem is None)
            assert (await one.keep("lobby", "ann", "again")).id == 3
            assert one.listener.texts() == ["first", "unsure", "again"]

    asyncio.run(main())


def test_a_hole_is_filled_before_anything_later_is_seen_and_a_lost_tail_is_noticed(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix) as two:
            await opened(one, two)
            room = two._follower.rooms["lobby"]
            room.unlisten()
            shown, count = [], 0

            def lossy(message):
                nonlocal count
                count += 1
                if count % 5 == 0:
                    shown.append(message)
                    two._follower._shown(room, message)

            room.unlisten = two.session.listen(room.shown_subject, lossy)
            await two.session.flush()
            for number in range(63):
                await one.keep("lobby", "ann", str(number))
            await until(lambda: len(two.listener.ids()) == 63)
            assert two.listener.heard == one.listener.heard
            assert len(shown) == 12
            assert two.counters["kept_catch_ups"] > 0

    asyncio.run(main())


@pytest.mark.parametrize("is_empty", [True, False], ids=["first", "later"])
def test_what_is_said_while_a_room_is_opened_is_seen_though_nats_is_slow_to_say_where_it_stands(
    shared_nats, new_prefix, is_empty
):
    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix, rooms=()) as two:
            await opened(one)
            await until(lambda: two.is_ready)
            if not is_empty:
                await one.keep("lobby", "ann", "before")
            last, may_answer = two._reader.last, asyncio.Event()

            async def answer_late(subject):
                await may_answer.wait()
                return await last(subject)

            two._reader.last = answer_late
            two.subscribe("lobby")
            await two.session.flush()
            for number in range(3):
                await one.keep("lobby", "ann", f"meanwhile {number}")
            await until(lambda: len(two._follower.rooms["lobby"].early) == 3)
            may_answer.set()
            await opened(two)
            await one.keep("lobby", "ann", "after")
            expected = ["meanwhile 0", "meanwhile 1", "meanwhile 2", "after"]
            await until(lambda: two.listener.texts()[-1:] == ["after"])
            assert two.listener.texts() == expected
            assert (await two.keep("lobby", "bob", "answer")).id == 5 + (not is_empty)

    asyncio.run(main())


def test_a_node_that_is_far_from_nats_is_heard_too_in_a_room_where_a_near_one_never_stops(shared_nats, new_prefix):
    async def never_stop(stream):
        while True:
            await stream.keep("lobby", "ann", "x")

    async def main():
        async with (
            Cable(shared_nats.port) as cable,
            node(shared_nats.url, new_prefix) as near,
            node(cable.url, new_prefix) as far,
        ):
            await opened(near, far)
            cable.delay = lambda: 0.03
            talking = [asyncio.create_task(never_stop(near)) for _ in range(3)]
            try:
                for number in range(5):
                    async with asyncio.timeout(20):
                        await far.keep("lobby", "bob", f"far {number}")
            finally:
                for task in talking:
                    task.cancel()
                await asyncio.gather(*talking, return_exceptions=True)
            cable.delay = None
            await until(lambda: not near.counters["kept_pending"])
            count = len(near.listener.ids())
            await until(lambda: far.listener.ids()[-1:] == near.listener.ids()[-1:])
            assert far.listener.heard["lobby"] == near.listener.heard["lobby"]
            assert near.listener.ids() == list(range(1, count + 1))
            assert [text for text in near.listener.texts() if text != "x"] == [f"far {number}" for number in range(5)]

    asyncio.run(main())


def test_a_broker_that_stands_still_delays_messages_and_loses_none(nats_server):
    async def main():
        async with node(nats_server.url) as one, node(nats_server.url) as two:
            await opened(one, two)
            await one.keep("lobby", "ann", "first")
            nats_server.pause()
            unsure = [one.keep("lobby", "ann", f"a{number}") for number in range(3)]
            await asyncio.sleep(1.5)
            # Refused is an answer too, for what waits behind the first, if the connection was given up meanwhile.
            assert not any(future.done() and future.exception() is None for future in unsure)
            nats_server.resume()
            kept = await outcomes(unsure)
            accepted = [end for end in kept if not isinstance(end, Exception)]
            await opened(one, two)
            await until(lambda: len(two.listener.ids()) == 1 + len(accepted))
            assert two.listener.heard == one.listener.heard
            assert two.listener.ids() == list(range(1, 2 + len(accepted)))

    asyncio.run(main())


def test_a_node_that_starts_while_the_broker_is_away_refuses_and_then_keeps(make_nats):
    server = make_nats()

    async def main():
        async with node(server.url, cluster=ClusterLimits(connect_timeout=0.5, store_timeout=0.5)) as one:
            assert not one.is_ready
            with pytest.raises(BrokerUnavailableError, match="away"):
                await one.keep("lobby", "ann", "x")
            with pytest.raises(BrokerUnavailableError):
                await one.history("lobby", None, 50)
            await asyncio.get_running_loop().run_in_executor(None, server.start)
            await opened(one)
            assert (await one.keep("lobby", "ann", "y")).id == 1
            assert one.listener.texts() == ["y"]

    asyncio.run(main())


def test_a_full_store_refuses_with_the_reason_and_recovers_by_itself(make_nats, any_nats_binary, tmp_path):
    settings = tmp_path / "small.conf"
    settings.write_text(f'jetstream {{ store_dir: "{tmp_path / "small"}", max_file_store: 300000 }}\n')
    server = make_nats("-c", str(settings), binary=any_nats_binary, has_jetstream=False).start()

    async def main():
        async with node(server.url, limits=HistoryLimits(max_history_file_size=None)) as one:
            await opened(one)
            accepted, refused = [], []
            for _ in range(200):
                (end,) = await outcomes([one.keep("lobby", "ann", "x" * 5000)])
                (refused if isinstance(end, BrokerUnavailableError) else accepted).append(end)
            assert 20 < len(accepted) < 70
            assert "JetStream error" in str(refused[0]), refused[0]
            assert one.listener.ids() == list(range(1, len(accepted) + 1))
            assert len(await one.history("lobby", None, 1000)) == len(accepted)
            # All of it: NATS 2.9.10 goes on to count what was purged of a part.
            await one._jetstream.ask("STREAM.PURGE.xmlsocket_kept")
            assert (await one.keep("lobby", "ann", "again")).id > len(accepted)

    asyncio.run(main())


def test_a_store_too_small_for_the_history_is_an_error_that_says_so(make_nats, tmp_path):
    settings = tmp_path / "small.conf"
    settings.write_text(f'jetstream {{ store_dir: "{tmp_path / "small"}", max_file_store: 300000 }}\n')
    server = make_nats("-c", str(settings), has_jetstream=False).start()

    async def main():
        with pytest.raises(BrokerError, match="max_history_file_size"):
            async with node(server.url):
                raise AssertionError("it started")

    asyncio.run(main())


def test_a_broker_without_jetstream_is_an_error_that_says_so(make_nats, any_nats_binary):
    server = make_nats(binary=any_nats_binary, has_jetstream=False).start()

    async def main():
        with pytest.raises(BrokerError, match="JetStream"):
            async with node(server.url, cluster=ClusterLimits(connect_timeout=0.5)):
                raise AssertionError("it started")

    asyncio.run(main())


def test_a_stream_with_other_settings_is_changed_and_that_is_said(shared_nats, new_prefix, caplog):
    async def main():
        async with node(shared_nats.url, new_prefix, HistoryLimits(max_kept_messages=7)) as one:
            await opened(one)
            await one.keep("lobby", "ann", "x")
        assert not caplog.records
        async with node(shared_nats.url, new_prefix, HistoryLimits(max_kept_messages=8, max_kept_age=60)) as two:
            await opened(two)
            assert (await two.keep("lobby", "ann", "x")).id == 2
            found = (await two._jetstream.ask(f"STREAM.INFO.{new_prefix}_kept"))["config"]
            assert (found["max_msgs_per_subject"], found["max_age"]) == (8, 60_000_000_000)
        assert "max_msgs_per_subject is 7, not 8" in caplog.text

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())


@pytest.mark.parametrize(
    "other",
    [
        {"name": "{}_kept", "subjects": ["{}.kept.>"], "storage": "memory"},
        {"name": "{}_other", "subjects": ["{}.kept.>"], "storage": "file"},
    ],
    ids=["in memory", "of another name"],
)
def test_a_stream_that_cannot_be_used_is_an_error_that_says_why(shared_nats, new_prefix, other):
    async def main():
        session = Session(shared_nats.url, prefix=new_prefix, limits=QUICK)
        await session.start()
        async with node(shared_nats.url, f"{new_prefix}x", rooms=()) as one:
            settings = {**other, "name": other["name"].format(new_prefix), "subjects": [f"{new_prefix}.kept.>"]}
            await one._jetstream.ask(f"STREAM.CREATE.{settings['name']}", settings)
            with pytest.raises(BrokerError, match="stream"):
                async with node(shared_nats.url, new_prefix):
                    raise AssertionError("it started")
            await one._jetstream.ask(f"STREAM.DELETE.{settings['name']}")
        await session.close()

    asyncio.run(main())


def test_what_another_program_writes_into_the_stream_is_left_out_and_said(shared_nats, new_prefix, caplog):
    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix) as two:
            await opened(one, two)
            await one.keep("lobby", "ann", "x")
            subject = one.session.subjects.kept("lobby")
            two.session.publish(subject, b"not ours")
            await until(lambda: one.counters["kept_unreadable"] == two.counters["kept_unreadable"] == 1)
            with pytest.raises(BrokerUnavailableError, match="cannot be read"):
                await one.keep("lobby", "ann", "y")
            assert [message.text for message in await one.history("lobby", None, 50)] == ["x"]
        assert "not written by xmlsocket" in caplog.text

    asyncio.run(main())


def test_a_store_that_is_gone_is_said_and_numbers_go_on(make_nats, tmp_path, caplog):
    server = make_nats().start()

    async def main():
        async with node(server.url) as one:
            await opened(one)
            await outcomes([one.keep("lobby", "ann", str(number)) for number in range(5)])
            await one._jetstream.ask("STREAM.DELETE.xmlsocket_kept")
            await one._jetstream.ask("STREAM.DELETE.KV_xmlsocket_numbers")
            await asyncio.get_running_loop().run_in_executor(None, server.restart)
            await until(lambda: one.session.reconnects == 1)
            await opened(one)
            assert (await one.keep("lobby", "ann", "again")).id > 5
            assert one.listener.texts()[-1] == "again"

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_every_message_is_accepted_once_or_refused_and_never_seen(make_nats, any_nats_binary, seed):
    chance = random.Random(seed)
    server = make_nats(binary=any_nats_binary).start()

    async def say(stream, name, journal):
        for number in range(120):
            text = f"{name}{number}"
            journal[text] = stream.keep("lobby", name, text)
            if chance.random() < 0.3:
                await asyncio.wait([journal[text]], timeout=chance.random() * 0.1)
            else:
                await asyncio.sleep(chance.random() * 0.02)

    async def break_things(cables, stop):
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            await asyncio.sleep(chance.random() * 0.4)
            what = chance.choice(["cut", "cut", "silent", "restart", "pause"])
            cable = chance.choice(cables)
            if what == "cut":
                cable.cut()
            elif what == "silent":
                cable.loses_answers = True
                await asyncio.sleep(chance.random() * 0.3)
                cable.cut()
                cable.loses_answers = False
            elif what == "restart":
                await loop.run_in_executor(None, server.restart)
            else:
                server.pause()
                await asyncio.sleep(chance.random() * 0.3)
                server.resume()

    async def main():
        async with (
            Cable(server.port) as first,
            Cable(server.port) as second,
            node(first.url) as one,
            node(second.url) as two,
            node(server.url) as three,
        ):
            nodes = [one, two, three]
            await opened(*nodes)
            journal, stop = {}, asyncio.Event()
            breaking = asyncio.create_task(break_things([first, second], stop))
            await asyncio.gather(*(say(stream, name, journal) for stream, name in zip(nodes, "abc", strict=True)))
            stop.set()
            await breaking
            ended = dict(zip(journal, await outcomes(journal.values()), strict=True))
            accepted = {text: end.id for text, end in ended.items() if not isinstance(end, Exception)}
            refused = {text for text, end in ended.items() if isinstance(end, BrokerUnavailableError)}
            assert len(accepted) + len(refused) == 360
            assert not [end for text, end in ended.items() if "may have been kept" in str(end)]
            await opened(*nodes)
            for stream in nodes:
                await until(lambda stream=stream: len(stream.listener.ids()) >= len(accepted))
                assert stream.listener.ids() == list(range(1, len(accepted) + 1))
                assert {message.text: message.id for message in stream.listener.heard["lobby"]} == accepted
            for name in "abc":
                spoken = [text for text in one.listener.texts() if text[0] == name]
                assert spoken == sorted(spoken, key=lambda text: int(text[1:]))

    asyncio.run(main())


def test_one_of_three_servers_may_die(nats_cluster):
    async def main():
        urls = nats_cluster.urls
        async with node(urls, replicas=3) as one, node(urls, replicas=3) as two:
            await until(lambda: one.is_ready and two.is_ready)
            await opened(one, two)
            journal, stop = [], asyncio.Event()

            async def talk(stream, name):
                number = 0
                while not stop.is_set():
                    number += 1
                    journal.append((f"{name}{number}", stream.keep("lobby", name, f"{name}{number}")))
                    await asyncio.wait([journal[-1][1]], timeout=0.05)

            talkers = [asyncio.create_task(talk(one, "a")), asyncio.create_task(talk(two, "b"))]
            await until(lambda: len(two.listener.ids()) > 40)
            info = await one._jetstream.ask("STREAM.INFO.xmlsocket_kept")
            leader = next(
                s for number, s in enumerate(nats_cluster.servers) if info["cluster"]["leader"] == f"server{number}"
            )
            await asyncio.get_running_loop().run_in_executor(None, leader.kill)
            seen = len(two.listener.ids())
            await until(lambda: len(two.listener.ids()) > seen + 40)
            stop.set()
            await asyncio.gather(*talkers)
            ended = await outcomes([future for _, future in journal])
            accepted = {
                text: end.id for (text, _), end in zip(journal, ended, strict=True) if not isinstance(end, Exception)
            }
            assert all(isinstance(end, BrokerUnavailableError) for end in ended if isinstance(end, Exception))
            assert sorted(accepted.values()) == list(range(1, len(accepted) + 1))
            for stream in (one, two):
                await until(lambda stream=stream: len(stream.listener.ids()) >= len(accepted))
                assert {message.text: message.id for message in stream.listener.heard["lobby"]} == accepted
                assert stream.listener.ids() == list(range(1, len(accepted) + 1))

    asyncio.run(main())


def test_what_an_old_leader_still_answers_does_not_double_a_message(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            for number in range(1, 4):
                assert (await one.keep("lobby", "ann", str(number))).id == number
            room, reader = one._follower.rooms["lobby"], one._reader
            last = reader.last
            for stale in (await reader.next(room.subject, 1), None):
                answers = [stale]

                async def answer(subject, answers=answers):
                    return answers.pop() if answers else await last(subject)

                reader.last = answer
                await one._follower.catch_up(room)
                await one._follower.catch_up(room)
                assert not answers
            assert (await one.keep("lobby", "ann", "4")).id == 4
            assert one.listener.ids() == [1, 2, 3, 4]
            assert one.counters["kept_lost"] == 0

    asyncio.run(main())


def test_a_stream_that_has_less_than_it_had_is_asked_once_and_the_next_message_is_kept(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix, cluster=ClusterLimits(announce_interval=60)) as one:
            await opened(one)
            for number in range(1, 4):
                assert (await one.keep("lobby", "ann", str(number))).id == number
            found = await one._reader.last(one._follower.rooms["lobby"].subject)
            await one._jetstream.ask("STREAM.MSG.DELETE." + f"{new_prefix}_kept", {"seq": found.sequence})
            async with asyncio.timeout(20):
                number = (await one.keep("lobby", "ann", "4")).id
            assert one.counters["kept_conflicts"] < 3
            assert one.listener.ids() == [1, 2, 3, number]

    asyncio.run(main())


def test_who_waits_for_history_is_not_cancelled_when_the_last_member_leaves(shared_nats, new_prefix):
    async def main():
        quick = ClusterLimits(unsubscribe_delay=0.05)
        async with (
            node(shared_nats.url, new_prefix) as other,
            node(shared_nats.url, new_prefix, cluster=quick, rooms=()) as one,
        ):
            await opened(other)
            await other.keep("lobby", "ann", "hi")
            one._follower.is_ready.clear()  # as while the broker is slow
            one.subscribe("lobby")
            asked = asyncio.ensure_future(one.history("lobby", None, 10))
            await asyncio.sleep(0)
            one.unsubscribe("lobby")
            async with asyncio.timeout(20):
                assert [message.text for message in await asked] == ["hi"]

    asyncio.run(main())


def test_an_error_of_this_node_leaves_no_sender_without_an_answer(shared_nats, new_prefix, caplog):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            store = one._jetstream.store

            async def fail(*arguments):
                raise KeyError("seq")

            for why in ("this node failed", "may have been kept"):
                one._jetstream.store = fail
                unlucky = one.keep("lobby", "ann", "unlucky")
                async with asyncio.timeout(20):
                    with pytest.raises(BrokerUnavailableError, match=why):
                        await unlucky
                one._jetstream.store = store
                await until(lambda: one._follower.rooms["lobby"].pump is None)
                await one.keep("lobby", "ann", "lucky")
            assert (await one.keep("lobby", "ann", "lucky")).text == "lucky"
            assert one.counters["kept_pending"] == 0

    asyncio.run(main())
    assert "KeyError" in caplog.text
