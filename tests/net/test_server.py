"""Where a server listens, whom it lets in, how it closes, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import struct

import pytest
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason, ConfigurationError

LOCALHOST = "127.0.0.1"


async def echo(connection):
    async for message in connection:
        await connection.send(message)


class Echo(xmlsocket.Handler):
    def received(self, connection, messages):
        for message in messages:
            connection.send_nowait(message)


async def answers(peer, text=b"hello"):
    await peer.send(text + b"\0")
    assert await peer.receive(len(text) + 1) == text + b"\0"


both_handlers = pytest.mark.parametrize("make", [lambda: echo, Echo], ids=["coroutine", "Handler"])


# Listening


@pytest.mark.parametrize("host", [LOCALHOST, "::1", "localhost"])
def test_it_listens_on_ipv4_and_ipv6(runner, host):
    async def main():
        async with (
            xmlsocket.serve(echo, host, 0) as server,
            xmlsocket.connect(host, server.port) as client,
        ):
            await client.send("hello")
            assert await client.receive() == "hello"
            assert client.remote_address[1] == server.port

    runner(main())


@pytest.mark.parametrize("host", [None, [LOCALHOST, "::1"], "", ["localhost", "::1"]])
def test_several_addresses_share_one_port_chosen_by_the_system(runner, host):
    async def main():
        async with xmlsocket.serve(echo, host, 0) as server:
            assert {sock.family for sock in server.sockets} == {socket.AF_INET, socket.AF_INET6}
            assert {sock.getsockname()[1] for sock in server.sockets} == {server.port}
            for address in (LOCALHOST, "::1"):
                async with peer_of((address, server.port)) as peer:
                    await answers(peer)

    runner(main())


def test_a_unix_socket_is_served_and_removed_at_the_end(runner, tmp_path):
    path = tmp_path / "chat"

    async def main():
        async with xmlsocket.serve(echo, path=path) as server:
            async with peer_of(str(path)) as peer:
                await answers(peer)
            async with xmlsocket.connect(path=path) as client:
                await client.send("x")
                assert await client.receive() == "x"
            with pytest.raises(ConfigurationError, match="no TCP port"):
                _ = server.port
        assert not path.exists()

    runner(main())


def test_a_unix_socket_that_another_server_has_taken_over_is_left_alone(runner, tmp_path):
    path = str(tmp_path / "chat")

    async def main():
        first = await xmlsocket.serve(echo, path=path)
        async with xmlsocket.serve(echo, path=path):
            await first.close()
            async with peer_of(path) as peer:
                await answers(peer)
            assert await asyncio.to_thread(os.path.exists, path)
        assert not await asyncio.to_thread(os.path.exists, path)

    runner(main())


@pytest.mark.parametrize("kind", ["bound", "listening", "unix"])
def test_a_socket_of_ones_own_is_served(runner, kind, tmp_path):
    async def main():
        if kind == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(tmp_path / "own"))
        else:
            sock = socket.socket()
            sock.bind((LOCALHOST, 0))
        if kind == "listening":
            sock.listen()
        where = sock.getsockname()
        async with xmlsocket.serve(echo, sock=sock), peer_of(where) as peer:
            await answers(peer)

    runner(main())


def test_several_servers_can_share_a_port_on_request(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, reuse_port=True) as first:
            async with xmlsocket.serve(echo, LOCALHOST, first.port, reuse_port=True):
                for _ in range(4):
                    async with peer_of(first) as peer:
                        await answers(peer)
            with pytest.raises(xmlsocket.ListenError):
                await xmlsocket.serve(echo, LOCALHOST, first.port)

    runner(main())


def test_a_port_can_be_served_again_right_after_its_server_was_closed(runner):
    async def main():
        port = 0
        for _ in range(3):
            server = await xmlsocket.serve(echo, LOCALHOST, port, close_timeout=0.05)
            port = server.port
            async with peer_of(server) as peer:
                await answers(peer)
                await server.close()
            assert server.sockets == []

    runner(main())


def test_small_messages_leave_at_once_and_dead_peers_are_found(runner):
    async def main():
        async with xmlsocket.serve(Echo(), None, 0) as server:
            for host in (LOCALHOST, "::1"):
                async with xmlsocket.connect(host, server.port) as client:
                    await client.send("x")
                    await client.receive()
                    for connection in (client, server.connections[0]):
                        sock = connection._transport.get_extra_info("socket")
                        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                await until(lambda: not server.connections)

    runner(main())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "a port, a path or a sock, one of them"),
        ({"host": "localhost"}, "one of them"),
        ({"port": 0, "path": "x"}, "one of them"),
        ({"port": -1}, "a whole number from 0 to 65535, not -1"),
        ({"port": 65_536}, "not 65536"),
        ({"port": "8080"}, "not '8080'"),
        ({"port": True}, "not True"),
        ({"port": 0, "encoding": "utf-16"}, "zero byte"),
        ({"port": 0, "encoding": "gbk", "errors": "flash"}, "works with no other"),
        ({"port": 0, "max_conections": 5}, "unknown option max_conections; did you mean max_connections"),
        ({"port": 0, "polcy": "<a/>"}, "did you mean policy"),
        ({"port": 0, "idle_timeout": -1}, "idle_timeout must be 0 or more seconds, not -1"),
        ({"port": 0, "max_connections": 1.5}, "max_connections must be a whole number of connections, not 1.5"),
        ({"port": 0, "close_timeout": None}, "close_timeout cannot be None"),
        ({"port": 0, "close_timeout": float("inf")}, "close_timeout"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_anything_listens(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        xmlsocket.serve(echo, **arguments)


# Letting in


def test_max_connections_refuses_those_beyond_it_and_lets_in_again(runner, caplog):
    async def main():
        async with (
            xmlsocket.serve(echo, LOCALHOST, 0, max_connections=2) as server,
            contextlib.AsyncExitStack() as stack,
        ):
            peers = [await stack.enter_async_context(peer_of(server)) for _ in range(2)]
            for peer in peers:
                await answers(peer)
            for _ in range(3):
                async with peer_of(server) as refused:
                    await refused.wait_for_any_end()
            assert server.closed_by_reason == {CloseReason.TOO_MANY_CONNECTIONS: 3}
            peers[0].close()
            await until(lambda: len(server.connections) == 1)
            async with peer_of(server) as peer:
                await answers(peer)

    with caplog.at_level(logging.WARNING):
        runner(main())
    first, more = caplog.messages
    assert first.startswith("refused ('127.0.0.1', ")
    assert first.endswith("): max_connections was reached")
    assert more == "refused 2 more within a minute"


def test_clients_that_have_not_spoken_yet_count_too(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, max_connections=1) as server, peer_of(server) as silent:
            await until(lambda: server._listener.openings)
            async with peer_of(server) as refused:
                await refused.wait_for_any_end()
            silent.close()
            await until(lambda: not server._listener.openings)
            async with peer_of(server) as peer:
                await answers(peer)

    runner(main())


def test_max_connections_per_address_counts_each_address_by_itself(runner):
    async def main():
        options = {"max_connections_per_address": 1}
        async with (
            xmlsocket.serve(echo, ["127.0.0.1", "::1"], 0, **options) as server,
            peer_of(("127.0.0.1", server.port)) as four,
            peer_of(("::1", server.port)) as six,
        ):
            await answers(four)
            await answers(six)
            for address in ("127.0.0.1", "::1"):
                async with peer_of((address, server.port)) as refused:
                    await refused.wait_for_any_end()
            assert server.closed_by_reason == {CloseReason.TOO_MANY_FROM_ADDRESS: 2}

    runner(main())


def test_counts_per_address_return_to_nothing_however_clients_leave(runner):
    policy = "<cross-domain-policy/>"

    async def main():
        options = {"max_connections_per_address": 1000, "policy": policy, "detection_timeout": 0.0}
        for first in (False, True):
            async with xmlsocket.serve(Echo(), LOCALHOST, 0, speaks_first=first, **options) as server:
                for start in (b"", b"x\0", b"<policy-file-request/>\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16", b"<pol"):
                    for leave in ("close", "reset", "half_close"):
                        async with peer_of(server) as peer:
                            await peer.send(start)
                            getattr(peer, leave)()
                    async with peer_of(server) as peer:
                        await peer.send(start)
                        await until(lambda: server._listener._by_address)  # awaited in the round
                await until(lambda: not server._listener._by_address)  # awaited in the round
                assert not server._listener._counted
                assert not server._listener.openings
                assert not server.connections

    runner(main())


# Closing


@both_handlers
def test_closing_finishes_what_was_received_sends_it_all_then_ends_the_stream(runner, make):
    async def main():
        server = await xmlsocket.serve(make(), LOCALHOST, 0)
        async with peer_of(server) as peer:
            data = b"".join(b"%d\0" % number for number in range(10_000))
            await peer.send(data)
            await until(lambda: server.traffic.bytes_received == len(data))
            closing = asyncio.ensure_future(server.close())
            assert await peer.read_all() == data
            peer.close()
            await closing
        assert server.closed_by_reason == {CloseReason.SHUTDOWN: 1}
        assert not server.is_serving

    runner(main())


@both_handlers
def test_closing_under_load_loses_nothing_that_was_received(runner, make):
    """Every client gets the answers to a beginning of what it sent: all that the server says it has received."""

    async def talk(server, counts):
        async with peer_of(server) as peer:

            async def send_on():
                with contextlib.suppress(ConnectionError):
                    for number in range(100_000):
                        await peer.send(b"%d\0" % number)
                        await asyncio.sleep(0)

            sending = asyncio.ensure_future(send_on())
            data = await peer.read_all()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            messages = data.split(b"\0")
            assert messages.pop() == b""
            assert messages == [b"%d" % number for number in range(len(messages))]
            counts.append(len(messages))

    async def main():
        counts = []
        server = await xmlsocket.serve(make(), LOCALHOST, 0)
        clients = [asyncio.ensure_future(talk(server, counts)) for _ in range(20)]
        await until(lambda: server.traffic.messages_received > 2000)
        await server.close()
        await asyncio.gather(*clients)
        assert sum(counts) == server.traffic.messages_sent
        if make() is echo:
            assert server.traffic.messages_sent == server.traffic.messages_received

    runner(main())


def test_a_message_that_every_member_was_sent_arrives_though_the_server_closes_at_once(runner):
    async def main():
        server = await xmlsocket.serve(Echo(), LOCALHOST, 0, detect=False)
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(peer_of(server)) for _ in range(20)]
            await until(lambda: len(server.connections) == 20)
            for connection in server.connections:
                connection.send_nowait("x" * 200_000)
            closing = asyncio.ensure_future(server.close())
            for peer in peers:
                assert await peer.read_all() == b"x" * 200_000 + b"\0"
                peer.close()
            await closing

    runner(main())


def test_a_handler_that_hangs_is_cancelled_after_close_timeout(runner, caplog):
    cancelled = []

    async def hang(connection):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(connection)
            raise

    async def main():
        server = await xmlsocket.serve(hang, LOCALHOST, 0, detect=False, close_timeout=0.05)
        async with peer_of(server) as peer, asyncio.timeout(10):
            await until(lambda: server.connections)
            await server.close()
            await peer.wait_for_any_end()
            assert len(cancelled) == 1
            assert server.closed_by_reason == {CloseReason.SHUTDOWN: 1}

    with caplog.at_level(logging.WARNING):
        runner(main())
    assert [record.message for record in caplog.records] == [
        "cancelling 1 handlers that did not end within close_timeout"
    ]


def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_server_open(runner):
    async def main():
        release = asyncio.Event()

        async def stubborn(connection):
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

        server = await xmlsocket.serve(stubborn, LOCALHOST, 0, detect=False, close_timeout=0.0)
        async with peer_of(server) as peer, asyncio.timeout(10):
            await until(lambda: server.connections)
            await server.close()
            await peer.wait_for_any_end()
        release.set()
        await until(lambda: not server._listener.handler.tasks)

    runner(main())


def test_a_peer_that_does_not_end_its_side_is_aborted_after_close_timeout(runner):
    async def main():
        server = await xmlsocket.serve(Echo(), LOCALHOST, 0, detect=False, close_timeout=0.05)
        async with peer_of(server) as peer, asyncio.timeout(10):
            await until(lambda: server.connections)
            await server.close()
            assert await peer.read_all() == b""

    runner(main())


def test_after_closing_nobody_gets_in(runner):
    async def main():
        server = await xmlsocket.serve(echo, LOCALHOST, 0)
        port = server.port
        await server.close()
        with pytest.raises(ConnectionRefusedError):
            async with peer_of(port):
                pass

    runner(main())


def test_a_client_that_is_accepted_while_the_server_closes_is_turned_away(runner):
    async def main():
        server = await xmlsocket.serve(echo, LOCALHOST, 0)
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(peer_of(server)) for _ in range(20)]
            server.close_nowait()
            for peer in peers:
                await peer.wait_for_any_end()
        await server.wait_closed()
        assert not server._listener.openings
        assert not server.connections

    runner(main())


def test_closing_several_times_and_cancelled_waits_are_harmless(runner):
    async def main():
        server = await xmlsocket.serve(echo, LOCALHOST, 0)
        async with peer_of(server) as peer:
            await answers(peer)
            waits = [asyncio.ensure_future(server.close()) for _ in range(3)]
            await asyncio.sleep(0)
            waits[0].cancel()
            peer.close()
            await asyncio.gather(*waits[1:])
            await server.close()
            await server.wait_closed()
        assert not server.is_serving

    runner(main())


@pytest.mark.parametrize("close", [xmlsocket.Server.close, xmlsocket.Server.wait_closed], ids=["close", "wait_closed"])
def test_a_handler_can_close_its_own_server_and_still_say_goodbye(runner, close):
    async def shut_down(connection):
        async for message in connection:
            server.close_nowait()
            await close(server)
            await connection.send(f"{message}, and goodbye")

    async def main():
        nonlocal server
        async with (
            xmlsocket.serve(shut_down, LOCALHOST, 0, close_timeout=3600.0) as server,
            peer_of(server) as first,
            peer_of(server) as second,
        ):
            await first.send(b"one\0")
            assert await first.read_all() == b"one, and goodbye\0"
            first.close()
            assert await second.read_all() == b""
            second.close()
            await server.wait_closed()

    server = None
    runner(main())


def test_cancelling_serve_forever_closes_the_server(runner):
    async def main():
        server = await xmlsocket.serve(echo, LOCALHOST, 0)
        serving = asyncio.ensure_future(server.serve_forever())
        async with peer_of(server) as peer:
            await answers(peer)
            serving.cancel()
            assert await peer.read_all() == b""
            peer.close()
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert not server.is_serving
        assert server.connections == []

    runner(main())


def test_serve_forever_ends_when_the_server_is_closed(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            asyncio.get_running_loop().call_soon(server.close_nowait)
            async with asyncio.timeout(10):
                await server.serve_forever()

    runner(main())


# Idle, statistics, remains


def test_a_connection_that_sends_nothing_for_idle_timeout_is_dropped_and_one_that_does_stays(runner, caplog):
    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0, idle_timeout=0.4) as server,
            peer_of(server) as idle,
            peer_of(server) as busy,
        ):
            await answers(idle)
            talking = asyncio.ensure_future(talk_on(busy))
            await idle.wait_for_any_end()
            assert not talking.done()
            talking.cancel()
            assert server.closed_by_reason == {CloseReason.IDLE_TIMEOUT: 1}
        assert server._listener._idle_timer is None

    async def talk_on(peer):
        while True:
            await answers(peer)
            await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING):
        runner(main())
    assert len([record for record in caplog.records if "idle_timeout" in record.message]) == 1


def test_a_connection_that_we_do_not_read_is_not_idle(runner):
    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0, idle_timeout=0.04, detect=False) as server,
            peer_of(server) as peer,
        ):
            await until(lambda: server.connections)
            (connection,) = server.connections
            connection.pause_reading()
            await asyncio.sleep(0.2)  # five times as long
            assert connection.is_open
            connection.resume_reading()
            await peer.wait_for_any_end()
            assert connection.close_reason is CloseReason.IDLE_TIMEOUT

    runner(main())


def test_an_idle_timeout_of_0_drops_and_does_not_spin(runner):
    async def main():
        async with (
            xmlsocket.serve(Echo(), LOCALHOST, 0, idle_timeout=0, detect=False) as server,
            peer_of(server) as peer,
        ):
            await peer.wait_for_any_end()
            await until(lambda: server.closed_by_reason == {CloseReason.IDLE_TIMEOUT: 1})
            await until(lambda: server._listener._idle_timer is None)

    runner(main())


def test_statistics_add_up_over_open_and_closed_connections(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            for _ in range(3):
                async with peer_of(server) as peer:
                    await answers(peer, b"12345")
            async with peer_of(server) as peer:
                await peer.send(b"1\x002\0half")
                await peer.receive(4)
                await until(lambda: server.traffic.bytes_received == 3 * 6 + 8)
                assert server.traffic == (3 + 2, 3 + 2, 3 * 6 + 8, 3 * 6 + 4)
            await until(lambda: not server.connections)
            assert server.traffic == (3 + 2, 3 + 2, 3 * 6 + 8, 3 * 6 + 4)
            assert server.closed_by_reason == {CloseReason.PEER_CLOSED: 4}

    runner(main())


@both_handlers
def test_two_thousand_connects_at_once_and_nothing_of_them_is_left_behind(runner, make):
    async def visit(server):
        async with peer_of(server) as peer:
            await answers(peer)

    async def main():
        limits = {"max_connections_per_address": 3000, "idle_timeout": 60.0}
        async with xmlsocket.serve(make(), LOCALHOST, 0, **limits) as server:
            await asyncio.gather(*(visit(server) for _ in range(200)))  # what is made once
            await until(lambda: not server.connections)
            gc.collect()
            objects, tasks = len(gc.get_objects()), len(asyncio.all_tasks())
            await asyncio.gather(*(visit(server) for _ in range(2000)))
            await until(lambda: not server.connections)
            await asyncio.sleep(0)
            listener = server._listener
            for remains in (listener.openings, listener._counted, listener._by_address, listener._unflushed):
                assert not remains
            for queue in (listener.detection, listener.first_byte, listener.answered, listener._closing):
                assert len(queue) == 0
            assert len(asyncio.all_tasks()) == tasks
            gc.collect()
            assert len(gc.get_objects()) - objects < 200
            assert server.closed_by_reason == {CloseReason.PEER_CLOSED: 2200}
            assert server.traffic.messages_received == 2200

    runner(main())


def test_ten_thousand_connections_are_within_the_default_limits():
    limits = xmlsocket.Limits()
    assert limits.max_connections is None or limits.max_connections >= 10_000
    assert limits.max_connections_per_address is None


def waiting_room(sock):
    """How many connections may wait to be accepted: ``tcpi_sacked`` of a listening socket."""
    return struct.unpack("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)[28:])[0]


@pytest.mark.parametrize("backlog", [1, 31, 32, 33, 500])
def test_accept_backlog_is_what_the_system_is_told(runner, backlog):
    async def main():
        for options in ({"host": LOCALHOST, "port": 0}, {"sock": socket.create_server((LOCALHOST, 0))}):
            async with xmlsocket.serve(echo, accept_backlog=backlog, **options) as server:
                assert waiting_room(server.sockets[0]) == backlog
                async with peer_of(server) as peer:
                    await answers(peer)

    runner(main())
