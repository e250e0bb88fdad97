"""The player's life: it runs as long as some socket is open or connecting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..net.process import new_event_loop

if TYPE_CHECKING:
    from .link import Link
    from .system import Content


class Player:
    """All links of one event loop. A link is in it from ``connect`` until its last byte has left."""

    def __init__(self) -> None:
        self._links: set[Link] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @staticmethod
    def current() -> Player:
        """The player of the running event loop.

        Raises:
            RuntimeError: No event loop is running.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "a socket connects only while an event loop runs: call it from a function that you pass to "
                "xmlsocket.flash.run(), or from a coroutine"
            ) from None
        player = _players.get(loop)
        if player is None:
            player = _players[loop] = Player()
        return player

    def add(self, link: Link) -> None:
        """Count a link in."""
        self._links.add(link)
        self._idle.clear()

    def discard(self, link: Link) -> None:
        """Count a link out."""
        self._links.discard(link)
        if not self._links:
            self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until no link is left."""
        # Not once: who waits is told in the next turn of the loop, and somebody may have connected by then.
        while self._links:
            await self._idle.wait()

    def stop(self) -> None:
        """End all links at once."""
        for link in list(self._links):
            link.abort()


_players: WeakKeyDictionary[asyncio.AbstractEventLoop, Player] = WeakKeyDictionary()


def run(main: Callable[[], Awaitable[object] | object], content: Content | None = None) -> None:
    """Run a program as the player would, until no socket is open or connecting.

    Args:
        main: A function that makes the sockets and adds the listeners; it may be a coroutine function, and is then
            waited for too. Other tasks and timers do not keep the player running.
        content: The content that the program is; by default that of an AIR application.

    Raises:
        Exception: Whatever ``main`` raises; all sockets are then closed at once.
        RuntimeError: An event loop is running already; there, just call ``main``.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("an event loop is running already, so sockets just work: call the program itself")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_play(main, content))


async def _play(main: Callable[[], Awaitable[object] | object], content: Content | None) -> None:
    player = Player.current()
    try:
        if content is None:
            await _call(main)
        else:
            with content:
                await _call(main)
        await player.wait_until_idle()
    finally:
        player.stop()
        await player.wait_until_idle()


async def _call(main: Callable[[], Awaitable[object] | object]) -> None:
    result = main()
    if isinstance(result, Awaitable):
        await result
