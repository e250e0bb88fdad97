"""Players and the server that they meet, kept for all tests of a run."""

from __future__ import annotations

import asyncio
import contextlib

from tests.browser.studio import Player, Socket, Studio
from tests.browser.venue import Peer, Venue


class Setting:
    """A player and a server, and the door between them."""

    def __init__(self, player: Player, venue: Venue, door: str) -> None:
        self.player = player
        self.venue = venue
        self.port = venue.ports[door]

    async def meet(self) -> tuple[Socket, Peer]:
        """A new socket, and what the server has of it."""
        socket = self.player.socket()
        await socket.connect(self.port)
        return socket, await self.greet(socket)

    async def greet(self, socket: Socket) -> Peer:
        # Ruffle tells that it is connected before it is, so only an exchange shows that the way is open.
        await socket.send(socket.name)
        peer = await self.venue.accept()
        assert await peer.receive() == socket.name.encode()
        await peer.send(b"welcome")
        assert await socket.receive(1) == ["welcome"]
        return peer


class Settings:
    """The players, each opened when it is first needed, and the venue."""

    venue: Venue

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._players: dict[str, Player] = {}
        self._stack = contextlib.AsyncExitStack()
        self._over = asyncio.Event()

    def open(self) -> None:
        self._task = self.studio.run(self._start())

    def close(self) -> None:
        self.studio.run(self._stop())

    async def _start(self) -> asyncio.Task[None]:
        opened = asyncio.Event()

        async def live() -> None:  # what is opened in a task has to be closed in it
            async with Venue().open() as self.venue, self._stack:
                opened.set()
                await self._over.wait()

        task = asyncio.create_task(live())
        await opened.wait()
        return task

    async def _stop(self) -> None:
        self._over.set()
        await self._task

    async def player(self, kind: str) -> Player:
        """The player of a kind; see ``Studio.player``."""
        if kind not in self._players:
            ports = list(self.venue.ports.values())
            self._players[kind] = await self._stack.enter_async_context(self.studio.player(kind, ports))
        return self._players[kind]

    async def set(self, kind: str, door: str) -> Setting:
        return Setting(await self.player(kind), self.venue, door)
