"""``xmlsocket top``: a running service, live in a terminal."""

from __future__ import annotations

import json
import signal
import sys
import time
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.live import Live

from ..errors import ConfigurationError, OpenError
from .address import Address
from .console import out, write_lines
from .keys import Keys
from .operations import DEFAULT_PORT
from .options import with_default
from .scraping import Look, look, parse_watched
from .top_view import View


def top(
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="ADDRESS",
            help=with_default(
                "The operations address of the daemon or gateway: HOST:PORT.", f"localhost:{DEFAULT_PORT}"
            ),
            show_default=False,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look, print, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every look as one line of JSON: readiness, and all metrics.")
    ] = False,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Time from one look to the next.")] = 1.0,
) -> None:
    """Show what a running daemon or gateway counts, live, until q or Ctrl-C.

    In a pipe it prints once. With --once, rates are those between two looks, so it takes one interval. Exits with 0,
    and with 1 when there is nothing to be seen at the address.
    """
    if not 0.1 <= interval <= 3600:
        raise ConfigurationError(f"--interval must be from 0.1 to 3600 seconds, not {interval:g}")
    where = parse_watched(address)
    try:
        if as_json:
            _print_json(where, interval, once=once)
        elif once or not out.is_terminal:
            _print_once(where, interval)
        else:
            _show_live(where, interval)
    except KeyboardInterrupt:
        return  # the usual end


def _print_json(where: Address, interval: float, *, once: bool) -> None:
    while True:
        found = look(where)
        write_lines([json.dumps(_describe(where, found))])
        if once:
            return
        time.sleep(interval)


def _describe(where: Address, found: Look) -> dict[str, object]:
    samples = [{"name": sample.name, "labels": dict(sample.labels), "value": sample.value} for sample in found.samples]
    return {
        "address": str(where),
        "at": time.time(),
        "ready": found.is_ready,
        "obstacles": list(found.obstacles),
        "samples": samples,
    }


def _print_once(where: Address, interval: float) -> None:
    view = View(where)
    view.add(look(where))
    time.sleep(interval)
    view.add(look(where))
    out.print(view.render(out.width), soft_wrap=False)


def _show_live(where: Address, interval: float) -> None:
    view = View(where)
    view.add(look(where))
    due = time.monotonic() + interval
    signal.signal(signal.SIGTERM, _leave)  # or the terminal would stay as it is
    with (
        Keys(sys.stdin) as keys,
        Live(view.render(out.width), console=out, screen=True, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        while "q" not in keys.wait_until(due):
            due = max(due + interval, time.monotonic())
            try:
                view.add(look(where))
            except OpenError as error:
                view.lose(f"still trying: {error}")
            live.update(view.render(out.width), refresh=True)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def add_to(app: typer.Typer) -> None:
    """Make it a command."""
    app.command("top")(top)
