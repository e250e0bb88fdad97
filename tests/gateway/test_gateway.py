"""WebSocket and TCP in front, a server that knows nothing of it behind: what goes through, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import socket
import struct
from pathlib import Path

import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.upstreams import browser, close_of, cut, frames, free_port, gateway, messages, upstream
from tests.net.peers import DEADLINE, peer_of, until

from xmlsocket.errors import CloseReason, ConfigurationError
from xmlsocket.gateway import GatewayServer, Targets, parse_target
from xmlsocket.limits import GatewayLimits
from xmlsocket.net.half_close import find_departure

SPEAKS_FIRST = {"speaks_first": True}
SOON = {"detection_timeout": 0.02}
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FRAME = b"\x82\xfe\x04\x00\0\0\0\0" + b"x" * 1023 + b"\0"
WS = Path(__file__).parents[1] / "npm" / "node_modules" / "ws"

# Messages


def test_each_message_comes_back_as_one_binary_frame(runner):
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server, browser(server) as client:
            sent = messages("one", "", "é€😀ß", "two")
            await client.send(b"".join(sent))
            assert await frames(client, 4) == sent
            assert bytes(behind.received[0]) == b"".join(sent)

    runner(main())


@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20), min_size=1
    ),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
@settings(max_examples=25)
def test_messages_are_whole_however_the_server_and_the_client_cut_them(texts, sizes):
    data = b"".join(messages(*texts))

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(data))
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in cut(data, sizes):
            writer.write(piece)
            await asyncio.sleep(0)
        await reader.read(1)

    async def main() -> None:
        async with upstream(dribble) as behind, gateway(behind.target) as server, browser(server) as client:
            for piece in cut(data, sizes):
                await client.send(piece)
            assert await frames(client, len(texts)) == messages(*texts)

    asyncio.run(main())


def test_one_mebibyte_is_one_frame(runner):
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server, browser(server) as client:
            message = os.urandom(1_048_576).replace(b"\0", b"x") + b"\0"
            await client.send(message)
            assert await frames(client, 1) == [message]

    runner(main())


def test_a_burst_of_ten_thousand_arrives_once_and_in_order(runner):
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server, browser(server) as client:
            sent = messages(*(f"<m n='{number}'/>" for number in range(10_000)))
            sending = asyncio.create_task(client.send(b"".join(sent)))
            assert await frames(client, 10_000) == sent
            await sending

    runner(main())


def test_a_text_frame_is_one_message_and_a_text_client_gets_text():
    async def main() -> None:
        async with (
            upstream() as behind,
            gateway(behind.target) as server,
            browser(server, subprotocols=["xmlsocket.text"]) as client,
        ):
            await client.send("hello")
            assert await frames(client, 1) == ["hello"]
            assert bytes(behind.received[0]) == b"hello\0"

    asyncio.run(main())


def test_clients_do_not_get_each_others_messages():
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server:

            async def talk(name: str) -> None:
                async with browser(server) as client:
                    for number in range(20):
                        await client.send(f"{name} {number}\0".encode())
                        assert await frames(client, 1) == messages(f"{name} {number}")

            await asyncio.gather(*(talk(f"client {number}") for number in range(20)))
            assert len(behind.received) == 20

    asyncio.run(main())


def test_a_message_over_the_limit_from_the_server_ends_the_client_and_says_that_the_server_was_lost():
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ok\0" + b"x" * 2_000)
        await reader.read()

    async def main() -> None:
        async with (
            upstream(flood) as behind,
            gateway(behind.target, max_message_size=1_000) as server,
            browser(server) as client,
        ):
            received, code, _ = await close_of(client)
            assert (received, code) == (messages("ok"), 1014)

    asyncio.run(main())


@pytest.mark.skipif(shutil.which("node") is None or not WS.exists(), reason="needs node and the npm package ws")
def test_the_ws_package_of_node_gets_whole_messages():
    program = """
    const { WebSocket } = require(process.argv[1]);
    const socket = new WebSocket(process.argv[2]);
    const frames = [];
    socket.on("open", () => { socket.send(Buffer.from("a\\0b")); socket.send(Buffer.from("c\\0")); });
    socket.on("message", (data, isBinary) => {
      frames.push([isBinary, data.toString()]);
      if (frames.length === 2) { console.log(JSON.stringify(frames)); socket.close(); }
    });
    """

    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server:
            process = await asyncio.create_subprocess_exec(
                "node", "-e", program, str(WS), f"ws://127.0.0.1:{server.port}/", stdout=asyncio.subprocess.PIPE
            )
            output, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
            assert output == b'[[true,"a\\u0000"],[true,"bc\\u0000"]]\n'

    asyncio.run(main())


# Targets


def test_the_path_chooses_the_target_and_nothing_else_does(caplog):
    def named(name: str):
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name.encode() + b"\0")
            await reader.read()

        return greet

    async def main() -> None:
        async with (
            upstream(named("first")) as first,
            upstream(named("second")) as second,
            gateway(first.target, f"game={second.target}") as server,
        ):
            for path, answer in (
                (f"/{first.target}", "first"),
                ("/game", "second"),
                ("/game?a=b", "second"),
                (f"/{second.target}", "second"),
                (f"/{first.target.replace(':', '%3A')}", "first"),
            ):
                async with browser(server, path) as client:
                    assert await frames(client, 1) == messages(answer), path
            for path in ("/", "/other", f"/localhost:{first.port}", "/127.0.0.1:22", "/game/", "//game", "/GAME"):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    async with browser(server, path):
                        pass
                assert refused.value.response.status_code == 404
                assert f"no target has the path '{path}'" in caplog.text
                assert str(first.port).encode() not in refused.value.response.body

    asyncio.run(main())


def test_the_only_target_and_the_default_are_those_of_the_root_path_and_of_plain_tcp():
    async def main() -> None:
        async with upstream() as first, upstream() as second:
            for targets, default in (
                ((first.target,), None),
                ((f"a={second.target}", f"b={first.target}"), "b"),
                ((f"a={second.target}", f"b={first.target}"), first.target),
            ):
                async with gateway(*targets, default=default) as server:
                    async with browser(server) as client:
                        await client.send(b"x\0")
                        assert await frames(client, 1) == messages("x")
                    async with peer_of(server) as player:
                        await player.send(b"y\0")
                        assert await player.receive(2) == b"y\0"
            assert len(first.received) == 6
            assert second.received == []

    asyncio.run(main())


def test_without_a_default_plain_tcp_is_closed_and_nobody_is_connected_to():
    async def main() -> None:
        async with (
            upstream() as first,
            upstream() as second,
            gateway(first.target, second.target, close_timeout=0.2) as server,
            peer_of(server) as player,
        ):
            await player.send(b"x\0")
            assert await player.read_all() == b""
            await until(lambda: server.closed_by_reason[CloseReason.PROTOCOL_REFUSED])
            assert first.received == second.received == []

    asyncio.run(main())


def test_a_browser_that_is_silent_at_first_is_led_to_what_it_asks_for_and_nowhere_before(runner):
    async def main() -> None:
        async with (
            upstream() as first,
            upstream() as second,
            gateway(f"a={first.target}", f"b={second.target}", default="a") as server,
        ):
            sock = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
            await asyncio.sleep(1.0)  # longer than any other server would wait before it meets a silent client
            async with browser(server, "/b", sock=sock) as client:
                await client.send(b"x\0")
                assert await frames(client, 1) == messages("x")
            assert first.received == []
            assert [bytes(data) for data in second.received] == [b"x\0"]

    runner(main())


def test_whoever_never_speaks_is_led_nowhere_and_sent_away():
    async def main() -> None:
        async with (
            upstream() as behind,
            gateway(behind.target, first_byte_timeout=0.1) as server,
            peer_of(server) as player,
        ):
            assert await player.read_all() == b""
            assert server.closed_by_reason[CloseReason.FIRST_BYTE_TIMEOUT] == 1
            assert behind.received == []

    asyncio.run(main())


def test_where_servers_speak_first_a_late_browser_still_gets_to_the_target_that_it_asks_for():
    async def main() -> None:
        async with (
            upstream() as first,
            upstream() as second,
            gateway(f"a={first.target}", f"b={second.target}", default="a", how=SPEAKS_FIRST, **SOON) as server,
        ):
            sock = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
            await until(lambda: first.writers)  # the gateway takes it for a player that waits for a greeting
            async with browser(server, "/b", sock=sock) as client:
                await client.send(b"x\0")
                assert await frames(client, 1) == messages("x")
            assert [bytes(data) for data in first.received] == [b""]
            assert [bytes(data) for data in second.received] == [b"x\0"]

    asyncio.run(main())


def test_a_time_after_which_silent_clients_are_led_somewhere_needs_servers_that_speak_first():
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="speak first"):
            async with gateway("localhost:1", **SOON):
                pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("targets", "default", "complaint"),
    [
        ((), None, "at least one target"),
        (("localhost",), None, "HOST:PORT"),
        (("localhost:0",), None, "port"),
        (("localhost:99999",), None, "port"),
        (("a b=localhost:1",), None, "letters"),
        (("::1:9339",), None, "brackets"),
        (("http://x:80/",), None, "HOST:PORT"),
        (("a=x:1", "a=y:1"), None, "/a"),
        (("a=x:1", "b=y:1"), "c", "none of the targets"),
    ],
)
def test_targets_that_cannot_work_are_refused_with_a_sentence(targets, default, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        Targets([parse_target(text) for text in targets], default)


# Plain TCP


def test_players_without_a_browser_use_the_same_port_and_get_their_policy():
    policy = '<cross-domain-policy><allow-access-from domain="*" to-ports="*"/></cross-domain-policy>'

    async def main() -> None:
        async with upstream() as behind, gateway(behind.target, policy=policy) as server:
            async with peer_of(server) as player:
                await player.send(b"<policy-file-request/>\0")
                assert await player.read_all() == policy.encode() + b"\0"
            assert behind.received == []  # the old server was not bothered
            async with peer_of(server) as player:
                await player.send(b"<hello/>\0")
                assert await player.receive(9) == b"<hello/>\0"

    asyncio.run(main())


def test_a_server_that_speaks_first_is_heard_by_silent_players():
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome\0")
        await reader.read()

    async def main() -> None:
        async with (
            upstream(greet) as behind,
            gateway(behind.target, how=SPEAKS_FIRST, **SOON) as server,
            peer_of(server) as player,
        ):
            assert await player.receive(8) == b"welcome\0"

    asyncio.run(main())


def test_a_half_closed_player_gets_the_answers_to_what_it_sent(runner):
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while piece := await reader.read(1000):
            data += piece
        writer.write(b"got " + data)

    async def main() -> None:
        async with upstream(answer_at_the_end) as behind, gateway(behind.target) as server, peer_of(server) as player:
            await player.send(b"a\0b\0")
            player.half_close()
            assert await player.read_all() == b"got a\0b\0"
            await until(lambda: not server.upstream_connections)

    runner(main())


def test_a_server_that_half_closes_still_gets_what_the_player_sends(runner):
    async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye\0")
        writer.write_eof()
        while await reader.read(1000):
            pass

    async def main() -> None:
        async with upstream(end_first) as behind, gateway(behind.target) as server, peer_of(server) as player:
            await player.send(b"1\0")
            assert await player.read_all() == b"bye\0"
            await player.send(b"2\0")
            player.half_close()
            await until(lambda: behind.is_ended[0])
            assert bytes(behind.received[0]) == b"1\x002\0"
            await until(lambda: not server.server.connections)

    runner(main())


def test_a_server_that_never_notices_that_a_player_left_is_not_waited_for_for_ever():
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        await asyncio.sleep(3600)

    async def main() -> None:
        how = {"limits": GatewayLimits(half_close_timeout=0.05)}
        async with upstream(hang) as behind, gateway(behind.target, how=how, close_timeout=0.2) as server:
            async with peer_of(server) as player:
                await player.send(b"x\0")
                player.half_close()
                assert await player.read_all() == b""
            await until(lambda: not server.upstream_connections and not server.server.connections)

    asyncio.run(main())


# How it ends


def test_when_the_server_closes_the_client_gets_everything_and_then_1000(runner):
    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"".join(messages(*map(str, range(5_000)))))

    async def main() -> None:
        async with upstream(answer_and_close) as behind, gateway(behind.target) as server, browser(server) as client:
            await client.send(b"go\0")
            received, code, _ = await close_of(client)
            assert received == messages(*map(str, range(5_000)))
            assert code == 1000
            await until(lambda: server.closed_by_reason[CloseReason.UPSTREAM_CLOSED] == 1)

    runner(main())


def test_a_refused_connection_is_told_by_the_close_code_and_in_the_log(runner, caplog):
    async def main() -> None:
        port = await free_port()
        async with gateway(f"game=127.0.0.1:{port}") as server:
            async with browser(server) as client:
                received, code, reason = await close_of(client)
                assert (received, code, reason) == ([], 1014, CloseReason.UPSTREAM_REFUSED.value)
            await until(lambda: server.closed_by_reason[CloseReason.UPSTREAM_REFUSED] == 1)
            assert f"no connection to game=127.0.0.1:{port}" in caplog.text
            assert "nothing listens there" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        runner(main())


def test_an_unknown_host_is_a_refused_connection():
    async def main() -> None:
        async with gateway("no-such-host.invalid:1") as server, browser(server) as client:
            assert (await close_of(client))[1:] == (1014, CloseReason.UPSTREAM_REFUSED.value)

    asyncio.run(main())


def test_a_lost_connection_is_told_by_the_close_code_and_in_the_log(runner, caplog):
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server, browser(server) as client:
            await client.send(b"x\0")
            assert await frames(client, 1) == messages("x")
            behind.reset()
            assert await close_of(client) == ([], 1014, CloseReason.UPSTREAM_LOST.value)
            await until(lambda: server.closed_by_reason[CloseReason.UPSTREAM_LOST] == 1)
            assert f"lost the connection to {behind.target}" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        runner(main())


def test_a_server_that_dies_within_a_message_is_lost_and_what_was_whole_is_delivered(caplog):
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"whole\0ha")

    async def main() -> None:
        async with upstream(die) as behind, gateway(behind.target) as server, browser(server) as client:
            assert await close_of(client) == (messages("whole"), 1014, CloseReason.UPSTREAM_LOST.value)
            assert "first 2 bytes are discarded" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        asyncio.run(main())


def test_when_the_client_leaves_the_server_gets_everything_and_then_the_end(runner):
    async def main() -> None:
        async with upstream() as behind, gateway(behind.target) as server:
            sent = b"".join(messages(*map(str, range(20_000))))
            async with browser(server) as client:
                await client.send(sent)
            await until(lambda: behind.is_ended and behind.is_ended[0])
            assert bytes(behind.received[0]) == sent
            await until(lambda: not server.upstream_connections)

    runner(main())


def test_a_client_that_leaves_before_the_server_has_answered_the_phone_still_gets_its_messages_through():
    async def main() -> None:
        # The backlog of a listening socket that accepts nobody: connected, as far as the client can tell.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            async with gateway(f"127.0.0.1:{port}") as server:
                async with peer_of(server) as player:
                    await player.send(b"last words\0")
                await until(lambda: server.upstream_connections)
                accepted, _ = await asyncio.to_thread(listener.accept)
                with accepted:
                    accepted.settimeout(DEADLINE)
                    assert await asyncio.to_thread(accepted.recv, 100) == b"last words\0"
                    assert await asyncio.to_thread(accepted.recv, 100) == b""

    asyncio.run(main())


def test_a_server_that_accepts_and_says_nothing_leaves_nothing_behind_when_the_client_goes():
    async def main() -> None:
        async with (
            upstream(lambda reader, writer: reader.read()) as behind,
            gateway(behind.target, close_timeout=0.2) as server,
        ):
            async with browser(server) as client:
                await client.send(b"anybody?\0")
                await until(lambda: server.upstream_connections)
            await until(lambda: not server.upstream_connections and not server.server.connections)

    asyncio.run(main())


def test_stopping_gives_the_server_what_was_received_and_tells_browsers_1001(runner):
    async def main() -> None:
        async with upstream() as behind:
            async with gateway(behind.target) as server:
                client = await websockets.connect(f"ws://127.0.0.1:{server.port}/", compression=None)
                await client.send(b"x\0")
                assert await client.recv() == b"x\0"
                closing = asyncio.create_task(close_of(client))
            assert (await closing)[1] == 1001
            await until(lambda: behind.is_ended[0])

    runner(main())


# Slow sides


def test_a_client_that_does_not_read_stops_the_server_and_loses_nothing(runner):
    total = 48 * 1_048_576
    piece = b"x" * 1023 + b"\0"
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.read(10)
        while written < total:
            writer.write(piece * 64)
            written += 65_536
            await writer.drain()

    async def main() -> None:
        async with (
            upstream(pour) as behind,
            gateway(behind.target) as server,
            peer_of(server, receive_buffer=8192) as client,
        ):
            await client.send(b"go\0")
            await until(lambda: written)
            before = -1
            while before != written:  # until the server is stopped
                before = written
                await asyncio.sleep(0.1)
            assert written < total
            [connection] = server.server.connections
            assert connection._transport.get_write_buffer_size() < 2_097_152
            assert await client.read_all() == piece * (total // 1024)

    runner(main())


def test_a_server_that_does_not_read_stops_the_client_and_loses_nothing(runner):
    total = 32 * 1_048_576
    may_read = asyncio.Event

    async def main() -> None:
        go = may_read()

        async def hesitate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await go.wait()
            count = 0
            while count < total:
                count += len(await reader.read(65_536))
            writer.write(f"{count}\0".encode())

        async with upstream(hesitate) as behind, gateway(behind.target) as server, peer_of(server) as client:
            sending = asyncio.create_task(client.send((b"y" * 1023 + b"\0") * (total // 1024)))
            await until(lambda: server.server.connections and server.server.connections[0]._is_reading_paused)
            await until(lambda: server.upstream_connections)
            seen = -1
            while seen != server.upstream_traffic.bytes_sent:
                seen = server.upstream_traffic.bytes_sent
                await asyncio.sleep(0.1)
            assert seen < total
            assert not sending.done()
            go.set()
            await sending
            assert await client.receive(9) == f"{total}\0".encode()

    runner(main())


@pytest.mark.parametrize("kind", ["tcp", "websocket"])
@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_leaves_while_the_server_does_not_read_is_not_kept_for_ever(runner, kind, is_reset):
    async def main() -> None:
        how = {"limits": GatewayLimits(half_close_timeout=0.2)}
        with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts by its backlog, and reads nothing
            target = f"127.0.0.1:{listener.getsockname()[1]}"
            async with gateway(target, how=how, close_timeout=0.2) as server:
                client = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
                if kind == "websocket":
                    client.sendall(UPGRADE)
                    assert b"101" in await asyncio.to_thread(client.recv, 4096)
                client.setblocking(False)
                await fill(client, FRAME if kind == "websocket" else b"x" * 1023 + b"\0", server)
                if is_reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                await until(lambda: not server.server.connections and not server.upstream_connections)

    runner(main())


def test_a_client_that_left_while_the_server_hesitated_still_gets_everything_through(runner):
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with gateway(f"127.0.0.1:{listener.getsockname()[1]}") as server:
                client = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
                client.setblocking(False)
                sent = await fill(client, b"x" * 1023 + b"\0", server)
                client.close()
                [connection] = server.server.connections
                await until(lambda: find_departure(connection) is CloseReason.PEER_CLOSED)
                await asyncio.sleep(1.2)  # the gateway has looked
                accepted, _ = await asyncio.to_thread(listener.accept)
                with accepted:
                    accepted.settimeout(DEADLINE)
                    count = 0
                    while data := await asyncio.to_thread(accepted.recv, 1 << 20):
                        count += len(data)
                assert count == sent
                await until(lambda: not server.server.connections)

    runner(main())


async def fill(sock: socket.socket, piece: bytes, server: GatewayServer) -> int:
    """Send until the gateway reads no more; give how much was sent. The rest of it waits in the system's buffers."""
    sent = 0
    async with asyncio.timeout(DEADLINE):
        while not (server.server.connections and server.server.connections[0]._is_reading_paused):
            await asyncio.get_running_loop().sock_sendall(sock, piece * 32)
            sent += len(piece) * 32
            await asyncio.sleep(0.005)
    return sent


# The PROXY protocol


@pytest.mark.parametrize("version", [1, 2])
def test_the_server_is_told_whom_a_connection_is_for(version):
    async def main() -> None:
        how = {"proxy_protocol": version}
        async with upstream() as behind, gateway(behind.target, how=how) as server, peer_of(server) as client:
            source = client.sock.getsockname()
            await client.send(b"x\0")
            await until(lambda: behind.received and behind.received[0].endswith(b"x\0"))
            header = bytes(behind.received[0][:-2])
            if version == 1:
                assert header == f"PROXY TCP4 127.0.0.1 127.0.0.1 {source[1]} {server.port}\r\n".encode()
            else:
                assert header[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                assert header[16:] == b"\x7f\0\0\1\x7f\0\0\1" + source[1].to_bytes(2, "big") + server.port.to_bytes(
                    2, "big"
                )

    asyncio.run(main())


def test_the_address_that_a_trusted_proxy_tells_is_passed_on():
    async def main() -> None:
        async with (
            upstream() as behind,
            gateway(behind.target, how={"proxy_protocol": 1}, trusted_proxies=["127.0.0.1"]) as server,
            browser(server, additional_headers={"X-Forwarded-For": "203.0.113.7"}) as client,
        ):
            await client.send(b"x\0")
            await until(lambda: behind.received and behind.received[0].endswith(b"x\0"))
            assert bytes(behind.received[0]).startswith(b"PROXY TCP4 203.0.113.7 127.0.0.1 0 ")

    asyncio.run(main())


# Streams


def test_a_stream_passes_every_byte_and_adds_none(runner):
    async def main() -> None:
        data = random.Random(4).randbytes(3_000_000)
        async with upstream() as behind, gateway(behind.target, how={"mode": "stream"}) as server:
            async with browser(server) as client:
                sending = asyncio.create_task(client.send(data))
                received = b""
                while len(received) < len(data):
                    received += (await frames(client, 1))[0]
                await sending
                assert received == data
            async with peer_of(server) as player:
                await player.send(b"\1\2" + data[:100_000])
                assert await player.receive(100_002) == b"\1\2" + data[:100_000]
            assert bytes(behind.received[0]) == data

    runner(main())


def test_a_stream_does_not_wait_for_a_nul():
    async def main() -> None:
        async with (
            upstream() as behind,
            gateway(behind.target, how={"mode": "stream"}) as server,
            browser(server) as client,
        ):
            for piece in (b"a", b"\0\0", b"bc"):
                await client.send(piece)
                assert await frames(client, 1) == [piece]

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["messages", "stream"])
def test_a_compressed_client_gets_the_same(mode):
    async def main() -> None:
        async with (
            upstream() as behind,
            gateway(behind.target, how={"mode": mode}, compression=True) as server,
            browser(server, compression="deflate") as client,
        ):
            message = b"abc" * 10_000 + b"\0"
            await client.send(message)
            received = b""
            while len(received) < len(message):
                received += (await frames(client, 1))[0]
            assert received == message
            assert bytes(behind.received[0]) == message

    asyncio.run(main())
