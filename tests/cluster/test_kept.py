"""Kept rooms on real NATS servers: numbers, order, history, and every fault with its messages accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import pytest
from tests.net.peers import until

from xmlsocket import BrokerUnavailableError, EmbeddedNulError
from xmlsocket.errors import BrokerError
from xmlsocket.limits import ClusterLimits, HistoryLimits
from xmlsocket.rooms.cluster.session import Session
from xmlsocket.rooms.cluster.stream import KeptStream

QUICK = ClusterLimits(store_timeout=1.0, announce_interval=1.0)


class Listener:
    """Writes down the kept messages of each room, in order."""

    def __init__(self):
        self.heard = {}
        self.origins = []

    def receive_kept(self, room, message, origin=None):
        self.heard.setdefault(room, []).append(message)
        if origin is not None:
            self.origins.append((message.id, origin))

    def ids(self, room="lobby"):
        return [message.id for message in self.heard.get(room, ())]

    def texts(self, room="lobby"):
        return [message.text for message in self.heard.get(room, ())]


@contextlib.asynccontextmanager
async def node(url, prefix="xmlsocket", limits=None, cluster=QUICK, rooms=("lobby",), **options):
    session = Session(url, prefix=prefix, limits=cluster)
    stream = KeptStream(session, limits, **options)
    stream.listener = Listener()
    stream.session = session
    stream.attach(stream.listener)
    for room in rooms:
        stream.subscribe(room)
    with contextlib.suppress(BrokerUnavailableError):
        await session.start()
    try:
        await stream.start()
        yield stream
    finally:
        await stream.close()
        await session.close()


async def opened(*nodes):
    await until(lambda: all(one.is_ready and not one._follower.rooms["lobby"].opening for one in nodes))


async def outcomes(awaitables, timeout=60):
    async with asyncio.timeout(timeout):
        return await asyncio.gather(*awaitables, return_exceptions=True)


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
            assert one.counters["kept_conflicts"] + two.counters["kept_conflicts"] > 0

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
