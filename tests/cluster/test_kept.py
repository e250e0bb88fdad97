"""Kept rooms on real NATS servers: numbers, order and history on several nodes."""

from __future__ import annotations

import asyncio

import pytest
from tests.cluster.kept_nodes import node, opened, outcomes
from tests.net.peers import until

from xmlsocket import BrokerUnavailableError, EmbeddedNulError
from xmlsocket.limits import HistoryLimits
from xmlsocket.rooms.cluster.numbers import STEP


def test_what_is_kept_on_one_node_is_seen_on_all_in_one_order_and_counted_by_one(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix) as two:
            await opened(one, two)
            origin = object()
            said = [one.keep("lobby", "ann", f"a{number}", origin) for number in range(50)]
            said += [two.keep("lobby", "bob", f"b{number}") for number in range(50)]
            kept = await outcomes(said)
            assert sorted(message.id for message in kept) == list(range(1, 101))
            await until(lambda: len(one.listener.ids()) == len(two.listener.ids()) == 100)
            assert one.listener.heard == two.listener.heard
            assert one.listener.ids() == list(range(1, 101))
            assert [text for text in one.listener.texts() if text[0] == "a"] == [f"a{number}" for number in range(50)]
            assert [found for _, found in one.listener.origins] == [origin] * 50
            assert two.listener.origins == []
            assert set(kept) == set(one.listener.heard["lobby"])
            assert one.counters["kept_batches"] < 50, "what was said together was stored together"

    asyncio.run(main())


def test_who_has_started_may_keep_at_once(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            assert (await one.keep("lobby", "ann", "hi")).id == 1

    asyncio.run(main())


def test_two_nodes_that_say_at_full_speed_leave_no_hole_and_no_double(shared_nats, new_prefix):
    async def talk(stream, name, count):
        gate = asyncio.Semaphore(8)
        kept = []

        async def say(number):
            async with gate:
                kept.append(await stream.keep("lobby", name, f"{name}{number}"))

        await asyncio.gather(*(say(number) for number in range(count)))
        return kept

    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix) as two:
            await opened(one, two)
            first = await one.keep("lobby", "ann", "the first")
            async with asyncio.timeout(60):
                kept = await asyncio.gather(talk(one, "a", 600), talk(two, "b", 600))
            assert first.id == 1
            assert sorted(message.id for part in kept for message in part) == list(range(2, 1202))
            await until(lambda: len(one.listener.ids()) == len(two.listener.ids()) == 1201)
            assert one.listener.heard == two.listener.heard
            assert one.listener.ids() == list(range(1, 1202))
            for name in "ab":
                assert [text for text in one.listener.texts() if text[0] == name] == [f"{name}{n}" for n in range(600)]
            async with asyncio.timeout(20):
                while not one.counters["kept_conflicts"] + two.counters["kept_conflicts"]:
                    await asyncio.gather(one.keep("lobby", "ann", "now"), two.keep("lobby", "bob", "now"))

    asyncio.run(main())


def test_history_is_found_by_number_on_nodes_that_have_just_come(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix, rooms=()) as one:
            await until(lambda: one.is_ready)
            for start in range(0, 700, 7):
                await outcomes(
                    [one.keep("lobby", "ann", f"text {number}") for number in range(start + 1, start + 8)]
                    + [one.keep("other", "ann", "x")]
                )
        async with node(shared_nats.url, new_prefix) as two, node(shared_nats.url, new_prefix, rooms=()) as three:
            await opened(two)
            await until(lambda: three.is_ready)
            for stream in (two, three, two):
                for after, limit in (
                    (None, 50),
                    (0, 3),
                    (650, 100),
                    (699, 5),
                    (700, 5),
                    (123, 10),
                    (None, 1),
                    (0, 700),
                ):
                    found = await stream.history("lobby", after, limit)
                    first = max(1, 701 - limit if after is None else after + 1)
                    expected = list(range(first, min(701, first + limit)))
                    assert [message.id for message in found] == expected
                    assert [message.text for message in found] == [f"text {number}" for number in expected]
                assert await stream.history("nowhere", None, 50) == []
            assert two.listener.ids() == [], "what was said before is not delivered, but found"

    asyncio.run(main())


def test_rooms_of_any_name_are_apart_and_any_text_comes_back(shared_nats, new_prefix):
    names = ["lobby", "Lobby", "a.b", "a.*", ">", "ä 日本", "\ud800", "x" * 500, "x" * 501, ""]
    texts = ["", " ", "💬", "\ud800", "\n" * 9, "<a b='1'/>", "x" * 300_000]

    async def main():
        async with (
            node(shared_nats.url, new_prefix, rooms=names) as one,
            node(shared_nats.url, new_prefix, rooms=names) as two,
        ):
            await opened(one, two)
            await until(lambda: all(room.opening is None for room in two._follower.rooms.values()))
            kept = await outcomes([one.keep(name, "än", text) for name in names for text in texts])
            assert [message.id for message in kept] == list(range(1, len(texts) + 1)) * len(names)
            await until(lambda: all(len(two.listener.ids(name)) == len(texts) for name in names))
            for name in names:
                assert two.listener.texts(name) == texts
                assert [message.text for message in await two.history(name, None, 50)] == texts
            with pytest.raises(EmbeddedNulError):
                one.keep("lobby", "a\0b", "x")
            with pytest.raises(BrokerUnavailableError, match="max_payload"):
                await one.keep("lobby", "ann", "x" * 1_048_576)
            assert (await one.keep("lobby", "ann", "after it")).id == len(texts) + 1

    asyncio.run(main())


def test_a_room_keeps_its_latest_messages_and_forgets_the_others(shared_nats, new_prefix):
    limits = HistoryLimits(max_kept_messages=100)

    async def main():
        async with node(shared_nats.url, new_prefix, limits) as one:
            await opened(one)
            for _ in range(40):
                kept = await outcomes([one.keep("lobby", "ann", "x") for _ in range(10)])
            assert kept[-1].id == 400
            assert [message.id for message in await one.history("lobby", 0, 1000)] == list(range(301, 401))

            async def is_pruned():
                first = await one._reader.next(one.session.subjects.kept("lobby"), 1)
                return first.sequence > 10

            async with asyncio.timeout(10):
                while not await is_pruned():  # noqa: ASYNC110  # asked of the server
                    await asyncio.sleep(0.05)
            async with node(shared_nats.url, new_prefix, limits) as two:
                await opened(two)
                assert [message.id for message in await two.history("lobby", 0, 1000)] == list(range(301, 401))

    asyncio.run(main())


def test_numbers_never_go_back_when_a_rooms_history_is_forgotten(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            await outcomes([one.keep("lobby", "ann", "x") for _ in range(30)])
            await one._jetstream.ask(f"STREAM.PURGE.{new_prefix}_kept")
            assert (await one.keep("lobby", "ann", "x")).id == STEP + 1
            await one._jetstream.ask(f"STREAM.PURGE.{new_prefix}_kept")
            async with node(shared_nats.url, new_prefix) as two:
                await opened(two)
                assert [message.id for message in await outcomes([two.keep("lobby", "bob", "y")] * 1)] == [2 * STEP + 1]
                assert (await one.keep("lobby", "ann", "z")).id == 2 * STEP + 2
                assert [message.text for message in await one.history("lobby", None, 50)] == ["y", "z"]

    asyncio.run(main())


def test_what_is_old_is_forgotten_and_the_room_goes_on(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix, HistoryLimits(max_kept_age=0.5)) as one:
            await opened(one)
            assert (await one.keep("lobby", "ann", "x")).id == 1
            async with asyncio.timeout(20):
                while await one._reader.last(one.session.subjects.kept("lobby")):  # noqa: ASYNC110  # the server's
                    await asyncio.sleep(0.1)
            assert (await one.keep("lobby", "ann", "y")).id == STEP + 1
            assert one.listener.texts() == ["x", "y"]

    asyncio.run(main())


def test_more_numbers_than_a_step_are_given_without_a_hole(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            for _ in range(6):
                await outcomes([one.keep("lobby", "ann", "x") for _ in range(500)])
            assert one.listener.ids() == list(range(1, 3001))
            assert await one._numbers.read("lobby") >= 3000

    asyncio.run(main())


def test_a_room_without_members_here_keeps_messages_too_and_is_not_remembered(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix, rooms=()) as one:
            await until(lambda: one.is_ready)
            for number in range(1, 4):
                assert (await one.keep("lobby", "ann", "x")).id == number
            await until(lambda: not one._follower.rooms)

    asyncio.run(main())


def test_members_who_leave_and_come_back_at_once_miss_nothing(shared_nats, new_prefix):
    async def main():
        async with node(shared_nats.url, new_prefix) as one, node(shared_nats.url, new_prefix) as two:
            await opened(one, two)
            for number in range(100):
                if number % 3 == 0:
                    two.unsubscribe("lobby")
                    two.subscribe("lobby")
                await one.keep("lobby", "ann", str(number))
            await until(lambda: len(two.listener.ids()) == 100)
            assert two.listener.heard == one.listener.heard
            two.unsubscribe("lobby")
            await until(lambda: "lobby" not in two._follower.rooms)

    asyncio.run(main())


def test_what_cannot_wait_is_refused_and_nothing_of_it_is_seen(shared_nats, new_prefix):
    async def main():
        limits = HistoryLimits(max_pending_messages=20)
        async with node(shared_nats.url, new_prefix, limits) as one:
            await opened(one)
            ended = await outcomes([one.keep("lobby", "ann", str(number)) for number in range(50)])
            refused = [end for end in ended if isinstance(end, BrokerUnavailableError)]
            assert len(refused) == 40, "one room may have half of the places"
            assert "slower" in str(refused[0])
            assert one.listener.texts() == [str(number) for number in range(10)]
            assert one.counters["kept_pending"] == 0
            assert (await one.keep("lobby", "ann", "again")).id == 11

    asyncio.run(main())


def test_history_is_read_in_few_requests_where_the_server_can(nats_server):
    async def main():
        async with node(nats_server.url) as one, node(nats_server.url, rooms=()) as two:
            texts = [f"{number} " + "x" * (60_000 if number % 10 == 0 else 10) for number in range(300)]
            for text in texts:  # each a batch
                await one.keep("lobby", "ann", text)
            requests, request, request_many = [], two.session.request, two.session.request_many

            async def count(subject, *arguments, **options):
                requests.append(subject)
                return await (request_many if "DIRECT" in subject else request)(subject, *arguments, **options)

            two.session.request = two.session.request_many = count
            assert [message.text for message in await two.history("lobby", 5, 40)] == texts[5:45]
            assert len(requests) < 20
            assert [
                message.text for message in await two.history("lobby", None, 300)
            ] == texts  # more than in one answer
            assert [message.text for message in await two.history("lobby", 290, 300)] == texts[290:]

            async def lag(subject, *arguments, **options):
                return []  # what it asks has not got them yet

            two.session.request_many = lag
            assert [message.text for message in await two.history("lobby", 290, 300)] == texts[290:]

    asyncio.run(main())
