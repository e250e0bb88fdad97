"""``xmlsocket ruffle``: the setting that Ruffle needs, and a page that plays a movie."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from ..errors import ConfigurationError
from ..gateway import Targets, parse_target
from ..gateway.ruffle_config import Spelling, make_entries, merge, render_json, render_script
from ..gateway.ruffle_page import MoviePages, find_ruffle
from ..gateway.targets import NamedTarget
from ..net.policy_answer import PolicyAnswer
from ..policy import Grant, Policy
from .configuration import LOG_LEVELS
from .console import note, out
from .gateway import parse_listen, read_limits
from .gateway_daemon import GATEWAY_LIMITS, GatewaySettings, run_gateway
from .options import add_limits, choose, explicit, with_default
from .ports import find_free_port

_SITE: Final = re.compile(r"https?://(?:[A-Za-z0-9*.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")
_LOCAL: Final = ("localhost", "127.0.0.1", "::1", "[::1]")

app = typer.Typer(name="ruffle", help="Play movies in a browser with Ruffle.", no_args_is_help=True)

_TargetOption = Annotated[
    list[str],
    typer.Option(
        "--target",
        metavar="[NAME=]HOST:PORT",
        help="The game's server, host and port exactly as the movie says them; may be repeated. "
        "The same as for xmlsocket gateway.",
    ),
]
_MovieHostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--movie-host",
        metavar="HOST[:PORT]",
        help="What the movie says, letter for letter, where that differs from the (first) target; may be repeated.",
    ),
]


@app.command("config")
def config_command(
    target: _TargetOption,
    public_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The gateway as browsers reach it: wss://example.org/game/; a page loaded by https needs wss.",
        ),
    ],
    movie_host: _MovieHostOption = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Put it into this file: JSON, or JavaScript or HTML with window.RufflePlayer.config = {...}. "
            "Everything else in it stays as it is.",
        ),
    ] = None,
    script: Annotated[bool, typer.Option("--script", help="Print JavaScript for a page instead of JSON.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --into: print what the file would become, and leave it.")
    ] = False,
) -> None:
    """Print Ruffle's socketProxy setting, or put it into a configuration.

    Ruffle compares host and port of a movie with the setting letter for letter: localhost is not 127.0.0.1.
    """
    targets = [parse_target(text) for text in target]
    Targets(targets)  # refuses two of one name
    entries = make_entries(targets, public_url, _read_spellings(movie_host))
    if into is None:
        out.print(render_script(entries) if script else render_json(entries), end="")
        return
    try:
        # With the line ends that it has.
        before = into.read_bytes().decode("utf-8")
    except FileNotFoundError:
        before = ""
    except OSError as error:
        raise ConfigurationError(f"cannot read {into}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{into} is not UTF-8 at byte {error.start}") from error
    if not before.strip() and into.suffix.lower() in (".html", ".htm"):
        raise ConfigurationError(
            f"{into} is empty or not there, and a page is yours to write; "
            "--script without --into prints what goes into it"
        )
    if before.strip():
        try:
            after = merge(before, entries)
        except ConfigurationError as error:
            raise ConfigurationError(f"{into}: {error}") from error
    else:
        after = render_script(entries) if into.suffix == ".js" else render_json(entries)
    if dry_run:
        out.print(Text(after), end="")
        return
    _replace(into, after)
    note(f"{into}: {'changed' if before else 'written'}" if after != before else f"{into}: nothing to change")


def _replace(file: Path, text: str) -> None:
    """Write a file so that it is never half written; its permissions stay."""
    file = file.resolve()
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("wb", dir=file.parent, delete=False) as made:
            temporary = made.name
            made.write(text.encode())
        mode = file.stat().st_mode & 0o7777 if file.exists() else 0o644
        os.chmod(temporary, mode)
        os.replace(temporary, file)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from error


def _read_spellings(texts: Sequence[str] | None) -> list[Spelling]:
    spellings = []
    for text in texts or ():
        host, colon, port = text.rpartition(":")
        if not colon or (":" in host.strip("[]") and not text.startswith("[")):  # a bare IPv6 address has no port
            spellings.append(Spelling(text))
        elif host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
            spellings.append(Spelling(host.strip("[]"), int(port)))
        else:
            raise ConfigurationError(f"--movie-host is HOST or HOST:PORT, not {text!r}")
    return spellings


def serve_command(
    movie: Annotated[Path, typer.Argument(metavar="GAME.swf", help="The movie.")],
    target: _TargetOption,
    movie_host: _MovieHostOption = None,
    listen: Annotated[
        str,
        typer.Option(metavar="[HOST]:PORT", help="Where to listen; without HOST on every address of this machine."),
    ] = "localhost:8080",
    ruffle: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL",
            help="Ruffle: the folder of the npm package @ruffle-rs/ruffle, or the address of ruffle.js on a CDN. "
            "Without it, what npm has installed here or beside the movie.",
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The game's other files; the movie finds them beside the page."),
    ] = None,
    flashvar: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A FlashVar for the movie; may be repeated.")
    ] = None,
    load_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SITE",
            help="Let the movie load from this site, too, such as https://example.org; may be repeated. "
            "Otherwise it reaches this port and nothing else.",
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar="MODE", help="messages for XMLSocket, stream for flash.net.Socket.")
    ] = "messages",
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=with_default("Socket policy file for players that ask.", "movies from localhost, this port"),
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="Least level to log.")] = "warning",
    **limits: str | None,
) -> None:
    """Play a movie in the browser: page, Ruffle, gateway and policy answers on one port, until Ctrl-C or SIGTERM."""
    if not movie.is_file():
        raise ConfigurationError(f"there is no movie {movie}")
    _check_movie(movie)
    if base is not None and not base.is_dir():
        raise ConfigurationError(f"--base must be a folder, which {base} is not")
    host, port = parse_listen(listen)
    port = port or find_free_port(None if host == "*" else host)
    targets = Targets([parse_target(text) for text in target])
    pages = MoviePages(
        movie=movie.resolve(),
        ruffle=find_ruffle(ruffle, (Path.cwd(), movie.resolve().parent)),
        targets=targets,
        spellings=_read_spellings(movie_host),
        base=None if base is None else base.resolve(),
        flash_vars=_read_flash_vars(flashvar or ()),
        sources=[_read_site(text) for text in load_from or ()],
    )
    pages.entries()  # complains of what no movie could reach before anything is opened
    settings = GatewaySettings(
        host=host,
        port=port,
        targets=targets,
        mode=choose(mode, ("messages", "stream"), "--mode"),
        log_level=choose(log_level.lower(), LOG_LEVELS, "--log-level"),
        limits=read_limits(explicit(limits)),
        options={
            "pages": pages,
            "policy": _local_policy(port) if policy is None else Path(policy),
            # Or any page of the web could reach the game's server through this machine.
            "allowed_origins": [f"http://{name}:{port}" for name in _LOCAL] if host in _LOCAL else None,
        },
    )
    run_gateway(settings, lambda port: _describe(movie, settings, pages, port))


def _check_movie(movie: Path) -> None:
    """Refuse what no player could play: a movie begins with one of three signatures (SWF specification, header)."""
    try:
        with movie.open("rb") as file:
            start = file.read(3)
    except OSError as error:
        raise ConfigurationError(f"cannot read the movie {movie}: {error.strerror}") from error
    if start not in (b"FWS", b"CWS", b"ZWS"):
        raise ConfigurationError(f"{movie} is no SWF movie: it begins with {start!r}, and those with FWS, CWS or ZWS")


def _local_policy(port: int) -> PolicyAnswer:
    policy = Policy(tuple(Grant(host, str(port)) for host in ("localhost", "127.0.0.1")))
    return PolicyAnswer(policy.to_answer())  # the movie is loaded from there indeed, so the linter need not warn


def _read_flash_vars(texts: Sequence[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text[1:]:
            raise ConfigurationError(f"--flashvar is NAME=VALUE, not {text!r}")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _read_site(text: str) -> str:
    if not _SITE.fullmatch(text):
        raise ConfigurationError(f"--load-from is a site, such as https://example.org, not {text!r}")
    return text


def _describe(movie: Path, settings: GatewaySettings, pages: MoviePages, port: int) -> Iterator[Text]:
    host = "localhost" if settings.host in ("*", "0.0.0.0", "::") else settings.host
    shown = f"[{host}]" if ":" in host else host
    yield Text.assemble("playing ", (movie.name, "bold"), f" on port {port}")
    yield Text(f"  open:    http://{shown}:{port}/")
    for entry in pages.entries():
        server = _led_to(settings, str(entry["proxyUrl"]))
        yield Text(f"  socket:  {entry['host']}:{entry['port']} of the movie leads to {server}")
    yield Text("  stop:    Ctrl-C, or SIGTERM")


def _led_to(settings: GatewaySettings, path: str) -> str:
    found: NamedTarget | None = settings.targets.find(path)
    return found.address if found is not None else "nowhere"


# Who comes to this port is a browser, and those speak first.
_LIMITS: Final = {name: limit for name, limit in GATEWAY_LIMITS.items() if name != "detection_timeout"}

app.command("serve")(add_limits(serve_command, _LIMITS))
