"""How decisions and findings are printed, as text and as JSON; and how their subjects are typed."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from ..errors import ConfigurationError
from ..policy import (
    AllowNetworking,
    Decision,
    Finding,
    Requester,
    Sandbox,
    Severity,
    Step,
    find_worst,
    make_printable,
    parse_player,
)
from .console import err, out

UNREADABLE: Final = 3
"""Exit code when there is no file to look at, so that nothing can be said of its contents."""

_EXIT_CODES: Final = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.NOTE: 0, None: 0}
_STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}

AllowEverybody = Annotated[
    bool, typer.Option("--allow-everybody", help="It is meant that everybody may reach every port.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
FromUrl = Annotated[
    str, typer.Option("--from", metavar="URL", help="Where the content is loaded from: http://…, file:…, app:/….")
]
ToTarget = Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="What the content wants to connect to.")]
InSandbox = Annotated[
    Sandbox | None, typer.Option(help="The sandbox of the content; by default what the URL leads to.")
]
Networking = Annotated[AllowNetworking, typer.Option(help="The HTML parameter of the page.")]
PlayerVersion = Annotated[str, typer.Option(metavar="VERSION", help="The version of the player, such as 9.0.115.")]
Strict = Annotated[bool, typer.Option("--strict", help="Take only what every player takes.")]
MasterPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        min=1,
        max=65_535,
        help="Ask there instead of on 843, as before a port redirect is set up; it still counts as 843.",
    ),
]


def make_requester(url: str, sandbox: Sandbox | None, allow_networking: AllowNetworking, player: str) -> Requester:
    """Describe the content that the options speak of.

    Raises:
        typer.BadParameter: An option has no meaning.
    """
    try:
        return Requester.from_url(url, sandbox=sandbox, allow_networking=allow_networking, player=parse_player(player))
    except ConfigurationError as error:
        raise typer.BadParameter(make_printable(str(error))) from error


def parse_target(text: str) -> tuple[str, int]:
    """Read a destination. Ports that are none are let through, for the player has its own answer to them.

    Raises:
        typer.BadParameter: It has not the form HOST:PORT.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.removeprefix("-").isdecimal() or len(port) > 10:
        raise typer.BadParameter(f"{text!r} is no HOST:PORT", param_hint="--to")
    return host, int(port)


def exit_code_of(findings: Iterable[Finding]) -> int:
    """Choose the exit code by the worst finding: 2 error, 1 warning, else 0."""
    return _EXIT_CODES[find_worst(findings)]


def print_decision(decisions: Sequence[Decision], *, as_json: bool) -> None:
    """Print a decision with its trail.

    Args:
        decisions: One for each address that was tried; the last is the one that counts.
        as_json: As one JSON object.
    """
    *earlier, decision = decisions
    if as_json:
        tried = [{"address": other.address, "trail": list(map(_describe_step, other.trail))} for other in earlier]
        print_json({**_describe_decision(decision), "tried_before": tried})
        return
    verdict = "allowed" if decision.allowed else f"denied, error {decision.error}"
    if decision.error is not None:
        verdict += " thrown by connect" if decision.is_thrown else " as a securityError event"
    print_text(out, verdict, style="bold green" if decision.allowed else "bold red")
    first, *rest = decision.explanation.splitlines()
    lines = [first]
    for other in earlier:
        lines += [f"At {other.address} there is no policy file:", *other.explanation.splitlines()[1:]]
    if earlier:
        lines.append(f"At {decision.address}:")
    lines += rest
    if decision.allowed and decision.trail and decision.address != decision.host:
        lines.append(f"All of it was asked at {decision.address}, and the connection must go there too.")
    print_text(out, "\n".join(map(make_printable, lines)))


def _describe_decision(decision: Decision) -> dict[str, object]:
    return {
        "allowed": decision.allowed,
        "rule": decision.rule.name.lower(),
        "error": decision.error,
        "thrown": decision.is_thrown,
        "host": decision.host,
        "port": decision.port,
        "address": decision.address,
        "explanation": decision.explanation,
        "trail": list(map(_describe_step, decision.trail)),
    }


def _describe_step(step: Step) -> dict[str, object]:
    return {
        "location": str(step.location),
        "outcome": step.outcome.value,
        "elapsed": step.elapsed,
        "timeout": step.timeout,
        "cached": step.is_cached,
        "detail": step.detail,
        "objections": list(step.objections),
    }


def describe_finding(finding: Finding) -> dict[str, object]:
    """Write a finding for JSON."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "line": finding.line,
        "column": finding.column,
        "what": finding.what,
        "why": finding.why,
        "fix": finding.fix,
    }


def print_findings(console: Console, name: str, findings: Iterable[Finding]) -> None:
    """Print findings, a line each: place, severity, rule, and what to do."""
    for finding in findings:
        place = "" if finding.line is None else f":{finding.line}:{finding.column}"
        text = Text(f"{make_printable(name)}{place}: ")
        text.append(finding.severity.value, style=_STYLES[finding.severity])
        text.append(f" {finding.rule}: {finding.message}")
        console.print(text)


def summarize(findings: Iterable[Finding]) -> str:
    """Count findings by severity."""
    counts = collections.Counter(finding.severity for finding in findings)
    return ", ".join(f"{counts[kind]} {kind.value}{'' if counts[kind] == 1 else 's'}" for kind in Severity)


def fail(message: str, code: int) -> typer.Exit:
    """Say on standard error what went wrong, and make the exception that ends the command."""
    print_text(err, make_printable(message))
    return typer.Exit(code)


def print_text(console: Console, text: str, *, end: str = "\n", style: str = "") -> None:
    """Print text as it is."""
    console.print(Text(text, style=style), end=end)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print_text(out, json.dumps(value, indent=2))
