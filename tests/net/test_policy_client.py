"""The policy client over real sockets: whom it asks, how long it waits, what it keeps, where it then connects."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from tests.net.peers import until

from xmlsocket.limits import PolicyLimits
from xmlsocket.net.policy_client import PolicyClient
from xmlsocket.policy import Location, Outcome, Requester, Rule

REQUEST = b"<policy-file-request/>\0"
DOMAIN = "games.example.com"
MOVIE = Requester(DOMAIN)


def grant(ports="*", domain=DOMAIN, meta=""):
    return f'<cross-domain-policy>{meta}<allow-access-from domain="{domain}" to-ports="{ports}"/></cross-domain-policy>'


class Network:
    """Ports of a made-up host, each behind a real port of this machine. Where there is none, nobody listens."""

    def __init__(self):
        self.asked = []
        self._ports = {}
        self._served = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        for task, writer in self._served:
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*(task for task, _ in self._served), return_exceptions=True)
        await asyncio.sleep(0)  # for the transports to close
        await self._stack.aclose()

    async def answer(self, port, *pieces, stay_open=False, address="127.0.0.1"):
        """Answer each request with some pieces, each sent by itself, then close or stay open."""

        async def serve(reader, writer):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ConnectionError):
                assert await reader.readexactly(len(REQUEST)) == REQUEST
                self.asked.append((address, port))
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if stay_open:
                    await reader.read()
            writer.close()

        return await self.listen(port, serve, address)

    async def listen(self, port, serve, address="127.0.0.1"):
        async def tracked(reader, writer):
            self._served.append((asyncio.current_task(), writer))
            await serve(reader, writer)

        server = await asyncio.start_server(tracked, "127.0.0.1", 0)
        self._stack.push_async_callback(server.wait_closed)
        self._stack.callback(server.close)
        real = self._ports[address, port] = server.sockets[0].getsockname()[1]
        return real

    async def dial(self, address, port):
        if (address, port) not in self._ports:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", self._ports[address, port])

    def client(self, **limits):
        return PolicyClient(PolicyLimits(**{"policy_timeout": 10.0, **limits}), dial=self.dial)


def decide(serve, port=9339, requester=MOVIE, host="127.0.0.1", explicit=(), runner=asyncio.run, **limits):
    """Set up a network, ask once, and return the decision and who was asked."""

    async def main():
        async with Network() as network:
            await serve(network)
            decision = await network.client(**limits).decide(requester, host, port, explicit)
            return decision, [port for _, port in network.asked]

    return runner(main())


def test_the_master_is_asked_first_and_its_grant_is_enough(runner):
    async def serve(network):
        await network.answer(843, grant().encode() + b"\0")
        await network.answer(9339, grant().encode() + b"\0")

    decision, asked = decide(serve, runner=runner)
    assert (decision.allowed, decision.rule, decision.address, asked) == (True, Rule.MASTER_GRANTS, "127.0.0.1", [843])


def test_a_refused_master_leads_to_the_named_location_and_then_to_the_destination():
    async def serve(network):
        await network.answer(2525, grant("80").encode() + b"\0")
        await network.answer(9339, grant("9339").encode() + b"\0")

    decision, asked = decide(serve, explicit=[Location.parse("xmlsocket://127.0.0.1:2525")])
    assert (decision.allowed, decision.rule, asked) == (True, Rule.DESTINATION_GRANTS, [2525, 9339])
    assert [step.outcome for step in decision.trail] == [Outcome.REFUSED, Outcome.OK, Outcome.OK]


def test_nothing_that_grants_is_a_denial_that_tells_what_came_back():
    async def serve(network):
        await network.answer(843, grant("80").encode() + b"\0")

    decision, asked = decide(serve)
    assert (decision.allowed, decision.error, asked) == (False, 2048, [843])
    assert "9339" in decision.explanation


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ([bytes([byte]) for byte in grant().encode() + b"\0"], Outcome.OK),
        ([grant().encode()], Outcome.OK),
        ([grant().encode() + b"\0<rubbish"], Outcome.OK),
        ([grant().encode() + b"\0" + grant("1").encode() + b"\0"], Outcome.OK),
        ([b"\xef\xbb\xbf" + grant().encode() + b"\0"], Outcome.OK),
        ([], Outcome.CLOSED_EMPTY),
        ([b"rubbish\0"], Outcome.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\n\r\n", grant().encode(), b"\0"], Outcome.MALFORMED),
        ([b"x" * 30_000], Outcome.TOO_BIG),
        ([b"x" * 1000] * 100, Outcome.TOO_BIG),
        ([grant().encode("utf-16") + b"\0"], Outcome.MALFORMED),
        ([b"\0" + grant().encode() + b"\0"], Outcome.MALFORMED),
        ([b'<!DOCTYPE a [<!ENTITY b "c">]>', grant().encode() + b"\0"], Outcome.MALFORMED),
        ([grant().replace('" to', '", to').encode() + b"\0"], Outcome.MALFORMED),
        ([grant().replace('"/>', "/>").encode() + b"\0"], Outcome.MALFORMED),
    ],
)
def test_answers_of_every_kind(pieces, outcome):
    async def serve(network):
        await network.answer(843, *pieces)

    decision, _ = decide(serve)
    assert decision.trail[0].outcome is outcome
    assert decision.allowed is (outcome is Outcome.OK)


def test_a_server_that_sends_without_end_is_left_soon():
    sent = []

    async def serve(network):
        async def flood(reader, writer):
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
                    sent.append(65_536)
            writer.close()

        await network.listen(843, flood)

    decision, _ = decide(serve, policy_timeout=None)
    assert decision.trail[0].outcome is Outcome.TOO_BIG
    assert sum(sent) < 10_000_000


def test_an_answer_counts_at_its_NUL_though_the_server_stays():
    async def serve(network):
        await network.answer(843, grant().encode() + b"\0", stay_open=True)

    assert decide(serve, policy_timeout=None)[0].allowed


@pytest.mark.parametrize("pieces", [(), (grant().encode(),)])
def test_a_server_that_never_ends_its_answer_costs_the_timeout_and_counts_as_none(pieces):
    async def serve(network):
        await network.answer(843, *pieces, stay_open=True)
        await network.answer(9339, grant().encode() + b"\0")

    decision, asked = decide(serve, policy_timeout=0.1)
    assert [step.outcome for step in decision.trail] == [Outcome.TIMEOUT, Outcome.OK]
    assert (decision.allowed, asked) == (True, [843, 9339])


def test_a_server_that_speaks_first_is_read_like_an_answer():
    async def serve(network):
        async def banner(reader, writer):
            writer.write(b"Welcome!\0")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        await network.listen(9339, banner)

    decision, _ = decide(serve)
    assert [step.outcome for step in decision.trail] == [Outcome.REFUSED, Outcome.MALFORMED]


def test_a_reset_after_the_document_is_like_a_close():
    async def serve(network):
        async def reset(reader, writer):
            writer.write(grant().encode() + b"\0")
            await writer.drain()
            writer.transport.abort()

        await network.listen(843, reset)

    decision, _ = decide(serve)
    assert decision.trail[0].outcome in (Outcome.OK, Outcome.CLOSED_EMPTY)


def test_each_location_is_asked_once_in_a_session_however_many_ask_at_once(runner):
    async def main():
        async with Network() as network:
            await network.answer(843, grant("9339").encode() + b"\0")
            client = network.client()
            decisions = await asyncio.gather(*(client.decide(MOVIE, "127.0.0.1", 9339) for _ in range(20)))
            other = await client.decide(Requester("other.example"), "127.0.0.1", 9339)
            assert all(decision.allowed for decision in decisions)
            assert not other.allowed  # decisions are not kept, only files
            assert network.asked == [("127.0.0.1", 843)]
            assert sum(not decision.trail[0].is_cached for decision in decisions) == 1

    runner(main())


def test_failures_are_asked_again_when_their_time_is_over():
    async def main():
        async with Network() as network:
            await network.answer(843, b"rubbish\0")
            client = network.client(negative_ttl=0.0)
            for _ in range(3):
                assert not (await client.decide(MOVIE, "127.0.0.1", 9339)).allowed
            assert network.asked.count(("127.0.0.1", 843)) == 3

    asyncio.run(main())


def held_back(release, asked):
    """Serve a policy when it is released, and count who asks."""

    async def serve(reader, writer):
        asked.append(await reader.readexactly(len(REQUEST)))
        await release.wait()
        writer.write(grant().encode() + b"\0")
        writer.close()

    return serve


def test_who_gives_up_leaves_the_question_to_the_others_who_wait(runner):
    async def main():
        release, asked = asyncio.Event(), []
        async with Network() as network:
            await network.listen(843, held_back(release, asked))
            client = network.client(policy_timeout=None)
            first, second = (asyncio.create_task(client.decide(MOVIE, "127.0.0.1", 9339)) for _ in range(2))
            await until(lambda: asked)
            first.cancel()
            await asyncio.wait([first])
            release.set()
            assert (await second).allowed
            assert len(asked) == 1

    runner(asyncio.wait_for(main(), 20))


def test_when_all_give_up_the_connection_is_closed_and_the_next_one_asks_anew(runner):
    async def main():
        asked, ended = [], []

        async def serve(reader, writer):
            asked.append(await reader.readexactly(len(REQUEST)))
            if len(asked) == 1:
                ended.append(await reader.read())
            else:
                writer.write(grant().encode() + b"\0")
            writer.close()

        async with Network() as network:
            await network.listen(843, serve)
            client = network.client(policy_timeout=None)
            tasks = [asyncio.create_task(client.decide(MOVIE, "127.0.0.1", 9339)) for _ in range(3)]
            await until(lambda: asked)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert (await client.decide(MOVIE, "127.0.0.1", 9339)).allowed
            await until(lambda: ended)
            assert (len(asked), ended) == (2, [b""])

    runner(asyncio.wait_for(main(), 20))


def test_who_may_wait_longer_does_so_and_the_time_of_all_counts_from_the_first_question():
    async def main():
        release, asked = asyncio.Event(), []
        async with Network() as network:
            await network.listen(843, held_back(release, asked))
            client = network.client(policy_timeout=0.2)
            patient = asyncio.create_task(
                client.decide(MOVIE, "127.0.0.1", 9339, [Location.parse("xmlsocket://127.0.0.1:843")])
            )
            await until(lambda: asked)
            hasty = await client.decide(MOVIE, "127.0.0.1", 9339)
            assert hasty.trail[0].outcome is Outcome.TIMEOUT
            release.set()
            assert (await patient).allowed
            assert len(asked) == 1
            later = await client.decide(MOVIE, "127.0.0.1", 9339)
            assert (later.allowed, later.trail[0].is_cached, later.trail[0].elapsed) == (True, True, 0.0)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_named_location_that_never_answers_is_given_up_at_last():
    async def serve(network):
        await network.answer(843, stay_open=True)

    location = Location.parse("xmlsocket://127.0.0.1:843")
    decision, _ = decide(serve, explicit=[location], policy_timeout=None, explicit_timeout=None, answer_timeout=0.1)
    assert decision.trail[0].outcome is Outcome.TIMEOUT
    assert "accepted the connection and sent nothing" in decision.explanation


def test_a_location_that_neither_accepts_nor_refuses_is_told_from_a_silent_one():
    async def main():
        never = asyncio.Event()

        async def dial(address, port):
            await never.wait()

        client = PolicyClient(PolicyLimits(connect_timeout=0.1), dial=dial)
        decision = await client.decide(MOVIE, "127.0.0.1", 9339, [Location.parse("xmlsocket://127.0.0.1:843")])
        assert [step.outcome for step in decision.trail] == [Outcome.TIMEOUT, Outcome.TIMEOUT]
        assert "firewall" in decision.trail[0].sentence

    asyncio.run(main())


def test_ports_may_be_asked_elsewhere_and_count_as_themselves():
    async def main():
        async with Network() as network:
            real = await network.answer(843, grant("80").encode() + b"\0")
            client = PolicyClient(ports={843: real})
            decision = await client.decide(MOVIE, "127.0.0.1", 80)
            assert (decision.allowed, decision.rule) == (True, Rule.MASTER_GRANTS)
            assert str(decision.trail[0].location) == "xmlsocket://127.0.0.1:843"

    asyncio.run(main())


def test_a_client_that_was_left_in_the_middle_by_one_loop_works_in_the_next():
    asked = []

    async def dial(address, port):
        asked.append(port)
        if len(asked) == 1:
            loop.stop()
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    client = PolicyClient(dial=dial)
    loop = asyncio.new_event_loop()
    left = loop.create_task(client.decide(MOVIE, "127.0.0.1", 9339))
    loop.run_forever()
    decision = asyncio.run(client.decide(MOVIE, "127.0.0.1", 9339))
    assert (decision.trail[0].outcome, asked) == (Outcome.REFUSED, [843, 843, 9339])
    left.cancel()
    loop.run_until_complete(asyncio.wait([left]))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def with_addresses(monkeypatch, *addresses):
    """Let every name have these addresses."""

    async def getaddrinfo(self, host, port, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)


def test_everything_is_asked_at_one_address_and_the_decision_names_it(monkeypatch):
    with_addresses(monkeypatch, "192.0.2.1", "192.0.2.2", "192.0.2.1")

    async def main():
        async with Network() as network:
            await network.answer(843, grant("80").encode() + b"\0", address="192.0.2.1")
            await network.answer(9339, grant().encode() + b"\0", address="192.0.2.2")
            decision = await network.client().decide(MOVIE, "chat.example.com", 9339)
            assert (decision.allowed, decision.address) == (False, "192.0.2.1")
            assert network.asked == [("192.0.2.1", 843)]

    asyncio.run(main())


def test_where_nobody_answers_at_the_first_address_the_next_one_decides(monkeypatch):
    with_addresses(monkeypatch, "192.0.2.1", "192.0.2.2")

    async def main():
        async with Network() as network:
            await network.answer(843, grant().encode() + b"\0", address="192.0.2.2")
            decision = await network.client().decide(MOVIE, "chat.example.com", 9339)
            assert (decision.allowed, decision.address) == (True, "192.0.2.2")

    asyncio.run(main())


def test_an_unknown_host_is_denied_and_not_remembered():
    async def main():
        client = PolicyClient()
        decision = await client.decide(MOVIE, "does-not-exist.invalid", 9339)
        assert (decision.allowed, decision.error) == (False, 2048)
        assert {step.outcome for step in decision.trail} == {Outcome.FAILED}
        assert "unknown" in decision.explanation
        assert not (await client.decide(MOVIE, "a..b", 9339)).allowed

    asyncio.run(main())


def test_content_that_needs_no_policy_asks_nobody_and_resolves_nothing():
    async def main():
        decision = await PolicyClient().decide(Requester.from_url("app:/main.swf"), "does-not-exist.invalid", 80)
        assert (decision.allowed, decision.trail) == (True, ())

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + grant().encode(), Outcome.OK),
        (b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(grant()), grant().encode()), Outcome.OK),
        (b"HTTP/1.1 404 Not Found\r\n\r\n" + grant().encode(), Outcome.FAILED),
        (b"HTTP/1.1 200 OK\r\n\r\n", Outcome.CLOSED_EMPTY),
        (b"no http", Outcome.FAILED),
        (b"", Outcome.FAILED),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, Outcome.TOO_BIG),
    ],
)
def test_players_before_9_ask_by_HTTP(answer, outcome):
    async def serve(network):
        async def http(reader, writer):
            request = await reader.readuntil(b"\r\n\r\n")
            assert request == b"GET /crossdomain.xml HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
            network.asked.append(("127.0.0.1", 80))
            with contextlib.suppress(ConnectionError):
                writer.write(answer)
                await writer.drain()
                if b"content-length" in answer:
                    await reader.read()  # the server leaves the connection open
            writer.close()

        await network.listen(80, http)

    decision, asked = decide(serve, requester=Requester(DOMAIN, player=(7,)))
    assert asked == [80]
    assert decision.trail[0].outcome is outcome
    assert decision.allowed is (outcome is Outcome.OK)
