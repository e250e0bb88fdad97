"""``xmlsocket policy``: check, explain, write and serve socket policy files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from ..errors import ConfigurationError, XMLSocketError
from ..policy import (
    MASTER_PORT,
    AllowNetworking,
    Ending,
    Grant,
    KnownAnswer,
    LintContext,
    Location,
    MetaPolicy,
    Policy,
    PolicySearch,
    Reply,
    Severity,
    find_worst,
    lint_policy,
    make_printable,
    parse_host,
    rehearse,
    run_vector,
)
from ..policy import lint as find_faults
from . import policy_network, policy_serve
from .console import err, out
from .policy_report import (
    UNREADABLE,
    AllowEverybody,
    AsJson,
    FromUrl,
    InSandbox,
    MasterPort,
    Networking,
    PlayerVersion,
    Strict,
    ToTarget,
    describe_finding,
    exit_code_of,
    fail,
    make_requester,
    parse_target,
    print_decision,
    print_findings,
    print_json,
    print_text,
    summarize,
)

app = typer.Typer(name="policy", help="Check, explain, write and serve socket policy files.", no_args_is_help=True)

_READ_SIZE: Final = 1_048_576  # far above max_policy_size, so that cutting there changes no finding but SP004's count
_ERROR_CODE: Final = 2

_ServedFrom = Annotated[
    int, typer.Option("--served-from", metavar="PORT", min=1, max=65_535, help="The port that serves the file.")
]


def read_file(name: str) -> bytes:
    """Read a policy file.

    Raises:
        typer.Exit: It cannot be read; the reason is printed.
    """
    try:
        with Path(name).open("rb") as file:
            return file.read(_READ_SIZE)
    except (OSError, ValueError) as error:
        raise fail(f"cannot read {name}: {getattr(error, 'strerror', None) or error}", UNREADABLE) from error


@app.command("lint")
def lint_command(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|HOST[:PORT]", help="The policy file, or the server to ask; players ask port 843."),
    ],
    served_from: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=1,
            max=65_535,
            help="The port that serves the file. [default: 843, or the one that is asked]",
            show_default=False,
        ),
    ] = None,
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
    allow_everybody: AllowEverybody = False,
    master_port: MasterPort = None,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong or risky in a policy file, or in what a live server answers and how.

    A server is asked as a player asks, with something that is no request, with nothing, and on port 843 too.

    Exits with 2 if there is an error, 1 if there is a warning, 0 if there are notes at most, and 3 if the
    file cannot be read or the server gives none.
    """
    context = LintContext(
        serving_port=served_from or MASTER_PORT,
        service_ports=frozenset(service_ports or ()),
        own_host=own_host,
        is_local_service=local_service,
        allows_everybody=allow_everybody,
    )
    if policy_network.is_host(source):
        raise typer.Exit(policy_network.lint_server(source, context, served_from, master_port, as_json=as_json))
    findings = find_faults(read_file(source), context)
    if as_json:
        print_json({"source": source, "findings": list(map(describe_finding, findings))})
    else:
        print_findings(out, source, findings)
        print_text(out, summarize(findings))
    raise typer.Exit(exit_code_of(findings))


@app.command()
def explain(
    source: Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")],
    url: FromUrl,
    to: ToTarget,
    served_from: _ServedFrom = MASTER_PORT,
    sandbox: InSandbox = None,
    allow_networking: Networking = AllowNetworking.ALL,
    player: PlayerVersion = "10",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a player would connect if this file were served, and why. Nothing is asked over the network.

    A port that is neither 843 nor the destination port counts as named with Security.loadPolicyFile; all
    other ports count as closed. Exits with 0 if it would connect, 1 if not, and 3 if the file cannot be read.
    """
    host, port = parse_target(to)
    data = read_file(source)
    location = Location(parse_host(host), served_from)
    explicit = [] if served_from in (MASTER_PORT, port) else [location]
    requester = make_requester(url, sandbox, allow_networking, player)
    search = PolicySearch(requester, host, port, explicit=explicit, strict=strict)
    served = data if b"\0" in data else data + b"\0"
    decision = rehearse(search, {location: KnownAnswer(Reply(Ending.ANSWERED, served))})
    print_decision([decision], as_json=as_json)
    raise typer.Exit(0 if decision.allowed else 1)


app.command("check")(policy_network.check)
app.command("serve")(policy_serve.serve)


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
    allow_everybody: AllowEverybody = False,
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
        raise fail(str(error), _ERROR_CODE) from error
    print_findings(err, "policy", findings)
    if find_worst(findings) is Severity.ERROR:
        raise typer.Exit(_ERROR_CODE)
    if output is None:
        print_text(out, policy.render(), end="")
        return
    try:
        output.write_text(policy.render(), encoding="utf-8")
    except OSError as error:
        raise fail(f"cannot write {output}: {error.strerror}", UNREADABLE) from error


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
        print_text(out, make_printable(f"{f'vector {index + 1}' if name is None else name}: {failure}"))
    print_text(out, f"{passed} passed, {failed} failed")
    raise typer.Exit(1 if failed else 0)


def _read_vectors(file: Path) -> list[object]:
    try:
        vectors = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise fail(f"cannot read {file}: {error.strerror}", UNREADABLE) from error
    except (ValueError, RecursionError) as error:
        raise fail(f"{file} is not JSON: {error}", UNREADABLE) from error
    if not isinstance(vectors, list):
        raise fail(f"{file} does not hold a list of vectors", UNREADABLE)
    return vectors


def _run_vector(vector: object) -> str | None:
    if not isinstance(vector, dict):
        return "it is not an object"
    try:
        return run_vector(vector).failure or None
    except ConfigurationError as error:
        return str(error)
