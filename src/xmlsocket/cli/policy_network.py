"""``policy check``, and ``policy lint`` of a live server: what asks over the network."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from typing import Annotated, Final

import typer

from ..errors import ConfigurationError
from ..net.policy_client import PolicyClient
from ..net.policy_probe import Probe, probe_policy
from ..policy import MASTER_PORT, AllowNetworking, LintContext, Location, Step, lint, make_printable
from .address import parse_port
from .console import out
from .policy_report import (
    UNREADABLE,
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

_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+)(?::(?P<port>.*))?", re.DOTALL)
_FIRST_PROBE_RULE: Final = "SP050"


def check(
    url: FromUrl,
    to: ToTarget,
    load_policy_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="xmlsocket://HOST:PORT",
            help="A location that the content names with Security.loadPolicyFile; may be repeated.",
        ),
    ] = None,
    sandbox: InSandbox = None,
    allow_networking: Networking = AllowNetworking.ALL,
    player: PlayerVersion = "10",
    strict: Strict = False,
    master_port: MasterPort = None,
    as_json: AsJson = False,
) -> None:
    """Ask over the network, exactly as a player would, whether it may connect.

    Says who was asked, what came back and how long it took. Where the player has no limit of time a location has 60
    seconds. Exits with 0 if it may connect and 1 if not.
    """
    host, port = parse_target(to)
    requester = make_requester(url, sandbox, allow_networking, player)
    try:
        locations = [Location.parse(location) for location in load_policy_file or ()]
    except ConfigurationError as error:
        raise typer.BadParameter(make_printable(str(error)), param_hint="--load-policy-file") from error
    client = PolicyClient(strict=strict, ports=_map_ports(master_port))
    decisions = asyncio.run(client.try_addresses(requester, host, port, locations))
    print_decision(decisions, as_json=as_json)
    raise typer.Exit(0 if decisions[-1].allowed else 1)


def _map_ports(master_port: int | None) -> dict[int, int]:
    return {} if master_port is None else {MASTER_PORT: master_port}


def is_host(source: str) -> bool:
    """Tell a server from a file: there is no such file, and it has the form HOST[:PORT]."""
    if os.path.lexists(source) or "/" in source or os.sep in source or "\0" in source:
        return False
    return _HOST_AND_PORT.fullmatch(source) is not None


def lint_server(
    source: str, context: LintContext, served_from: int | None, master_port: int | None, *, as_json: bool
) -> int:
    """Look at a live server.

    Args:
        source: HOST or HOST:PORT.
        context: What else is known of the file's use.
        served_from: The port that players ask, where it is another.
        master_port: Where to ask instead of on 843.
        as_json: Print one JSON object.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: The port is none.
    """
    match = _HOST_AND_PORT.fullmatch(source)
    assert match is not None  # is_host has said so
    port = MASTER_PORT if match["port"] is None else parse_port(match["port"])
    seen = asyncio.run(probe_policy(match["host"], port, ports=_map_ports(master_port)))
    context = dataclasses.replace(context, serving_port=served_from or port, is_captured=True, probe=seen.facts)
    findings = lint(seen.reply.data, context)
    if not seen.reply.data:  # what is said of an empty file would be misleading
        findings = tuple(finding for finding in findings if finding.rule >= _FIRST_PROBE_RULE)
    name = str(seen.location)
    if as_json:
        described = list(map(describe_finding, findings))
        facts = {"address": seen.address, "outcome": seen.fetched.outcome.value, "seconds": seen.facts.seconds}
        print_json({"source": name, **facts, "findings": described})
    else:
        print_findings(out, name, findings)
    if not seen.reply.data:
        raise fail(_explain_nothing(source, seen), UNREADABLE)
    if not as_json:
        print_text(out, summarize(findings))
    return exit_code_of(findings)


def _explain_nothing(source: str, seen: Probe) -> str:
    sentence = Step(seen.location, seen.fetched.outcome, detail=seen.fetched.detail).sentence
    return sentence if seen.address else f"there is no file {source}, and {sentence}"
