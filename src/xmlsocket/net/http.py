"""An HTTP request, the pages it may ask for, and what comes of it: plain values, whoever parses and decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..wire.deflate import DeflateParameters

_STATUSES: Final = frozenset(status.value for status in HTTPStatus if status >= HTTPStatus.OK)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Attributes:
        method: In capitals, as sent.
        path: As sent, not percent-decoded; without scheme and host, if they were sent.
        query: What follows the question mark, as sent; empty if there is none.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        headers: Names and values in the order of the request.
    """

    method: str
    path: str
    query: str
    version: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of a header by its name in any case; several are joined by commas."""
        name = name.lower()
        values = [value for key, value in self.headers if key.lower() == name]
        return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file, which is read when it is sent.

    Attributes:
        path: Of the file.
        start: Where the part begins, in bytes.
        size: How long it is, in bytes.
    """

    path: Path
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the server, for GET and HEAD.

    Attributes:
        body: The content; of a file what is to be sent, see :func:`xmlsocket.net.files.show_file`.
        content_type: Its media type.
        headers: More headers, such as ``Content-Security-Policy``.
        status: HTTP status.
    """

    body: bytes | FilePart
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200

    def __post_init__(self) -> None:
        for name, value in (("Content-Type", self.content_type), *self.headers):
            if not (name + value).isascii() or not (name + value).isprintable():
                raise ConfigurationError(f"the header {name!r}: {value!r} must be printable ASCII")
        if self.status not in _STATUSES:
            raise ConfigurationError(f"{self.status!r} is no status of an HTTP answer")


Pages: TypeAlias = Mapping[str, Page] | Callable[[Request], Page | None]
"""The pages by path, or a function that finds one; ``None`` is answered with 404."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The connection becomes a WebSocket, once ``response`` is sent. It may still be refused by :func:`refuse`.

    Attributes:
        response: The bytes to send.
        request: What was asked for.
        origin: The page's origin as the browser tells it, or ``None``.
        subprotocol: The one agreed on, or ``None``.
        deflate: How messages may be compressed, or ``None``.
        rest: The first bytes of frames, if they came with the request.
    """

    response: bytes = field(repr=False)
    request: Request
    origin: str | None
    subprotocol: str | None
    deflate: DeflateParameters | None
    rest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The connection gets these bytes and is closed. What else the peer sent or sends is to be ignored.

    Attributes:
        status: HTTP status.
        response: The bytes to send.
        detail: Why, for the log.
        file: What is to follow them, or ``None``.
    """

    status: int
    response: bytes = field(repr=False)
    detail: str
    file: FilePart | None = None
