"""One connection: messages in order, sends gathered, bounds kept, and every way it can end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason, ConnectionClosedError
from xmlsocket.wire import Batch

LOCALHOST = "127.0.0.1"


async def echo(connection):
    async for message in connection:
        await connection.send(message)


class Echo(xmlsocket.Handler):
    """The same in callbacks; it keeps what it is told."""

    def __init__(self):
        self.calls = []
        self.connection = None

    def connected(self, connection):
        self.connection = connection
        self.calls.append("connected")

    def received(self, connection, messages):
        self.calls.append(messages)
        for message in messages:
            connection.send_nowait(message)

    def closed(self, connection, reason):
        self.calls.append(reason)


class Bench:
    """Lets a test stand where the coroutine of a server stands: it takes the connection and gives it back."""

    def __init__(self):
        self._taken = asyncio.Queue()
        self._done = asyncio.Event()

    async def __call__(self, connection):
        self._taken.put_nowait(connection)
        await self._done.wait()

    async def take(self):
        async with asyncio.timeout(15):
            return await self._taken.get()

    def release(self):
        self._done.set()


@contextlib.asynccontextmanager
async def bench(**options):
    """A server's end of a connection, and the plain socket at the other end."""
    seat = Bench()
    async with xmlsocket.serve(seat, LOCALHOST, 0, detect=False, **options) as server, peer_of(server) as peer:
        try:
            yield await seat.take(), peer
        finally:
            seat.release()


@pytest.mark.parametrize("make", [lambda: echo, Echo], ids=["coroutine", "Handler"])
def test_messages_come_back_in_order_from_both_kinds_of_handler(runner, make):
    async def main():
        async with xmlsocket.serve(make(), LOCALHOST, 0) as server, xmlsocket.connect(LOCALHOST, server.port) as client:
            for number in range(1000):
                await client.send(f"<message number='{number}'/>")
            for number in range(1000):
                assert await client.receive() == f"<message number='{number}'/>"

    runner(main())


@settings(max_examples=15)
@given(
    messages=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=6
    ),
    data=st.data(),
)
@pytest.mark.parametrize("run", ["asyncio", "uvloop"])
def test_any_cutting_of_the_stream_arrives_whole_through_real_sockets(run, messages, data):
    stream = b"".join(message.encode() + b"\0" for message in messages)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))

    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server, peer_of(server) as peer:
            for start, end in zip([0, *places], [*places, len(stream)], strict=True):
                await peer.send(stream[start:end])
                await asyncio.sleep(0)
            assert await peer.receive(len(stream)) == stream

    (asyncio.run if run == "asyncio" else pytest.importorskip("uvloop").run)(main())


def test_a_message_sent_byte_by_byte_arrives_whole(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server, peer_of(server) as peer:
            stream = "<grüße an='あ🐌'/>".encode() + b"\0"
            for byte in stream:
                await peer.send(bytes([byte]))
                await asyncio.sleep(0.001)  # for it to travel alone
            assert await peer.receive(len(stream)) == stream

    runner(main())


def test_a_message_of_a_mebibyte_and_an_empty_one_come_back(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server, xmlsocket.connect(LOCALHOST, server.port) as client:
            for message in ("", "x" * 1_048_576, "é" * 524_288, ""):
                await client.send(message)
                assert await client.receive() == message

    runner(main())


def test_what_can_be_sent_is_text_bytes_and_xml_elements(runner):
    async def main():
        async with bench() as (connection, peer):
            await connection.send("text")
            await connection.send(b"\xff bytes as they are")
            await connection.send(bytearray(b"more"))
            await connection.send(ElementTree.fromstring("<a b='c'/>"))
            expected = b'text\0\xff bytes as they are\0more\0<a b="c" />\0'
            assert await peer.receive(len(expected)) == expected

    runner(main())


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("a\0b", xmlsocket.EmbeddedNulError),
        (b"a\0b", xmlsocket.EmbeddedNulError),
        ("toolong", xmlsocket.OversizedMessageError),
        ("ééé", xmlsocket.OversizedMessageError),
        (b"toolong", xmlsocket.OversizedMessageError),
        ("\ud800", xmlsocket.UnencodableMessageError),
        (17, TypeError),
        (None, TypeError),
    ],
)
def test_a_message_that_cannot_be_sent_changes_nothing_on_the_connection(message, error):
    async def main():
        async with bench(max_message_size=5) as (connection, peer):
            connection.send_nowait("one")
            with pytest.raises(error):
                connection.send_nowait(message)
            with pytest.raises(error):
                await connection.send(message)
            connection.send_nowait("two")
            assert await peer.receive(8) == b"one\0two\0"
            assert connection.statistics.messages_sent == 2

    asyncio.run(main())


def test_without_an_encoding_messages_are_bytes(runner):
    async def main():
        async with (
            xmlsocket.serve(echo, LOCALHOST, 0, encoding=None) as server,
            xmlsocket.connect(LOCALHOST, server.port, encoding=None) as client,
        ):
            await client.send(b"\xff\xfe")
            await client.send("é")
            assert [await client.receive(), await client.receive()] == [b"\xff\xfe", "é".encode()]

    runner(main())


@pytest.mark.parametrize(("encoding", "text", "wire"), [("shift_jis", "ソ", b"\x83\\\0"), ("cp1252", "€", b"\x80\0")])
def test_a_code_page_is_spoken_in_both_directions(encoding, text, wire):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, encoding=encoding) as server, peer_of(server) as peer:
            await peer.send(wire * 2)
            assert await peer.receive(len(wire) * 2) == wire * 2
            async with xmlsocket.connect(LOCALHOST, server.port, encoding=encoding) as client:
                await client.send(text)
                assert await client.receive() == text

    asyncio.run(main())


@pytest.mark.parametrize(("errors", "wire"), [("replace", "a\ufffd".encode()), ("flash", "a\xff".encode())])
def test_invalid_text_is_mended_by_the_rule_asked_for(runner, errors, wire):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, errors=errors) as server, peer_of(server) as peer:
            await peer.send(b"a\xff\0")
            assert await peer.receive(len(wire) + 1) == wire + b"\0"

    runner(main())


@pytest.mark.parametrize("make", [lambda: echo, Echo], ids=["coroutine", "Handler"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (b"\xff\0", CloseReason.INVALID_TEXT),
        (b"toolong\0", CloseReason.MESSAGE_TOO_LARGE),
        (b"toolong", CloseReason.MESSAGE_TOO_LARGE),
    ],
)
def test_messages_before_a_fault_are_answered_then_the_connection_is_closed(runner, make, fault, reason):
    async def main():
        async with xmlsocket.serve(make(), LOCALHOST, 0, max_message_size=5) as server, peer_of(server) as peer:
            await peer.send(b"one\0two\0" + fault + b"after\0")
            answer = await peer.read_all()
            peer.close()
            # A coroutine may find the connection closing before it has answered; it has got the messages all the same.
            assert answer in (b"one\0two\0", b"")
            assert make is not Echo or answer == b"one\0two\0"
            await until(lambda: server.closed_by_reason[reason] == 1)

    runner(main())


def test_iteration_over_a_faulty_stream_gives_the_messages_and_then_says_why(runner):
    taken = []
    errors = []

    async def handler(connection):
        try:
            async for message in connection:
                taken.append(message)  # noqa: PERF401  # what was taken before the error counts
        except ConnectionClosedError as error:
            errors.append(error.reason)

    async def main():
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"one\0two\0\xff\0")
            await peer.read_all()
            peer.close()
            await until(lambda: not server.connections)

    runner(main())
    assert (taken, errors) == (["one", "two"], [CloseReason.INVALID_TEXT])


# Receiving


def test_cancelling_receive_loses_nothing(runner):
    async def main():
        async with bench() as (connection, peer):
            for number in range(200):
                waiting = asyncio.ensure_future(connection.receive())
                await asyncio.sleep(0)
                await peer.send(f"{number}\0".encode())
                if number % 2:
                    await asyncio.sleep(0)
                waiting.cancel()
                try:
                    message = await waiting
                except asyncio.CancelledError:
                    message = await connection.receive()
                assert message == str(number)

    runner(main())


def test_a_message_that_arrives_together_with_a_cancellation_stays_for_the_next_call():
    async def main():
        async with bench() as (connection, _):
            waiting = asyncio.ensure_future(connection.receive())
            await asyncio.sleep(0)
            connection.data_received(b"kept\0")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await connection.receive() == "kept"

    asyncio.run(main())


def test_a_timeout_around_receive_loses_nothing(runner):
    async def main():
        async with bench() as (connection, peer):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.receive(), 0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await connection.receive()
            await peer.send(b"late\0")
            assert await asyncio.wait_for(connection.receive(), 10) == "late"

    runner(main())


def test_a_second_receive_at_the_same_time_raises_and_takes_nothing(runner):
    async def main():
        async with bench() as (connection, peer):
            first = asyncio.ensure_future(connection.receive())
            await asyncio.sleep(0)
            with pytest.raises(xmlsocket.ConcurrencyError, match="another task is already waiting"):
                await connection.receive()
            with pytest.raises(xmlsocket.ConcurrencyError):
                await anext(aiter(connection))
            await peer.send(b"one\0")
            assert await first == "one"
            await peer.send(b"two\0")
            assert await connection.receive() == "two"

    runner(main())


def test_receive_on_a_connection_with_a_handler_says_where_the_messages_go():
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"x\0")
            await peer.receive(2)
            with pytest.raises(xmlsocket.ConcurrencyError, match="received"):
                await handler.connection.receive()

    asyncio.run(main())


def test_receive_after_the_end_raises_each_time_and_iteration_just_ends(runner):
    async def main():
        async with bench() as (connection, peer):
            await peer.send(b"last\0")
            peer.half_close()
            assert await connection.receive() == "last"
            for _ in range(2):
                with pytest.raises(ConnectionClosedError, match="closed by the peer") as caught:
                    await connection.receive()
                assert caught.value.reason is CloseReason.PEER_CLOSED
            assert [message async for message in connection] == []

    runner(main())


def test_messages_received_before_the_end_can_be_taken_after_it(runner):
    async def main():
        async with bench() as (connection, peer):
            await peer.send(b"one\0two\0")
            await until(lambda: connection.statistics.messages_received == 2)
            peer.reset()
            await connection.wait_closed()
            assert [await connection.receive(), await connection.receive()] == ["one", "two"]
            with pytest.raises(ConnectionClosedError):
                await connection.receive()

    runner(main())


def test_reading_pauses_when_too_much_waits_and_goes_on_when_it_is_taken(runner):
    async def main():
        async with bench(receive_high_water=10_000) as (connection, peer):
            flood = asyncio.ensure_future(peer.send(b"x" * 999 * 1 + b"\0"))
            await flood
            sent = 40_000  # messages of 1000 bytes: more than the buffers of the system hold
            flood = asyncio.ensure_future(peer.send((b"x" * 999 + b"\0") * sent))
            await until(lambda: connection.statistics.bytes_received >= 10_000)
            await settled(lambda: connection.statistics.bytes_received)
            # What waits is at most the high water and one read.
            assert connection.statistics.bytes_received <= 10_000 + 262_144
            assert not flood.done()
            for _ in range(sent + 1):
                assert len(await connection.receive()) == 999
            await flood

    runner(main())


async def settled(value, rounds=30):
    """Wait until a value has not changed for some turns of the loop."""
    calm, before = 0, value()
    while calm < rounds:
        await asyncio.sleep(0.001)
        calm, before = (calm + 1, before) if value() == before else (0, value())


def test_one_message_longer_than_the_receive_high_water_is_no_deadlock(runner):
    async def main():
        async with bench(receive_high_water=1000) as (connection, peer):
            sending = asyncio.ensure_future(peer.send(b"x" * 1_000_000 + b"\0y\0"))
            assert len(await connection.receive()) == 1_000_000
            assert await connection.receive() == "y"
            await sending

    runner(main())


def test_reading_can_be_paused_by_hand(runner):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"one\0")
            await peer.receive(4)
            connection = handler.connection
            connection.pause_reading()
            connection.pause_reading()
            await peer.send(b"two\0")
            await settled(lambda: len(handler.calls))
            assert handler.calls == ["connected", ["one"]]
            connection.resume_reading()
            connection.resume_reading()
            assert await peer.receive(4) == b"two\0"

    runner(main())


def test_pausing_and_resuming_a_connection_that_is_over_is_harmless(runner):
    async def main():
        for end in ("abort", "reset", "paused and aborted", "close"):
            async with bench() as (connection, peer):
                if end == "paused and aborted":
                    connection.pause_reading()
                if end == "reset":
                    peer.reset()
                elif end == "close":
                    peer.close()
                    await connection.close()
                else:
                    connection.abort()
                connection.pause_reading()
                connection.resume_reading()
                await connection.wait_closed()
                connection.pause_reading()
                connection.resume_reading()
                connection.close_nowait()
                connection.abort()

    runner(main())


# Sending


def count_writes(connection):
    writes = []

    class Transport:
        def __init__(self, real):
            self._real = real

        def write(self, data):
            writes.append(bytes(data))
            self._real.write(data)

        def __getattr__(self, name):
            return getattr(self._real, name)

    connection._transport = Transport(connection._transport)
    return writes


def test_several_sends_in_one_turn_leave_in_one_write(runner):
    async def main():
        async with bench() as (connection, peer):
            writes = count_writes(connection)
            for number in range(100):
                await connection.send(str(number))
            expected = b"".join(b"%d\0" % number for number in range(100))
            assert await peer.receive(len(expected)) == expected
            assert writes == [expected]

    runner(main())


def test_the_answers_to_one_read_leave_in_one_write(runner):
    async def main():
        for handler, of in ((echo, lambda _: server.connections[0]), (Echo(), lambda h: h.connection)):
            async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
                await peer.send(b"first\0")
                await peer.receive(6)
                writes = count_writes(of(handler))
                await peer.send(b"a\0b\0c\0")
                await peer.receive(6)
                assert writes == [b"a\0b\0c\0"]

    runner(main())


def test_more_than_the_send_high_water_in_one_turn_is_written_before_the_turn_ends():
    async def main():
        async with bench(send_high_water=1000, send_low_water=10) as (connection, peer):
            writes = count_writes(connection)
            for _ in range(5):
                connection.send_nowait("x" * 499)
            assert [len(write) for write in writes] == [1500]
            assert len(await peer.receive(2500)) == 2500

    asyncio.run(main())


def test_sending_waits_for_a_slow_reader_and_goes_on_when_it_has_read(runner):
    async def main():
        async with bench(send_high_water=100_000, send_low_water=1000) as (connection, peer):
            sent = 0

            async def send_all():
                nonlocal sent
                for _ in range(300):
                    await connection.send("x" * 99_999)
                    sent += 1

            sending = asyncio.ensure_future(send_all())
            await until(lambda: connection.is_send_paused)
            await settled(lambda: sent)
            assert sent < 300
            assert len(await peer.receive(30_000_000)) == 30_000_000
            await sending
            await until(lambda: not connection.is_send_paused)

    runner(main())


def test_a_send_cancelled_while_waiting_is_sent_all_the_same(runner):
    async def main():
        async with bench(send_high_water=1000, send_low_water=10) as (connection, peer):
            total = 0
            while not connection.is_send_paused:
                connection.send_nowait("x" * 9_999)
                total += 10_000
                await asyncio.sleep(0)
            waiting = asyncio.ensure_future(connection.send("cancelled"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await peer.receive(total + 10)).endswith(b"x\0cancelled\0")

    runner(main())


def test_a_sender_that_waits_is_told_when_the_connection_ends(runner):
    async def main():
        async with bench(send_high_water=1000, send_low_water=10) as (connection, peer):
            while not connection.is_send_paused:
                connection.send_nowait("x" * 9_999)
                await asyncio.sleep(0)
            waiting = [asyncio.ensure_future(connection.send("y")) for _ in range(3)]
            await asyncio.sleep(0)
            peer.reset()
            for one in waiting:
                with pytest.raises(ConnectionClosedError):
                    await one

    runner(main())


@pytest.mark.parametrize("end", ["close_nowait", "abort"])
def test_sending_after_the_end_raises_and_says_why(runner, end):
    async def main():
        async with bench() as (connection, peer):
            getattr(connection, end)()
            reason = {"close_nowait": CloseReason.CLOSED, "abort": CloseReason.ABORTED}[end]
            for _ in range(2):
                with pytest.raises(ConnectionClosedError) as caught:
                    await connection.send("late")
                assert caught.value.reason is reason
                with pytest.raises(ConnectionClosedError):
                    connection.send_nowait("late")
                with pytest.raises(ConnectionClosedError):
                    connection.send_many(["late", "later"])
                peer.close()
                await connection.wait_closed()

    runner(main())


def test_a_peer_that_never_reads_is_dropped_with_the_reason_and_others_do_not_notice(runner, caplog):
    class Hub(xmlsocket.Handler):
        def __init__(self):
            self.members = []

        def connected(self, connection):
            self.members.append(connection)

        def closed(self, connection, reason):
            self.members.remove(connection)

        def received(self, connection, messages):
            for member in list(self.members):
                if member.is_open:
                    for message in messages:
                        member.send_nowait(message)

    async def main():
        hub = Hub()
        options = {"max_send_backlog": 1_000_000, "max_message_size": 100_000, "detect": False}
        async with (
            xmlsocket.serve(hub, LOCALHOST, 0, **options) as server,
            peer_of(server, receive_buffer=4096) as silent,
            xmlsocket.connect(LOCALHOST, server.port, max_message_size=100_000) as talker,
            xmlsocket.connect(LOCALHOST, server.port, max_message_size=100_000) as listener,
        ):
            await until(lambda: len(hub.members) == 3)
            dropped = hub.members[0]
            backlog = 0
            sent = 0
            while dropped.is_open:
                await talker.send(f"{sent:>99999}")
                for end in (talker, listener):
                    assert await end.receive() == f"{sent:>99999}"
                backlog = max(backlog, dropped._transport.get_write_buffer_size() + dropped._outbox_size)
                sent += 1
                assert sent < 1000
            assert backlog <= 1_000_000 + 100_000
            await until(lambda: server.closed_by_reason[CloseReason.SLOW_READER] == 1)
            assert dropped.close_reason is CloseReason.SLOW_READER
            await talker.send("still here")
            assert await listener.receive() == "still here"
            await silent.wait_for_any_end()

    with caplog.at_level(logging.WARNING, "xmlsocket.server"):
        runner(main())
    assert [record.message for record in caplog.records if "reads too slowly" in record.message]


# Ends


@pytest.mark.parametrize("make", [lambda: echo, Echo], ids=["coroutine", "Handler"])
def test_a_message_followed_by_the_end_of_stream_still_gets_its_answer(runner, make):
    async def main():
        async with xmlsocket.serve(make(), LOCALHOST, 0) as server:
            for data in (b"one\0", b"one\0two\0cut off", b"\0" * 1000, b"x" * 500_000 + b"\0"):
                async with peer_of(server) as peer:
                    sending = asyncio.ensure_future(peer.send(data))
                    answer = asyncio.ensure_future(peer.read_all())
                    await sending
                    peer.half_close()
                    assert await answer == data[: data.rfind(b"\0") + 1]
            await until(lambda: not server.connections)
            assert server.closed_by_reason == {CloseReason.PEER_CLOSED: 4}

    runner(main())


def test_a_coroutine_may_go_on_sending_after_the_peer_has_ended_its_side(runner):
    async def count(connection):
        requests = [message async for message in connection]
        assert connection.is_open
        assert connection.close_reason is None
        for number in range(3):
            await asyncio.sleep(0.001)
            await connection.send(f"{number} of {requests}")

    async def main():
        async with xmlsocket.serve(count, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"q\0")
            peer.half_close()
            assert await peer.read_all() == b"0 of ['q']\x001 of ['q']\x002 of ['q']\0"

    runner(main())


def test_a_handler_may_go_on_sending_after_the_peer_has_ended_its_side(runner):
    class Late(Echo):
        def ended(self, connection):
            self.calls.append("ended")
            asyncio.get_running_loop().call_later(0.01, self.finish, connection)

        def finish(self, connection):
            connection.send_nowait("late")
            connection.close_nowait()

    async def main():
        handler = Late()
        async with xmlsocket.serve(handler, LOCALHOST, 0) as server, peer_of(server) as peer:
            await peer.send(b"q\0")
            peer.half_close()
            assert await peer.read_all() == b"q\0late\0"
            await until(lambda: not server.connections)
        assert handler.calls == ["connected", ["q"], "ended", CloseReason.PEER_CLOSED]

    runner(main())


@pytest.mark.parametrize("unfinished", [b"", b"<half of a mess", b"whole\0<half"])
def test_a_reset_in_the_middle_of_a_message_ends_only_that_connection(runner, unfinished):
    async def main():
        handler = Echo()
        async with (
            xmlsocket.serve(handler, LOCALHOST, 0, detect=False) as server,
            xmlsocket.connect(LOCALHOST, server.port) as other,
            peer_of(server) as peer,
        ):
            await peer.send(unfinished)
            await until(lambda: server.traffic.bytes_received == len(unfinished) and len(server.connections) == 2)
            peer.reset()
            await until(lambda: server.closed_by_reason[CloseReason.CONNECTION_LOST] == 1)
            await other.send("still here")
            assert await other.receive() == "still here"

    runner(main())


def test_iteration_raises_when_the_connection_was_lost(runner):
    async def main():
        async with bench() as (connection, peer):
            peer.reset()
            with pytest.raises(ConnectionClosedError, match="the connection was lost"):
                async for _ in connection:
                    pass

    runner(main())


def test_closing_sends_what_is_queued_and_then_the_end_of_stream(runner):
    async def main():
        async with bench() as (connection, peer):
            for _ in range(50):
                connection.send_nowait("x" * 9999)
            closing = asyncio.ensure_future(connection.close())
            assert await peer.read_all() == (b"x" * 9999 + b"\0") * 50
            assert not closing.done()
            peer.close()
            await closing
            assert connection.close_reason is CloseReason.CLOSED
            await connection.close()

    runner(main())


def test_closing_with_unread_input_does_not_reset_what_was_sent(runner):
    async def main():
        async with bench(receive_high_water=1000) as (connection, peer):
            await peer.send(b"never taken\0" * 10_000)
            await until(lambda: connection._is_reading_paused)
            connection.send_nowait("goodbye")
            connection.close_nowait()
            assert await peer.read_all() == b"goodbye\0"

    runner(main())


def test_a_peer_that_keeps_its_side_open_is_aborted_after_close_timeout(runner):
    async def main():
        async with bench(close_timeout=0.05) as (connection, peer):
            await connection.close()
            assert connection.close_reason is CloseReason.CLOSED
            await peer.wait_for_any_end()

    runner(main())


def test_aborting_ends_at_once(runner):
    async def main():
        async with bench() as (connection, peer):
            connection.abort()
            connection.abort()
            assert not connection.is_open
            await connection.wait_closed()
            assert connection.close_reason is CloseReason.ABORTED
            with pytest.raises(ConnectionClosedError):
                await anext(aiter(connection))
            await peer.wait_for_any_end()

    runner(main())


def test_a_cancelled_close_goes_on_and_others_may_wait_for_it(runner):
    async def main():
        async with bench() as (connection, peer):
            closing = [asyncio.ensure_future(connection.close()) for _ in range(3)]
            await asyncio.sleep(0)
            closing[0].cancel()
            peer.close()
            await asyncio.gather(*closing[1:])
            await connection.wait_closed()
            assert not connection.is_open

    runner(main())


def test_polling_wait_closed_with_a_timeout_leaves_nothing_behind():
    async def main():
        async with bench() as (connection, _):
            for _ in range(50):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(connection.wait_closed(), 0)
                waiting = asyncio.ensure_future(connection.wait_closed())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert not connection._closed_waiters

    asyncio.run(main())


def test_a_connection_tells_what_is_known_of_it(runner):
    async def main():
        async with bench() as (connection, peer):
            assert connection.remote_address == peer.sock.getsockname()
            assert connection.local_address == peer.sock.getpeername()
            assert connection.is_open
            assert connection.close_reason is None
            assert repr(connection) == f"<Connection {connection.id} {peer.sock.getsockname()!r}: open>"
            await peer.send(b"12345\0a\0b")
            assert await connection.receive() == "12345"
            assert await connection.receive() == "a"
            await connection.send("é")
            await connection.send(b"xyz")
            await peer.receive(7)
            assert connection.statistics == (2, 2, 9, 7)
            peer.reset()
            await connection.wait_closed()
            assert repr(connection).endswith(": the connection was lost>")
            assert connection.remote_address is not None
            assert connection.statistics.messages_received == 2

    runner(main())


def test_ids_are_never_used_twice(runner):
    async def main():
        seen = []

        async def note(connection):
            seen.append(connection.id)

        async with xmlsocket.serve(note, LOCALHOST, 0) as server:
            for _ in range(5):
                async with xmlsocket.connect(LOCALHOST, server.port) as client:
                    await client.send("x")
                    await client.wait_closed()
                    seen.append(client.id)
        assert len(set(seen)) == len(seen) == 10

    runner(main())


def test_whoever_only_waits_for_the_end_does_not_keep_a_half_open_connection(runner):
    async def push_only(connection):
        await connection.send("news")
        await connection.wait_closed()

    async def main():
        async with xmlsocket.serve(push_only, LOCALHOST, 0, detect=False) as server:
            async with peer_of(server) as peer:
                assert await peer.receive(5) == b"news\0"
                peer.half_close()
                assert await peer.read_all() == b""
            async with peer_of(server) as peer:
                await peer.send(b"never taken\0")
                peer.half_close()
                assert await peer.read_all() == b"news\0"
            await until(lambda: not server.connections)

    runner(main())


def test_waiting_for_the_end_after_the_peer_has_ended_its_side_ends_ours(runner):
    async def main():
        async with bench() as (connection, peer):
            await peer.send(b"one\0")
            peer.half_close()
            assert [message async for message in connection] == ["one"]
            assert connection.is_open
            await connection.wait_closed()
            assert connection.close_reason is CloseReason.PEER_CLOSED

    runner(main())


def test_closing_right_after_the_peer_has_reset_the_connection_is_harmless(runner):
    async def main():
        for end in ("close_nowait", "server"):
            async with bench() as (connection, peer):
                peer.reset()  # the event loop cannot have seen it yet
                if end == "close_nowait":
                    connection.close_nowait()
                    await connection.wait_closed()

    runner(main())


def test_a_server_that_closes_right_after_its_peers_have_reset_is_closed(runner):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, detect=False) as server:
            for _ in range(3):
                async with peer_of(server) as peer:
                    await until(lambda: handler.connection is not None)
                    handler.connection = None
                    peer.reset()
            async with asyncio.timeout(10):
                await server.close()

    runner(main())


# Several at once, and batches


@pytest.mark.parametrize(
    "messages",
    [
        [],
        ["a"],
        ["a", "", "b"],
        ["é", "語"],
        [b"a", b"", b"\xff"],
        ["a", b"b", ElementTree.Element("c"), "d"],
        ("tuple", "of", "text"),
    ],
)
def test_send_many_sends_what_as_many_sends_would(runner, messages):
    async def main():
        async with bench() as (connection, peer):
            connection.send_nowait("before")
            connection.send_many(messages)
            connection.send_nowait("after")
            expected = b"before\0"
            for message in messages:
                data = ElementTree.tostring(message) if isinstance(message, ElementTree.Element) else message
                expected += (data.encode() if isinstance(data, str) else data) + b"\0"
            expected += b"after\0"
            assert await peer.receive(len(expected)) == expected
            assert connection.statistics.messages_sent == len(messages) + 2

    runner(main())


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("a\0b", xmlsocket.EmbeddedNulError),
        ("toolong", xmlsocket.OversizedMessageError),
        ("\ud800", xmlsocket.UnencodableMessageError),
        (17, TypeError),
    ],
)
@pytest.mark.parametrize("others", [["one", "two", "last"], [b"one", b"two", b"last"]])
def test_send_many_sends_what_stands_before_the_one_that_cannot_be_sent(bad, error, others):
    if isinstance(others[0], bytes) and isinstance(bad, str):
        bad = bad.encode("utf-8", "surrogatepass")
        if error is xmlsocket.UnencodableMessageError:
            return  # bytes are sent as they are

    async def main():
        async with bench(max_message_size=5) as (connection, peer):
            with pytest.raises(error):
                connection.send_many([*others[:2], bad, others[2]])
            connection.send_nowait("next")
            assert await peer.receive(13) == b"one\0two\0next\0"

    asyncio.run(main())


@settings(max_examples=40)
@given(steps=st.lists(st.sampled_from(["send", "many", "batch", "append", "turn"]), max_size=30))
def test_everything_sent_to_a_connection_arrives_in_the_order_of_the_calls(steps):
    """Single messages, several at once, and a batch to which a room appends while it may."""

    async def main():
        async with bench() as (connection, peer):
            expected, batch = [], None
            for number, step in enumerate(steps):
                text = str(number)
                if step == "send":
                    connection.send_nowait(text)
                elif step == "many":
                    connection.send_many([text, "é"])
                    expected.append(text)
                    text = "é"
                elif step == "batch" or (step == "append" and (batch is None or batch.is_sealed)):
                    batch = Batch([text])
                    connection.deliver(batch)
                elif step == "append":
                    batch.append(text)
                else:
                    await asyncio.sleep(0)
                    continue
                expected.append(text)
            data = "".join(message + "\0" for message in expected).encode()
            assert await peer.receive(len(data)) == data
            assert connection.statistics.messages_sent == len(expected)

    asyncio.run(main())


def test_what_send_returns_can_be_awaited_gathered_and_made_a_task(runner):
    async def main():
        async with bench() as (connection, peer):
            assert await connection.send("1") is None
            await asyncio.gather(connection.send("2"), connection.send("3"))
            await asyncio.create_task(connection.send("4"))
            await asyncio.ensure_future(connection.send("5"))
            await asyncio.wait_for(connection.send("6"), 10)
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.send("7"))
            assert await peer.receive(14) == b"1\x002\x003\x004\x005\x006\x007\0"

    runner(main())
