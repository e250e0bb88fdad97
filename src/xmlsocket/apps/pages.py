"""What an application shows to browsers: the chat its page, every other a page that says what is here.

The pages load nothing from elsewhere and run no script but their own file; the policy in their headers has the browser
see to that, whatever somebody says in a room.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from ..net.http import Page, Pages, Request

_FOLDER: Final = Path(__file__).with_name("page")
_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_HEADERS: Final = (
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
_STATUS: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} – xmlsocket</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="chat.css">
</head>
<body>
<main class="about">
<h1>{name}</h1>
{content}</main>
</body>
</html>
"""
_CONTENT: Final = """\
<p>This is an XMLSocket server{summary}. It is running, and there is nothing else to see here.</p>
<h2>How to connect</h2>
<dl>
<dt>Programs and Flash movies</dt>
<dd>XMLSocket to <code>{host}</code>: text messages over TCP, each ended by one zero byte</dd>
<dt>Ruffle and OpenFL</dt>
<dd>WebSocket to <code>ws://{host}/</code>, or <code>wss:</code> over TLS: binary frames, each a whole message with its
zero byte</dd>
<dt>JavaScript of a web page</dt>
<dd>the same WebSocket with the subprotocol <code>xmlsocket.text</code>: text frames, without the zero byte</dd>
</dl>
"""


def chat_pages(request: Request) -> Page | None:
    """Find a page or a file of the chat."""
    return _find_file("index.html" if request.path == "/" else request.path[1:], request)


def status_pages(name: str, summary: str = "") -> Pages:
    """Make the page that tells what is served, for an application that has none of its own.

    Args:
        name: Of the application.
        summary: What it does, in half a sentence.
    """

    def find(request: Request) -> Page | None:
        said = f" for {name}: {summary}" if summary else ""
        return about_page(request, name, _CONTENT.replace("{summary}", html.escape(said)))

    return find


def about_page(request: Request, name: str, content: str) -> Page | None:
    """Make the page at ``/`` that tells what is served, or find a file that it needs.

    Args:
        request: What was asked for.
        name: The heading.
        content: HTML to stand below it; ``{host}`` becomes the host and port that were asked.
    """
    if request.path != "/":
        return _find_file(request.path[1:], request) if request.path in ("/chat.css", "/icon.svg") else None
    host = _host_of(request) or "this host and port"
    shown = content.replace("{host}", html.escape(host))
    return Page(_STATUS.format(name=html.escape(name), content=shown).encode(), headers=_headers_for(request))


def _find_file(name: str, request: Request) -> Page | None:
    body = _files().get(name)
    if body is None:
        return None
    return Page(body, _TYPES[Path(name).suffix], _headers_for(request))


@cache
def _files() -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir()) if file.suffix in _TYPES}


def _headers_for(request: Request) -> tuple[tuple[str, str], ...]:
    host = _host_of(request)
    # For Safari before 15.4, to which 'self' was not the WebSocket of the same host.
    sockets = f" ws://{host} wss://{host}" if host else ""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (("Content-Security-Policy", policy), *_HEADERS)


def _host_of(request: Request) -> str:
    """The Host header, if it can stand in a policy and on a page."""
    host = request.header("Host") or ""
    return host if _HOST.fullmatch(host) else ""
