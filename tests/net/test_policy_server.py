"""The policy server over real sockets: what it answers, how it ends, and what it does to those who do not ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys

import pytest
from tests.net.peers import DEADLINE, peer_of, until

import xmlsocket
from xmlsocket.limits import PolicyLimits
from xmlsocket.net.policy_answer import PolicyAnswer, load_policy
from xmlsocket.net.policy_client import PolicyClient
from xmlsocket.net.policy_server import PolicyStatistics, _Asker, serve_policy
from xmlsocket.policy import Grant, MetaPolicy, Policy, Requester, Rule
from xmlsocket.wire import POLICY_REQUESTS

LOCALHOST = "127.0.0.1"
POLICY = Policy((Grant("games.example.com", "9339"),), MetaPolicy.MASTER_ONLY)
ANSWER = POLICY.to_answer()
OTHER = Policy((Grant("www.example.org", "80"),), MetaPolicy.MASTER_ONLY)
REQUEST = POLICY_REQUESTS[0]
TYPED = REQUEST[:-1]


def serving(policy=POLICY, **options):
    limits = {name: options.pop(name) for name in list(options) if name in PolicyLimits.__slots__}
    return serve_policy(policy, LOCALHOST, 0, served_from=843, limits=PolicyLimits(**limits), **options)


async def ask(server):
    async with peer_of(server) as peer:
        await peer.send(REQUEST)
        return await peer.read_all()


# What is answered


@pytest.mark.parametrize("request_", POLICY_REQUESTS)
def test_the_request_is_answered_at_every_segmentation(runner, request_):
    async def main():
        async with serving() as server:
            for place in range(1, len(request_)):
                async with peer_of(server) as peer:
                    await peer.send(request_[:place])
                    await asyncio.sleep(0)
                    await peer.send(request_[place:])
                    assert await peer.read_all() == ANSWER
            async with peer_of(server) as peer:
                for byte in request_:
                    await peer.send(bytes([byte]))
                    await asyncio.sleep(0)
                assert await peer.read_all() == ANSWER
            assert server.statistics.served == len(request_)

    runner(main())


def test_an_answer_takes_one_read_and_one_write(runner, monkeypatch):
    reads, writes = [], []

    def connection_made(asker, transport):
        made(asker, Counting(transport))

    def data_received(asker, data):
        reads.append(data)
        received(asker, data)

    class Counting:
        def __init__(self, transport):
            self._transport = transport

        def __getattr__(self, name):
            return getattr(self._transport, name)

        def write(self, data):
            writes.append(data)
            self._transport.write(data)

    made, received = _Asker.connection_made, _Asker.data_received
    monkeypatch.setattr(_Asker, "connection_made", connection_made)
    monkeypatch.setattr(_Asker, "data_received", data_received)

    async def main():
        async with serving() as server:
            for _ in range(3):
                assert await ask(server) == ANSWER

    runner(main())
    assert (reads, writes) == ([REQUEST] * 3, [ANSWER] * 3)


@pytest.mark.parametrize("more", [b"\0", REQUEST, b"x" * 100_000])
def test_the_answer_is_complete_though_the_client_sent_more_than_its_request(runner, more):
    answer = b"<cross-domain-policy>" + b" " * 1_000_000 + b"</cross-domain-policy>\0"

    async def main():
        async with serving(PolicyAnswer(answer)) as server, peer_of(server) as peer:
            await peer.send(REQUEST + more)
            await peer.send(more)
            assert await peer.read_all() == answer

    runner(main())


@pytest.mark.parametrize("typed", [TYPED, TYPED + b"\r\n", TYPED + b"\n", POLICY_REQUESTS[1][:-1]])
def test_a_request_typed_by_hand_is_answered_when_the_direction_or_the_time_ends(runner, typed):
    async def main():
        async with serving() as server, peer_of(server) as peer:
            await peer.send(typed)
            peer.half_close()
            assert await peer.read_all() == ANSWER
        async with serving(request_timeout=0.1) as server, peer_of(server) as peer:
            await peer.send(typed)
            assert await peer.read_all() == ANSWER
            assert server.statistics.served == 1

    runner(main())


@pytest.mark.parametrize(
    "bogus",
    [
        b"\0",
        b"<policy-file-request>\0",
        b"<policy-file-request/> \0",
        b" <policy-file-request/>\0",
        b"<POLICY-FILE-REQUEST/>\0",
        b"<policy-file-request  />\0",
        b"<cross-domain-request/>\0",
        TYPED + b"x" * 64,
        b"x" * 64,
        b"GET /crossdomain.xml HTTP/1.1\r\nHost: chat.example.com:843\r\nAccept: */*\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
    ],
)
def test_anything_else_is_closed_without_an_answer_and_counted(runner, bogus):
    async def main():
        async with serving() as server:
            async with peer_of(server) as peer:
                await peer.send(bogus)
                with contextlib.suppress(ConnectionResetError):
                    assert await peer.read_all() == b""
            assert await ask(server) == ANSWER
            await until(lambda: not server.statistics.active)
            assert server.statistics == PolicyStatistics(served=1, bogus=1, timeouts=0, left=0, refused=0, active=0)

    runner(main())


def test_what_is_no_request_is_logged_escaped_and_cut(caplog):
    async def main():
        async with serving() as server, peer_of(server) as peer:
            await peer.send(b"\x1b[2J\n\xe2\x80\xae" + b"y" * 500 + b"\0")
            await peer.wait_for_any_end()

    with caplog.at_level(logging.INFO, "xmlsocket.policy"):
        asyncio.run(main())
    (line,) = [message for message in caplog.messages if "sent no policy request" in message]
    assert line.isprintable()
    assert line.isascii() or line.endswith('…"')
    assert r"\x1b[2J\n\xe2\x80\xae" in line
    assert len(line) < 150


def test_who_connects_and_leaves_is_no_bogus_request(runner):
    async def main():
        async with serving() as server:
            async with peer_of(server):
                await until(lambda: server.statistics.active)
            async with peer_of(server) as peer:
                await until(lambda: server.statistics.active)
                peer.reset()
            await until(lambda: server.statistics.left == 2)
            assert server.statistics == PolicyStatistics(0, 0, 0, left=2, refused=0, active=0)

    runner(main())


# How long it waits


@pytest.mark.parametrize(("start", "counted"), [(b"", "timeouts"), (TYPED[:9], "timeouts"), (b"hello", "bogus")])
def test_a_request_has_one_deadline_from_accepting_on_however_its_bytes_trickle(runner, start, counted):
    async def main():
        async with serving(request_timeout=0.2) as server, peer_of(server) as peer:
            await peer.send(start)
            await peer.wait_for_any_end()
            assert getattr(server.statistics, counted) == 1
            assert server.statistics.served == 0

    runner(main())


def test_a_byte_now_and_then_wins_no_time():
    async def main():
        async with serving(request_timeout=0.3) as server, peer_of(server) as peer:
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(DEADLINE):
                    for byte in TYPED * 1000:
                        await peer.send(bytes([byte]))
                        if not server.statistics.active and server.statistics.timeouts + server.statistics.bogus:
                            break
                        await asyncio.sleep(0.1)
            assert server.statistics.timeouts == 1

    asyncio.run(main())


def test_a_client_that_does_not_close_after_its_answer_is_closed(runner):
    async def main():
        async with serving(drain_timeout=0.1) as server, peer_of(server) as peer:
            await peer.send(REQUEST)
            assert await peer.receive(len(ANSWER)) == ANSWER
            await until(lambda: not server.statistics.active)

    runner(main())


def test_closing_the_server_ends_the_silent_and_lets_the_answered_read(runner):
    answer = b"<cross-domain-policy>" + b" " * 5_000_000 + b"</cross-domain-policy>\0"

    async def main():
        async with serving(PolicyAnswer(answer)) as server, peer_of(server) as silent, peer_of(server) as asking:
            port = server.port
            await asking.send(REQUEST)
            await until(lambda: server.statistics.served)
            closing = asyncio.create_task(server.close())
            assert await asking.read_all() == answer
            asking.close()
            await silent.wait_for_any_end()
            await closing
            with pytest.raises(ConnectionRefusedError):
                await ask(port)

    runner(main())


def test_serving_for_ever_ends_with_the_server(runner):
    async def main():
        server = await serving()
        forever = asyncio.create_task(server.serve_forever())
        assert await ask(server) == ANSWER
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert server.sockets == []

    runner(main())


# Many


def open_descriptors_for(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard < count:
            pytest.skip(f"needs {count} descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def test_a_thousand_silent_clients_do_not_delay_an_honest_one(runner):
    open_descriptors_for(2400)

    async def main():
        async with serving(request_timeout=60.0) as server, contextlib.AsyncExitStack() as stack:
            silent = [await stack.enter_async_context(peer_of(server)) for _ in range(1000)]
            for peer in silent[::2]:
                await peer.send(TYPED[:7])
            await until(lambda: server.statistics.active == 1000)
            # Counted, not timed: while an honest one is served, the server is woken for its request and no other.
            woken = []
            received = _Asker.data_received
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    _Asker, "data_received", lambda asker, data: (woken.append(data), received(asker, data))[1]
                )
                for _ in range(10):
                    assert await ask(server) == ANSWER
            assert woken == [REQUEST] * 10
            await until(lambda: server.statistics.active == 1000)
            assert server.statistics == PolicyStatistics(10, 0, 0, 0, 0, active=1000)

    runner(main())


def test_when_it_is_full_the_longest_silent_makes_room_and_honest_ones_are_served(runner, caplog):
    async def main():
        async with serving(max_askers=3, request_timeout=60.0) as server, contextlib.AsyncExitStack() as stack:
            silent = []
            for count in range(1, 4):
                silent.append(await stack.enter_async_context(peer_of(server)))
                await until(lambda count=count: server.statistics.active == count)
            for turn in range(2):
                assert await ask(server) == ANSWER
                await until(lambda: server.statistics.active == 2)
                await silent[turn].wait_for_any_end()
                silent.append(await stack.enter_async_context(peer_of(server)))
                await until(lambda: server.statistics.active == 3)
            assert (server.statistics.served, server.statistics.refused) == (2, 2)

    runner(main())
    assert caplog.messages == ["refused 127.0.0.1: max_askers was reached", "refused 1 more within a minute"]


def test_where_nobody_is_silent_the_next_is_refused(runner):
    async def main():
        async with serving(max_askers=1, drain_timeout=60.0) as server, peer_of(server) as first:
            await first.send(REQUEST)
            assert await first.receive(len(ANSWER)) == ANSWER
            async with peer_of(server) as second:
                await second.wait_for_any_end()
            assert server.statistics.refused == 1
            first.close()
            await until(lambda: not server.statistics.active)
            assert await ask(server) == ANSWER

    runner(main())


def test_one_address_can_be_kept_from_taking_all(runner):
    async def main():
        async with serving(max_askers_per_address=2, request_timeout=60.0) as server:
            async with peer_of(server) as first, peer_of(server):
                await until(lambda: server.statistics.active == 2)
                async with peer_of(server) as third:
                    await third.wait_for_any_end()
                assert server.statistics.refused == 1
                first.close()
                await until(lambda: server.statistics.active == 1)
                assert await ask(server) == ANSWER
            await until(lambda: not server.statistics.active)
            assert not server._by_address

    runner(main())


FEW_DESCRIPTORS = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from xmlsocket.net.policy_server import serve_policy
async def main():
    async with serve_policy(sys.argv[1], "127.0.0.1", 0) as server:
        print(server.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_without_descriptors_goes_on_serving(loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop")

    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FEW_DESCRIPTORS, POLICY.render(), loop, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(2 * DEADLINE):
            port = int(await process.stdout.readline())
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(150):
                    await stack.enter_async_context(peer_of(port))
                # Others have to make room for it, and the event loop may have to pause; in the end it is served.
                while True:
                    with contextlib.suppress(ConnectionError):
                        if await ask(port) == ANSWER:
                            break
            assert await ask(port) == ANSWER
            process.stdin.close()
            assert await process.wait() == 0

    asyncio.run(main())


# What it is given


def test_the_policy_can_be_a_file_text_bytes_or_made_by_a_program(tmp_path):
    file = tmp_path / "policy.xml"
    file.write_bytes(ANSWER.rstrip(b"\0"))

    async def main():
        for policy in (POLICY, POLICY.render(), ANSWER, file, str(file), load_policy(POLICY)):
            async with serving(policy) as server:
                assert await ask(server) == ANSWER

    asyncio.run(main())


@pytest.mark.parametrize(
    ("policy", "rules"),
    [
        (
            "<cross-domain-policy><allow-access-from domain='a.example.com' ports='80'/></cross-domain-policy>",
            ["SP011", "SP012"],
        ),
        (
            '<cross-domain-policy><allow-access-from domain="a.b" to-ports="999,3050-3052/></cross-domain-policy>',
            ["SP001"],
        ),
        ('<cross-domain-policy><allow-access-from domain="a.b", to-ports="80"/></cross-domain-policy>', ["SP001"]),
        ("<cross-domain-policy/>".encode("utf-16"), ["SP005"]),
        (b"HTTP/1.0 200 OK\r\n\r\n<cross-domain-policy/>", ["SP001"]),
        (b"<cross-domain-policy>" + b" " * 10_000_000 + b"</cross-domain-policy>", ["SP006"]),
        ('<!DOCTYPE a [<!ENTITY b "c">]><cross-domain-policy/>', ["SP007"]),
        (b"<cross-domain\0-policy/>", ["SP005"]),
        (b"", ["SP001"]),
        (Policy((Grant("*", "*"),)), ["SP032"]),
    ],
)
def test_a_policy_that_does_not_work_is_refused_with_all_findings(policy, rules):
    for refuse in (
        lambda: serve_policy(policy, LOCALHOST, 843),
        lambda: xmlsocket.serve(xmlsocket.Handler(), LOCALHOST, 843, policy=policy),
    ):
        with pytest.raises(xmlsocket.ConfigurationError) as raised:
            refuse()
        assert all(rule in str(raised.value) for rule in rules)
        assert str(raised.value).isprintable()


def test_what_a_file_may_grant_depends_on_the_port_that_players_see(caplog):
    low = Policy((Grant("games.example.com", "80"),))
    for port in (8080, 0):
        with pytest.raises(xmlsocket.ConfigurationError, match="SP015"):
            xmlsocket.serve(xmlsocket.Handler(), LOCALHOST, port, policy=low)
    xmlsocket.serve(xmlsocket.Handler(), LOCALHOST, 80, policy=low)
    xmlsocket.serve(xmlsocket.Handler(), LOCALHOST, 8080, policy=load_policy(low, served_from=80))
    xmlsocket.serve(xmlsocket.Handler(), path="/nowhere/socket", policy=low)
    serve_policy(low, LOCALHOST, 10_843, served_from=843)
    with pytest.raises(xmlsocket.ConfigurationError, match="SP015"):
        serve_policy(low, LOCALHOST, 10_843)
    everybody = Policy((Grant("*", "*"),), MetaPolicy.MASTER_ONLY)
    serve_policy(everybody, LOCALHOST, 843, allow_everybody=True)
    with pytest.raises(xmlsocket.ConfigurationError, match="SP032"):
        serve_policy(everybody, LOCALHOST, 843)


def test_warnings_are_logged_when_it_starts(caplog):
    load_policy(Policy((Grant("*", "9339"),), MetaPolicy.MASTER_ONLY))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "SP030" in caplog.messages[0]


def test_an_inherited_socket_is_served_and_its_port_counts(runner):
    async def main():
        with socket.create_server((LOCALHOST, 0)) as first, socket.create_server((LOCALHOST, 0)) as second:
            high = Policy((Grant("games.example.com", "9339"),))
            with pytest.raises(xmlsocket.ConfigurationError, match="SP015"):
                serve_policy(Policy((Grant("games.example.com", "80"),)), sock=first)
            async with serve_policy(high, sock=[first, second]) as server:
                assert [await ask(sock.getsockname()) for sock in server.sockets] == [high.to_answer()] * 2

    runner(main())


def test_a_unix_socket_is_served(runner, tmp_path):
    async def main():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "policy"))
            async with serve_policy(POLICY, sock=sock) as server:
                assert await ask(str(tmp_path / "policy")) == ANSWER
                with pytest.raises(xmlsocket.ConfigurationError, match="no TCP port"):
                    _ = server.port

    runner(main())


def test_a_taken_port_is_said_in_a_sentence():
    async def main():
        with (
            socket.create_server((LOCALHOST, 0)) as taken,
            pytest.raises(xmlsocket.ListenError, match="taken already"),
        ):
            await serve_policy(POLICY, LOCALHOST, taken.getsockname()[1], served_from=843)

    asyncio.run(main())


# Reloading


def test_a_reload_answers_the_next_with_the_new_policy_and_keeps_the_old_one_if_that_is_wrong(runner, tmp_path):
    file = tmp_path / "policy.xml"
    file.write_bytes(ANSWER)

    async def main():
        async with serving(file) as server, peer_of(server) as early:
            await until(lambda: server.statistics.active)
            file.write_text(OTHER.render())
            assert await ask(server) == ANSWER
            server.reload()
            assert await ask(server) == OTHER.to_answer()
            for wrong in ("<oops", ""):
                file.write_text(wrong)
                with pytest.raises(xmlsocket.ConfigurationError, match="SP001"):
                    server.reload()
            file.unlink()
            with pytest.raises(xmlsocket.ConfigurationError, match="cannot read"):
                server.reload()
            assert await ask(server) == OTHER.to_answer()
            server.reload(POLICY)
            await early.send(REQUEST)
            assert await early.read_all() == ANSWER

    runner(main())


def test_a_server_of_messages_reloads_its_policy_and_keeps_the_old_one_if_that_is_wrong(runner):
    high = Policy((Grant("games.example.com", "9339"),))

    async def main():
        async with xmlsocket.serve(xmlsocket.Handler(), LOCALHOST, 0) as server:
            assert await ask(server) == b""
            server.reload_policy(high)
            assert await ask(server) == high.to_answer()
            for wrong in ("<oops", Policy((Grant("games.example.com", "80"),))):
                with pytest.raises(xmlsocket.ConfigurationError):
                    server.reload_policy(wrong)
            assert await ask(server) == high.to_answer()

    runner(main())


# Both ends


def test_our_client_gets_what_our_server_grants(runner):
    async def main():
        async with serving() as server:
            client = PolicyClient(ports={843: server.port})
            decision = await client.decide(Requester("games.example.com"), LOCALHOST, 9339)
            assert (decision.allowed, decision.rule) == (True, Rule.MASTER_GRANTS)
            decision = await client.decide(Requester("www.example.com"), LOCALHOST, 9339)
            assert (decision.allowed, decision.rule) == (False, Rule.MASTER_ONLY)
            await until(lambda: not server.statistics.active)
            assert server.statistics == PolicyStatistics(1, 0, 0, 0, 0, 0)

    runner(main())
