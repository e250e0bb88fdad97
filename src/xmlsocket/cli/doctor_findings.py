"""What the doctor is told, and what it finds."""

from __future__ import annotations

import dataclasses
import enum
from urllib.parse import urlsplit

from websockets.typing import Origin

from ..gateway.ruffle_config import read_entries
from ..policy import MASTER_PORT


class Status(enum.Enum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: What was looked at.
        status: How bad it is.
        what: What was found.
        why: Why it matters, and to which client.
        fix: What to do; empty where nothing is to be done.
    """

    check: str
    status: Status
    what: str
    why: str = ""
    fix: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What to examine.

    Attributes:
        host: Of the server.
        port: Of the server.
        page: URL of the page, or of the movie; ``None`` if unknown.
        movie_host: What the movie says in place of ``host``.
        websocket: Address to try in place of those on the port itself.
        config: Text of a configuration of Ruffle; its entry for the movie is tried where ``websocket`` says nothing.
        message: What to send over a WebSocket.
        master_port: Where to ask in place of 843.
        timeout: Seconds for any one answer.
    """

    host: str
    port: int
    page: str | None = None
    movie_host: str | None = None
    websocket: str | None = None
    config: str | None = None
    message: str = "<ping/>"
    master_port: int = MASTER_PORT
    timeout: float = 3.0

    @property
    def patience(self) -> float:
        """Seconds to wait for what may never come: a greeting, or one more answer."""
        return self.timeout / 3

    @property
    def said_host(self) -> str:
        """What the movie says."""
        return self.movie_host or self.host

    @property
    def known_websocket(self) -> str | None:
        """The address that a browser would open: as it was given, or as the configuration has it for the movie."""
        if self.websocket is not None or self.config is None:
            return self.websocket
        found = (
            entry.url for entry in read_entries(self.config) if (entry.host, entry.port) == (self.said_host, self.port)
        )
        url = next(found, "")
        return url if url.startswith(("ws://", "wss://")) else None

    @property
    def scheme(self) -> str:
        """Of the page; empty if unknown."""
        return "" if self.page is None else urlsplit(self.page).scheme.lower()

    @property
    def origin(self) -> Origin | None:
        """What a browser says of the page."""
        if self.page is None or self.scheme not in ("http", "https"):
            return None
        return Origin(f"{self.scheme}://{urlsplit(self.page).netloc.rpartition('@')[2]}")
