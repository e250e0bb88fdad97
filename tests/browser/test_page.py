"""The chat's page, as people use it: at a desk, on a phone, by keyboard, and when the server goes away."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.async_api import Page, expect
from tests.browser.studio import Studio
from tests.cli.processes import serving

import xmlsocket
from xmlsocket.apps import Chat, find

Scene: TypeAlias = Callable[[], Awaitable[None]]

PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
PAGE = Path(xmlsocket.__file__).with_name("apps") / "page"
HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "browsers.md"
CONTRAST = Path(__file__).with_name("web") / "contrast.js"
expect.set_options(timeout=20_000)


class House:
    """A chat server in this process, whose connections a test may break."""

    def __init__(self, server: xmlsocket.Server[bytes], chat: Chat) -> None:
        self.server = server
        self.chat = chat
        self.address = f"http://127.0.0.1:{server.port}/"

    def client(self) -> contextlib.AbstractAsyncContextManager[xmlsocket.Connection[str]]:
        return xmlsocket.connect("127.0.0.1", self.server.port)


@contextlib.asynccontextmanager
async def house(port: int = 0) -> AsyncIterator[House]:
    chat = Chat()
    await chat.start()
    try:
        async with xmlsocket.serve(chat, "127.0.0.1", port, **find("chat").options) as server:
            yield House(server, chat)
    finally:
        await chat.close()


@contextlib.asynccontextmanager
async def visit(studio: Studio, address: str, name: str = "", **options: Any) -> AsyncIterator[Page]:
    """Open the page and log in. What goes wrong in it, or leaves this server, fails the test."""
    faults: list[str] = []
    async with studio.page(**options) as page:
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning")
                and "ERR_CONNECTION_REFUSED" not in said.text
                and faults.append(said.text)
            ),
        )
        page.on("request", lambda asked: asked.url.startswith(address) or faults.append(f"went to {asked.url}"))
        await page.goto(address)
        if name:
            await log_in(page, name)
        yield page
    assert faults == []


async def log_in(page: Page, name: str) -> None:
    await page.fill("#name", name)
    await page.press("#name", "Enter")
    await expect(page.locator("#text")).to_be_focused()


async def say(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.press("#text", "Enter")


async def said(page: Page, count: int) -> list[str]:
    """Wait for that many messages; all there are."""
    await expect(page.locator("#log .said p")).to_have_count(count)
    return await page.locator("#log .said p").all_text_contents()


async def enter(client: xmlsocket.Connection[str], name: str, room: str = "lobby") -> None:
    await client.send(f'<login name="{name}"/>')
    await client.send(f'<join room="{room}"/>')
    while "<joined " not in await client.receive():
        pass


@pytest.fixture
def run(studio: Studio) -> Callable[[Scene], None]:
    return lambda scene: studio.run(scene())


def test_a_room_is_told_that_its_server_is_cut_off_from_the_others_and_with_them_again(
    studio: Studio, run: Callable[[Scene], None]
) -> None:
    async def scene() -> None:
        async with house() as chat, visit(studio, chat.address, "Ana") as ana:
            chat.chat.rooms.receive_state(False)
            chat.chat.rooms.receive_gap("lobby", 3)
            chat.chat.rooms.receive_state(True)
            notes = [
                "This server has lost the connection",
                "3 messages from another server",
                "connected with the others",
            ]
            await expect(ana.locator("#log .note")).to_have_text([re.compile(note) for note in notes])

    run(scene)


def test_two_people_log_in_and_talk(studio: Studio, run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with (
            house() as chat,
            visit(studio, chat.address, "Ana") as ana,
            visit(studio, chat.address, "Bob", **PHONE) as bob,
        ):
            await expect(ana.locator("#log .note")).to_have_text("Bob came in.")
            await say(ana, "Hello")
            await say(ana, "two\nlines é😀")
            assert await said(bob, 2) == ["Hello", "two\nlines é😀"]
            await say(bob, "Hi")
            assert await said(ana, 3) == ["Hello", "two\nlines é😀", "Hi"]
            await expect(ana.locator("#members li")).to_have_text(["Ana (you)", "Talk in private to Bob"])
            await bob.click("#leave")
            await expect(bob.locator("#name")).to_be_focused()
            await expect(ana.locator("#log .note").last).to_have_text("Bob left.")
            await expect(ana.locator("#members li")).to_have_text(["Ana (you)"])

    run(scene)


def test_what_was_said_before_is_there_for_who_joins(studio: Studio, run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with house() as chat, chat.client() as client:
            await enter(client, "old game")
            for number in range(60):
                await client.send(f'<say room="lobby" ref="x">{number}</say>')
                assert 'ref="x"' in await client.receive()
            async with visit(studio, chat.address, "Ana") as ana:
                assert await said(ana, 60) == [str(number) for number in range(60)]
                in_view = await ana.locator("#log .said").last.bounding_box()
                assert in_view
                assert in_view["y"] < 720

    run(scene)


def test_private_messages_and_rooms_have_their_own_logs_and_counts(
    studio: Studio, run: Callable[[Scene], None]
) -> None:
    async def scene() -> None:
        async with house() as chat, chat.client() as client, visit(studio, chat.address, "Ana") as ana:
            await enter(client, "Bob")
            await client.send('<tell to="Ana">psst</tell>')
            talk = ana.locator("#talks button")
            await expect(talk).to_have_text("Bob1 new messages")
            await expect(ana).to_have_title("(1) lobby – Chat")
            assert await said(ana, 0) == []
            await talk.click()
            assert await said(ana, 1) == ["psst"]
            await expect(ana).to_have_title("Private: Bob – Chat")
            await say(ana, "yes?")
            while (answer := await client.receive()).startswith(("<entered", '<told from="Bob"')):
                pass
            assert re.fullmatch('<told from="Ana" to="Bob" at="[^"]+">yes\\?</told>', answer)
            await ana.fill("#join-room", "den & <co>")
            await ana.press("#join-room", "Enter")
            await expect(ana.locator("#title")).to_have_text("den & <co>")
            await say(ana, "alone")
            assert await said(ana, 1) == ["alone"]
            await ana.locator("#rooms button", has_text="lobby").click()
            assert await said(ana, 0) == []

    run(scene)


def test_markup_is_only_ever_text(studio: Studio, run: Callable[[Scene], None]) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(1)</script>&amp;]]>"

    async def scene() -> None:
        async with house() as chat, visit(studio, chat.address, "<b>Ana</b>") as ana:
            await say(ana, evil)
            await say(ana, "a\x0bb\ufffec")  # what XML cannot say is left out
            assert await said(ana, 2) == [evil, "abc"]
            await expect(ana.locator("#me strong")).to_have_text("<b>Ana</b>")
            assert await ana.locator("img, b, #log script").count() == 0

    run(scene)


def test_errors_are_sentences_where_they_belong(studio: Studio, run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with house() as chat, visit(studio, chat.address, "Ana") as ana, visit(studio, chat.address) as other:
            await other.fill("#name", "ANA")
            await other.press("#name", "Enter")
            fault = other.locator("#login-error")
            await expect(fault).to_have_text("Somebody is logged in as ANA, or by a name that looks the same.")
            await expect(other.locator("#name")).to_be_focused()
            assert await other.get_attribute("#name", "aria-invalid") == "true"
            await log_in(other, "Bob")
            await say(ana, "x" * 65_537)
            await expect(ana.locator("#log .fault p")).to_contain_text("The text is longer than 65536 characters.")
            await expect(ana.locator("#log .fault button")).to_have_text("Send again")
            await ana.fill("#join-room", " nice" * 30)
            await ana.press("#join-room", "Enter")
            await expect(ana.locator("#fault")).to_contain_text("The name of the room is longer than 64 characters.")

    run(scene)


def test_who_loses_the_connection_comes_back_and_misses_nothing(studio: Studio, run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with house() as chat, chat.client() as client, visit(studio, chat.address, "Ana") as ana:
            await enter(client, "Bob")
            await say(ana, "before")
            assert await said(ana, 1) == ["before"]
            for turn in range(2):
                (lost,) = (each for each in chat.server.connections if each.request is not None)
                lost.abort()
                await lost.wait_closed()
                for number in range(3):
                    await client.send(f'<say room="lobby">{turn} {number}</say>')
                await expect(ana.locator("#state")).to_have_attribute("data-state", "open")
                heard = ["before", *(f"{t} {n}" for t in range(turn + 1) for n in range(3))]
                assert await said(ana, len(heard)) == heard
            await say(ana, "after")
            assert (await said(ana, 8))[-1] == "after"
            await expect(ana.locator("#members li")).to_have_count(2)

    run(scene)


def test_a_server_that_is_started_again_gets_its_people_back(studio: Studio) -> None:
    async def first(stack: contextlib.AsyncExitStack, address: str) -> Page:
        ana = await stack.enter_async_context(visit(studio, address, "Ana"))
        await say(ana, "before")
        assert await said(ana, 1) == ["before"]
        return ana

    async def lost(ana: Page) -> None:
        await expect(ana.locator("#state")).to_have_attribute("data-state", "waiting")
        await expect(ana.locator("#state-text")).to_have_text("The connection is lost. Trying again.")
        await say(ana, "while away")
        await expect(ana.locator("#fault")).to_have_text("You are not connected. Your text stays here until you are.")
        assert await ana.input_value("#text") == "while away"

    async def back(ana: Page) -> None:
        # The button is gone at any moment, as the page tries by itself too.
        await ana.evaluate("document.getElementById('retry').click()")
        await expect(ana.locator("#state-text")).to_have_text("Connected")
        await expect(ana.locator("#fault")).to_have_text("")
        await ana.press("#text", "Enter")
        assert await said(ana, 2) == ["before", "while away"]

    stack = contextlib.AsyncExitStack()
    with serving() as daemon:
        port = daemon.port
        ana = studio.run(first(stack, f"http://localhost:{port}/"))
    studio.run(lost(ana))
    with serving(listen=("--port", str(port))):
        studio.run(back(ana))
        studio.run(stack.aclose())


def test_everything_works_by_keyboard_alone(studio: Studio, run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with house() as chat, chat.client() as client, visit(studio, chat.address) as ana:
            await enter(client, "Bob")
            keys = ana.keyboard
            await expect(ana.locator("#name")).to_be_focused()
            await keys.type("Ana")
            await keys.press("Tab")
            await keys.press("Tab")
            await keys.press("Enter")
            await expect(ana.locator("#text")).to_be_focused()
            await keys.type("one")
            await keys.press("Shift+Enter")
            await keys.type("two")
            await keys.press("Enter")
            assert await said(ana, 1) == ["one\ntwo"]
            for _ in range(10):
                await keys.press("Tab")
                if await ana.evaluate("document.activeElement.textContent") == "Talk in private to Bob":
                    break
            await keys.press("Enter")
            await expect(ana.locator("#title")).to_have_text("Private: Bob")
            await expect(ana.locator("#text")).to_be_focused()

    run(scene)


def test_drawers_of_a_phone_open_and_close_and_nothing_is_wider_than_the_screen(
    studio: Studio, run: Callable[[Scene], None]
) -> None:
    async def scene() -> None:
        async with house() as chat, visit(studio, chat.address, "Ana", **PHONE) as ana:
            await say(ana, "w" * 500)
            await said(ana, 1)
            assert await ana.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for button, drawer in (("#show-places", "#places"), ("#show-people", "#people")):
                await expect(ana.locator(drawer)).to_be_hidden()
                await ana.click(button)
                await expect(ana.locator(drawer)).to_be_visible()
                assert await ana.get_attribute(button, "aria-expanded") == "true"
                await ana.keyboard.press("Escape")
                await expect(ana.locator(drawer)).to_be_hidden()
                await expect(ana.locator(button)).to_be_focused()

    run(scene)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_and_every_control_has_a_name(
    studio: Studio, run: Callable[[Scene], None], scheme: str
) -> None:
    async def scene() -> None:
        async with (
            house() as chat,
            chat.client() as client,
            visit(studio, chat.address, color_scheme=scheme, reduced_motion="reduce") as ana,
        ):
            assert await ana.evaluate(CONTRAST.read_text()) == []
            await log_in(ana, "Ana")
            await enter(client, "Bob")
            for name in "abcdefghijkl":  # each name has its colour
                await client.send(f'<say room="lobby">{name}</say>')
            await say(ana, "mine")
            await said(ana, 13)
            await client.send('<tell to="Ana">psst</tell>')
            await expect(ana.locator("#talks button")).to_be_visible()
            assert await ana.evaluate(CONTRAST.read_text()) == []
            assert await ana.locator("#log").get_attribute("role") == "log"

    run(scene)


def test_the_pages_run_only_their_own_files(studio: Studio, run: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with house() as chat:
            index = await asyncio.to_thread(urllib.request.urlopen, chat.address, timeout=20)
            with index:
                policy = index.headers["Content-Security-Policy"]
                body = index.read().decode()
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; ")
            assert "base-uri 'none'; form-action 'none'; frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert not re.search(r"<script(?![^>]* src=)|<style|\bstyle=|\bon[a-z]+=|https?:", body)
            scripts = {file.name: file.read_text() for file in PAGE.glob("*.js")}
            assert scripts
            for name, text in scripts.items():
                assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text), name

    run(scene)


def test_the_javascript_of_the_documentation_works(studio: Studio) -> None:
    text = HOWTO.read_text(encoding="utf-8")
    (code,) = (code for code in re.findall("```javascript\n(.*?)```", text, re.DOTALL) if "new WebSocket" in code)

    async def scene(port: int) -> None:
        async with visit(studio, f"http://localhost:{port}/") as page:
            async with page.expect_console_message(timeout=20_000) as printed:
                await page.evaluate(f"() => {{ {code.replace('8080', str(port))} }}")
            assert (await printed.value).text == "<hello/>"

    with serving("echo") as daemon:
        studio.run(scene(daemon.port))


@pytest.mark.parametrize("app", ["relay", "echo"])
def test_other_applications_say_what_they_are(studio: Studio, app: str) -> None:
    async def scene(address: str) -> None:
        async with visit(studio, address) as page:
            await expect(page.locator("h1")).to_have_text(app)
            await expect(page.locator("dd").first).to_contain_text(address.removeprefix("http://").strip("/"))

    with serving(app) as daemon:
        studio.run(scene(f"http://localhost:{daemon.port}/"))
