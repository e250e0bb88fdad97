"""``xmlsocket ruffle serve`` as people run it: a process of its own, and a game that it plays in Chromium."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.async_api import Page
from tests.browser.studio import FOLDER, Studio, npm
from tests.cli.processes import DEADLINE, Daemon
from tests.cli.test_gateway import gateway

LEVEL = '<level name="é😀"/>'


class GameServer:
    """A server from long ago: notes the first message of a player, greets it, and hangs up when it is told to."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.has_heard = threading.Event()
        self.may_close = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield listener.getsockname()[1]
            self.may_close.set()
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the test is over
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(DEADLINE)
            data = b""
            while not data.endswith(b"\0"):
                data += sock.recv(4096)
            self.heard.append(data[:-1])
            # Cut in an unlucky place: within a character, and with two messages in one piece.
            for piece in (b"Welcome, An\xc3", b"\xa1!\0The level has begun.\0"):
                sock.sendall(piece)
            self.has_heard.set()
            self.may_close.wait(DEADLINE)


@contextmanager
def playing(movie: str, folder: Path, port: int, *options: str) -> Iterator[Daemon]:
    game = folder / "my game.swf"
    (folder / "files" / "levels").mkdir(parents=True)
    shutil.copy(FOLDER / "swf" / movie, game)
    (folder / "files" / "levels" / "level 1.xml").write_text(LEVEL)
    arguments = [str(game), "--target", f"127.0.0.1:{port}", "--ruffle", str(npm("@ruffle-rs/ruffle"))]
    arguments += ["--base", str(folder / "files"), "--flashvar", f"port={port}", *options]
    with gateway(*arguments, command=("ruffle", "serve")) as daemon:
        yield daemon


COUNT_LINES = """async picture => {
  const image = new Image();
  image.src = "data:image/png;base64," + picture;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  let lines = 0, wasDark = false;
  for (let row = 0; row < image.height; row++) {
    const pixels = canvas.getImageData(0, row, image.width, 1).data;
    const isDark = pixels.some((value, index) => index % 4 === 0 && value < 128);
    if (isDark && !wasDark) lines++;
    wasDark = isDark;
  }
  return lines;
}"""


async def see_lines(page: Page, count: int) -> bytes:
    """Wait until so many lines of text are to be seen, dark on white; give the picture."""
    async with asyncio.timeout(DEADLINE):
        while True:
            picture = await page.screenshot()
            if await page.evaluate(COUNT_LINES, base64.b64encode(picture).decode()) == count:
                return picture


# The movie spells the host as the target does, or in the other way that names this machine.
@pytest.mark.parametrize(("movie", "host"), [("game2.swf", "127.0.0.1"), ("game1.swf", "localhost")])
def test_a_game_is_played_with_its_flashvars_and_its_files_and_talks_to_its_server(
    studio: Studio, movie: str, host: str, tmp_path: Path
) -> None:
    server = GameServer()

    async def scene(address: str) -> None:
        async with studio.page(viewport={"width": 640, "height": 480}) as page:
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
            await page.goto(address)
            await page.wait_for_selector("#movie ruffle-player")
            assert await asyncio.to_thread(server.has_heard.wait, DEADLINE)
            await see_lines(page, 2)
            server.may_close.set()
            picture = await see_lines(page, 3)
            assert complaints == []
            assert await page.is_hidden("#error")
            if folder := os.environ.get("XMLSOCKET_PICTURES"):
                Path(folder, movie).with_suffix(".png").write_bytes(picture)

    with server.listening() as port, playing(movie, tmp_path, port, "--flashvar", f"host={host}", *ANA) as daemon:
        studio.run(scene(f"http://localhost:{daemon.port}/"))
        assert server.heard == [f"Ána {LEVEL}".encode()]
        assert daemon.stop() == 0
        assert daemon.stderr == ""


ANA = ("--flashvar", "player=Ána")


def test_a_page_whose_ruffle_cannot_be_loaded_says_so(studio: Studio, tmp_path: Path) -> None:
    async def scene(address: str, complaint: str) -> None:
        async with studio.page() as page:
            await page.goto(address)
            await page.wait_for_selector("#error:not([hidden])")
            assert complaint in await page.inner_text("#error")

    with playing("game1.swf", tmp_path, 1, "--ruffle", "http://127.0.0.1:1/") as daemon:
        studio.run(scene(f"http://localhost:{daemon.port}/", "Ruffle could not be loaded from http://127.0.0.1:1/"))


def test_the_page_cannot_reach_another_site_unless_it_is_allowed(studio: Studio, tmp_path: Path) -> None:
    async def scene(address: str, *, is_allowed: bool) -> None:
        async with studio.page() as page:
            await page.goto(address)
            reached = await page.evaluate(
                "url => fetch(url, {mode: 'no-cors'}).then(() => true, () => false)", studio.site + "/player.html"
            )
            assert reached is is_allowed
            if not is_allowed:
                await page.wait_for_selector("#error:not([hidden])")
                assert "--load-from" in await page.inner_text("#error")

    with playing("game1.swf", tmp_path / "strict", 1) as daemon:
        studio.run(scene(f"http://localhost:{daemon.port}/", is_allowed=False))
    with playing("game1.swf", tmp_path / "open", 1, "--load-from", studio.site) as daemon:
        studio.run(scene(f"http://localhost:{daemon.port}/", is_allowed=True))
