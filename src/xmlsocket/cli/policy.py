"""``xmlsocket policy``: check, explain and write socket policy files."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import ConfigurationError, XMLSocketError
from ..policy import (
    MASTER_PORT,
    AllowNetworking,
    Decision,
    Ending,
    Finding,
    Grant,
    KnownAnswer,
    LintContext,
    Location,
    MetaPolicy,
    Policy,
    PolicySearch,
    Reply,
    Requester,
    Sandbox,
    Severity,
    find_worst,
    lint_policy,
    make_printable,
    parse_host,
    parse_player,
    rehearse,
    run_vector,
)
from ..policy import lint as find_faults
from .console import err, out

app = typer.Typer(name="policy", help="Check, explain and write socket policy files.", no_args_is_help=True)

UNREADABLE = 3
"""Exit code when a file cannot be read, so that nothing can be said of its contents."""

_EXIT_CODES = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.NOTE: 0, None: 0}
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_READ_SIZE = 1_048_576  # far above max_policy_size, so that cutting there changes no finding but SP004's count

_ServedFrom = Annotated[
    int, typer.Option("--served-from", metavar="PORT", min=1, max=65_535, help="The port that serves the file.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A policy file to look at, and how it was come by.

    Attributes:
        name: What to call it.
        data: Its bytes.
        context: What is known of its use.
    """

    name: str
    data: bytes
    context: LintContext


def read_source(name: str, context: LintContext) -> Source:
    """Read the policy file that an argument names.

    Raises:
        typer.Exit: It cannot be read; the reason is printed.
    """
    try:
        with Path(name).open("rb") as file:
            return Source(name, file.read(_READ_SIZE), context)
    except (OSError, ValueError) as error:
        raise _fail(f"cannot read {name}: {getattr(error, 'strerror', None) or error}", UNREADABLE) from error


@app.command("lint")
def lint_command(
    source: Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")],
    served_from: _ServedFrom = MASTER_PORT,
    service_ports: Annotated[
        list[int] | None,
        typer.Option("--service-port", metavar="PORT", help="A port that the file must grant; may be repeated."),
    ] = None,
    own_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The host that serves both the content and the socket.")
    ] = None,
    local_service: Annotated[
        bool, typer.Option("--local-service", help="Only clients on the same machine connect.")
    ] = False,
    allow_everybody: Annotated[
        bool, typer.Option("--allow-everybody", help="It is meant that everybody may reach every port.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Find what is wrong or risky in a policy file.

    Exits with 2 if there is an error, 1 if there is a warning, 0 if there are notes at most, and 3 if the
    file cannot be read.
    """
    context = LintContext(
        serving_port=served_from,
        service_ports=frozenset(service_ports or ()),
        own_host=own_host,
        is_local_service=local_service,
        allows_everybody=allow_everybody,
    )
    found = read_source(source, context)
    findings = find_faults(found.data, found.context)
    if as_json:
        _print_json({"source": found.name, "findings": [_describe_finding(finding) for finding in findings]})
    else:
        _print_findings(out, found.name, findings)
        _print(out, _summarize(findings))
    raise typer.Exit(_EXIT_CODES[find_worst(findings)])


@app.command()
def explain(
    source: Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")],
    url: Annotated[
        str, typer.Option("--from", metavar="URL", help="Where the content is loaded from: http://…, file:…, app:/….")
    ],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="What the content wants to connect to.")],
    served_from: _ServedFrom = MASTER_PORT,
    sandbox: Annotated[
        Sandbox | None, typer.Option(help="The sandbox of the content; by default what the URL leads to.")
    ] = None,
    allow_networking: Annotated[
        AllowNetworking, typer.Option(help="The HTML parameter of the page.")
    ] = AllowNetworking.ALL,
    player: Annotated[str, typer.Option(metavar="VERSION", help="The version of the player, such as 9.0.115.")] = "10",
    strict: Annotated[bool, typer.Option("--strict", help="Take only what every player takes.")] = False,
    as_json: _Json = False,
) -> None:
    """Say whether a player would connect if this file were served, and why. Nothing is asked over the network.

    A port that is neither 843 nor the destination port counts as named with Security.loadPolicyFile; all
    other ports count as closed. Exits with 0 if it would connect, 1 if not, and 3 if the file cannot be read.
    """
    host, port = _parse_target(to)
    data = read_source(source, LintContext()).data
    location = Location(parse_host(host), served_from)
    explicit = [] if served_from in (MASTER_PORT, port) else [location]
    try:
        requester = Requester.from_url(
            url, sandbox=sandbox, allow_networking=allow_networking, player=parse_player(player)
        )
    except ConfigurationError as error:
        raise typer.BadParameter(make_printable(str(error))) from error
    search = PolicySearch(requester, host, port, explicit=explicit, strict=strict)
    served = data if b"\0" in data else data + b"\0"
    decision = rehearse(search, {location: KnownAnswer(Reply(Ending.ANSWERED, served))})
    print_decision(decision, as_json=as_json)
    raise typer.Exit(0 if decision.allowed else 1)


@app.command()
def make(
    domains: Annotated[
        list[str],
        typer.Option("--domain", metavar="DOMAIN", help="Whom to let in: a host, *.example.com or *; may be repeated."),
    ],
    to_ports: Annotated[str, typer.Option(metavar="PORTS", help="Ports and ranges such as 843,8000-8010, or *.")],
    secure: Annotated[bool, typer.Option("--secure", help="Only content that was loaded over HTTPS.")] = False,
    meta_policy: Annotated[
        MetaPolicy, typer.Option(help="What the file on port 843 says of policy files on other ports.")
    ] = MetaPolicy.MASTER_ONLY,
    served_from: _ServedFrom = MASTER_PORT,
    allow_everybody: Annotated[
        bool, typer.Option("--allow-everybody", help="It is meant that everybody may reach every port.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to standard output.")
    ] = None,
) -> None:
    """Write a policy file.

    What the linter has to say of it goes to standard error. With an error in it nothing is written, and the
    exit code is 2.
    """
    grants = tuple(Grant(domain, to_ports, secure) for domain in domains)
    policy = Policy(grants, meta_policy if served_from == MASTER_PORT else None)
    try:
        findings = lint_policy(policy, LintContext(serving_port=served_from, allows_everybody=allow_everybody))
    except XMLSocketError as error:
        raise _fail(str(error), _EXIT_CODES[Severity.ERROR]) from error
    _print_findings(err, "policy", findings)
    if find_worst(findings) is Severity.ERROR:
        raise typer.Exit(_EXIT_CODES[Severity.ERROR])
    if output is None:
        _print(out, policy.render(), end="")
        return
    try:
        output.write_text(policy.render(), encoding="utf-8")
    except OSError as error:
        raise _fail(f"cannot write {output}: {error.strerror}", UNREADABLE) from error


@app.command("test")
def run_vectors(
    file: Annotated[Path, typer.Argument(metavar="VECTORS.json", help="A JSON list of decision vectors.")],
) -> None:
    """Run decision vectors: a line for each failure, then the counts.

    A vector with an unknown field fails. Exits with 1 if one fails, and 3 if the file cannot be read.
    """
    passed = failed = 0
    for index, vector in enumerate(_read_vectors(file)):
        failure = _run_vector(vector)
        if failure is None:
            passed += 1
            continue
        failed += 1
        name = vector.get("id") if isinstance(vector, dict) else None
        _print(out, make_printable(f"{f'vector {index + 1}' if name is None else name}: {failure}"))
    _print(out, f"{passed} passed, {failed} failed")
    raise typer.Exit(1 if failed else 0)


def _read_vectors(file: Path) -> list[object]:
    try:
        vectors = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _fail(f"cannot read {file}: {error.strerror}", UNREADABLE) from error
    except (ValueError, RecursionError) as error:
        raise _fail(f"{file} is not JSON: {error}", UNREADABLE) from error
    if not isinstance(vectors, list):
        raise _fail(f"{file} does not hold a list of vectors", UNREADABLE)
    return vectors


def _run_vector(vector: object) -> str | None:
    if not isinstance(vector, dict):
        return "it is not an object"
    try:
        return run_vector(vector).failure or None
    except ConfigurationError as error:
        return str(error)


def print_decision(decision: Decision, *, as_json: bool) -> None:
    """Print a decision with its trail."""
    if as_json:
        _print_json(_describe_decision(decision))
        return
    verdict = "allowed" if decision.allowed else f"denied, error {decision.error}"
    if decision.error is not None:
        verdict += " thrown by connect" if decision.is_thrown else " as a securityError event"
    _print(out, verdict, style="bold green" if decision.allowed else "bold red")
    _print(out, "\n".join(map(make_printable, decision.explanation.splitlines())))


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
        "trail": [
            {
                "location": str(step.location),
                "outcome": step.outcome.value,
                "elapsed": step.elapsed,
                "timeout": step.timeout,
                "cached": step.is_cached,
                "detail": step.detail,
                "objections": list(step.objections),
            }
            for step in decision.trail
        ],
    }


def _describe_finding(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "line": finding.line,
        "column": finding.column,
        "what": finding.what,
        "why": finding.why,
        "fix": finding.fix,
    }


def _print_findings(console: Console, name: str, findings: Iterable[Finding]) -> None:
    for finding in findings:
        place = "" if finding.line is None else f":{finding.line}:{finding.column}"
        text = Text(f"{make_printable(name)}{place}: ")
        text.append(finding.severity.value, style=_STYLES[finding.severity])
        text.append(f" {finding.rule}: {finding.message}")
        console.print(text)


def _summarize(findings: Iterable[Finding]) -> str:
    counts = collections.Counter(finding.severity for finding in findings)
    return ", ".join(f"{counts[kind]} {kind.value}{'' if counts[kind] == 1 else 's'}" for kind in Severity)


def _parse_target(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.removeprefix("-").isdecimal() or len(port) > 10:
        raise typer.BadParameter(f"{text!r} is no HOST:PORT", param_hint="--to")
    return host, int(port)


def _fail(message: str, code: int) -> typer.Exit:
    _print(err, make_printable(message))
    return typer.Exit(code)


def _print(console: Console, text: str, *, end: str = "\n", style: str = "") -> None:
    # As Text, because a plain string would have its [markup] and :emoji: understood.
    console.print(Text(text, style=style), end=end)


def _print_json(value: object) -> None:
    _print(out, json.dumps(value, indent=2))
