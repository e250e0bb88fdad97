"""The beginning of a connection: who speaks what, however its bytes are cut, and who says nothing at all."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason
from xmlsocket.net.policy_answer import PolicyAnswer
from xmlsocket.wire import POLICY_REQUESTS

LOCALHOST = "127.0.0.1"
POLICY = '<cross-domain-policy><allow-access-from domain="*" to-ports="8080"/></cross-domain-policy>'
ANSWER = POLICY.encode() + b"\0"
REQUEST = POLICY_REQUESTS[0]


class Recorder(xmlsocket.Handler):
    """Keeps what it is told, and may greet."""

    def __init__(self, greeting=None):
        self.greeting = greeting
        self.calls = []
        self.connection = None

    def connected(self, connection):
        self.connection = connection
        self.calls.append("connected")
        if self.greeting is not None:
            connection.send_nowait(self.greeting)

    def received(self, connection, messages):
        self.calls.append(messages)
        for message in messages:
            connection.send_nowait("> " + message)

    def closed(self, connection, reason):
        self.calls.append(reason)


@contextlib.asynccontextmanager
async def serving(handler=None, **options):
    handler = handler or Recorder()
    async with xmlsocket.serve(handler, LOCALHOST, 0, **options) as server, peer_of(server) as peer:
        yield handler, server, peer


# Policy requests


@pytest.mark.parametrize("request_", POLICY_REQUESTS)
def test_a_policy_request_is_answered_at_every_segmentation_and_never_reaches_the_handler(runner, request_):
    async def main():
        handler = Recorder()
        async with xmlsocket.serve(handler, LOCALHOST, 0, policy=POLICY) as server:
            for place in range(1, len(request_)):
                async with peer_of(server) as peer:
                    await peer.send(request_[:place])
                    await asyncio.sleep(0.001)  # for it to travel alone
                    await peer.send(request_[place:])
                    assert await peer.read_all() == ANSWER
            async with peer_of(server) as peer:
                for byte in request_:
                    await peer.send(bytes([byte]))
                    await asyncio.sleep(0.001)
                assert await peer.read_all() == ANSWER
            await until(lambda: not server._listener.openings)
            assert server.closed_by_reason == {CloseReason.POLICY_ANSWERED: len(request_)}
        assert handler.calls == []

    runner(main())


def test_a_policy_request_slower_than_detection_timeout_is_one_all_the_same(runner):
    async def main():
        async with serving(policy=POLICY, detection_timeout=0.0) as (handler, _, peer):
            await peer.send(REQUEST[:5])
            await asyncio.sleep(0.15)  # three times what a timeout of 0 takes
            await peer.send(REQUEST[5:])
            assert await peer.read_all() == ANSWER
            assert handler.calls == []

    runner(main())


@pytest.mark.parametrize("more", [b"<more/>\0", b"x" * 200_000, REQUEST, b"\0" * 1000])
def test_the_answer_is_complete_though_the_client_sent_more_behind_its_request(runner, more):
    answer = b"<cross-domain-policy>" + b" " * 300_000 + b"</cross-domain-policy>\0"  # more than one write takes

    async def main():
        async with serving(policy=PolicyAnswer(answer)) as (handler, server, peer):
            await peer.send(REQUEST + more)
            await peer.send(more)
            assert await peer.read_all() == answer
            assert handler.calls == []
            peer.close()
            await until(lambda: not server._listener.openings)

    runner(main())


def test_without_a_policy_the_request_is_refused_by_closing(runner):
    async def main():
        async with serving() as (handler, server, peer):
            await peer.send(REQUEST)
            assert await peer.read_all() == b""
            assert handler.calls == []
            assert server.closed_by_reason == {CloseReason.POLICY_REFUSED: 1}

    runner(main())


def test_a_request_typed_by_hand_without_its_nul_is_answered_at_the_end_of_stream(runner):
    async def main():
        async with serving(policy=POLICY) as (handler, _, peer):
            await peer.send(REQUEST[:-1])
            peer.half_close()
            assert await peer.read_all() == ANSWER
            assert handler.calls == []

    runner(main())


def test_a_client_that_stays_after_its_answer_is_ended_after_close_timeout(runner):
    async def main():
        async with serving(policy=POLICY, close_timeout=0.05) as (_, server, peer):
            await peer.send(REQUEST)
            assert await peer.read_all() == ANSWER
            await until(lambda: not server._listener.openings)
            assert not server._listener.answered

    runner(main())


def test_only_the_first_message_can_be_a_policy_request(runner):
    async def main():
        async with serving(policy=POLICY) as (handler, _, peer):
            await peer.send(b"<login/>\0" + REQUEST)
            await peer.receive(11)
            await until(lambda: sum(map(len, handler.calls[1:])) == 2)
            assert handler.calls[1:] in (
                [["<login/>", "<policy-file-request/>"]],
                [["<login/>"], ["<policy-file-request/>"]],
            )

    runner(main())


@pytest.mark.parametrize("form", ["text", "bytes", "path", "Path", "with a NUL"])
def test_a_policy_can_be_given_in_several_forms(tmp_path, form):
    path = tmp_path / "policy.xml"
    path.write_text(POLICY)
    policy = {"text": POLICY, "bytes": POLICY.encode(), "path": str(path), "Path": path, "with a NUL": ANSWER}[form]

    async def main():
        async with serving(policy=policy) as (_, _, peer):
            await peer.send(REQUEST)
            assert await peer.read_all() == ANSWER

    asyncio.run(main())


def test_a_policy_file_that_cannot_be_read_is_named_before_anything_listens(tmp_path):
    with pytest.raises(xmlsocket.ConfigurationError, match=r"cannot read the policy file '.*none\.xml': No such file"):
        xmlsocket.serve(Recorder(), LOCALHOST, 0, policy=tmp_path / "none.xml")


def test_a_policy_with_a_nul_inside_is_refused_because_players_would_see_half_of_it():
    with pytest.raises(xmlsocket.ConfigurationError, match="a NUL stands inside the file"):
        xmlsocket.serve(Recorder(), LOCALHOST, 0, policy=b"<cross\0domain-policy/>")


# Other protocols


def test_a_tls_client_on_a_plain_port_gets_an_alert_and_is_no_message(runner):
    async def main():
        async with serving() as (handler, server, peer):
            await peer.send(b"\x16\x03\x01\x00\x05hello")
            assert await peer.read_all() == b"\x15\x03\x01\x00\x02\x02\x28"
            assert handler.calls == []
            assert server.closed_by_reason == {CloseReason.PROTOCOL_REFUSED: 1}

    runner(main())


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "CONNECT"])
def test_a_line_of_http_never_becomes_a_message(runner, method):
    async def main():
        async with serving() as (handler, _, peer):
            await peer.send(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n<login/>\0".encode())
            assert (await peer.read_all()).startswith(b"HTTP/1.1 ")
            assert handler.calls == []

    runner(main())


def test_without_detection_everything_is_a_message(runner):
    async def main():
        async with serving(detect=False, policy=POLICY) as (handler, _, peer):
            await until(lambda: handler.calls == ["connected"])  # before it has said anything
            await peer.send(REQUEST + b"GET / HTTP/1.1\0\x16\0")
            await peer.receive(2)
            await until(lambda: len(handler.calls) > 1)
            assert handler.calls == ["connected", ["<policy-file-request/>", "GET / HTTP/1.1", "\x16"]]

    runner(main())


@pytest.mark.parametrize("start", [b"<", b"<policy-file-request/>", b"G", b"GET", b"<policy-file-request", b"P"])
def test_a_beginning_that_could_be_anything_becomes_a_message_when_it_goes_on_otherwise(runner, start):
    async def main():
        async with serving(policy=POLICY) as (handler, _, peer):
            await peer.send(start)
            await asyncio.sleep(0.001)
            await peer.send(b"!\0")
            assert await peer.receive(len(start) + 4) == b"> " + start + b"!\0"
            assert handler.calls == ["connected", [start.decode() + "!"]]

    runner(main())


def test_a_beginning_that_could_be_anything_becomes_a_message_after_first_byte_timeout(runner):
    async def main():
        async with serving(first_byte_timeout=0.05, detection_timeout=0.0) as (handler, _, peer):
            await peer.send(b"<policy")
            await until(lambda: handler.calls == ["connected"])
            await peer.send(b"-file-request/>\0")
            assert await peer.receive(25) == b"> <policy-file-request/>\0"

    runner(main())


def test_a_policy_request_typed_without_its_nul_is_answered_after_first_byte_timeout(runner):
    async def main():
        async with serving(policy=POLICY, first_byte_timeout=0.05) as (handler, _, peer):
            await peer.send(REQUEST[:-1])
            assert await peer.read_all() == ANSWER
            assert handler.calls == []

    runner(main())


def test_an_unfinished_beginning_before_the_end_of_stream_is_a_cut_off_message(runner):
    async def main():
        async with serving(policy=POLICY) as (handler, server, peer):
            await peer.send(b"<policy")
            peer.half_close()
            assert await peer.read_all() == b""
            await until(lambda: handler.calls == ["connected", CloseReason.PEER_CLOSED])
            assert server.traffic.bytes_received == 7

    runner(main())


# Silent clients


def test_a_silent_client_is_met_after_detection_timeout_and_can_be_spoken_to(runner):
    async def main():
        async with serving(Recorder("welcome"), detection_timeout=0.01) as (handler, _, peer):
            assert await peer.receive(8) == b"welcome\0"
            await peer.send(b"hello\0")
            assert await peer.receive(8) == b"> hello\0"
            assert handler.calls == ["connected", ["hello"]]

    runner(main())


def test_a_client_that_was_met_but_not_spoken_to_may_still_ask_for_the_policy(runner):
    async def main():
        async with serving(detection_timeout=0.0, policy=POLICY) as (handler, server, peer):
            await until(lambda: handler.calls == ["connected"])
            await peer.send(REQUEST)
            assert await peer.read_all() == ANSWER
            assert handler.calls == ["connected", CloseReason.POLICY_ANSWERED]
            assert server.closed_by_reason == {CloseReason.POLICY_ANSWERED: 1}
            assert handler.connection.close_reason is CloseReason.POLICY_ANSWERED

    runner(main())


def test_a_client_that_was_spoken_to_cannot_ask_for_the_policy_any_more(runner):
    async def main():
        async with serving(Recorder("welcome"), detection_timeout=0.0, policy=POLICY) as (handler, _, peer):
            assert await peer.receive(8) == b"welcome\0"
            await peer.send(REQUEST)
            assert await peer.receive(25) == b"> <policy-file-request/>\0"
            assert handler.calls == ["connected", ["<policy-file-request/>"]]

    runner(main())


def test_a_client_that_says_nothing_for_first_byte_timeout_is_ended(runner):
    async def main():
        async with serving(first_byte_timeout=0.05, detection_timeout=60.0) as (handler, server, peer):
            await peer.wait_for_any_end()
            assert handler.calls == []
            await until(lambda: server.closed_by_reason == {CloseReason.FIRST_BYTE_TIMEOUT: 1})

    runner(main())


def test_a_silent_client_that_the_handler_has_met_is_ended_too_and_the_handler_is_told(runner):
    async def main():
        async with serving(Recorder("welcome"), first_byte_timeout=0.1, detection_timeout=0.0) as (
            handler,
            server,
            peer,
        ):
            assert await peer.receive(8) == b"welcome\0"
            await peer.wait_for_any_end()
            assert handler.calls == ["connected", CloseReason.FIRST_BYTE_TIMEOUT]
            await until(lambda: server.closed_by_reason == {CloseReason.FIRST_BYTE_TIMEOUT: 1})

    runner(main())


def test_a_silent_client_in_a_coroutine_is_ended_with_the_reason(runner):
    reasons = []

    async def handler(connection):
        try:
            async for _ in connection:
                pass
        except xmlsocket.ConnectionClosedError as error:
            reasons.append(error.reason)

    async def main():
        async with serving(handler, first_byte_timeout=0.1, detection_timeout=0.0) as (_, _, peer):
            await peer.wait_for_any_end()
            await until(lambda: reasons == [CloseReason.FIRST_BYTE_TIMEOUT])

    runner(main())


def test_without_first_byte_timeout_a_silent_client_may_stay(runner):
    async def main():
        async with serving(Recorder("welcome"), first_byte_timeout=None, detection_timeout=0.0) as (_, server, peer):
            assert await peer.receive(8) == b"welcome\0"
            assert len(server._listener.first_byte) == 0

    runner(main())


def test_a_silent_client_that_ends_its_side_at_once_is_met_and_may_be_answered(runner):
    async def main():
        async with serving(Recorder("welcome")) as (handler, _, peer):
            peer.half_close()
            assert await peer.read_all() == b"welcome\0"
            await until(lambda: handler.calls == ["connected", CloseReason.PEER_CLOSED])

    runner(main())


def test_a_silent_client_that_resets_is_forgotten(runner):
    async def main():
        async with serving() as (handler, server, peer):
            await until(lambda: server._listener.openings)
            peer.reset()
            await until(lambda: not server._listener.openings)
            assert not server._listener.detection
            assert not server._listener.first_byte
            assert handler.calls == []

    runner(main())


# A server that speaks first


def test_a_server_that_speaks_first_meets_its_clients_at_once_and_is_held_back(runner):
    async def main():
        async with serving(Recorder("welcome"), speaks_first=True, detection_timeout=60.0) as (handler, _, peer):
            await until(lambda: handler.calls == ["connected"])
            assert handler.connection.statistics.messages_sent == 0
            await peer.send(b"hello\0")
            assert await peer.receive(16) == b"welcome\0> hello\0"

    runner(main())


def test_what_was_held_back_goes_out_after_detection_timeout(runner):
    async def main():
        async with serving(Recorder("welcome"), speaks_first=True, detection_timeout=0.0) as (_, _, peer):
            assert await peer.receive(8) == b"welcome\0"

    runner(main())


def test_a_policy_request_to_a_server_that_speaks_first_gets_the_policy_only(runner):
    async def main():
        async with serving(Recorder("welcome"), speaks_first=True, policy=POLICY) as (handler, server, peer):
            for piece in (REQUEST[:10], REQUEST[10:]):
                await peer.send(piece)
                await asyncio.sleep(0.001)
            assert await peer.read_all() == ANSWER
            assert handler.calls == ["connected", CloseReason.POLICY_ANSWERED]
            with pytest.raises(xmlsocket.ConnectionClosedError):
                handler.connection.send_nowait("late")
            await handler.connection.wait_closed()
            assert server.connections == []

    runner(main())


def test_first_byte_timeout_does_not_apply_where_the_server_speaks_first(runner):
    async def main():
        options = {"speaks_first": True, "first_byte_timeout": 0.0, "detection_timeout": 0.0}
        async with serving(Recorder("welcome"), **options) as (handler, _, peer):
            assert await peer.receive(8) == b"welcome\0"
            await asyncio.sleep(0.1)  # twice what a timeout of 0 takes
            handler.connection.send_nowait("still here")
            assert await peer.receive(11) == b"still here\0"

    runner(main())


def test_an_unfinished_beginning_cannot_hold_a_server_that_speaks_first_for_ever(runner):
    async def main():
        options = {"speaks_first": True, "first_byte_timeout": 0.05, "detection_timeout": 0.0}
        async with serving(Recorder("welcome"), **options) as (_handler, _, peer):
            await peer.send(b"<policy-")
            assert await peer.receive(8) == b"welcome\0"
            await peer.send(b"\0")
            assert await peer.receive(11) == b"> <policy-\0"

    runner(main())


def test_greeting_without_end_waits_for_the_client_and_not_for_ever_in_the_loop(runner):
    sent = 0

    async def greet(connection):
        nonlocal sent
        while True:
            await connection.send("x" * 999)
            sent += 1

    async def main():
        options = {"speaks_first": True, "detection_timeout": 60.0, "send_high_water": 65_536}
        async with serving(greet, **options) as (_, _, peer):
            await until(lambda: sent)
            await asyncio.sleep(0.01)
            assert sent <= 67
            await peer.send(b"go\0")
            assert len(await peer.receive(1_000_000)) == 1_000_000

    runner(main())


def test_what_is_held_back_is_bounded_as_the_backlog_of_a_slow_reader(runner):
    class Flood(Recorder):
        def connected(self, connection):
            super().connected(connection)
            while connection.is_open:
                connection.send_nowait("x" * 9_999)

    async def main():
        options = {"max_send_backlog": 100_000, "max_message_size": 10_000, "send_high_water": 20_000}
        async with serving(Flood(), speaks_first=True, detection_timeout=60.0, **options) as (handler, server, peer):
            await peer.wait_for_any_end()
            assert handler.calls == ["connected", CloseReason.SLOW_READER]
            assert server.closed_by_reason == {CloseReason.SLOW_READER: 1}

    runner(main())


def test_a_greeting_followed_by_the_end_is_not_lost(runner):
    async def greet_and_leave(connection):
        await connection.send("sold out")

    async def main():
        async with serving(greet_and_leave, speaks_first=True, detection_timeout=60.0) as (_, _, peer):
            assert await peer.read_all() == b"sold out\0"

    runner(main())


def test_a_handler_that_ends_a_connection_while_it_is_met_ends_it(runner):
    class Bouncer(Recorder):
        def __init__(self, how):
            super().__init__()
            self.how = how

        def connected(self, connection):
            super().connected(connection)
            getattr(connection, self.how)()

    async def main():
        for how, reason in (("close_nowait", CloseReason.CLOSED), ("abort", CloseReason.ABORTED)):
            for options in ({"speaks_first": True}, {"detect": False}, {"detection_timeout": 0.0}, {}):
                async with serving(Bouncer(how), **options) as (handler, server, peer):
                    await peer.send(b"" if options else b"hello\0")
                    await peer.wait_for_any_end()
                    peer.close()
                    await until(lambda: handler.calls == ["connected", reason])  # noqa: B023  # awaited in the round
                    await until(lambda: not server._listener.openings)

    runner(main())


def test_an_answered_client_does_not_outlive_the_server(runner):
    async def main():
        for options in ({}, {"speaks_first": True}):
            async with (
                xmlsocket.serve(Recorder(), LOCALHOST, 0, policy=POLICY, close_timeout=60.0, **options) as server,
                peer_of(server) as peer,
            ):
                await peer.send(REQUEST)
                assert await peer.receive(len(ANSWER)) == ANSWER
                await server.close()
                await peer.wait_for_any_end()
                await until(lambda: not server._listener.openings)  # awaited in the round

    runner(main())
