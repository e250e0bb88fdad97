"""The chat with a broker whose results are pending: order, refusals, and clients that do not wait for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.apps.conversation import Client, client_of, serving, until
from tests.conftest import Runner
from tests.contracts.slow_broker import SlowBroker

from xmlsocket import Server
from xmlsocket.apps import Chat
from xmlsocket.limits import ChatLimits

WELCOME = "<welcome "
UNAVAILABLE = (
    '<error code="unavailable" line="1" column="1" ref="{}">'
    "This cannot be done now (the disk is full); try again later.</error>"
)


class Scene:
    """A chat on a slow broker, and people who are in the lobby."""

    def __init__(self, chat: Chat, broker: SlowBroker, server: Server[bytes], people: list[Client]) -> None:
        self.chat, self.broker, self.server, self.people = chat, broker, server, people


@contextlib.asynccontextmanager
async def slow_chat(*names: str, limits: ChatLimits | None = None) -> AsyncIterator[Any]:
    broker = SlowBroker()
    chat = Chat(broker, limits=limits)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(chat))
        people = [await stack.enter_async_context(client_of(server)) for _ in names]
        for number, (name, person) in enumerate(zip(names, people, strict=True)):
            person.send(f'<login name="{name}"/>', '<join room="lobby"/>')
            await person.receive_many(2)
            for other in people[:number]:
                await other.receive()
        broker.is_held = True
        try:
            yield Scene(chat, broker, server, people)
        finally:
            broker.let_go()


def starts(answers: list[str]) -> list[str]:
    return [answer.split(" ")[0].split("/")[0] for answer in answers]


def test_requests_wait_for_the_answer_to_a_login(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat() as scene, client_of(scene.server) as ana:
            ana.send('<login name="ana"/>', '<join room="lobby"/>', "<ping/>", "<dance/>")
            await until(lambda: scene.broker.waiting == 1)
            await asyncio.sleep(0.01)
            assert scene.chat.rooms.names == []
            scene.broker.let_go()
            assert starts(await ana.receive_many(1)) == ["<welcome"]
            for _ in range(2):  # who is there, before joining and after
                await until(lambda: scene.broker.waiting == 1)
                assert scene.chat.rooms.names in ([], ["lobby"])
                scene.broker.let_go()
            assert starts(await ana.receive_many(3)) == ["<joined", "<pong", "<error"]

    runner(test())


def test_requests_wait_for_the_answer_to_a_history(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            ana.send('<history room="lobby"/>', "<ping/>")
            await until(lambda: scene.broker.waiting == 1)
            ana.send('<ping ref="2"/>')
            scene.broker.let_go()
            assert await ana.receive_many(3) == ['<end room="lobby"/>', "<pong/>", '<pong ref="2"/>']

    runner(test())


def test_messages_of_one_client_are_kept_together_and_other_answers_wait_for_them(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana", "bob") as scene:
            ana, bob = scene.people
            ana.send(*(f'<say room="lobby" ref="{number}">{number}</say>' for number in range(5)), "<ping/>", "<bad")
            await until(lambda: scene.broker.waiting == 5)
            # Nobody else waits.
            assert await bob.ask("<ping/>") == "<pong/>"
            scene.broker.let_go(4)
            assert starts(await ana.receive_many(4)) == ["<said"] * 4
            scene.broker.let_go()
            assert starts(await ana.receive_many(3)) == ["<said", "<pong", "<error"]
            assert starts(await bob.receive_many(5)) == ["<said"] * 5

    runner(test())


def test_one_who_leaves_after_speaking_hears_its_own_message_first(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana", "bob") as scene:
            ana, bob = scene.people
            ana.send('<say room="lobby" ref="1">bye</say>', '<leave room="lobby" ref="2"/>')
            await until(lambda: scene.broker.waiting == 1)
            scene.broker.let_go()
            assert starts(await ana.receive_many(2)) == ["<said", "<left"]
            assert starts(await bob.receive_many(2)) == ["<said", "<left"]

    runner(test())


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_so_many_messages_of_one_client_are_pending_and_the_others_wait(runner: Runner, limit: int) -> None:
    async def test() -> None:
        async with slow_chat("ana", limits=ChatLimits(max_pending=limit)) as scene:
            (ana,) = scene.people
            ana.send(*(f'<say room="lobby">{number}</say>' for number in range(10)))
            for count in range(10):
                expected = min(max(limit, 1), 10 - count)
                await until(lambda expected=expected: scene.broker.waiting == expected)
                await asyncio.sleep(0.002)
                assert scene.broker.waiting == expected
                scene.broker.let_go(1)
                assert f">{count}</said>" in await ana.receive()

    runner(test())


def test_a_message_that_cannot_be_kept_is_refused_and_seen_by_nobody(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana", "bob") as scene:
            ana, bob = scene.people
            scene.broker.is_held = False
            scene.broker.is_down = True
            assert await ana.ask('<say room="lobby" ref="7">lost</say>') == UNAVAILABLE.format(7)
            scene.broker.is_down = False
            assert ' id="1" ' in await ana.ask('<say room="lobby" ref="8">kept</say>')
            assert ">kept</said>" in await bob.receive()

    runner(test())


def test_a_login_or_a_history_that_cannot_be_had_is_refused(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat() as scene, client_of(scene.server) as ana:
            scene.broker.is_held = False
            scene.broker.is_down = True
            assert await ana.ask('<login name="ana" ref="1"/>') == UNAVAILABLE.format(1)
            assert await ana.ask('<history room="lobby" ref="2"/>') == UNAVAILABLE.format(2)
            scene.broker.is_down = False
            assert (await ana.ask('<login name="ana"/>')).startswith(WELCOME)

    runner(test())


def test_of_two_who_claim_a_name_at_once_one_gets_it(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat() as scene, client_of(scene.server) as ana, client_of(scene.server) as eve:
            ana.send('<login name="ana"/>')
            eve.send('<login name="ANA"/>')
            await until(lambda: scene.broker.waiting == 2)
            scene.broker.let_go()
            answers = sorted(starts([await ana.receive(), await eve.receive()]))
            assert answers == ["<error", "<welcome"]

    runner(test())


def test_one_who_hangs_up_before_the_name_is_claimed_does_not_keep_it(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat() as scene:
            async with client_of(scene.server) as ana:
                ana.send('<login name="ana"/>')
                await until(lambda: scene.broker.waiting == 1)
                ana.vanish()
                await until(lambda: not scene.server.connections)
            scene.broker.let_go()
            await until(lambda: scene.broker.released == ["ana"])
            assert (scene.chat.people, scene.chat._pending) == ([], set())

    runner(test())


def test_one_who_ends_its_side_is_answered_before_the_connection_is_closed(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            ana.send('<say room="lobby">1</say>', '<history room="lobby"/>', "<ping/>", '<say room="lobby">2</say>')
            ana.writer.write_eof()
            await until(lambda: scene.broker.waiting == 1)
            scene.broker.is_held = False
            scene.broker.let_go()
            assert starts(await ana.receive_many(5)) == ["<said", "<said", "<end", "<pong", "<said"]
            assert await ana.reader.read() == b""

    runner(test())


def test_draining_waits_for_what_was_taken_and_takes_no_more(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            ana.send('<say room="lobby">1</say>', '<history room="lobby"/>')
            await until(lambda: scene.broker.waiting == 1)
            draining = asyncio.create_task(scene.chat.drain())
            await asyncio.sleep(0.01)
            ana.send('<say room="lobby">too late</say>')
            scene.broker.let_go()
            assert starts(await ana.receive_many(1)) == ["<said"]
            await until(lambda: scene.broker.waiting == 1)
            assert not draining.done()
            scene.broker.let_go()
            assert starts(await ana.receive_many(2)) == ["<said", "<end"]
            await draining
            assert scene.broker.waiting == 0
            closing = asyncio.create_task(scene.server.close())
            assert await ana.reader.read() == b""
            ana.close()
            await closing

    runner(test())


def test_a_result_that_is_given_up_is_refused(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            ana.send('<say room="lobby" ref="1">x</say>')
            await until(lambda: scene.broker.waiting == 1)
            for future in scene.chat._pending:
                future.cancel()
            assert 'code="unavailable"' in await ana.receive()
            scene.broker._steps.clear()

    runner(test())


def test_a_broker_with_a_fault_costs_its_client_the_connection_and_nobody_else(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana", "bob") as scene:
            ana, bob = scene.people
            ana.send('<say room="lobby">x</say>')
            await until(lambda: scene.broker.waiting == 1)
            for future in scene.chat._pending:
                future.set_exception(ZeroDivisionError())
            scene.broker._steps.clear()
            assert await ana.reader.read() == b""
            ana.close()
            assert await bob.receive() == '<left room="lobby" name="ana"/>'
            await bob.nothing()

    runner(test())


def test_who_connects_while_the_chat_is_drained_is_not_read_from(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            await scene.chat.drain()
            async with client_of(scene.server) as late:
                late.send("<ping/>")  # what tells its protocol is read, and so it is answered
                assert await late.receive() == "<pong/>"
                late.send('<ping ref="2"/>')
                for _ in range(10):
                    await asyncio.sleep(0.002)
                    assert scene.server.traffic.messages_received == 3
                closing = asyncio.create_task(scene.server.close())
                assert await ana.reader.read() == await late.reader.read() == b""
                ana.close()
                late.close()
                await closing

    runner(test())


def test_a_request_that_waits_for_what_was_said_is_read_twice_at_most(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            parse, read = scene.chat._parser.parse, []

            def count(message: bytes) -> Any:
                read.append(message)
                return parse(message)

            scene.chat._parser.parse = count
            ana.send(*(f'<say room="lobby">{number}</say>' for number in range(20)), "<ping/>", "<dance/>")
            await until(lambda: scene.broker.waiting == 20)
            for _ in range(20):
                scene.broker.let_go(1)
                await asyncio.sleep(0)
            assert starts(await ana.receive_many(22)) == ["<said"] * 20 + ["<pong", "<error"]
            assert len(read) <= 20 + 2 + 1

    runner(test())


def test_who_joins_while_the_others_are_out_of_reach_is_told_so_after_the_list(runner: Runner) -> None:
    async def test() -> None:
        async with slow_chat("ana") as scene:
            (ana,) = scene.people
            scene.broker.is_held = False
            scene.chat.rooms.receive_state(False)
            assert "cut-off" in await ana.receive()
            ana.send('<join room="garden" ref="1"/>', "<ping/>")
            joined, notice, pong = await ana.receive_many(3)
            assert joined.startswith('<joined room="garden" ref="1">')
            assert notice.startswith('<notice room="garden" code="cut-off">')
            assert pong == "<pong/>"
            scene.chat.rooms.receive_state(True)
            assert {*map(str, await ana.receive_many(2))} == {
                f'<notice room="{room}" code="reconnected">This server is connected with the others again.</notice>'
                for room in ("garden", "lobby")
            }
            ana.send('<join room="kitchen"/>', "<ping/>")
            assert starts(await ana.receive_many(2)) == ["<joined", "<pong"]

    runner(test())
