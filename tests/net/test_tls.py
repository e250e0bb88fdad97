"""TLS on both sides, found by its first byte or demanded, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl

import pytest
import trustme
from tests.net.peers import Peer, peer_of, until

import xmlsocket
from xmlsocket import CloseReason, OpenError

LOCALHOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_tls(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def echo(connection):
    async for message in connection:
        await connection.send(message)


class Echo(xmlsocket.Handler):
    def __init__(self):
        self.calls = []

    def connected(self, connection):
        self.calls.append("connected")

    def received(self, connection, messages):
        self.calls.append(messages)
        connection.send_many(messages)

    def closed(self, connection, reason):
        self.calls.append(reason)


# With detection TLS is found by its first byte; without it every client must speak TLS at once.
ways = pytest.mark.parametrize("detect", [True, False], ids=["detected", "from the first byte"])
both_handlers = pytest.mark.parametrize("make", [lambda: echo, Echo], ids=["coroutine", "Handler"])


@ways
@both_handlers
def test_messages_pass_through_tls_in_both_directions(runner, server_tls, client_tls, detect, make):
    async def main():
        async with (
            xmlsocket.serve(make(), LOCALHOST, 0, ssl=server_tls, detect=detect) as server,
            xmlsocket.connect("localhost", server.port, ssl=client_tls) as client,
        ):
            for message in ("", "é🐌", "x" * 1_000_000, *map(str, range(100))):
                await client.send(message)
                assert await client.receive() == message
            assert client.remote_address == (LOCALHOST, server.port)

    runner(main())


@ways
def test_closing_sends_everything_first(runner, server_tls, client_tls, detect):
    async def talk(connection):
        await connection.receive()
        for _ in range(100):
            await connection.send("x" * 9_999)

    async def main():
        async with (
            xmlsocket.serve(talk, LOCALHOST, 0, ssl=server_tls, detect=detect) as server,
            xmlsocket.connect("localhost", server.port, ssl=client_tls) as client,
        ):
            await client.send("go")
            assert [len(message) async for message in client] == [9_999] * 100

    runner(main())


@ways
def test_a_server_that_closes_sends_everything_first(runner, server_tls, client_tls, detect):
    async def main():
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, ssl=server_tls, detect=detect) as server:
            async with xmlsocket.connect("localhost", server.port, ssl=client_tls) as client:
                await client.send("x" * 500_000)
                await until(lambda: server.traffic.messages_received)
                closing = asyncio.ensure_future(server.close())
                assert [len(message) async for message in client] == [500_000]
            await closing
            assert server.closed_by_reason == {CloseReason.SHUTDOWN: 1}

    runner(main())


@ways
def test_a_handler_answers_a_message_that_comes_with_the_end(runner, server_tls, client_tls, detect):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, detect=detect) as server:
            async with xmlsocket.connect("localhost", server.port, ssl=client_tls) as client:
                await client.send("last")
            await until(lambda: not server.connections)
        assert handler.calls == ["connected", ["last"], CloseReason.PEER_CLOSED]

    runner(main())


@ways
def test_whoever_goes_on_sending_after_the_end_is_told_for_tls_cannot_stay_half_open(
    runner, server_tls, client_tls, detect
):
    told = []

    async def late(connection):
        async for message in connection:
            await asyncio.sleep(0.05)  # meanwhile the client has closed
            try:
                await connection.send(message)
            except xmlsocket.ConnectionClosedError as error:
                told.append(error.reason)

    async def main():
        async with xmlsocket.serve(late, LOCALHOST, 0, ssl=server_tls, detect=detect) as server:
            async with xmlsocket.connect("localhost", server.port, ssl=client_tls) as client:
                await client.send("x")
            await until(lambda: told)

    runner(main())
    assert told == [CloseReason.PEER_CLOSED]


def test_plain_clients_are_served_beside_tls(runner, server_tls, client_tls):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, ssl=server_tls) as server, peer_of(server) as peer:
            await peer.send(b"plain\0")
            assert await peer.receive(6) == b"plain\0"
            async with xmlsocket.connect("localhost", server.port, ssl=client_tls) as client:
                await client.send("secret")
                assert await client.receive() == "secret"

    runner(main())


def test_a_plain_client_is_refused_where_tls_is_required_but_for_its_policy_request(runner, server_tls):
    policy = '<cross-domain-policy><allow-access-from domain="*" to-ports="*"/></cross-domain-policy>'

    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, require_tls=True, policy=policy) as server:
            async with peer_of(server) as peer:
                await peer.send(b"plain\0")
                assert await peer.read_all() == b""
            async with peer_of(server) as peer:
                await peer.send(b"<policy-file-request/>\0")
                assert await peer.read_all() == policy.encode() + b"\0"
            assert handler.calls == []
            assert server.closed_by_reason == {CloseReason.PROTOCOL_REFUSED: 1, CloseReason.POLICY_ANSWERED: 1}

    runner(main())


def test_a_plain_client_of_a_port_for_tls_only_sees_it_closed(runner, server_tls):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, detect=False) as server:
            async with peer_of(server) as peer:
                await peer.send(b"plain\0")
                await peer.wait_for_any_end()
            async with xmlsocket.connect(LOCALHOST, server.port) as client:
                await client.send("plain")
                with pytest.raises(xmlsocket.ConnectionClosedError):
                    await client.receive()
            assert handler.calls == []

    runner(main())


def test_a_tls_client_of_a_plain_port_is_told_that_it_is_one(runner, client_tls):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            text = rf"^no TLS with localhost:{server.port}: .*; does the server speak TLS on that port\?$"
            with pytest.raises(OpenError, match=text):
                await xmlsocket.connect("localhost", server.port, ssl=client_tls)

    runner(main())


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("unknown authority", r"is not to be trusted: (self-signed|unable to get local issuer) certificate"),
        ("127.0.0.2", r"is not to be trusted: IP address mismatch, certificate is not valid for '127\.0\.0\.2'"),
    ],
)
def test_a_wrong_certificate_is_named_with_its_fault(runner, server_tls, client_tls, host, text):
    async def main():
        async with xmlsocket.serve(echo, "127.0.0.1" if host != "127.0.0.2" else host, 0, ssl=server_tls) as server:
            context = ssl.create_default_context() if host == "unknown authority" else client_tls
            name = "localhost" if host == "unknown authority" else host
            with pytest.raises(OpenError, match=rf"the certificate of {name}:\d+ {text}"):
                await xmlsocket.connect(name, server.port, ssl=context)
            await until(lambda: not server._listener.openings and not server.connections)

    runner(main())


def test_a_wrong_certificate_does_not_become_right_by_trying_again(runner, server_tls):
    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, ssl=server_tls) as server:
            with pytest.raises(OpenError, match="not to be trusted"):
                await xmlsocket.connect("localhost", server.port, ssl=True, reconnect=True)

    runner(main())


def test_the_name_in_the_certificate_may_differ_from_the_host(runner, server_tls, client_tls):
    async def main():
        async with (
            xmlsocket.serve(echo, "127.0.0.2", 0, ssl=server_tls) as server,
            xmlsocket.connect("127.0.0.2", server.port, ssl=client_tls, server_hostname="localhost") as client,
        ):
            await client.send("x")
            assert await client.receive() == "x"

    runner(main())


def test_tls_over_a_unix_socket(runner, server_tls, client_tls, tmp_path):
    async def main():
        path = str(tmp_path / "s")
        async with (
            xmlsocket.serve(echo, path=path, ssl=server_tls),
            xmlsocket.connect(path=path, ssl=client_tls, server_hostname="localhost") as client,
        ):
            await client.send("x")
            assert await client.receive() == "x"

    runner(main())


def hello(client_tls):
    """What a TLS client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("how", ["byte by byte", "cut off", "garbage", "reset", "silence"])
def test_a_handshake_that_goes_wrong_harms_nobody_and_is_counted_once(runner, server_tls, client_tls, how):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, handshake_timeout=0.3) as server:
            async with peer_of(server) as peer:
                first = hello(client_tls)
                if how == "byte by byte":
                    for byte in first:
                        await peer.send(bytes([byte]))
                        await asyncio.sleep(0)
                    assert (await peer.receive(1)) == b"\x16"  # the server's hello
                elif how == "garbage":
                    await peer.send(first[:20] + b"\0" * 1000)
                else:
                    await peer.send(first[:100])
                if how == "reset":
                    await asyncio.sleep(0.01)
                    peer.reset()
                elif how == "cut off":
                    peer.half_close()
                    await peer.wait_for_any_end()
                else:
                    await peer.wait_for_any_end()
            await until(lambda: not server._listener.openings and not server._listener.handshake_tasks)
            assert sum(server.closed_by_reason.values()) == 1
            assert set(server.closed_by_reason) <= {
                CloseReason.HANDSHAKE_FAILED,
                CloseReason.HANDSHAKE_TIMEOUT,
                CloseReason.PEER_CLOSED,
                CloseReason.CONNECTION_LOST,
            }
            assert handler.calls == []
            async with xmlsocket.connect("localhost", server.port, ssl=client_tls) as client:
                await client.send("fine")
                assert await client.receive() == "fine"

    runner(main())


def test_a_server_closes_though_a_handshake_is_under_way(runner, server_tls, client_tls):
    async def main():
        for detect in (True, False):
            async with xmlsocket.serve(Echo(), LOCALHOST, 0, ssl=server_tls, detect=detect) as server:
                async with peer_of(server) as peer:
                    await peer.send(hello(client_tls))
                    assert await peer.receive(1) == b"\x16"
                    async with asyncio.timeout(10):
                        await server.close()
                    if detect:
                        await peer.wait_for_any_end()
                assert not server.connections
                await until(lambda: not server._listener.openings)

    runner(main())


def test_a_handshake_finished_after_the_server_has_closed_opens_nothing(runner, server_tls, client_tls):
    async def main():
        handler = Echo()
        server = await xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, detect=False)
        async with peer_of(server) as peer:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            await peer.send(outgoing.read())
            incoming.write(await peer.receive(1))
            await server.close()
            await finish_handshake(peer, tls, incoming, outgoing)
            await peer.wait_for_any_end()
        assert handler.calls == []
        assert not server._listener.openings

    async def finish_handshake(peer: Peer, tls, incoming, outgoing):
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    incoming.write(await loop.sock_recv(peer.sock, 65_536))
                else:
                    await peer.send(outgoing.read() + b"")
                    return

    runner(main())


def test_timeouts_of_0_are_numbers_like_any_other(runner, server_tls):
    async def main():
        for detect in (True, False):
            options = {"ssl": server_tls, "detect": detect, "close_timeout": 0, "handshake_timeout": 0}
            async with xmlsocket.serve(Echo(), LOCALHOST, 0, **options) as server, peer_of(server) as peer:
                await peer.send(b"\x16\x03\x01")
                await peer.wait_for_any_end()

    runner(main())


def test_without_handshake_timeout_a_slow_handshake_may_take_its_time(runner, server_tls, client_tls):
    async def main():
        for detect in (True, False):
            options = {"ssl": server_tls, "detect": detect, "handshake_timeout": None}
            async with (
                xmlsocket.serve(echo, LOCALHOST, 0, **options) as server,
                xmlsocket.connect("localhost", server.port, ssl=client_tls, open_timeout=None) as client,
            ):
                await client.send("x")
                assert await client.receive() == "x"

    runner(main())


@ways
def test_a_peer_that_never_reads_is_dropped_over_tls_too(runner, server_tls, client_tls, detect, caplog):
    class Flood(Echo):
        def received(self, connection, messages):
            asyncio.get_running_loop().call_soon(self.flood, connection)

        def flood(self, connection):
            if connection.is_open:
                connection.send_nowait("x" * 9_999)
                asyncio.get_running_loop().call_soon(self.flood, connection)

    async def main():
        handler = Flood()
        options = {"max_send_backlog": 500_000, "max_message_size": 10_000}
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, detect=detect, **options) as server:
            client = await xmlsocket.connect("localhost", server.port, ssl=client_tls)
            client.pause_reading()
            client.send_nowait("go")
            await until(lambda: server.closed_by_reason == {CloseReason.SLOW_READER: 1})
            client.abort()
            await client.wait_closed()

    with caplog.at_level(logging.WARNING):
        runner(main())


def test_a_tls_client_that_leaves_without_its_goodbye_is_gone(runner, server_tls, client_tls):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls) as server:
            client = await xmlsocket.connect("localhost", server.port, ssl=client_tls)
            await client.send("x")
            await client.receive()
            client.abort()
            await until(lambda: not server.connections)
            assert sum(server.closed_by_reason.values()) == 1

    runner(main())


@ways
def test_a_message_and_the_end_that_come_along_with_the_end_of_the_handshake_arrive(
    runner, server_tls, client_tls, detect
):
    async def main():
        handler = Echo()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, detect=detect) as server:
            for last in (b"one\0two\0half", b""):
                async with peer_of(server) as peer:
                    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                    tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
                    while True:
                        try:
                            tls.do_handshake()
                            break
                        except ssl.SSLWantReadError:
                            await peer.send(outgoing.read())
                            incoming.write(await asyncio.get_running_loop().sock_recv(peer.sock, 65_536))
                    tls.write(last)
                    with contextlib.suppress(ssl.SSLError):
                        tls.unwrap()
                    await peer.send(outgoing.read())
                    peer.half_close()
                    await peer.wait_for_any_end()
                await until(lambda: not server.connections and not server._listener.openings)
        assert handler.calls[:3] == ["connected", ["one", "two"], CloseReason.PEER_CLOSED]

    runner(main())


def test_keepalive_is_on_for_tls_too(runner, server_tls, client_tls):
    async def main():
        async with (
            xmlsocket.serve(echo, LOCALHOST, 0, ssl=server_tls) as server,
            xmlsocket.connect("localhost", server.port, ssl=client_tls) as client,
        ):
            await client.send("x")
            await client.receive()
            for connection in (client, server.connections[0]):
                sock = connection._transport.get_extra_info("socket")
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    runner(main())


class Greeter(Echo):
    def connected(self, connection):
        super().connected(connection)
        self.connection = connection
        connection.send_nowait("welcome")


@pytest.mark.parametrize("speaks_first", [True, False])
def test_a_silent_client_inside_tls_is_met_after_detection_timeout(runner, server_tls, client_tls, speaks_first):
    async def main():
        options = {"ssl": server_tls, "detection_timeout": 0.3, "speaks_first": speaks_first}
        async with (
            xmlsocket.serve(Greeter(), LOCALHOST, 0, **options) as server,
            xmlsocket.connect("localhost", server.port, ssl=client_tls) as client,
        ):
            async with asyncio.timeout(10):
                assert await client.receive() == "welcome"

    runner(main())


def test_nothing_is_said_in_plain_text_once_a_client_has_begun_tls(runner, server_tls, client_tls):
    """The handler has met a silent client, and speaks to it in the middle of the handshake."""

    async def main():
        handler = Echo()
        async with (
            xmlsocket.serve(handler, LOCALHOST, 0, ssl=server_tls, detection_timeout=0.0) as server,
            peer_of(server) as peer,
        ):
            await until(lambda: handler.calls)
            (connection,) = server.connections
            await peer.send(hello(client_tls)[:100])
            await until(lambda: server._listener.handshake_tasks)
            connection.send_nowait("too early")
            await peer.send(hello(client_tls)[100:])
            assert await peer.receive(3) in (b"\x16\x03\x03", b"\x15\x03\x03")  # a record of TLS

    runner(main())
