"""A local page that plays a movie with Ruffle, and the files it needs."""

from __future__ import annotations

import html
import json
import logging
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from ..errors import ConfigurationError
from ..net.files import show_file
from ..net.http import Page, Request
from .ruffle_config import Spelling, names_in_movies
from .targets import Targets

_RUFFLE: Final = "/@ruffle/"
_SCRIPT: Final = "ruffle.js"
_PACKAGE: Final = Path("node_modules", "@ruffle-rs", "ruffle")
_SERVER: Final = re.compile(r"[A-Za-z0-9.:\[\]-]+")
"""What a Host header may be to be put into a policy."""
_LOOPBACK: Final = ("localhost", "127.0.0.1")
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".flv": "video/x-flv",
    ".gif": "image/gif",
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".swf": "application/x-shockwave-flash",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".xml": "text/xml",
}


def find_ruffle(where: str | None, near: Sequence[Path]) -> Path | str:
    """Find Ruffle.

    Args:
        where: A folder (of the npm package, or one that has it installed), or the address of a CDN.
        near: Folders to look into where nothing is said.

    Returns:
        The folder with ``ruffle.js`` in it, or the address of ``ruffle.js``.

    Raises:
        ConfigurationError: It is not there.
    """
    if where is not None and urlsplit(where).scheme in ("http", "https"):
        return where if urlsplit(where).path.endswith(".js") else where.rstrip("/") + "/" + _SCRIPT
    for folder in near if where is None else (Path(where),):
        for candidate in (folder, folder / _PACKAGE, folder / "@ruffle-rs" / "ruffle"):
            if (candidate / _SCRIPT).is_file() and (where is not None or candidate != folder):
                return candidate.resolve()
    if where is not None:
        raise ConfigurationError(
            f"there is no {_SCRIPT} in {where}; name the folder of the npm package @ruffle-rs/ruffle"
        )
    raise ConfigurationError(
        "say where Ruffle is: npm install @ruffle-rs/ruffle in this folder, or --ruffle with the folder of that "
        "package, or with the https address of its ruffle.js on a CDN of your choice"
    )


logger = logging.getLogger("xmlsocket.gateway")

_ICON: Final = "/favicon.ico"  # browsers ask for it unasked
_MOST_MISSING: Final = 100  # files that are named in the log, each once


@dataclass(frozen=True, slots=True, kw_only=True)
class MoviePages:
    """What the port shows to a browser: the page at ``/``, the movie, Ruffle, and the game's other files.

    Attributes:
        movie: The SWF.
        ruffle: What :func:`find_ruffle` found.
        targets: Of the gateway on the same port.
        spellings: What the movie says in place of the first target's host.
        base: Folder of the game's other files; ``None`` for no others.
        flash_vars: Given to the movie.
        sources: Other sites that the movie may load from, such as ``https://example.org``.
    """

    movie: Path
    ruffle: Path | str
    targets: Targets
    spellings: Sequence[Spelling] = ()
    base: Path | None = None
    flash_vars: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[str] = ()
    _missing: set[str] = field(default_factory=set, init=False, repr=False)

    def __call__(self, request: Request) -> Page | None:
        """Find a page, see :data:`xmlsocket.net.http.Pages`."""
        path = os.fsdecode(unquote_to_bytes(request.path))
        page = self._find(path, request)
        if page is None and path != _ICON and len(self._missing) < _MOST_MISSING and path not in self._missing:
            self._missing.add(path)
            hint = "; --base FOLDER serves the other files of a game" if self.base is None else f" in {self.base}"
            logger.warning("there is no file %s%s", ascii(path)[:200], hint)
        return page

    def _find(self, path: str, request: Request) -> Page | None:
        if path == "/":
            return self._page(request)
        if isinstance(self.ruffle, Path) and path.startswith(_RUFFLE):
            return _show(self.ruffle, path.removeprefix(_RUFFLE), request)
        if path == "/" + self.movie.name:
            return _show(self.movie.parent, self.movie.name, request)
        return None if self.base is None else _show(self.base, path[1:], request)

    def _page(self, request: Request) -> Page:
        nonce = secrets.token_urlsafe(16)
        policy = "; ".join(f"{kind} {' '.join(places)}" for kind, places in self._places(request, nonce).items())
        return Page(self.render(nonce).encode(), headers=(("Content-Security-Policy", policy),))

    def _places(self, request: Request, nonce: str) -> dict[str, list[str]]:
        """Say what the page may load, and from where: the movie cannot reach anything else."""
        host = request.header("Host") or ""
        sockets = [f"{kind}://{host}" for kind in ("ws", "wss")] if _SERVER.fullmatch(host) else []
        here = ["'self'", *self.sources]
        cdn = []
        if isinstance(self.ruffle, str):
            parts = urlsplit(self.ruffle)
            cdn.append(f"{parts.scheme}://{parts.netloc}")
        return {
            "default-src": ["'none'"],
            "script-src": ["'self'", f"'nonce-{nonce}'", "'wasm-unsafe-eval'", *cdn],
            "connect-src": [*here, *sockets, *cdn],
            "img-src": [*here, "data:", "blob:"],
            "media-src": [*here, "data:", "blob:"],
            "font-src": [*here, "data:", *cdn],
            "style-src": ["'unsafe-inline'"],  # the player puts its own into its shadow tree
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
        }

    def entries(self) -> list[dict[str, object]]:
        """The ``socketProxy`` setting, with paths in place of addresses: the page knows by which name it was loaded."""
        entries: dict[tuple[str, int], str] = {}
        for index, target in enumerate(self.targets):
            path = "/" if len(self.targets) == 1 else quote(target.path or "/", safe="/:[]~")
            names = names_in_movies(target, self.spellings if index == 0 else ())
            if target.target.host in _LOOPBACK:
                names += [(name, target.target.port) for name in _LOOPBACK]
            for name in names:
                entries.setdefault(name, path)
        return [{"host": host, "port": port, "proxyUrl": path} for (host, port), path in entries.items()]

    def render(self, nonce: str) -> str:
        """Write the page, whose own scripts are known by a nonce."""
        script = self.ruffle if isinstance(self.ruffle, str) else _RUFFLE + _SCRIPT
        return _TEMPLATE.format(
            title=html.escape(self.movie.stem),
            script=html.escape(script),
            nonce=nonce,
            entries=_to_script(self.entries()),
            load=_to_script({"url": "/" + quote(self.movie.name), "parameters": dict(self.flash_vars)}),
        )


def _to_script(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")


def _show(folder: Path, name: str, request: Request) -> Page | None:
    """Show a file of a folder; nothing outside of it, by whatever name or link."""
    if "\0" in name or "\\" in name or (os.name == "nt" and ":" in name):
        return None
    if name.endswith("/") or any(part.startswith(".") for part in name.split("/")):
        return None
    root = folder.resolve()
    try:
        file = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):
        return None  # links in a circle, or a name that no file can have
    if not file.is_relative_to(root):
        return None
    return show_file(file, _TYPES.get(file.suffix.lower(), "application/octet-stream"), request)


_TEMPLATE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
html, body {{ margin: 0; height: 100%; background: #222; color: #eee; font: 16px system-ui, sans-serif; }}
#movie, #movie > * {{ display: block; width: 100%; height: 100%; }}
#error {{ position: fixed; bottom: 0; margin: 0; padding: 1em; background: #222; }}
#error[hidden] {{ display: none; }}
</style>
<div id="movie"></div>
<p id="error" role="alert" hidden></p>
<script nonce="{nonce}">
  const here = location.origin.replace(/^http/, "ws");
  const socketProxy = {entries}.map((entry) => ({{ ...entry, proxyUrl: here + entry.proxyUrl }}));
  window.RufflePlayer = window.RufflePlayer || {{}};
  window.RufflePlayer.config = {{ socketProxy, autoplay: "on", unmuteOverlay: "hidden", polyfills: false }};
  function complain(text) {{
    const place = document.getElementById("error");
    place.textContent = text;
    place.hidden = false;
  }}
  addEventListener("error", (event) => {{
    if (event.target.tagName === "SCRIPT") complain("Ruffle could not be loaded from " + event.target.src);
  }}, true);
  addEventListener("securitypolicyviolation", (event) => {{
    if (/^(https?|wss?):/.test(event.blockedURI))
      complain("The movie may not load " + event.blockedURI + "; --load-from allows it");
  }});
</script>
<script src="{script}"></script>
<script nonce="{nonce}">
  if (window.RufflePlayer.newest) {{
    const player = window.RufflePlayer.newest().createPlayer();
    document.getElementById("movie").append(player);
    const loading = player.ruffle ? player.ruffle() : player;
    loading.load({load}).catch((error) => complain("The movie could not be loaded: " + error));
  }}
</script>
</html>
"""
