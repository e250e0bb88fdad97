"""The chat's page on two nodes that share a NATS server: what people see when that is killed, and when it is back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect
from tests.browser.studio import Studio
from tests.browser.test_page import said, say, visit
from tests.cluster.conftest import BINARIES, MISSING, NatsServer

import xmlsocket
from xmlsocket.apps import Chat, find
from xmlsocket.limits import ClusterLimits
from xmlsocket.rooms.cluster import NatsBroker

QUICK = ClusterLimits(heartbeat_interval=0.5, node_timeout=2.0, announce_interval=0.5, connect_timeout=5.0)


@contextlib.asynccontextmanager
async def nodes(nats: NatsServer, count: int) -> AsyncIterator[list[str]]:
    """Addresses of pages, each of a node of its own."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for _ in range(count):
            chat = Chat(NatsBroker(nats.url, limits=QUICK))
            await chat.start()
            stack.push_async_callback(chat.close)
            server = xmlsocket.serve(chat, "127.0.0.1", 0, **find("chat").options)
            addresses.append(f"http://127.0.0.1:{(await stack.enter_async_context(server)).port}/")
        yield addresses


def test_people_on_two_nodes_see_the_broker_go_and_come_back(studio: Studio, tmp_path: Path) -> None:
    binary = BINARIES["new"]
    if binary is None:
        pytest.skip(MISSING["new"])
    nats = NatsServer(binary, tmp_path / "nats").start()

    async def scene() -> None:
        async with (
            nodes(nats, 2) as (one, two),
            visit(studio, one, "Ana") as ana,
            visit(studio, two, "Bob") as bob,
        ):
            await expect(ana.locator("#members li")).to_have_count(2)
            await say(ana, "before")
            assert await said(bob, 1) == ["before"]
            async with visit(studio, two, "Eve") as eve:
                await eve.fill("#join-room", "garden")
                await eve.press("#join-room", "Enter")
                await expect(eve.locator("#members li")).to_have_text(["Eve (you)"])
                await say(eve, "roses")
                assert await said(eve, 1) == ["roses"]
            await expect(ana.locator("#members li")).to_have_count(2)
            nats.kill()
            lost = "This server has lost the connection with the others"
            await expect(ana.locator("#log")).to_contain_text(lost)
            await expect(ana.locator("#state")).to_contain_text("cut off from other servers")
            await expect(ana.locator("#log")).to_contain_text("Bob left.")
            await say(ana, "meanwhile")
            await expect(ana.locator("#log .fault")).to_contain_text("You wrote: meanwhile")
            await ana.screenshot(path=str(tmp_path / "lobby.png"))
            await ana.fill("#join-room", "garden")
            await ana.press("#join-room", "Enter")
            await expect(ana.locator("#log")).to_contain_text(lost)
            await ana.screenshot(path=str(tmp_path / "garden.png"))
            assert await said(ana, 0) == []
            await asyncio.to_thread(nats.start)
            await expect(ana.locator("#log")).to_contain_text("connected with the others again")
            assert await said(ana, 1) == ["roses"]
            await expect(ana.locator("#state-text")).to_have_text("Connected")
            await say(ana, "tulips")
            assert await said(ana, 2) == ["roses", "tulips"]
            await ana.screenshot(path=str(tmp_path / "back.png"))

    try:
        studio.run(scene())
    finally:
        nats.kill()
