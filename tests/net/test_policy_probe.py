"""The probe of a live server: what it sends unasked, to those who ask wrongly, how late, and what port 843 does."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from xmlsocket.limits import PolicyLimits
from xmlsocket.net.policy_probe import probe_policy
from xmlsocket.net.policy_server import serve_policy
from xmlsocket.policy import Grant, LintContext, MetaPolicy, Outcome, Policy, ProbeFacts, lint

LOCALHOST = "127.0.0.1"
POLICY = Policy((Grant("games.example.com", "9339"),), MetaPolicy.MASTER_ONLY)
ANSWER = POLICY.to_answer()
REQUEST = b"<policy-file-request/>\0"


def probe(*scripts, port=843, runner=asyncio.run, policy_timeout=0.5):
    """Run servers that follow scripts, the first on 843, the second on 9339, and look at one."""

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            ports = {}
            for number, script in zip((843, 9339), scripts, strict=False):
                ports[number] = script if isinstance(script, int) else await start(stack, script)
            return await probe_policy(LOCALHOST, port, limits=PolicyLimits(policy_timeout=policy_timeout), ports=ports)

    return runner(main())


async def start(stack, script):
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(reader, writer)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOCALHOST, 0)

    async def end():
        server.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 15.0)  # each script ends when its client closes
        await server.wait_closed()
        await asyncio.sleep(0.01)  # for the transports to close

    stack.push_async_callback(end)
    return server.sockets[0].getsockname()[1]


async def honest(reader, writer):
    if await reader.readuntil(b"\0") == REQUEST:
        writer.write(ANSWER)


async def eager(reader, writer):
    writer.write(ANSWER)
    await writer.drain()
    await reader.read()


async def careless(reader, writer):
    await reader.readuntil(b"\0")
    writer.write(ANSWER)


async def greeting(reader, writer):
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()
    await reader.read()


async def echoing(reader, writer):
    writer.write(await reader.readuntil(b"\0"))


async def silent(reader, writer):
    await reader.read()


async def late(reader, writer):
    if await reader.readuntil(b"\0") == REQUEST:
        await asyncio.sleep(0.3)
        writer.write(ANSWER)


async def unended(reader, writer):
    if await reader.readuntil(b"\0") == REQUEST:
        writer.write(ANSWER[:-1])


def rules(seen, port=843, **limits):
    context = LintContext(serving_port=port, is_captured=True, probe=seen.facts)
    return [finding.rule for finding in lint(seen.reply.data, context, limits=PolicyLimits(**limits))]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (honest, []),
        (eager, ["SP050"]),
        (careless, ["SP051"]),
        (greeting, ["SP001", "SP003", "SP052"]),
        (echoing, ["SP002"]),
        (unended, ["SP003"]),
    ],
)
def test_what_a_server_does_is_what_the_linter_says(runner, script, found):
    seen = probe(script, runner=runner)
    assert sorted(rules(seen)) == found
    assert seen.address == LOCALHOST


def test_an_answer_that_players_would_not_wait_for_is_seen_to_be_late():
    seen = probe(late, policy_timeout=0.2)
    assert seen.fetched.outcome is Outcome.OK
    assert seen.facts.seconds > 0.2
    assert rules(seen, policy_timeout=0.2) == ["SP053"]


def test_a_server_that_never_answers_says_nothing_and_is_not_filtered():
    seen = probe(silent, policy_timeout=0.1)
    assert (seen.fetched.outcome, seen.reply.data, seen.facts) == (Outcome.TIMEOUT, b"", ProbeFacts())


def test_a_port_that_refuses_is_told_from_one_that_is_filtered():
    with socket.socket() as unused:
        unused.bind((LOCALHOST, 0))
        port = unused.getsockname()[1]
        seen = probe(port)
    assert (seen.fetched.outcome, seen.facts) == (Outcome.REFUSED, ProbeFacts())

    async def dial(address, port):
        await asyncio.Event().wait()

    seen = asyncio.run(probe_policy(LOCALHOST, limits=PolicyLimits(policy_timeout=0.05), dial=dial))
    assert (seen.fetched.outcome, seen.facts) == (Outcome.TIMEOUT, ProbeFacts(is_master_filtered=True))


def test_the_destination_port_is_compared_with_843():
    async def other(reader, writer):
        await reader.readuntil(b"\0")
        writer.write(Policy((Grant("www.example.org", "9339"),)).to_answer())

    assert not probe(honest, honest, port=9339).facts.grants_differ
    assert probe(honest, other, port=9339).facts.grants_differ
    assert not probe(greeting, other, port=9339, policy_timeout=0.2).facts.grants_differ


def test_beside_the_destination_port_a_filtered_843_is_seen():
    async def main():
        async with contextlib.AsyncExitStack() as stack:
            real = await start(stack, honest)

            async def dial(address, port):
                if port == 843:
                    await asyncio.Event().wait()
                return await asyncio.open_connection(address, real)

            return await probe_policy(LOCALHOST, 9339, limits=PolicyLimits(policy_timeout=0.2), dial=dial)

    seen = asyncio.run(main())
    assert seen.fetched.outcome is Outcome.OK
    assert "SP054" in rules(seen, 9339)


def test_an_unknown_host_is_a_failure_that_says_so():
    seen = asyncio.run(probe_policy("does-not-exist.invalid"))
    assert (seen.address, seen.fetched.outcome) == ("", Outcome.FAILED)
    assert "unknown" in seen.fetched.detail


def test_every_address_is_tried_until_one_answers(monkeypatch):
    async def resolve(host, longest):
        return ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    monkeypatch.setattr("xmlsocket.net.policy_probe.resolve", resolve)
    asked = []

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            real = await start(stack, honest)

            async def dial(address, port):
                asked.append(address)
                return await asyncio.open_connection(address, real)

            return await probe_policy("chat.example.com", limits=PolicyLimits(policy_timeout=0.5), dial=dial)

    seen = asyncio.run(main())
    assert (seen.address, seen.fetched.outcome, asked[:3]) == (
        LOCALHOST,
        Outcome.OK,
        ["127.0.0.2", "127.0.0.3", "127.0.0.1"],
    )


def test_our_own_server_behaves(runner):
    async def main():
        async with serve_policy(POLICY, LOCALHOST, 0, served_from=843) as server:
            return await probe_policy(LOCALHOST, limits=PolicyLimits(policy_timeout=0.5), ports={843: server.port})

    assert rules(runner(main())) == []
