"""One Chromium, and a place where servers and scenes live beside it: an event loop in a thread of its own.

Of its own, because Playwright's blocking API keeps a loop running in the thread that it is used in, where no other test
could start one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, async_playwright

_T = TypeVar("_T")

FOLDER = Path(__file__).parent
NPM = Path(os.environ.get("XMLSOCKET_NPM", FOLDER.parent / "npm" / "node_modules"))
"""Where Ruffle, OpenFL and ws are: ``make browsers`` puts them there."""
SCENE_TIMEOUT = 50.0
"""Seconds; below the limit of a test, so that a scene that hangs says where."""

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


def chromium() -> str:
    """Where the browser is; without one the test is skipped, which in CI is a failure."""
    found = os.environ.get("XMLSOCKET_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("NOT TESTED IN A BROWSER: there is no Chromium here; on Debian: apt install chromium")
    return found


def npm(package: str) -> Path:
    """Where a package is; without it the test is skipped, which in CI is a failure."""
    folder = NPM / package
    if not (folder / "package.json").exists():
        pytest.skip(f"NOT TESTED WITH {package}: it is not in {NPM}; make browsers installs it")
    return folder


class _Site(http.server.SimpleHTTPRequestHandler):
    """The pages of ``web``, the movies of ``swf``, and the packages of npm below ``/npm/``."""

    def translate_path(self, path: str) -> str:
        path = path.partition("?")[0]
        if path.startswith("/npm/"):
            return str(NPM / path.removeprefix("/npm/"))
        return str(FOLDER / ("swf" if path.endswith(".swf") else "web") / path.lstrip("/"))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Studio:
    """Runs scenes, one after the other.

    Attributes:
        browser: The one Chromium.
        site: Where the tests' own pages are.
    """

    browser: Browser
    site: str

    def __init__(self) -> None:
        self._executable = chromium()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="studio")
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()

    def run(self, scene: Coroutine[Any, Any, _T], timeout: float = SCENE_TIMEOUT) -> _T:
        """Run a scene to its end; after ``timeout`` it is cancelled, and says where it was."""

        async def bounded() -> _T:
            async with asyncio.timeout(timeout):
                return await scene

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    def open(self) -> None:
        self._thread.start()
        self._life = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        ready = asyncio.run_coroutine_threadsafe(self._ready.wait(), self._loop)
        while not ready.done():
            if self._life.done():
                ready.cancel()
                self._life.result()
            threading.Event().wait(0.02)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._life.result(SCENE_TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _live(self) -> None:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.05), name="site")
        thread.start()
        self.site = f"http://127.0.0.1:{server.server_port}"
        try:
            async with async_playwright() as playwright:
                self.browser = await playwright.chromium.launch(executable_path=self._executable, args=_FLAGS)
                self._ready.set()
                await self._stop.wait()
                await self.browser.close()
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    @contextlib.asynccontextmanager
    async def page(self, **options: Any) -> AsyncIterator[Page]:
        """A page with nothing of other pages in it."""
        context = await self.browser.new_context(**options)
        try:
            yield await context.new_page()
        finally:
            await context.close()

    @contextlib.asynccontextmanager
    async def player(self, kind: str, ports: list[int]) -> AsyncIterator[Player]:
        """A page that plays a movie in Ruffle, or has OpenFL.

        Args:
            kind: ``avm2``, ``avm1`` or ``openfl``.
            ports: The ports of this machine that Ruffle may reach, by WebSocket.
        """
        npm("openfl" if kind == "openfl" else "@ruffle-rs/ruffle")
        async with self.page() as page:
            if kind == "openfl":
                address = f"{self.site}/openfl.html"
            else:
                proxies = [{"host": "127.0.0.1", "port": port, "proxyUrl": f"ws://127.0.0.1:{port}/"} for port in ports]
                movie = "driver.swf" if kind == "avm2" else "avm1.swf"
                settings = quote(json.dumps({"movie": f"/{movie}", "socketProxy": proxies}))
                address = f"{self.site}/player.html?settings={settings}"
            await page.goto(address)
            await page.wait_for_function("window.isReady")
            yield Player(page, kind)


class Player:
    """A page with sockets that are worked from here.

    Attributes:
        kind: ``avm2``, ``avm1`` or ``openfl``.
    """

    def __init__(self, page: Page, kind: str) -> None:
        self.page = page
        self.kind = kind
        self._count = 0

    def socket(self) -> Socket:
        """A socket that has not been used."""
        self._count += 1
        return Socket(self, f"socket{self._count}")

    async def run(self, commands: list[list[Any]]) -> None:
        """Carry out several commands in one call."""
        await self.page.evaluate("commands => void run(commands)", commands)


class Socket:
    """An XMLSocket in a page."""

    def __init__(self, player: Player, name: str) -> None:
        self.player = player
        self.name = name

    async def run(self, kind: str, *arguments: Any) -> None:
        await self.player.run([[kind, self.name, *arguments]])

    async def connect(self, port: int) -> None:
        """Connect to this machine, and wait for the event."""
        await self.run("connect", "127.0.0.1", port)
        event, _ = (await self.take(1))[0]
        assert event == "connect"

    async def send(self, *texts: str) -> None:
        await self.player.run([["send", self.name, text] for text in texts])

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Wait for events, and take them: their name, and the text of a message."""
        events = await self.player.page.evaluate("([name, count]) => take(name, count)", [self.name, count])
        return [tuple(event) for event in events]

    async def receive(self, count: int) -> list[str]:
        """Wait for messages, with no other event between them."""
        events = await self.take(count)
        assert {event for event, _ in events} <= {"data"}, events[:5]
        return [text for _, text in events]

    async def closed(self) -> None:
        """Wait for the server's end, with nothing before it."""
        assert await self.take(1) == [("close", "")]

    async def told(self) -> list[Any]:
        """What was told and not taken, without waiting."""
        return await self.player.page.evaluate("name => peek(name)", self.name)
