"""Which other nodes are alive: signs of life, and what follows when they stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from ...errors import BrokerUnavailableError
from .connecting import Msg
from .session import Session

logger = logging.getLogger("xmlsocket.cluster")

_VERSION = b"1"
_BEAT, _HELLO, _BYE = b"beat", b"hello", b"bye"
_TICKS = 8  # looks at the clock in a heartbeat_interval


def steady_time() -> float:
    """Seconds that only ever count up, also while the machine sleeps, for then leases run out all the same."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Nodes:
    """The nodes of a service, as one of them sees them. Itself is not among them.

    A node that gives no sign of life for ``node_timeout`` is dead, until it gives one again. One that says goodbye is
    dead at once.

    Attributes:
        hops: Round trips to the NATS server that were measured, one at each heartbeat.
        hop_seconds: How long they took together.

    Args:
        session: The way to the others.
        clock: Seconds; for tests.
    """

    def __init__(self, session: Session, clock: Callable[[], float] = steady_time) -> None:
        self.hops = 0
        self.hop_seconds = 0.0
        self._session = session
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._last_beat = clock()
        self._confirmed: float | None = None
        self._listeners: list[Callable[[str, bool], None]] = []
        self._lapse_listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._confirming: asyncio.Task[None] | None = None
        session.listen(session.subjects.nodes, self._hear)
        session.listen(session.subjects.greeting(session.node), self._hear)
        session.on_change(self._connected)

    @property
    def alive(self) -> list[str]:
        """The other nodes that are alive."""
        return list(self._heard)

    def is_alive(self, node: str) -> bool:
        """Whether a node has given a sign of life of late; always so of this one."""
        return node in self._heard or node == self._session.node

    def on_change(self, listener: Callable[[str, bool], None]) -> None:
        """Have a listener called with a node and ``True`` when it is there (again), ``False`` when it is dead."""
        self._listeners.append(listener)

    def on_lapse(self, listener: Callable[[], None]) -> None:
        """Have a listener called when this node is back after a time in which others may have held it for dead."""
        self._lapse_listeners.append(listener)

    def start(self) -> None:
        """Begin to give signs of life, and to look for those of others. Before the session starts."""
        self._task = asyncio.create_task(self._live(), name="heartbeat")

    async def close(self) -> None:
        """Say goodbye."""
        for task in (self._task, self._confirming):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        self._task = self._confirming = None
        self._say(_BYE)

    def _say(self, word: bytes, subject: str | None = None) -> bool:
        payload = b" ".join((_VERSION, self._session.node.encode(), word))
        # A goodbye goes after what is waiting, or a sign of life after it would have us live on.
        is_urgent = word != _BYE
        return self._session.publish(subject or self._session.subjects.nodes, payload, is_urgent=is_urgent)

    def _connected(self, is_connected: bool) -> None:
        if not is_connected:
            return
        # Those that were heard of before the connection was lost get a moment to answer.
        earliest = self._clock() - self._session.limits.node_timeout + 1
        for node, heard in self._heard.items():
            self._heard[node] = max(heard, earliest)
        self._say(_HELLO)
        self._beat()

    def _hear(self, message: Msg) -> None:
        version, node, word = message.data.split(b" ")
        if version != _VERSION:
            raise ValueError(f"version {version!r} of a node that is newer or older than this one")
        name = node.decode("ascii")
        if name == self._session.node:
            return
        if word == _BYE:
            self._bury(name, "said goodbye")
            return
        is_new = name not in self._heard
        self._heard[name] = self._clock()
        if word == _HELLO:
            self._say(_BEAT, self._session.subjects.greeting(name))
        if is_new:
            logger.info("node %s is there", name)
            self._tell(name, True)

    def _bury(self, node: str, why: str) -> None:
        if self._heard.pop(node, None) is not None:
            logger.info("node %s is gone: it %s", node, why)
            self._tell(node, False)

    def _tell(self, node: str, is_alive: bool) -> None:
        for listener in list(self._listeners):
            try:
                listener(node, is_alive)
            except Exception:
                logger.exception("a listener for nodes failed")

    async def _live(self) -> None:
        limits = self._session.limits
        tick = limits.heartbeat_interval / _TICKS
        before = self._clock()
        while True:
            await asyncio.sleep(tick)
            now = self._clock()
            late = now - before - tick
            before = now
            if late > tick:
                # This process was held up, and what the others have said meanwhile is still to be read.
                self._heard = {node: heard + late for node, heard in self._heard.items()}
            if now - self._last_beat >= limits.heartbeat_interval - tick / 2:
                self._beat()
            for node in [node for node, heard in self._heard.items() if now - heard > limits.node_timeout]:
                self._bury(node, f"gave no sign of life for {limits.node_timeout:g} s")

    def _beat(self) -> None:
        now = self._last_beat = self._clock()
        if self._say(_BEAT):
            self._session.publish(self._session.subjects.lease(self._session.node), b"", is_urgent=True)
            if self._confirming is None or self._confirming.done():
                self._confirming = asyncio.create_task(self._confirm(now), name="heartbeat confirmation")

    async def _confirm(self, sent: float) -> None:
        with contextlib.suppress(BrokerUnavailableError):
            await self._session.flush(is_urgent=True)
            self.hops += 1
            self.hop_seconds += self._clock() - sent
            before, self._confirmed = self._confirmed, sent
            if before is not None and sent - before >= self._session.limits.node_timeout:
                logger.warning(
                    "this node gave no sign of life for %.1f s: others may have held it for dead", sent - before
                )
                for listener in list(self._lapse_listeners):
                    listener()
