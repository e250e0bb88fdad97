"""What an application is to the daemon: a description by which it is found, and a handler with a start and an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..limits import HistoryLimits, LimitSet
from ..net import Handler


class AppHandler(Handler[bytes]):
    """A handler that may have things to open and to close. Who serves it calls ``start``, ``drain`` and ``close``."""

    async def start(self) -> None:
        """Open what is needed. Called once, before the first connection.

        Raises:
            XMLSocketError: It cannot work.
        """

    async def drain(self) -> None:
        """Take no more messages, and wait until all that were taken are answered.

        Called when the daemon stops, before it closes the connections. Bound the time from outside; cancelling is safe.
        """

    async def close(self) -> None:
        """Let go of everything. Called once, after the last connection."""


@dataclass(frozen=True, slots=True)
class App:
    """An application that the daemon can run by its name.

    Attributes:
        name: What is typed after ``xmlsocket serve``.
        summary: One line for ``--help``.
        make: Makes the handler. It takes the keywords of ``limits``, each with an object of that class, and where
            ``has_rooms`` is true ``broker``, which carries the rooms; all may be left out.
        options: Keyword arguments that ``xmlsocket.serve`` needs for it.
        limits: The limits that bound it beyond those of the connections, by the keyword of ``make`` that takes them.
        has_rooms: Whether ``make`` takes a ``broker``.
        keeps_history: Whether its rooms keep messages, so that a broker with a history in a file makes sense.
    """

    name: str
    summary: str
    make: Callable[..., AppHandler]
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, type[LimitSet]] = field(default_factory=dict)
    has_rooms: bool = False
    keeps_history: bool = False

    @property
    def all_limits(self) -> tuple[type[LimitSet], ...]:
        """The limits that bound it, those of the history included."""
        return (*self.limits.values(), *([HistoryLimits] if self.keeps_history else []))
