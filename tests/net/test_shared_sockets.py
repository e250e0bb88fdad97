"""Listening sockets that several servers have, as the processes of one daemon do: they outlive each of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

import xmlsocket
from xmlsocket import ConfigurationError

LOCALHOST = "127.0.0.1"


async def echo(connection: xmlsocket.Connection) -> None:
    async for message in connection:
        await connection.send(message)


def listening_socket() -> socket.socket:
    sock = socket.socket()
    sock.bind((LOCALHOST, 0))
    sock.listen(100)
    return sock


async def answer_of(port: int, message: str) -> str:
    async with xmlsocket.connect(LOCALHOST, port) as connection:
        await connection.send(message)
        return await connection.receive()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # nobody tells when
            await asyncio.sleep(0.001)


def test_a_server_listens_on_all_sockets_that_it_is_given(runner):
    async def main() -> None:
        socks = [listening_socket(), listening_socket()]
        ports = [sock.getsockname()[1] for sock in socks]
        async with xmlsocket.serve(echo, sock=socks) as server:
            assert [await answer_of(port, "x") for port in ports] == ["x", "x"]
            assert server.port == ports[0]

    runner(main())


def test_no_socket_at_all_is_an_error():
    async def main() -> None:
        xmlsocket.serve(echo, sock=[])

    with pytest.raises(ConfigurationError, match="empty list"):
        asyncio.run(main())


def test_a_server_takes_one_more_socket_and_gives_it_back(runner):
    async def main() -> None:
        sock = listening_socket()
        port = sock.getsockname()[1]
        async with xmlsocket.serve(echo, LOCALHOST, 0) as server:
            place = await server.accept_from(sock.dup())
            assert await answer_of(port, "x") == "x"
            await server.stop_accepting(place)
            waiting = asyncio.create_task(answer_of(port, "y"))  # waits in the queue, which is not closed
            async with xmlsocket.serve(echo, sock=sock):
                assert await waiting == "y"
            assert await answer_of(server.port, "z") == "z"

    runner(main())


def test_while_servers_of_one_queue_come_and_go_every_client_is_answered(runner):
    async def main() -> None:
        sock = listening_socket()
        port = sock.getsockname()[1]
        is_over = False
        answered = 0

        async def storm() -> None:
            nonlocal answered
            while not is_over:
                assert await answer_of(port, "x") == "x"
                answered += 1

        old = await xmlsocket.serve(echo, sock=sock.dup())
        clients = [asyncio.create_task(storm()) for _ in range(8)]
        for _ in range(10):
            new = await xmlsocket.serve(echo, sock=sock.dup())
            before = answered
            await until(lambda before=before: answered >= before + 20)
            await old.stop_accepting()
            await old.close()
            old = new
        is_over = True
        await asyncio.gather(*clients)
        assert answered >= 200
        await old.close()
        sock.close()

    runner(main())


def test_who_has_not_said_anything_yet_when_a_server_stops_accepting_is_still_served(runner):
    async def main() -> None:
        server = await xmlsocket.serve(echo, LOCALHOST, 0, detection_timeout=30)
        connection = await xmlsocket.connect(LOCALHOST, server.port)
        await until(lambda: server._listener.openings)
        stopping = asyncio.create_task(server.stop_accepting())
        await until(lambda: not server.sockets)
        await asyncio.sleep(0)
        assert not stopping.done()
        await connection.send("x")
        assert await connection.receive() == "x"
        await stopping
        await connection.close()
        await server.close()

    runner(main())


def test_a_policy_server_that_stops_accepting_still_answers_who_was_accepted(runner):
    policy = '<cross-domain-policy><allow-access-from domain="*.example.com" to-ports="8080"/></cross-domain-policy>'

    async def main() -> None:
        server = await xmlsocket.serve_policy(policy, LOCALHOST, 0)
        reader, writer = await asyncio.open_connection(LOCALHOST, server.port)
        await until(lambda: server._silent)
        stopping = asyncio.create_task(server.stop_accepting())
        await until(lambda: not server.sockets)
        writer.write(b"<policy-file-request/>\0")
        assert b"example.com" in await reader.read()
        writer.close()
        await stopping
        await server.close()

    runner(main())
