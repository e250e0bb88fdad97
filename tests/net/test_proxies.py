"""Clients behind a proxy that tells their addresses, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl

import pytest
import trustme
from tests.net.peers import peer_of, until

import xmlsocket
from xmlsocket import CloseReason, ConfigurationError

LOCALHOST = "127.0.0.1"
HEADER = b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 8080\r\n"
OTHER_HEADER = b"PROXY TCP4 203.0.113.8 198.51.100.1 40000 8080\r\n"
HEADER_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x9c\x40\x1f\x90"
POLICY = '<cross-domain-policy><allow-access-from domain="*" to-ports="*"/></cross-domain-policy>'
BEHIND = {"proxy_protocol": True, "trusted_proxies": [LOCALHOST]}


class Recorder(xmlsocket.Handler):
    def __init__(self, greeting=None):
        self.greeting = greeting
        self.calls = []

    def connected(self, connection):
        self.calls.append(connection.remote_address)
        if self.greeting is not None:
            connection.send_nowait(self.greeting)

    def received(self, connection, messages):
        self.calls += messages
        connection.send_many(messages)

    def closed(self, connection, reason):
        self.calls += [connection.remote_address, reason]


@pytest.mark.parametrize("header", [HEADER, HEADER_2], ids=["version 1", "version 2"])
@pytest.mark.parametrize("speaks_first", [False, True])
def test_the_handler_sees_the_address_that_the_proxy_tells_for_any_segmentation(runner, header, speaks_first):
    async def main():
        data = header + b"hello\0"
        for place in range(1, len(data), 3):
            handler = Recorder()
            async with xmlsocket.serve(handler, LOCALHOST, 0, speaks_first=speaks_first, **BEHIND) as server:
                async with peer_of(server) as peer:
                    for piece in (data[:place], data[place:]):
                        await peer.send(piece)
                        await asyncio.sleep(0)
                    assert await peer.receive(6) == b"hello\0"
                await until(lambda: len(handler.calls) == 4)  # noqa: B023  # awaited in the round
            client = ("203.0.113.7", 40_000)
            assert handler.calls == [client, "hello", client, CloseReason.PEER_CLOSED]

    runner(main())


def test_a_policy_request_behind_a_proxy_is_answered(runner):
    async def main():
        handler = Recorder()
        async with xmlsocket.serve(handler, LOCALHOST, 0, policy=POLICY, **BEHIND) as server, peer_of(server) as peer:
            await peer.send(HEADER + b"<policy-file-request/>\0")
            assert await peer.read_all() == POLICY.encode() + b"\0"
        assert handler.calls == []

    runner(main())


@pytest.mark.parametrize("start", [b"hello\0", b"PROXY nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\xff\0\0"])
def test_a_proxy_that_does_not_say_whom_it_speaks_for_is_turned_away(runner, start):
    async def main():
        handler = Recorder()
        async with xmlsocket.serve(handler, LOCALHOST, 0, **BEHIND) as server, peer_of(server) as peer:
            await peer.send(start)
            await peer.wait_for_any_end()
            await until(lambda: not server._listener.openings)
            assert server.closed_by_reason == {CloseReason.PROTOCOL_REFUSED: 1}
        assert handler.calls == []

    runner(main())


def test_a_header_from_anybody_else_is_no_header(runner):
    async def main():
        handler = Recorder()
        options = {"proxy_protocol": True, "trusted_proxies": ["192.0.2.0/24"]}
        async with xmlsocket.serve(handler, LOCALHOST, 0, **options) as server, peer_of(server) as peer:
            await peer.send(HEADER + b"\0")
            await peer.receive(len(HEADER) + 1)
            assert handler.calls[0] == peer.sock.getsockname()
            assert handler.calls[1] == HEADER.decode()

    runner(main())


@pytest.mark.parametrize("speaks_first", [False, True])
def test_a_silent_client_behind_a_proxy_is_met_with_its_address(runner, speaks_first):
    async def main():
        handler = Recorder("welcome")
        options = {"detection_timeout": 0.0, "speaks_first": speaks_first, **BEHIND}
        async with xmlsocket.serve(handler, LOCALHOST, 0, **options) as server, peer_of(server) as peer:
            await until(lambda: server._listener.openings)
            await asyncio.sleep(0.15)  # three times what a detection_timeout of 0 takes
            assert handler.calls == []
            await peer.send(HEADER)
            assert await peer.receive(8) == b"welcome\0"
            assert handler.calls == [("203.0.113.7", 40_000)]

    runner(main())


def test_connections_are_counted_for_the_address_that_the_proxy_tells(runner):
    async def main():
        for first in (False, True):
            options = {"max_connections_per_address": 2, "speaks_first": first, **BEHIND}
            async with xmlsocket.serve(Recorder(), LOCALHOST, 0, **options) as server:
                for _ in range(2):
                    async with peer_of(server) as one, peer_of(server) as two, peer_of(server) as other:
                        for peer, header in ((one, HEADER), (two, HEADER), (other, OTHER_HEADER)):
                            await peer.send(header + b"x\0")
                            assert await peer.receive(2) == b"x\0"
                        async with peer_of(server) as third:
                            await third.send(HEADER + b"x\0")
                            assert await third.read_all() == b""
                    await until(lambda: not server.connections)  # awaited in the round
                    assert not server._listener._by_address
                assert server.closed_by_reason[CloseReason.TOO_MANY_FROM_ADDRESS] == 2

    runner(main())


def upgrade(client):
    return (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\nX-Forwarded-For: " + client + b"\r\n\r\n"
    )


def test_browsers_are_counted_for_the_address_that_the_proxy_tells(runner):
    async def main():
        handler = Recorder()
        options = {"max_connections_per_address": 1, "trusted_proxies": [LOCALHOST]}
        async with xmlsocket.serve(handler, LOCALHOST, 0, **options) as server:
            async with peer_of(server) as one, peer_of(server) as other, peer_of(server) as second:
                for peer, client in ((one, b"203.0.113.7"), (other, b"203.0.113.8")):
                    await peer.send(upgrade(client))
                    assert (await peer.receive(12)) == b"HTTP/1.1 101"
                await second.send(upgrade(b"203.0.113.7"))
                assert (await second.read_all()).startswith(b"HTTP/1.1 429 ")
                assert handler.calls == [("203.0.113.7", 0), ("203.0.113.8", 0)]
            await until(lambda: not server.connections)
            assert not server._listener._by_address

    runner(main())


def test_tls_may_follow_the_header_of_the_proxy(runner):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    def talk(port):
        with socket.create_connection((LOCALHOST, port)) as sock:
            sock.sendall(HEADER)
            with client_context.wrap_socket(sock, server_hostname="localhost") as secure:
                secure.sendall(b"secret\0")
                return secure.recv(7)

    async def main():
        handler = Recorder()
        async with xmlsocket.serve(handler, LOCALHOST, 0, ssl=context, **BEHIND) as server:
            assert await asyncio.to_thread(talk, server.port) == b"secret\0"
            await until(lambda: not server.connections)
        assert handler.calls[:2] == [("203.0.113.7", 40_000), "secret"]

    runner(main())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"proxy_protocol": True}, "needs trusted_proxies"),
        ({"proxy_protocol": True, "trusted_proxies": [LOCALHOST], "detect": False}, "needs detect=True"),
    ],
)
def test_what_could_not_work_is_refused(options, text):
    with pytest.raises(ConfigurationError, match=text):
        xmlsocket.serve(Recorder(), LOCALHOST, 0, **options)
