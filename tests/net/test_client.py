"""Opening a connection, the sentences when that fails, and coming back after the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct

import pytest
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason, ConfigurationError, ConnectionClosedError, OpenError, OpenTimeoutError

LOCALHOST = "127.0.0.1"
QUICK = {"backoff_initial": 0.001, "backoff_max": 0.01}


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def free_port():
    with socket.socket() as sock:
        sock.bind((LOCALHOST, 0))
        return sock.getsockname()[1]


class Talker(xmlsocket.Handler):
    def __init__(self):
        self.calls = []

    def connected(self, connection):
        connection.send_nowait("hello")

    def received(self, connection, messages):
        self.calls += messages
        connection.close_nowait()

    def closed(self, connection, reason):
        self.calls.append(reason)


def test_it_is_used_with_async_with_or_await(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            async with xmlsocket.connect(LOCALHOST, server.port) as connection:
                await connection.send("one")
                assert await connection.receive() == "one"
            assert connection.close_reason is CloseReason.CLOSED
            connection = await xmlsocket.connect(LOCALHOST, server.port)
            await connection.send("two")
            assert await connection.receive() == "two"
            await connection.close()

    runner(main())


def test_a_client_may_have_a_handler_too(runner):
    async def main():
        talker = Talker()
        async with (
            xmlsocket.serve(echo, LOCALHOST, 0) as server,
            xmlsocket.connect(LOCALHOST, server.port, handler=talker) as connection,
        ):
            await connection.wait_closed()
        assert talker.calls == ["hello", CloseReason.CLOSED]

    runner(main())


def test_with_several_addresses_each_is_tried(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            loop = asyncio.get_running_loop()
            lookup = loop.getaddrinfo

            async def both(host, port, **options):
                return [*await lookup("::1", port, **options), *await lookup(LOCALHOST, port, **options)]

            if hasattr(loop, "_selector"):  # uvloop's loops take no other methods
                loop.getaddrinfo = both
            async with xmlsocket.connect("localhost", server.port) as connection:
                assert connection.remote_address == (LOCALHOST, server.port)

    runner(main())


def test_refusals_of_all_addresses_are_one_sentence():
    async def main():
        port = free_port()
        loop = asyncio.get_running_loop()
        lookup = loop.getaddrinfo

        async def both(host, port, **options):
            return [*await lookup("::1", port, **options), *await lookup(LOCALHOST, port, **options)]

        loop.getaddrinfo = both
        with pytest.raises(OpenError, match=f"^localhost:{port} refused the connection: nothing listens there$"):
            await xmlsocket.connect("localhost", port)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({"host": LOCALHOST}, "127.0.0.1:{port} refused the connection: nothing listens there"),
        ({"host": "::1"}, "[::1]:{port} refused the connection: nothing listens there"),
        ({"host": "nowhere.invalid"}, "the host of nowhere.invalid:{port} is unknown: "),
        ({"path": "/nowhere/socket"}, "cannot connect to /nowhere/socket: No such file or directory"),
    ],
)
def test_a_failure_to_open_says_what_happened_and_where(runner, where, text):
    async def main():
        port = free_port()
        target = where if "path" in where else {**where, "port": port}
        with pytest.raises(OpenError) as caught:
            await xmlsocket.connect(**target)
        assert str(caught.value).startswith(text.format(port=port))
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(caught.value.__cause__, OSError)

    runner(main())


def test_what_takes_longer_than_open_timeout_says_so(runner):
    async def main():
        with socket.create_server((LOCALHOST, 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(OpenTimeoutError, match=r"within open_timeout \(0\.05 s\)") as caught:
                await xmlsocket.connect(LOCALHOST, port, ssl=True, open_timeout=0.05)
            assert isinstance(caught.value, TimeoutError)

    runner(main())


def test_cancelling_while_opening_leaves_no_connection(runner):
    async def main():
        with socket.create_server((LOCALHOST, 0)) as listener:
            opening = asyncio.ensure_future(open_tls(listener.getsockname()[1]))
            accepted, _ = await asyncio.to_thread(listener.accept)
            with accepted:
                opening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await opening
                accepted.settimeout(10)
                await asyncio.to_thread(drain, accepted)

    async def open_tls(port):
        await xmlsocket.connect(LOCALHOST, port, ssl=True)

    def drain(sock):
        while sock.recv(1000):
            pass

    runner(main())


# Coming back


def test_iterating_without_reconnect_is_refused():
    async def main():
        connections = aiter(xmlsocket.connect(LOCALHOST, 1))
        with pytest.raises(ConfigurationError, match="reconnect=True"):
            await anext(connections)

    asyncio.run(main())


@pytest.mark.parametrize("end", ["close", "reset", "invalid"])
def test_a_reconnecting_client_comes_back_however_its_connection_ended(runner, end):
    async def main():
        with socket.create_server((LOCALHOST, 0)) as listener:
            loop = asyncio.get_running_loop()
            listener.setblocking(False)
            heard = []

            async def listen():
                async for connection in xmlsocket.connect(
                    *listener.getsockname(), reconnect=True, close_timeout=0.01, **QUICK
                ):
                    async for message in connection:
                        heard.append(message)  # noqa: PERF401  # it counts when it arrives
                    if len(heard) == 3:
                        return

            listening = asyncio.ensure_future(listen())
            for number in range(3):
                async with asyncio.timeout(10):
                    sock, _ = await loop.sock_accept(listener)
                await loop.sock_sendall(sock, b"%d\0" % number + (b"\xff\0" if end == "invalid" else b""))
                await until(lambda count=number: len(heard) > count)
                if end == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            await listening
            assert heard == ["0", "1", "2"]

    runner(main())


def test_a_reconnecting_client_waits_for_a_server_that_is_not_there_yet(runner, caplog):
    async def main():
        port = free_port()
        opening = asyncio.ensure_future(open_at_last(port))
        await until(lambda: len(caplog.records) >= 3)
        async with xmlsocket.serve(echo, LOCALHOST, port):
            assert await opening == "here"

    async def open_at_last(port):
        async with xmlsocket.connect(LOCALHOST, port, reconnect=True, **QUICK) as connection:
            await connection.send("here")
            return await connection.receive()

    with caplog.at_level(logging.INFO, "xmlsocket.client"):
        runner(main())
    assert all("refused the connection" in record.message for record in caplog.records)
    assert all("trying again in" in record.message for record in caplog.records)


def test_without_reconnect_the_first_failure_is_the_last():
    async def main():
        with pytest.raises(OpenError):
            await xmlsocket.connect(LOCALHOST, free_port(), **QUICK)

    asyncio.run(main())


def test_pauses_grow_by_the_factor_up_to_the_longest_and_are_drawn_at_random(monkeypatch):
    ceilings, pauses = [], []

    def draw(low, high):
        assert low == 0
        ceilings.append(high)
        return high / 2

    async def pause(delay):
        pauses.append(delay)
        if len(pauses) == 6:
            raise asyncio.CancelledError

    async def main():
        port = free_port()
        monkeypatch.setattr("xmlsocket.net.client.random.uniform", draw)
        monkeypatch.setattr("xmlsocket.net.client.asyncio.sleep", pause)
        with contextlib.suppress(asyncio.CancelledError):
            await xmlsocket.connect(
                LOCALHOST, port, reconnect=True, backoff_initial=1.0, backoff_factor=3.0, backoff_max=20.0
            )

    asyncio.run(main())
    assert ceilings == [1.0, 3.0, 9.0, 20.0, 20.0, 20.0]
    assert pauses == [ceiling / 2 for ceiling in ceilings]


def test_a_server_that_accepts_and_closes_at_once_is_not_hammered(monkeypatch):
    ceilings = []

    def draw(low, high):
        ceilings.append(high)
        return 0

    async def close(connection):
        pass

    async def main():
        monkeypatch.setattr("xmlsocket.net.client.random.uniform", draw)
        async with xmlsocket.serve(close, LOCALHOST, 0, detect=False) as server:
            rounds = 0
            options = {"reconnect": True, "backoff_initial": 30.0, "backoff_max": 100.0}
            async for connection in xmlsocket.connect(LOCALHOST, server.port, **options):
                assert [message async for message in connection] == []
                rounds += 1
                if rounds == 5:
                    break

    asyncio.run(main())
    assert ceilings == [30.0, 60.0, 100.0, 100.0]


def test_leaving_the_loop_closes_the_connection(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            async for connection in xmlsocket.connect(LOCALHOST, server.port, reconnect=True, **QUICK):
                await connection.send("x")
                assert await connection.receive() == "x"
                break
            await until(lambda: not server.connections)
            assert not connection.is_open

    runner(main())


def test_an_exception_in_the_loop_leaves_it_and_closes_the_connection(runner):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            with pytest.raises(LookupError):
                await fail(server.port)
            await until(lambda: not server.connections)

    async def fail(port):
        async for connection in xmlsocket.connect(LOCALHOST, port, reconnect=True, **QUICK):
            await connection.send("x")
            raise LookupError

    runner(main())


def test_send_and_receive_of_a_reconnecting_client_still_tell_of_the_end(runner):
    async def main():
        async with xmlsocket.serve(leave, LOCALHOST, 0) as server:
            rounds = 0
            async for connection in xmlsocket.connect(LOCALHOST, server.port, reconnect=True, **QUICK):
                rounds += 1
                if rounds == 3:
                    break
                await connection.send("x")
                with pytest.raises(ConnectionClosedError):
                    await connection.receive()

    async def leave(connection):
        await connection.receive()

    runner(main())


def test_clients_leave_no_timer_behind_for_idle_connections():
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            for _ in range(3):
                async with xmlsocket.connect(LOCALHOST, server.port, idle_timeout=0.04) as connection:
                    await connection.send("x")
                    await connection.receive()
                await until(lambda: connection._endpoint._idle_timer is None)  # awaited in the round

    asyncio.run(main())


def test_an_idle_server_is_left_with_the_reason(runner):
    async def main():
        with socket.create_server((LOCALHOST, 0)) as listener:
            async with xmlsocket.connect(*listener.getsockname(), idle_timeout=0.04) as connection:
                with pytest.raises(ConnectionClosedError, match="nothing was received for idle_timeout"):
                    await connection.receive()

    runner(main())


def test_a_client_meets_a_server_that_only_speaks(runner):
    async def main():
        async def news(connection):
            for number in range(3):
                await connection.send(f"news {number}")

        async with xmlsocket.serve(news, LOCALHOST, 0, detection_timeout=0.0) as server:
            async with xmlsocket.connect(LOCALHOST, server.port) as client:
                assert [message async for message in client] == ["news 0", "news 1", "news 2"]
            async with peer_of(server) as peer:
                assert await peer.read_all() == b"news 0\0news 1\0news 2\0"

    runner(main())
