"""What the chat promises beyond its transcripts: any text, any bytes, any load, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apps.conversation import Client, client_of, serving, until
from tests.apps.test_markup import XML_TEXTS
from tests.conftest import Runner

from xmlsocket import CloseReason, RoomLimits, Server
from xmlsocket.apps import Chat
from xmlsocket.apps.markup import element, escape_text
from xmlsocket.limits import ChatLimits
from xmlsocket.rooms import MemoryBroker


@contextlib.asynccontextmanager
async def chatting(*names: str, chat: Chat | None = None, **options: Any) -> AsyncIterator[tuple[Any, ...]]:
    """A server with people who are logged in and in the lobby; all that this brought has been read."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(chat or Chat(), **options))
        people: list[Client] = []
        for name in names:
            client = await stack.enter_async_context(client_of(server))
            assert (await client.ask(f'<login name="{name}"/>')).startswith("<welcome ")
            assert (await client.ask('<join room="lobby"/>')).startswith("<joined ")
            for other in people:
                assert await other.receive() == f'<entered room="lobby" name="{name}"/>'
            people.append(client)
        yield server, *people


def code_of(answer: str) -> str | None:
    parsed = ElementTree.fromstring(answer)
    return parsed.get("code") if parsed.tag == "error" else None


# Any text, any bytes


@settings(max_examples=40)
@given(st.lists(XML_TEXTS, min_size=1, max_size=10))
def test_any_text_that_is_said_or_told_comes_out_the_same_at_the_other_side(texts: list[str]) -> None:
    async def scene() -> None:
        async with chatting("ana", "bob") as (_, ana, bob):
            for text in texts:
                ana.send(element("say", [("room", "lobby")], escape_text(text)))
                ana.send(element("tell", [("to", "bob")], escape_text(text)))
            for text in texts:
                for person in (ana, bob):
                    assert [(ElementTree.fromstring(await person.receive()).text or "") for _ in "ab"] == [text, text]
            ana.send("<history room='lobby' limit='100'/>")
            assert [(ElementTree.fromstring(await ana.receive()).text or "") for _ in texts] == texts

    asyncio.run(scene())


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=80).map(lambda data: data.replace(b"\0", b"")), max_size=10))
def test_whatever_bytes_arrive_each_message_is_answered_and_the_connection_stays(messages: list[bytes]) -> None:
    async def scene() -> None:
        async with serving(Chat()) as server, client_of(server) as client:
            client.send(b"<ping/>", *messages)
            assert await client.receive() == "<pong/>"
            for _ in messages:
                ElementTree.fromstring(await client.receive())
            await client.nothing()

    asyncio.run(scene())


REQUESTS = [
    b'<login name="eve" ref="1"/>',
    b'<join room="lobby"/>',
    b'<leave room="lobby"/>',
    b'<say room="lobby">hi &amp; <![CDATA[ho]]></say>',
    b'<tell to="ana">hi</tell>',
    b'<members room="lobby"/>',
    b"<rooms/>",
    b'<history room="lobby" after="1" limit="2"/>',
    b'<?xml version="1.0"?><ping/>',
    b'<!DOCTYPE a [<!ENTITY b "c">]><ping>&b;</ping>',
]


@settings(max_examples=60)
@given(st.data())
def test_requests_with_a_few_bytes_changed_harm_nobody(data: st.DataObject) -> None:
    messages = []
    for request in data.draw(st.lists(st.sampled_from(REQUESTS), max_size=12)):
        damaged = bytearray(request)
        for _ in range(data.draw(st.integers(0, 2))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(1, 255))
        messages.append(bytes(damaged))

    async def scene() -> None:
        async with chatting("ana") as (server, ana), client_of(server) as client:
            client.send(*messages, b'<ping ref="last one"/>')
            while (answer := await client.receive()) != '<pong ref="last one"/>':
                ElementTree.fromstring(answer)
            client.close()
            await until(lambda: len(server.connections) == 1)
            ana.send("<ping/>")
            while (answer := await ana.receive()) != "<pong/>":
                ElementTree.fromstring(answer)

    asyncio.run(scene())


# Order


def test_answers_come_in_the_order_of_the_requests(runner: Runner) -> None:
    async def scene() -> None:
        async with chatting("ana") as (_, ana):
            requests, expected = [], []
            for number in range(500):
                kind = number % 5
                requests.append(
                    [
                        f'<ping ref="{number}"/>',
                        f'<say room="lobby" ref="{number}">x</say>',
                        f'<dance ref="{number}"/>',
                        f'<history room="lobby" limit="0" ref="{number}"/>',
                        f'<tell to="ana" ref="{number}">x</tell>',
                    ][kind]
                )
                expected.append((["pong", "said", "error", "end", "told"][kind], str(number)))
            ana.send(*requests)
            answers = [ElementTree.fromstring(await ana.receive()) for _ in requests]
            assert [(answer.tag, answer.get("ref")) for answer in answers] == expected

    runner(scene())


def test_all_members_see_one_order_and_numbers_that_count_up_by_one(runner: Runner) -> None:
    async def scene() -> None:
        names = [f"p{number}" for number in range(8)]
        async with chatting(*names) as (_, *people):
            for name, person in zip(names, people, strict=True):
                # Every other message has a ref, so that its speaker gets a copy of its own.
                for count in range(40):
                    ref = ' ref="r"' if count % 2 else ""
                    person.send(f'<say room="lobby"{ref}>{name} {count}</say>')
            seen = []
            for name, person in zip(names, people, strict=True):
                said = [ElementTree.fromstring(await person.receive()) for _ in range(320)]
                assert [message.get("id") for message in said] == [str(number) for number in range(1, 321)]
                own = [message.get("ref") for message in said if message.get("from") == name]
                assert own == [None, "r"] * 20
                assert not any(message.get("ref") for message in said if message.get("from") != name)
                seen.append([message.text for message in said])
            assert all(texts == seen[0] for texts in seen)

    runner(scene())


def test_coming_and_going_has_its_place_in_the_order_of_the_room(runner: Runner) -> None:
    async def scene() -> None:
        async with chatting("ana", "bob") as (server, ana, bob), client_of(server) as eve:
            await eve.ask('<login name="eve"/>')
            eve.send(
                '<join room="lobby"/>',
                '<say room="lobby">1</say>',
                '<leave room="lobby"/>',
                '<join room="lobby"/>',
                '<say room="lobby">2</say>',
                '<leave room="lobby"/>',
            )
            tags = ["entered", "said", "left"] * 2
            for person in (ana, bob):
                assert [ElementTree.fromstring(await person.receive()).tag for _ in tags] == tags
            own = ["joined", "said", "left"] * 2
            assert [ElementTree.fromstring(await eve.receive()).tag for _ in own] == own

    runner(scene())


# Limits


@pytest.mark.parametrize("length", [4, 5, 6])
def test_names_and_rooms_have_a_longest_length(length: int) -> None:
    async def scene() -> None:
        chat = Chat(limits=ChatLimits(max_name_length=5, max_room_length=5))
        async with serving(chat) as server, client_of(server) as client:
            answer = await client.ask(f'<login name="{"n" * length}"/>')
            assert code_of(answer) == (None if length <= 5 else "bad-name")
            if length > 5:
                await client.ask('<login name="n"/>')
            answer = await client.ask(f'<join room="{"r" * length}"/>')
            assert code_of(answer) == (None if length <= 5 else "bad-room")

    asyncio.run(scene())


@pytest.mark.parametrize(("asked", "given"), [(4, 4), (5, 5), (6, 5), (10**17, 5), (None, 3)])
def test_a_history_request_has_at_most_so_many_messages(asked: int | None, given: int) -> None:
    async def scene() -> None:
        chat = Chat(limits=ChatLimits(max_history=5, default_history=3))
        async with chatting("ana", chat=chat) as (_, ana):
            ana.send(*['<say room="lobby"/>'] * 10)
            await ana.receive_many(10)
            limit = "" if asked is None else f' limit="{asked}"'
            ana.send(f'<history room="lobby"{limit}/>')
            answers = [ElementTree.fromstring(answer) for answer in await ana.receive_many(given + 1)]
            assert [answer.get("id") for answer in answers[:-1]] == [str(n) for n in range(11 - given, 11)]
            assert answers[-1].tag == "end"

    asyncio.run(scene())


@pytest.mark.parametrize("limit", ["max_rooms", "max_members_per_room", "max_rooms_per_member"])
def test_a_limit_on_rooms_is_an_error_for_the_one_who_passes_it_and_nobody_hears_of_it(limit: str) -> None:
    async def scene() -> None:
        chat = Chat(room_limits=RoomLimits(**{limit: 2}))
        async with chatting("ana", "bob", chat=chat) as (server, ana, bob), client_of(server) as eve:
            await eve.ask('<login name="eve"/>')
            assert code_of(await bob.ask('<join room="second"/>')) is None
            if limit == "max_members_per_room":
                answer = await eve.ask('<join room="lobby" ref="1"/>')
            else:
                answer = await bob.ask('<join room="third" ref="1"/>')
            assert answer == (
                '<error code="limit-reached" line="1" column="1" ref="1">'
                f"No more than that: {limit} (2) is reached.</error>"
            )
            assert len(chat.rooms) == 2
            await ana.nothing()

    asyncio.run(scene())


def test_a_list_that_is_too_long_for_a_message_is_cut_and_counts_the_rest() -> None:
    async def scene() -> None:
        async with serving(Chat(), max_message_size=500) as server, contextlib.AsyncExitStack() as stack:
            people = [await stack.enter_async_context(client_of(server)) for _ in range(30)]
            for number, person in enumerate(people):
                await person.ask(f'<login name="person {number:02}"/>')
                answer = await person.ask('<join room="lobby" ref="x"/>')
                for other in people[:number]:
                    await other.receive()
                parsed = ElementTree.fromstring(answer)
                assert len(answer.encode()) <= 500
                assert (parsed.tag, parsed.get("ref")) == ("joined", "x")
                assert len(parsed) + int(parsed.get("more", "0")) == number + 1
            assert int(parsed.get("more", "0")) > 5

    asyncio.run(scene())


def test_where_messages_must_be_very_short_an_error_has_no_sentence() -> None:
    async def scene() -> None:
        async with serving(Chat(), max_message_size=60) as server, client_of(server) as client:
            assert await client.ask("<dance/>") == '<error code="unknown-request" line="1" column="1"/>'
            assert (await client.ask('<login name="ana"/>')).startswith("<welcome")
            await client.ask('<join room="a"/>')
            # What is said may be longer on its way out than it was on its way in; it is not lost.
            text = "&amp;" * 7
            assert (await client.ask(f'<say room="a">{text}</say>')).endswith(f">{text}</said>")
            client.send('<history room="a"/>')
            assert code_of(await client.receive()) == "too-long"
            assert await client.receive() == '<end room="a"/>'

    asyncio.run(scene())


# Clients that do not read, or vanish


def test_a_client_that_asks_without_reading_is_stopped_and_never_dropped(runner: Runner) -> None:
    async def scene() -> None:
        async with chatting(
            *(f"a rather long name {number:03}" for number in range(50)), max_send_backlog=2_000_000
        ) as (
            server,
            ana,
            *_,
        ):
            ana.reader._transport.pause_reading()
            connection = server.connections[0]
            ana.send(*(f'<members room="lobby" ref="{number}"/>' for number in range(20_000)))  # 40 MB of answers
            await until(lambda: connection.is_send_paused)
            for _ in range(20):
                await asyncio.sleep(0.005)
                assert connection.is_open
            ana.reader._transport.resume_reading()
            for number in range(20_000):
                assert f' ref="{number}"' in await ana.receive()
            await ana.nothing()

    runner(scene())


def test_a_long_history_waits_for_the_one_who_reads_it(runner: Runner) -> None:
    text = "x" * 50_000

    async def scene() -> None:
        async with chatting("ana", "bob", max_send_backlog=2_000_000) as (server, ana, bob):
            for _ in range(200):
                ana.send(f'<say room="lobby">{text}</say>')
                await ana.receive()
                await bob.receive()
            bob.reader._transport.pause_reading()
            bob.send('<history room="lobby" limit="500" ref="h"/>', '<ping ref="p"/>')  # 10 MB
            await until(lambda: server.connections[1].is_send_paused)
            ana.send('<say room="lobby">meanwhile</say>')
            await ana.receive()
            bob.reader._transport.resume_reading()
            answers = [ElementTree.fromstring(answer) for answer in await bob.receive_many(203)]
            history = [answer for answer in answers if answer.get("id") not in (None, "201")]
            assert [answer.get("id") for answer in history] == [str(number) for number in range(1, 201)]
            assert [answer.get("ref") for answer in answers if answer.tag != "said"] == ["h", "p"]
            assert CloseReason.SLOW_READER not in server.closed_by_reason

    runner(scene())


def test_a_member_that_never_reads_is_dropped_and_the_room_hears_that_it_left(runner: Runner) -> None:
    text = "x" * 10_000

    async def scene() -> None:
        async with chatting("ana", "bob", max_message_size=100_000, max_send_backlog=500_000) as (server, ana, bob):
            bob.reader._transport.pause_reading()
            while True:
                ana.send(f'<say room="lobby">{text}</say>')
                if (await ana.receive()).startswith("<left"):
                    break
            assert server.closed_by_reason[CloseReason.SLOW_READER] == 1

    runner(scene())


def test_what_was_asked_before_the_client_ends_its_side_is_answered(runner: Runner) -> None:
    async def scene() -> None:
        async with serving(Chat()) as server, client_of(server) as client:
            client.send('<login name="ana"/>', '<join room="lobby"/>')
            client.send(*(f'<say room="lobby">{number}</say>' for number in range(5000)))
            answers = await client.rest()
            assert len(answers) == 5002
            assert ElementTree.fromstring(answers[-1]).text == "4999"

    runner(scene())


def test_connections_that_are_gone_leave_nothing_behind(runner: Runner) -> None:
    async def scene() -> None:
        broker = MemoryBroker()
        chat = Chat(broker)
        async with serving(chat) as server:
            for _ in range(10):
                async with contextlib.AsyncExitStack() as stack:
                    people = [await stack.enter_async_context(client_of(server)) for _ in range(20)]
                    for number, person in enumerate(people):
                        person.send(f'<login name="p{number}"/>', '<join room="lobby"/>', f'<join room="r{number}"/>')
                        person.send('<say room="lobby">hi</say>')
                    await until(lambda: len(chat.people) == 20 and len(chat.rooms) == 21)
                    for person in people[::2]:
                        person.vanish()
                await until(lambda: not server.connections)
                assert (chat.people, chat.sessions, chat.rooms.names, chat.rooms._stays) == ([], {}, [], {})
                assert broker._names == set()

    runner(scene())


def test_one_who_hangs_up_without_a_name_is_not_missed(runner: Runner) -> None:
    async def scene() -> None:
        async with chatting("ana") as (server, ana):
            async with client_of(server) as nobody:
                await nobody.nothing()
            await until(lambda: len(server.connections) == 1)
            await ana.nothing()

    runner(scene())


def test_many_who_go_at_once_are_all_missed_by_those_who_stay(runner: Runner) -> None:
    async def scene() -> None:
        names = [f"p{number}" for number in range(60)]
        async with chatting("ana", *names) as (_, ana, *people):
            for person in people:
                person.vanish()
            left = {ElementTree.fromstring(await ana.receive()).get("name") for _ in names}
            assert left == set(names)
            await ana.nothing()

    runner(scene())


def test_when_the_server_closes_everything_said_has_been_delivered(runner: Runner) -> None:
    async def scene() -> None:
        chat = Chat(room_limits=RoomLimits(publish_high_water=2000))
        async with chatting("ana", "bob", chat=chat) as (server, ana, bob):
            ana.send(*(f'<say room="lobby" ref="{number}">x</say>' for number in range(1000)))
            await ana.receive()
            await chat.drain()
            closing = asyncio.create_task(close(server))
            own = [ElementTree.fromstring(answer) for answer in await ana.rest()]
            seen = [ElementTree.fromstring(answer) for answer in await bob.rest()]
            await closing
            own = [answer for answer in own if answer.tag == "said"]
            assert len([answer for answer in seen if answer.tag == "said"]) == len(own) + 1
            assert [answer.get("id") for answer in own] == [str(number) for number in range(2, len(own) + 2)]

    runner(scene())


async def close(server: Server[bytes]) -> None:
    await server.close()


def test_the_server_has_the_name_that_it_was_given() -> None:
    async def scene() -> None:
        chat = Chat(server="node <1>")
        async with serving(chat) as server, client_of(server) as client:
            welcome = ElementTree.fromstring(await client.ask('<login name="ana"/>'))
            assert welcome.get("server") == "node <1>"
            assert chat.people == ["ana"]

    asyncio.run(scene())


def test_each_connection_has_an_id_of_its_own() -> None:
    async def scene() -> None:
        async with serving(Chat()) as server, contextlib.AsyncExitStack() as stack:
            people = [await stack.enter_async_context(client_of(server)) for _ in range(10)]
            ids = {
                ElementTree.fromstring(await person.ask(f'<login name="p{number}"/>')).get("id")
                for number, person in enumerate(people)
            }
            assert len(ids) == 10

    asyncio.run(scene())
