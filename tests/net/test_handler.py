"""Callbacks in their order, and what becomes of a handler that raises, hangs or sends too late."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason, ConfigurationError, ConnectionClosedError
from xmlsocket.net.handler import make_handler
from xmlsocket.wire import Batch

LOCALHOST = "127.0.0.1"


class Recorder(xmlsocket.Handler):
    """Keeps the calls, and raises in one of them."""

    def __init__(self, raising=None):
        self.raising = raising
        self.calls = []

    def note(self, name, *what):
        self.calls.append((name, *what))
        if name == self.raising:
            raise LookupError(f"raised in {name}")

    def connected(self, connection):
        self.note("connected")

    def received(self, connection, messages):
        for message in messages:
            connection.send_nowait(message)
        self.note("received", messages)

    def writable(self, connection):
        self.note("writable")

    def ended(self, connection):
        self.note("ended")
        connection.close_nowait()

    def closed(self, connection, reason):
        self.note("closed", reason)


def test_the_callbacks_come_in_their_order(runner):
    async def main():
        handler = Recorder()
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"one\0two\0half")
            assert await peer.receive(8) == b"one\0two\0"
            await peer.send(b" three\0")
            assert await peer.receive(11) == b"half three\0"
            peer.half_close()
            assert await peer.read_all() == b""
            await until(lambda: len(handler.calls) == 5)
        assert handler.calls == [
            ("connected",),
            ("received", ["one", "two"]),
            ("received", ["half three"]),
            ("ended",),
            ("closed", CloseReason.PEER_CLOSED),
        ]

    runner(main())


def test_a_handler_hears_when_the_backlog_has_drained(runner):
    class Pushing(Recorder):
        def received(self, connection, messages):
            while not connection.is_send_paused:
                connection.send_nowait("x" * 99_999)

    async def main():
        handler = Pushing()
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"go\0")
            await until(lambda: server.connections and server.connections[0].is_send_paused)
            await peer.receive(server.traffic.bytes_sent)
            await until(lambda: ("writable",) in handler.calls)
            assert not server.connections[0].is_send_paused

    runner(main())


@pytest.mark.parametrize("raising", ["connected", "received", "ended", "writable"])
def test_a_handler_that_raises_ends_its_own_connection_with_a_traceback_and_harms_nobody_else(runner, raising, caplog):
    class Failing(Recorder):
        def received(self, connection, messages):
            super().received(connection, messages)
            while raising == "writable" and not connection.is_send_paused:
                connection.send_nowait("x" * 99_999)

    async def main():
        handler = Recorder()
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as other:
            await other.send(b"before\0")
            await other.receive(7)
            handler.__class__, handler.raising = Failing, raising
            async with peer_of(server) as peer:
                await peer.send(b"answered\0")
                if raising == "ended":
                    peer.half_close()
                answer = await peer.read_all()
            await until(lambda: server.closed_by_reason[CloseReason.HANDLER_FAILED] == 1)
            handler.__class__, handler.raising = Recorder, None
            await other.send(b"after\0")
            assert await other.receive(6) == b"after\0"
            assert ("closed", CloseReason.HANDLER_FAILED) in handler.calls
        return answer

    with caplog.at_level(logging.ERROR):
        answer = runner(main())
    # What was sent before the exception arrives.
    assert answer.startswith(b"answered\0") or raising == "connected"
    (record,) = caplog.records
    assert record.name == "xmlsocket.server"
    assert record.message.startswith("the handler of <Connection ")
    assert f"raised in {raising}" in str(record.exc_info[1])


def test_a_handler_that_raises_in_closed_is_logged_and_the_connection_is_counted_out(runner, caplog):
    async def main():
        async with xmlsocket.serve(Recorder("closed"), LOCALHOST, 0) as server:
            async with peer_of(server) as peer:
                await peer.send(b"x\0")
                await peer.receive(2)
            await until(lambda: not server.connections)
            assert server.closed_by_reason == {CloseReason.PEER_CLOSED: 1}

    with caplog.at_level(logging.ERROR):
        runner(main())
    assert [record.message for record in caplog.records] == ["closed() of the handler failed"]


def test_a_coroutine_that_raises_ends_its_own_connection_and_what_it_sent_arrives(runner, caplog):
    async def failing(connection):
        async for message in connection:
            await connection.send(message)
            if message == "fail":
                raise LookupError("raised on purpose")

    async def main():
        async with xmlsocket.serve(failing, LOCALHOST, 0) as server, peer_of(server) as peer, peer_of(server) as other:
            await peer.send(b"fail\0never handled\0")
            assert await peer.read_all() == b"fail\0"
            peer.close()
            await until(lambda: server.closed_by_reason == {CloseReason.HANDLER_FAILED: 1})
            await other.send(b"fine\0")
            assert await other.receive(5) == b"fine\0"

    with caplog.at_level(logging.ERROR):
        runner(main())
    (record,) = caplog.records
    assert "raised on purpose" in str(record.exc_info[1])


def test_a_coroutine_that_lets_the_end_of_its_connection_out_has_not_failed(runner, caplog):
    async def with_receive(connection):
        while True:
            await connection.send(await connection.receive())

    async def main():
        async with xmlsocket.serve(with_receive, LOCALHOST, 0, detect=False) as server:
            async with peer_of(server) as peer:
                await peer.send(b"one\0")
                peer.half_close()
                assert await peer.read_all() == b"one\0"
            async with peer_of(server) as peer:
                await until(lambda: server.connections)
                peer.reset()
            async with peer_of(server) as peer:
                await until(lambda: server.connections)
                async with asyncio.timeout(10):
                    closing = asyncio.ensure_future(server.close())
                    assert await peer.read_all() == b""
                    peer.close()
                    await closing
            assert server.closed_by_reason == {
                CloseReason.PEER_CLOSED: 1,
                CloseReason.CONNECTION_LOST: 1,
                CloseReason.SHUTDOWN: 1,
            }

    with caplog.at_level(logging.WARNING):
        runner(main())
    assert caplog.records == []


def test_the_end_of_another_connection_is_a_failure_of_the_coroutine(runner, caplog):
    async def main():
        async def relay(connection):
            async with xmlsocket.connect(LOCALHOST, upstream.port) as other:
                async for message in connection:
                    await other.send(message)
                    await other.receive()

        async def leave(connection):
            await connection.receive()

        async with (
            xmlsocket.serve(leave, LOCALHOST, 0) as upstream,
            xmlsocket.serve(relay, LOCALHOST, 0) as server,
            peer_of(server) as peer,
        ):
            await peer.send(b"x\0")
            assert await peer.read_all() == b""
            peer.close()
            await until(lambda: server.closed_by_reason == {CloseReason.HANDLER_FAILED: 1})

    with caplog.at_level(logging.ERROR):
        runner(main())
    assert [type(record.exc_info[1]) for record in caplog.records] == [ConnectionClosedError]


def test_sending_after_the_end_raises_wherever_it_is_tried(runner):
    errors = []

    class Late(Recorder):
        def closed(self, connection, reason):
            super().closed(connection, reason)
            for send in (connection.send_nowait, connection.send, lambda message: connection.send_many([message])):
                try:
                    send("late")
                except ConnectionClosedError as error:
                    errors.append(error.reason)

    async def main():
        async with xmlsocket.serve(Late(), LOCALHOST, 0) as server:
            async with peer_of(server) as peer:
                await peer.send(b"x\0")
                await peer.receive(2)
            await until(lambda: errors)

    runner(main())
    assert errors == [CloseReason.PEER_CLOSED] * 3


def test_delivering_to_a_connection_that_is_over_does_nothing(runner):
    async def main():
        async with xmlsocket.serve(Recorder(), LOCALHOST, 0, detect=False) as server, peer_of(server) as peer:
            await until(lambda: server.connections)
            (connection,) = server.connections
            connection.abort()
            connection.deliver(Batch(["late"]))
            await connection.wait_closed()
            connection.deliver(Batch(["later"]))
            assert connection.statistics.messages_sent == 0
            await peer.wait_for_any_end()

    runner(main())


def test_an_object_with_some_of_the_callbacks_is_a_handler(runner):
    class Mine:
        def received(self, connection, messages):
            connection.send_nowait(",".join(messages))

    async def main():
        async with xmlsocket.serve(Mine(), LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"a\0b\0")
            peer.half_close()
            assert await peer.read_all() == b"a,b\0"

    runner(main())


def test_a_callable_object_may_be_the_coroutine(runner):
    class Service:
        async def __call__(self, connection):
            await connection.send("called")

    async def main():
        async with xmlsocket.serve(Service(), LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"x\0")
            assert await peer.read_all() == b"called\0"

    runner(main())


async def generator(connection):
    yield connection


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Recorder, r"pass an object, not the class: Recorder\(\)"),
        (None, "None is neither"),
        ("echo", "'echo' is neither"),
        (generator, "is neither"),
        ((lambda connection: (yield)), "is neither"),
    ],
)
def test_what_is_no_handler_is_refused_before_anything_listens(thing, text):
    with pytest.raises(ConfigurationError, match=text):
        xmlsocket.serve(thing, LOCALHOST, 0)


def test_a_function_that_is_no_coroutine_fails_with_a_traceback(caplog):
    async def main():
        async with xmlsocket.serve(lambda connection: None, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"x\0")
            await peer.read_all()
            assert server.closed_by_reason[CloseReason.HANDLER_FAILED] or server.connections

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert isinstance(caplog.records[0].exc_info[1], TypeError)


def test_a_handler_is_used_as_it_is():
    handler = Recorder()
    assert make_handler(handler) is handler
