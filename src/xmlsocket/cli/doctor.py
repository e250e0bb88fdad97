"""``xmlsocket doctor``: why a movie does not connect, in plain words."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from ..errors import ConfigurationError
from .address import parse_address
from .console import out, printable

if TYPE_CHECKING:
    from .doctor_findings import Finding, Patient

_STYLES: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


def doctor(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The server, or the gateway in front of it.")],
    page: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The page with the movie: https://example.org/game.html."),
    ] = None,
    movie_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="What the movie says in place of HOST, letter for letter.")
    ] = None,
    websocket: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The proxyUrl of the page, where it is not ws://HOST:PORT/ itself."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file with the page's socketProxy setting.")
    ] = None,
    message: Annotated[
        str, typer.Option(metavar="TEXT", help="A harmless message that the server answers.")
    ] = "<ping/>",
    policy_port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65_535, help="Where to ask in place of 843.")
    ] = 843,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, help="For any one answer; the player waits 3 for a policy.")
    ] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Find out why a movie does not connect: a line for each finding, why it matters to which client, what to do.

    Exits with 0 if nothing is wrong but warnings, 1 if there is an error, and 2 when an option cannot work.
    """
    if importlib.util.find_spec("websockets") is None:
        raise ConfigurationError('the doctor needs the package websockets: pip install "xmlsocket[daemon]"')
    from .doctor_checks import check_page  # not at the top: websockets is an extra
    from .doctor_findings import Patient, Status

    host, port, path = parse_address(address)
    if path is not None or host is None or port is None:
        raise ConfigurationError(f"the doctor examines HOST:PORT, not {address!r}")
    if page is not None:
        check_page(page)
    if websocket is not None and not websocket.startswith(("ws://", "wss://")):
        raise ConfigurationError(f"--websocket is an address such as wss://example.org/, not {websocket!r}")
    patient = Patient(
        host=host,
        port=port,
        page=page,
        movie_host=movie_host,
        websocket=websocket,
        config=None if config is None else _read(config),
        message=message,
        master_port=policy_port,
        timeout=timeout,
    )
    findings = asyncio.run(_run(patient, shows=not as_json))
    if as_json:
        out.print(
            Text(json.dumps({"host": host, "port": port, "findings": [_to_json(each) for each in findings]}, indent=2))
        )
    if any(finding.status is Status.ERROR for finding in findings):
        raise typer.Exit(1)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8 at byte {error.start}") from error


async def _run(patient: Patient, *, shows: bool) -> list[Finding]:
    from .doctor_checks import examine

    findings = []
    async for finding in examine(patient):
        findings.append(finding)
        if shows:
            _show(finding)
    return findings


def _show(finding: Finding) -> None:
    text = Text.assemble((f"{finding.status.value:<8}", _STYLES[finding.status.value]), f"{finding.check}: ")
    text.append(printable(finding.what))
    if finding.why:
        text.append(printable(f"; {finding.why}"))
    if finding.fix:
        text.append(printable(f". To do: {finding.fix}"))
    out.print(text)


def _to_json(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "status": finding.status.value,
        "what": finding.what,
        "why": finding.why,
        "fix": finding.fix,
    }


def add_to(app: typer.Typer) -> None:
    """Make it a command."""
    app.command("doctor")(doctor)
