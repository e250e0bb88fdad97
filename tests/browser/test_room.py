"""Everybody in one room: Ruffle with both ActionScripts, OpenFL, Python, a bare TCP client and the chat's page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from playwright.async_api import Page
from tests.browser.studio import Socket, Studio

import xmlsocket
from xmlsocket.apps import Chat, find
from xmlsocket.gateway import Gateway, Targets, parse_target

ROUNDS = 15


class Talker(Protocol):
    """Somebody in the room."""

    async def send(self, text: str) -> None:
        """Send a request."""

    async def receive(self) -> str:
        """Wait for an answer."""


class InPage:
    """A socket in a page."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def send(self, text: str) -> None:
        await self.socket.send(text)

    async def receive(self) -> str:
        return (await self.socket.receive(1))[0]


class Bare:
    """Text, zero bytes, TCP, and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, text: str) -> None:
        self.writer.write(text.encode() + b"\0")

    async def receive(self) -> str:
        return (await self.reader.readuntil(b"\0"))[:-1].decode()


class Member:
    """A talker that speaks the chat's protocol."""

    def __init__(self, name: str, talker: Talker) -> None:
        self.name = name
        self.talker = talker

    async def enter(self) -> None:
        await self.talker.send(f'<login name="{self.name}"/>')
        await self.talker.send('<join room="lobby"/>')
        while "<joined " not in await self.talker.receive():
            pass

    async def say(self, text: str) -> None:
        await self.talker.send(f'<say room="lobby">{escape(text)}</say>')

    async def heard(self, count: int) -> list[tuple[str, str]]:
        """Who said what, as far as that many messages."""
        heard: list[tuple[str, str]] = []
        while len(heard) < count:
            element = ElementTree.fromstring(await self.talker.receive())
            assert element.tag in ("said", "entered"), ElementTree.tostring(element)
            if element.tag == "said":
                assert element.get("id") == str(len(heard) + 1)
                heard.append((element.get("from") or "", element.text or ""))
        return heard


class Visitor:
    """Somebody at the chat's page."""

    def __init__(self, name: str, page: Page) -> None:
        self.name = name
        self.page = page

    async def enter(self) -> None:
        await self.page.fill("#name", self.name)
        await self.page.press("#name", "Enter")
        await self.page.wait_for_selector("#members li")

    async def say(self, text: str) -> None:
        await self.page.fill("#text", text)
        await self.page.press("#text", "Enter")

    async def heard(self, count: int) -> list[tuple[str, str]]:
        await self.page.wait_for_function("count => document.querySelectorAll('#log .said').length >= count", arg=count)
        rows = await self.page.eval_on_selector_all(
            "#log .said",
            "rows => rows.map(row => [row.querySelector('.who').textContent, row.querySelector('p').textContent])",
        )
        return [tuple(row) for row in rows]


@contextlib.asynccontextmanager
async def serving_chat() -> AsyncIterator[tuple[int, int]]:
    """The chat, and a gateway to it: their ports."""
    chat = Chat()
    await chat.start()
    try:
        async with xmlsocket.serve(chat, "127.0.0.1", 0, **find("chat").options) as server:
            gateway = Gateway(Targets([parse_target(f"127.0.0.1:{server.port}")]))
            async with gateway.serve("127.0.0.1", 0) as served:
                yield server.port, served.port
    finally:
        await chat.close()


@contextlib.asynccontextmanager
async def everybody(studio: Studio, port: int, movies_port: int) -> AsyncIterator[list[Member | Visitor]]:
    async with contextlib.AsyncExitStack() as stack:
        members: list[Member | Visitor] = []
        for kind in ("avm2", "avm1", "openfl"):
            player = await stack.enter_async_context(studio.player(kind, [movies_port]))
            socket = player.socket()
            await socket.connect(movies_port)
            members.append(Member(kind, InPage(socket)))
        members.append(Member("python", await stack.enter_async_context(xmlsocket.connect("127.0.0.1", movies_port))))
        reader, writer = await asyncio.open_connection("127.0.0.1", movies_port)
        stack.callback(writer.close)
        members.append(Member("bare", Bare(reader, writer)))
        page = await stack.enter_async_context(studio.page())
        await page.goto(f"http://127.0.0.1:{port}/")
        members.append(Visitor("page", page))
        for member in members:
            await member.enter()
        yield members


@pytest.mark.parametrize("door", ["direct", "gateway"])
def test_everybody_hears_the_same_messages_in_the_same_order(studio: Studio, door: str) -> None:
    async def speak(member: Member | Visitor) -> None:
        for number in range(ROUNDS):
            await member.say(f"{member.name} {number} <b>&</b> é😀")

    async def scene() -> None:
        async with (
            serving_chat() as (direct, gateway),
            everybody(studio, direct, direct if door == "direct" else gateway) as members,
        ):
            async with asyncio.TaskGroup() as group:
                for member in members:
                    group.create_task(speak(member))
            count = ROUNDS * len(members)
            first, *others = [await member.heard(count) for member in members]
            for other in others:
                assert other == first
            for member in members:
                own = [text for name, text in first if name == member.name]
                assert own == [f"{member.name} {number} <b>&</b> é😀" for number in range(ROUNDS)]

    studio.run(scene())
