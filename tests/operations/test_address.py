"""The operations address over real sockets: what it answers, and that nobody who asks disturbs another."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

import xmlsocket
from xmlsocket.errors import ConfigurationError, ListenError
from xmlsocket.limits import OperationsLimits
from xmlsocket.operations import Health, ProcessStatus, Sample, serve_operations

DEADLINE = 20.0


async def ask(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request if isinstance(request, bytes) else f"{request}\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(DEADLINE):
            return await reader.read()
    finally:
        writer.close()


async def get(port, path, method="GET"):
    answer = await ask(port, f"{method} {path} HTTP/1.1")
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body.decode()


class Still:
    """A status that a test decides on."""

    def __init__(self, health=None, samples=()):
        self.found = health or Health()
        self.given = list(samples)
        self.gathered = 0
        self.hold = asyncio.Event()
        self.hold.set()

    def start(self):
        pass

    def stop(self):
        pass

    async def samples(self):
        self.gathered += 1
        await self.hold.wait()
        return self.given

    async def health(self):
        return self.found


def with_address(check, status=None, **limits):
    async def main():
        shown = status() if status is not None else Still()
        async with serve_operations(shown, "127.0.0.1", 0, OperationsLimits(**limits)) as server:
            await check(server.port, shown)

    asyncio.run(main())


def test_a_process_that_answers_is_alive_and_ready_only_without_obstacles():
    async def check(port, shown):
        assert (await get(port, "/healthz"))[::2] == (200, "alive\n")
        assert (await get(port, "/readyz"))[::2] == (200, "ready\n")
        shown.found = Health(obstacles=("the disk is full", "it is stopping"))
        assert (await get(port, "/healthz"))[0] == 200
        assert (await get(port, "/readyz"))[::2] == (503, "not ready: the disk is full\nnot ready: it is stopping\n")
        shown.found = Health(faults=("no worker answers",))
        assert (await get(port, "/healthz"))[::2] == (503, "not alive: no worker answers\n")
        assert (await get(port, "/readyz"))[0] == 503

    with_address(check)


def test_there_is_nothing_else_and_nothing_but_get_and_head():
    async def check(port, shown):
        for path in ("/", "/metrics/", "/healthz/x", "/admin", "/metrics%20"):
            assert (await get(port, path))[0] == 404, path
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, head, _ = await get(port, "/metrics", method)
            assert status == 405
            assert "Allow: GET, HEAD" in head
        assert shown.gathered == 0

    with_address(check)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_head_is_the_answer_without_its_body(path):
    async def check(port, shown):
        _, head, body = await get(port, path)
        assert f"Content-Length: {len(body)}" in head
        status, head_alone, nothing = await get(port, path, "HEAD")
        assert (status, nothing) == (200, "")
        assert f"Content-Length: {len(body)}" in head_alone

    with_address(check, lambda: Still(samples=[Sample("xmlsocket_rooms", 3)]))


def test_a_load_balancer_may_ask_in_http_1_0_without_a_host():
    async def check(port, shown):
        assert (await ask(port, b"GET /readyz HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nready\n")
        assert (await ask(port, b"OPTIONS / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 405 ")

    with_address(check)


def test_a_query_does_not_matter_and_a_websocket_is_not_opened():
    async def check(port, shown):
        assert (await get(port, "/healthz?verbose=1"))[0] == 200
        upgrade = (
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        assert (await ask(port, upgrade)).startswith(b"HTTP/1.1 404 ")

    with_address(check)


def test_a_request_that_is_no_http_or_too_long_is_answered_and_closed():
    async def check(port, shown):
        assert (await ask(port, b"<policy-file-request/>\0\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 3000)).startswith(b"HTTP/1.1 431 ")
        assert (await ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 70_000)).startswith(b"HTTP/1.1 431 ")

    with_address(check, max_request_size=2000)


def test_a_request_in_single_bytes_is_answered():
    async def check(port, shown):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(reader.read(), DEADLINE)).endswith(b"\r\n\r\nalive\n")
        writer.close()

    with_address(check)


def test_who_asks_for_nothing_or_reads_nothing_is_let_go_after_request_timeout_and_disturbs_nobody():
    many = [Sample("xmlsocket_rooms", 1, {"worker": "x" * 1000 + str(number)}) for number in range(16_000)]

    async def main():
        shown = Still(samples=many)
        async with serve_operations(shown, "127.0.0.1", 0, OperationsLimits(request_timeout=1.0)) as server:
            silent = socket.create_connection(("127.0.0.1", server.port))
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", server.port))
            lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: len(server._tasks) == 2)
            for _ in range(3):
                assert (await get(server.port, "/healthz"))[0] == 200
            await until(lambda: not server._tasks)
            assert await asyncio.to_thread(read_to_the_end, silent) == b""
            got = await asyncio.to_thread(read_to_the_end, lazy)
            assert len(got) < 16_000_000  # not everything that was to be sent
            assert (await get(server.port, "/healthz"))[0] == 200

    asyncio.run(main())


def read_to_the_end(sock):
    pieces = []
    sock.settimeout(DEADLINE)
    with contextlib.closing(sock), contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65_536):
            pieces.append(data)
    return b"".join(pieces)


def test_scrapes_at_the_same_time_share_one_gathering():
    async def check(port, shown):
        shown.hold.clear()
        tasks = [asyncio.create_task(get(port, "/metrics")) for _ in range(10)]
        await until(lambda: shown.gathered)
        await get(port, "/healthz")  # by now all ten have asked, too
        shown.hold.set()
        answers = await asyncio.gather(*tasks)
        assert [status for status, _, _ in answers] == [200] * 10
        assert shown.gathered < 10

    with_address(check)


def test_more_than_max_requests_at_one_time_are_cut_off_and_those_before_are_answered():
    async def main():
        shown = Still()
        shown.hold.clear()
        async with serve_operations(shown, "127.0.0.1", 0, OperationsLimits(max_requests=3)) as server:
            tasks = [asyncio.create_task(get(server.port, "/metrics")) for _ in range(3)]
            await until(lambda: len(server._tasks) == 3)
            with contextlib.suppress(ConnectionResetError):
                assert await ask(server.port, "GET /healthz HTTP/1.1") == b""
            shown.hold.set()
            assert [status for status, _, _ in await asyncio.gather(*tasks)] == [200] * 3
            await until(lambda: len(server._tasks) < 3)
            assert (await get(server.port, "/healthz"))[0] == 200

    asyncio.run(main())


def test_an_answer_that_cannot_be_made_is_a_500_and_the_next_is_made(caplog):
    class Broken(Still):
        async def samples(self):
            if not self.gathered:
                self.gathered += 1
                raise RuntimeError("a counter is gone")
            return []

    async def check(port, shown):
        assert (await get(port, "/metrics"))[0] == 500
        assert "a counter is gone" in caplog.text
        assert (await get(port, "/metrics"))[0] == 200

    with_address(check, Broken)


def test_it_ends_at_once_whoever_is_asking():
    async def main():
        shown = Still()
        shown.hold.clear()
        async with serve_operations(shown, "127.0.0.1", 0) as server:
            idle = await asyncio.open_connection("127.0.0.1", server.port)
            asking = asyncio.create_task(ask(server.port, "GET /metrics HTTP/1.1"))
            await until(lambda: shown.gathered)
        outcome = (await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), DEADLINE))[0]
        assert outcome == b"" or isinstance(outcome, OSError)
        idle[1].close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)

    asyncio.run(main())


def test_a_place_where_it_cannot_listen_is_said():
    async def main():
        async with serve_operations(Still(), "127.0.0.1", 0) as server:
            with pytest.raises(ListenError, match=f"127.0.0.1:{server.port} is taken already"):
                async with serve_operations(Still(), "127.0.0.1", server.port):
                    pass
        with pytest.raises(ListenError, match="the host name is unknown"):
            async with serve_operations(Still(), "no-such-host.invalid", 0):
                pass
        with pytest.raises(ConfigurationError, match="65535"):
            async with serve_operations(Still(), "127.0.0.1", 65_536):
                pass

    asyncio.run(main())


def test_a_process_is_not_ready_before_it_listens_while_it_is_full_and_when_it_stops():
    class Silent(xmlsocket.Handler):
        pass

    async def main():
        status = ProcessStatus()
        async with serve_operations(status, "127.0.0.1", 0) as operations:
            assert "it is starting" in (await get(operations.port, "/readyz"))[2]
            async with xmlsocket.serve(Silent(), "127.0.0.1", 0, max_connections=2) as server:
                status.server = server
                assert (await get(operations.port, "/readyz"))[0] == 200
                first = await xmlsocket.connect("127.0.0.1", server.port)
                second = await xmlsocket.connect("127.0.0.1", server.port)
                await second.send("x")
                await until(lambda: server.traffic.messages_received)
                status_code, _, body = await get(operations.port, "/readyz")
                assert (status_code, body) == (
                    503,
                    "not ready: max_connections (2) is reached, and further clients are turned away\n",
                )
                assert (await get(operations.port, "/healthz"))[0] == 200
                await first.close()
                await until(lambda: len(server.connections) + len(server._listener.openings) < 2)
                assert (await get(operations.port, "/readyz"))[0] == 200
                status.is_draining = lambda: True
                assert (await get(operations.port, "/readyz"))[::2] == (503, "not ready: it is stopping\n")
                await second.close()
            status.is_draining = lambda: False
            assert "it accepts no connections any more" in (await get(operations.port, "/readyz"))[2]

    asyncio.run(main())


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # counts that nothing tells of
            await asyncio.sleep(0.01)
