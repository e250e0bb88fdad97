"""A process that runs out of descriptors: the server turns clients away, and recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import sys

import pytest
from tests.net.peers import DEADLINE, peer_of

import xmlsocket
from xmlsocket.net.descriptors import free_descriptors
from xmlsocket.net.listener import fit_into_descriptors

LOCALHOST = "127.0.0.1"

SERVER = """
import asyncio, resource, sys
import xmlsocket

resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

class Echo(xmlsocket.Handler):
    def received(self, connection, messages):
        connection.send_many(messages)

async def main():
    loop = asyncio.get_running_loop()
    async with xmlsocket.serve(Echo(), "127.0.0.1", 0, descriptor_reserve=int(sys.argv[2])) as server:
        print(server.port, server._listener.max_connections, flush=True)
        held = []
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line == "hold\\n":
                held = [open("/dev/null") for _ in range(90)]
            else:
                for file in held:
                    file.close()
            print("done", flush=True)

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def server_process(loop, reserve, log=None):
    """A server that may have 128 descriptors: its port, its limit on connections, and a way to tell it something."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", SERVER, loop, str(reserve)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
    )

    async def tell(word):
        process.stdin.write(f"{word}\n".encode())
        assert await process.stdout.readline() == b"done\n"

    try:
        async with asyncio.timeout(30):
            port, maximum = (await process.stdout.readline()).split()
            yield int(port), int(maximum), tell
    finally:
        process.stdin.close()
        assert await process.wait() == 0


async def answered(peer):
    try:
        await peer.send(b"x\0")
        return await peer.receive(2) == b"x\0"
    except ConnectionError:
        return False


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_server_takes_no_more_connections_than_there_are_descriptors_and_says_so_by_closing(loop):
    async def main():
        async with server_process(loop, 64) as (port, maximum, _), contextlib.AsyncExitStack() as stack:
            assert 20 < maximum < 64
            peers = [await stack.enter_async_context(peer_of(port)) for _ in range(200)]
            results = await asyncio.gather(*map(answered, peers))
            assert sum(results) == maximum
            for peer, was_answered in zip(peers, results, strict=True):
                if was_answered:
                    peer.close()
            assert await eventually_answered(port)

    asyncio.run(main())


async def eventually_answered(port):
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with peer_of(port) as peer, asyncio.timeout(2):
                    if await answered(peer):
                        return True


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_server_recovers_when_others_in_its_process_have_used_all_descriptors(loop, tmp_path):
    async def main(log):
        async with server_process(loop, 0, log) as (port, maximum, tell), contextlib.AsyncExitStack() as stack:
            await tell("hold")
            peers = [await stack.enter_async_context(peer_of(port)) for _ in range(60)]

            async def try_it(peer):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        return await answered(peer)
                return False

            results = await asyncio.gather(*map(try_it, peers))
            assert 0 < sum(results) < maximum
            inside = [peer for peer, was_answered in zip(peers, results, strict=True) if was_answered]
            for peer in peers:
                if peer not in inside:
                    peer.close()
            await tell("release")
            assert await eventually_answered(port)
            for peer in inside:
                assert await answered(peer)

    path = tmp_path / "log"
    with path.open("wb") as log:
        asyncio.run(main(log))
    assert path.stat().st_size < 1_000_000  # and it did not drown its log in complaints


def test_the_limit_on_connections_leaves_the_reserve_free(monkeypatch):
    for free, reserve, wanted, expected in [
        (1000, 32, 50_000, 968),
        (1000, 32, 968, 968),
        (1000, 32, 967, 967),
        (1000, 32, None, 968),
        (1000, 0, None, 1000),
        (20, 32, 50_000, 1),
        (None, 32, 50_000, 50_000),
        (None, 32, None, None),
    ]:
        monkeypatch.setattr("xmlsocket.net.listener.free_descriptors", lambda free=free: free)
        limits = xmlsocket.Limits(max_connections=wanted, descriptor_reserve=reserve)
        assert fit_into_descriptors(limits) == expected


def test_free_descriptors_are_counted_under_the_soft_limit():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = free_descriptors()
    assert 0 < before < soft
    with open("/dev/null"), open("/dev/null"):
        assert free_descriptors() == before - 2


def test_a_limit_that_was_lowered_is_logged_with_what_to_do(caplog, monkeypatch):
    async def echo(connection):
        pass

    async def main():
        async with xmlsocket.serve(echo, LOCALHOST, 0, max_connections=500):
            pass

    with caplog.at_level(logging.INFO, "xmlsocket.server"):
        monkeypatch.setattr("xmlsocket.net.listener.free_descriptors", lambda: 1000)
        asyncio.run(main())
        assert caplog.records == []
        monkeypatch.setattr("xmlsocket.net.listener.free_descriptors", lambda: 200)
        asyncio.run(main())
    assert [record.message for record in caplog.records] == [
        "no more than 136 connections: this process may open 200 more files and sockets, and 64 of them are kept free "
        "(descriptor_reserve); raise its limit with ulimit -n"
    ]
