from __future__ import annotations

import asyncio

import nats.errors
import pytest
from tests.net.peers import until

from xmlsocket import BrokerUnavailableError
from xmlsocket.limits import ClusterLimits
from xmlsocket.rooms.cluster.connecting import abort
from xmlsocket.rooms.cluster.outgoing import Heard
from xmlsocket.rooms.cluster.session import Session


def test_messages_arrive_in_the_order_in_which_they_were_published(shared_nats, new_prefix):
    async def main():
        one, two = Session(shared_nats.url, prefix=new_prefix), Session(shared_nats.url, prefix=new_prefix)
        await one.start()
        await two.start()
        got = []
        await two.subscribe(f"{new_prefix}.a", lambda message: got.append(message.data))
        for number in range(2000):
            assert one.publish(f"{new_prefix}.a", b"%d" % number)
        await until(lambda: len(got) == 2000)
        assert got == [b"%d" % number for number in range(2000)]
        assert one.server_version >= (2, 9, 0)
        await one.close()
        await two.close()

    asyncio.run(main())


def test_a_request_is_answered_and_one_that_nobody_hears_fails_at_once(shared_nats, new_prefix):
    async def main():
        one, two = Session(shared_nats.url, prefix=new_prefix), Session(shared_nats.url, prefix=new_prefix)
        await one.start()
        await two.start()
        await two.subscribe(f"{new_prefix}.a", lambda message: two.publish(message.reply, message.data * 2))
        assert (await one.request(f"{new_prefix}.a", b"x", timeout=10)).data == b"xx"
        with pytest.raises(BrokerUnavailableError) as caught:
            await one.request(f"{new_prefix}.b", b"x", timeout=50)
        assert type(caught.value.__cause__).__name__ == "NoRespondersError"
        await one.close()
        await two.close()

    asyncio.run(main())


def test_subscriptions_survive_a_broker_that_is_killed_and_comes_back(any_nats_server):
    async def main():
        one, two = Session(any_nats_server.url), Session(any_nats_server.url)
        changes = []
        two.on_change(changes.append)
        await one.start()
        await two.start()
        got = []
        await two.subscribe("a", lambda message: got.append(message.data))
        any_nats_server.kill()
        await until(lambda: not one.is_connected and not two.is_connected)
        assert not one.publish("a", b"lost")
        assert one.dropped == 1
        with pytest.raises(BrokerUnavailableError):
            await one.request("a", b"x", timeout=1)
        any_nats_server.start()
        await until(lambda: one.is_connected and two.is_connected)
        assert changes == [True, False, True]
        assert one.publish("a", b"back")
        await until(lambda: got == [b"back"])
        await one.close()
        await two.close()

    asyncio.run(main())


@pytest.mark.parametrize("error", [nats.errors.ConnectionClosedError, RuntimeError])
def test_a_connection_that_ends_before_the_subscriptions_are_made_again_is_followed_by_another(
    shared_nats, new_prefix, monkeypatch, error
):
    begin, failures = Heard.begin, [error()]

    async def begin_later(heard, nc):
        if failures:
            raise failures.pop()
        await begin(heard, nc)

    async def main():
        one, two = Session(shared_nats.url, prefix=new_prefix), Session(shared_nats.url, prefix=new_prefix)
        await one.start()
        await two.start()
        got = []
        await one.subscribe(f"{new_prefix}.a", lambda message: got.append(message.data))
        monkeypatch.setattr(Heard, "begin", begin_later)
        one._nc._transport._io_writer.transport.abort()
        await until(lambda: one.reconnects == 1)
        assert not failures
        two.publish(f"{new_prefix}.a", b"back")
        await until(lambda: got == [b"back"])
        await one.close()
        await two.close()

    asyncio.run(main())


def test_closing_a_session_can_be_cancelled(shared_nats, new_prefix, monkeypatch):
    async def main():
        hanging = asyncio.Event()

        async def hang(nc):
            hanging.set()
            await abort(nc)
            await asyncio.sleep(0.5)

        monkeypatch.setattr("xmlsocket.rooms.cluster.session.abort", hang)
        one = Session(shared_nats.url, prefix=new_prefix)
        await one.start()
        closing = asyncio.create_task(one.close())
        await hanging.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await one.close()

    asyncio.run(main())


def test_a_broker_that_hangs_is_given_up_and_found_again(nats_server):
    async def main():
        one = Session(nats_server.url, limits=ClusterLimits(ping_interval=0.5))
        await one.start()
        nats_server.pause()
        await until(lambda: not one.is_connected)
        nats_server.resume()
        await until(lambda: one.is_connected)
        await one.close()

    asyncio.run(main())


def test_who_has_unsubscribed_gets_nothing_that_was_on_its_way(shared_nats, new_prefix):
    async def main():
        one, two = Session(shared_nats.url, prefix=new_prefix), Session(shared_nats.url, prefix=new_prefix)
        await one.start()
        await two.start()
        got, later = [], []

        def hear_once(message):
            got.append(message.data)
            unsubscribe()

        unsubscribe = await two.subscribe(f"{new_prefix}.a", hear_once)
        await two.subscribe(f"{new_prefix}.a", lambda message: later.append(message.data))
        for number in range(100):
            one.publish(f"{new_prefix}.a", b"%d" % number)
        await until(lambda: len(later) == 100)
        assert got == [b"0"]
        await one.close()
        await two.close()

    asyncio.run(main())


def test_what_is_urgent_goes_before_everything_that_waits_in_its_own_order(shared_nats, new_prefix):
    async def main():
        one, two = Session(shared_nats.url, prefix=new_prefix), Session(shared_nats.url, prefix=new_prefix)
        await one.start()
        await two.start()
        got = []
        await two.subscribe(f"{new_prefix}.a", lambda message: got.append(message.data))
        for _ in range(100):
            assert one.publish(f"{new_prefix}.a", b"much")
        assert one.publish(f"{new_prefix}.a", b"first", is_urgent=True)
        assert one.publish(f"{new_prefix}.a", b"second", is_urgent=True)
        answers = []
        late = asyncio.create_task(one.flush())
        early = asyncio.create_task(one.flush(is_urgent=True))
        for name, task in (("late", late), ("early", early)):
            task.add_done_callback(lambda _, name=name: answers.append(name))
        await asyncio.wait({late, early}, timeout=10)
        assert answers == ["early", "late"]
        await until(lambda: len(got) == 102)
        assert got == [b"first", b"second", *[b"much"] * 100]
        await one.close()
        await two.close()

    asyncio.run(main())
