"""The HTTP side of the port: one request in, one answer out, and then HTTP is over.

Either the connection becomes a WebSocket, or it gets a page or a refusal and is closed. Headers, keys and extensions
are judged by the sans-I/O side of ``websockets``; nothing of it lives on after the handshake.
"""

from __future__ import annotations

import email.utils
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from websockets.exceptions import InvalidHandshake, InvalidOrigin, InvalidUpgrade, NegotiationError, SecurityError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.server import ServerProtocol

from ..limits import Limits
from ..wire.deflate import DeflateOptions, DeflateParameters
from .http import Answer, FilePart, Page, Pages, Request, Upgrade

if TYPE_CHECKING:
    from websockets.extensions.base import Extension
    from websockets.http11 import Request as _LibraryRequest
    from websockets.typing import ExtensionParameter, Origin

TEXT_SUBPROTOCOL: Final = "xmlsocket.text"
"""Text frames without NUL, for plain JavaScript."""
BINARY_SUBPROTOCOL: Final = "binary"
"""What clients of websockify offer; means what happens without any subprotocol. A browser that offered it fails without
an answer."""

_VERSION: Final = "13"
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) (HTTP/1\.[0-9])")
_SERVER: Final = re.compile(r"(?:https?|wss?)://[^/?#]+", re.IGNORECASE)
_TARGET: Final = re.compile(r"(/[^?#]*)(?:\?([^#]*))?")
_METHODS: Final = ("GET", "HEAD")

# The library's log lines would say again what the server says with the connection's name.
_silence = logging.Logger("xmlsocket.handshake", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeOptions:
    """What a server agrees to.

    Attributes:
        allowed_origins: Whose pages may connect: values of ``Origin`` such as ``https://example.org``, compared
            exactly; ``None`` for all. A client that sends no ``Origin`` is no browser and may always connect: it could
            send what it likes.
        subprotocols: What is agreed to where the client offers it. The client's order decides.
        deflate: How to compress, where the client offers it; ``None`` to decline.
        accepts: Says of a request for a WebSocket whether there is one, by its path for example; ``None`` for always.
        pages: What else the port shows.
        max_size: Longest request head in bytes.
    """

    allowed_origins: frozenset[str] | None = None
    subprotocols: Sequence[str] = (TEXT_SUBPROTOCOL, BINARY_SUBPROTOCOL)
    deflate: DeflateOptions | None = None
    accepts: Callable[[Request], bool] | None = None
    pages: Pages = field(default_factory=dict)
    max_size: int = Limits().max_handshake_size


class _DeflateFactory(ServerPerMessageDeflateFactory):
    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        # zlib cannot do it (see DeflateOptions), which releases of the library before 17.4 do not know.
        if ("server_max_window_bits", "8") in params:
            raise NegotiationError("server_max_window_bits=8 is not supported")
        return super().process_request_params(params, accepted_extensions)


class Handshake:
    """Read the request at the start of a connection, in any pieces. How long to wait for it is for the caller to say.

    Args:
        options: What the server agrees to.
    """

    __slots__ = ("_data", "_line", "_options")

    def __init__(self, options: HandshakeOptions) -> None:
        self._options = options
        self._data = bytearray()
        self._line = 0  # where the line begins whose end was not found yet

    def feed(self, data: bytes) -> Upgrade | Answer | None:
        """Take the next bytes; return what to do, or ``None`` while the request is not complete.

        After an outcome feed no more.
        """
        searched = len(self._data)
        self._data += data
        limit = self._options.max_size
        while 0 <= (end := self._data.find(b"\n", searched)) < limit:
            if end == 0 or self._data[end - 1] != 0x0D:
                return refuse(HTTPStatus.BAD_REQUEST, "A line of the request does not end with CRLF.")
            if end - 1 == self._line:
                return self._decide(bytes(self._data[: end + 1]), bytes(self._data[end + 1 :]))
            self._line = searched = end + 1
        if len(self._data) >= limit:
            return refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The request is longer than {limit} bytes (max_handshake_size).",
            )
        return None

    def _decide(self, head: bytes, rest: bytes) -> Upgrade | Answer:
        request_line, _, header_lines = head.partition(b"\r\n")
        match = _REQUEST_LINE.fullmatch(request_line)
        if match is None:
            return refuse(HTTPStatus.BAD_REQUEST, "This is no request line of HTTP/1.1.")
        method, target, version = (part.decode("ascii") for part in match.groups())
        if method not in _METHODS:
            allow = (("Allow", ", ".join(_METHODS)),)
            return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "There is nothing here but GET and HEAD.", headers=allow)
        answer = self._judge(method, target, min(version, "HTTP/1.1"), header_lines, rest)
        if method == "HEAD" and isinstance(answer, Answer):
            return replace(answer, response=answer.response[: answer.response.index(b"\r\n\r\n") + 4], file=None)
        return answer

    def _judge(self, method: str, target: str, version: str, header_lines: bytes, rest: bytes) -> Upgrade | Answer:
        place = _find_place(target)
        if place is None:
            return refuse(HTTPStatus.BAD_REQUEST, "The request asks for no path.")
        library = self._new_library()
        library.receive_data(b"GET / HTTP/1.1\r\n" + header_lines)
        events = library.events_received()
        if not events:
            return _refuse_headers(library.handshake_exc)
        parsed = cast("_LibraryRequest", events[0])
        request = Request(method, *place, version, tuple(parsed.headers.raw_items()))
        hosts = len(parsed.headers.get_all("Host"))
        if hosts > 1 or (hosts == 0 and version == "HTTP/1.1"):
            return refuse(HTTPStatus.BAD_REQUEST, "The request must have one Host header.")
        if method == "GET" and _wants_websocket(request):
            return self._upgrade(library, parsed, request, rest)
        return self._show(request)

    def _new_library(self) -> ServerProtocol:
        options = self._options
        origins = options.allowed_origins
        deflate = options.deflate
        extensions = (
            []
            if deflate is None
            else [
                _DeflateFactory(
                    server_no_context_takeover=deflate.server_no_context_takeover,
                    client_no_context_takeover=deflate.client_no_context_takeover,
                    server_max_window_bits=deflate.server_max_window_bits,
                    client_max_window_bits=deflate.client_max_window_bits,
                )
            ]
        )
        return ServerProtocol(
            origins=None if origins is None else [*cast("frozenset[Origin]", origins), None],
            extensions=extensions,
            # A function and no method: the library makes it a method of its own.
            select_subprotocol=lambda _, offered: next(
                (name for name in offered if name in options.subprotocols), None
            ),
            logger=_silence,
        )

    def _upgrade(
        self, library: ServerProtocol, parsed: _LibraryRequest, request: Request, rest: bytes
    ) -> Upgrade | Answer:
        if request.version == "HTTP/1.0":
            return _refuse_upgrade("A WebSocket needs HTTP/1.1; a proxy in between may speak HTTP/1.0.")
        try:
            accept, extensions, subprotocol = library.process_request(parsed)
        except InvalidUpgrade:
            return _refuse_upgrade(
                "A WebSocket needs the headers Upgrade: websocket and Connection: Upgrade; "
                "a proxy in between may have removed them."
            )
        except InvalidOrigin:
            return refuse(HTTPStatus.FORBIDDEN, "Pages of this origin may not connect.")
        except (InvalidHandshake, ValueError):  # the second for bytes that are no text, before release 17
            if request.header("Sec-WebSocket-Version") != _VERSION:
                return _refuse_upgrade(f"The version of the WebSocket protocol here is {_VERSION}.")
            return refuse(HTTPStatus.BAD_REQUEST, "The WebSocket handshake has a missing or malformed header.")
        if self._options.accepts is not None and not self._options.accepts(request):
            return refuse(HTTPStatus.NOT_FOUND, "There is no WebSocket at this path.")
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}",
        ]
        if extensions is not None:
            lines.append(f"Sec-WebSocket-Extensions: {extensions}")
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        response = "\r\n".join((*lines, "", "")).encode("ascii")
        return Upgrade(response, request, library.origin, subprotocol, _deflate_parameters(library), rest)

    def _show(self, request: Request) -> Answer:
        pages = self._options.pages
        page = pages(request) if callable(pages) else pages.get(request.path)
        if page is None:
            return refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
        file = page.body if isinstance(page.body, FilePart) else None
        return Answer(page.status, _respond(page), f"{request.method} {request.path}", file)


def _find_place(target: str) -> tuple[str, str] | None:
    """Path and query of a request target, with or without the server (RFC 9112, section 3.2)."""
    server = _SERVER.match(target)
    if server is not None:
        target = target[server.end() :]
        if not target.startswith("/"):
            target = "/" + target
    match = _TARGET.fullmatch(target)
    return match and (match[1], match[2] or "")


def _wants_websocket(request: Request) -> bool:
    # A proxy that knows nothing of WebSockets removes Upgrade and Connection, and leaves the key.
    return "websocket" in (request.header("Upgrade") or "").lower() or request.header("Sec-WebSocket-Key") is not None


def _deflate_parameters(library: ServerProtocol) -> DeflateParameters | None:
    for extension in library.extensions:
        if isinstance(extension, PerMessageDeflate):
            return DeflateParameters(
                server_no_context_takeover=extension.local_no_context_takeover,
                client_no_context_takeover=extension.remote_no_context_takeover,
                server_max_window_bits=extension.local_max_window_bits,
                client_max_window_bits=extension.remote_max_window_bits,
            )
    return None


def refuse(status: HTTPStatus, detail: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Answer with a sentence that says why not."""
    page = Page(f"{detail}\n".encode(), "text/plain; charset=utf-8", headers, status)
    return Answer(status, _respond(page), detail)


def _refuse_upgrade(detail: str) -> Answer:
    headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", _VERSION))
    return refuse(HTTPStatus.UPGRADE_REQUIRED, detail, headers=headers)


def _refuse_headers(error: Exception | None) -> Answer:
    if isinstance(error, SecurityError) or isinstance(error and error.__cause__, SecurityError):
        return refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request has too many or too long headers.")
    return refuse(HTTPStatus.BAD_REQUEST, "The request has malformed headers, or a body.")


def _respond(page: Page) -> bytes:
    own = {name.lower() for name, _ in page.headers}
    headers = [
        ("Date", email.utils.formatdate(usegmt=True)),
        ("Connection", "Upgrade, close" if "upgrade" in own else "close"),
        ("Content-Type", page.content_type),
        ("Content-Length", str(page.body.size if isinstance(page.body, FilePart) else len(page.body))),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ]
    lines = [f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in own]
    lines += [f"{name}: {value}" for name, value in page.headers]
    return "\r\n".join((*lines, "", "")).encode("ascii") + (b"" if isinstance(page.body, FilePart) else page.body)
