"""The linter's rules on single grants."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from ..errors import PolicyError
from .findings import Finding, LintContext, Severity
from .matching import (
    FIRST_HIGH_PORT,
    MAX_PORT,
    DomainPattern,
    PatternKind,
    format_host,
    parse_host,
    parse_ports,
    to_ascii,
)
from .model import Element, Grant, Policy
from .parsing import Document
from .quoting import quote
from .suffixes import is_public_suffix

# Services that were attacked through browsers, and those that Flash Player itself barred for HTTP.
# fmt: off
_SENSITIVE_PORTS = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 139, 143, 179, 389, 445, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
    556, 563, 587, 601, 636, 993, 995, 1433, 2049, 3306, 3389, 4045, 5432, 5900, 6000, 6379, 11211, 27017,
})
# fmt: on
_SHOWN_PORTS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """A grant with its element; ``pattern`` and ``ports`` are ``None`` where it is void."""

    element: Element
    grant: Grant
    pattern: DomainPattern | None
    ports: tuple[range, ...] | None

    def find(self, rule: str, severity: Severity, what: str, fix: str, attribute: str = "") -> Finding:
        found = self.element.attribute(attribute)
        position = found.position if found else self.element.position
        return Finding(rule, severity, what, fix, position.line, position.column)

    @property
    def has_all_ports(self) -> bool:
        return self.ports is not None and any(len(ports) == MAX_PORT for ports in self.ports)


def find_in_grants(document: Document, context: LintContext) -> Iterator[Finding]:
    """Apply the rules on grants."""
    entries = list(_pair(document.policy))
    for entry in entries:
        yield from _find_in_domain(entry)
        yield from _find_in_ports(entry, context)
        yield from _find_in_secure(entry, context)
        yield from _find_openness(entry, context)
    yield from _find_shadowed(entries)
    yield from _find_ungranted(document.policy, context)


def _pair(policy: Policy) -> Iterator[_Entry]:
    elements = [element for element in policy.elements if element.is_direct and element.name == "allow-access-from"]
    for element, grant in zip(elements, policy.entries, strict=True):
        pattern = None if isinstance(grant.pattern, PolicyError) else grant.pattern
        yield _Entry(element, grant, pattern, None if isinstance(grant.ports, PolicyError) else grant.ports)


def _find_in_domain(entry: _Entry) -> Iterator[Finding]:
    domain, pattern = entry.grant.domain, entry.grant.pattern
    if isinstance(pattern, PolicyError):
        fix = "Write one host, *. and a name, or * as the domain."
        yield entry.find(pattern.rule or "SP013", Severity.ERROR, pattern.detail, fix, "domain")
        return
    if domain is None:
        return
    if pattern.kind is PatternKind.SUFFIX and is_public_suffix(str(pattern.host)):
        what = f"the domain {quote(domain)} covers a public suffix"
        yield entry.find("SP033", Severity.WARNING, what, "Name your own domain in full.", "domain")
    if pattern.kind is PatternKind.EXACT and (local := _describe_local(pattern)):
        fix = "Keep it only if the content is really loaded by that address."
        yield entry.find("SP035", Severity.WARNING, f"the domain {quote(domain)} is {local}", fix, "domain")
    if isinstance(pattern.host, str):
        yield from _find_in_name(entry, domain)


def _find_in_name(entry: _Entry, domain: str) -> Iterator[Finding]:
    if not domain.isascii():
        wildcard = "*." if domain.startswith("*.") else ""
        fix = f'Write domain="{wildcard}{to_ascii(domain.removeprefix("*."))}".'
        yield entry.find("SP046", Severity.WARNING, f"the domain {quote(domain)} is not ASCII", fix, "domain")
    elif domain != domain.lower():
        what = f"the domain {quote(domain)} has upper-case letters"
        yield entry.find("SP044", Severity.NOTE, what, f'Write domain="{domain.lower()}".', "domain")
    if domain.endswith("."):
        what = f"the domain {quote(domain)} ends in a dot"
        yield entry.find("SP045", Severity.WARNING, what, "Take the dot off.", "domain")


def _describe_local(pattern: DomainPattern) -> str | None:
    host = pattern.host
    if isinstance(host, (IPv4Address, IPv6Address)):
        if host.is_loopback:
            return "an address of the machine itself"
        return "an address of a private network" if host.is_private else "an IP address"
    return "the machine itself" if host == "localhost" or host.endswith(".localhost") else None


def _find_in_ports(entry: _Entry, context: LintContext) -> Iterator[Finding]:
    to_ports, ports = entry.grant.to_ports, entry.grant.ports
    if isinstance(ports, PolicyError):
        fix = "Write to-ports with ports and ranges, as in 843,8000-8010."
        yield entry.find(ports.rule or "SP014", Severity.ERROR, ports.detail, fix, "to-ports")
        return
    try:
        parse_ports(to_ports or "", strict=True)
    except PolicyError as error:
        fix = "Write the list without blanks, or * alone."
        yield entry.find(
            "SP014", Severity.WARNING, f"{error.detail}, which not every player may accept", fix, "to-ports"
        )
    if entry.has_all_ports or context.serving_port < FIRST_HIGH_PORT:
        return
    void = [part for part in ports if part.start < FIRST_HIGH_PORT]
    if void:
        what = f"to-ports names {_list_ranges(void)} but the file is served from port {context.serving_port}"
        fix = "Serve the file from port 843 or another port below 1024, or name ports from 1024 up only."
        yield entry.find("SP015", Severity.ERROR, what, fix, "to-ports")


def _list_ranges(ranges: Iterable[range]) -> str:
    shown = [str(part.start) if len(part) == 1 else f"{part.start}-{part.stop - 1}" for part in ranges]
    more = ", …" if len(shown) > _SHOWN_PORTS else ""
    return ", ".join(shown[:_SHOWN_PORTS]) + more


def _find_in_secure(entry: _Entry, context: LintContext) -> Iterator[Finding]:
    secure = entry.element.value("secure")
    if secure not in (None, "true", "false"):
        what = f"secure is {quote(secure)}"
        yield entry.find("SP016", Severity.ERROR, what, "Write true or false in lower case.", "secure")
    elif secure == "true" and not context.is_local_service:
        what = 'secure="true" on a service that is not local'
        fix = "Do not rely on it; it protects only where clients are on the same machine."
        yield entry.find("SP017", Severity.WARNING, what, fix, "secure")


def _find_openness(entry: _Entry, context: LintContext) -> Iterator[Finding]:
    if entry.pattern is None or entry.ports is None:
        return
    is_for_all = entry.pattern.kind is PatternKind.ANY
    if is_for_all:
        fix = "Name the domains that your content is loaded from."
        yield entry.find("SP030", Severity.WARNING, "the domain * lets everybody connect", fix, "domain")
    if entry.has_all_ports:
        what = f"to-ports {quote(entry.grant.to_ports or '')} grants every port"
        yield entry.find("SP031", Severity.WARNING, what, "Name the ports of your service.", "to-ports")
    if is_for_all and entry.has_all_ports and context.serving_port < FIRST_HIGH_PORT and not context.allows_everybody:
        what = f"everybody may connect to every port of this host, served from port {context.serving_port}"
        yield entry.find("SP032", Severity.ERROR, what, "Name domains or ports, or say that you mean it.")
    if not entry.has_all_ports:
        yield from _find_sensitive(entry, context)


def _find_sensitive(entry: _Entry, context: LintContext) -> Iterator[Finding]:
    lowest = 1 if context.serving_port < FIRST_HIGH_PORT else FIRST_HIGH_PORT
    risky = sorted(
        port
        for port in _SENSITIVE_PORTS - context.service_ports
        if port >= lowest and any(port in ports for ports in entry.ports or ())
    )
    if risky:
        ports = _list_ranges(range(port, port + 1) for port in risky)
        what = f"the grant covers ports of well-known services: {ports}"
        yield entry.find("SP034", Severity.WARNING, what, "Name only the ports of your service.", "to-ports")


def _find_shadowed(entries: list[_Entry]) -> Iterator[Finding]:
    valid = [(entry, _merge(entry.ports)) for entry in entries if entry.pattern and entry.ports]
    for index, (entry, ports) in enumerate(valid):
        for other_index, (other, other_ports) in enumerate(valid):
            if index == other_index or not _covers(other, other_ports, entry, ports):
                continue
            if other_index > index and _covers(entry, ports, other, other_ports):
                continue  # the two are alike: the later one is the superfluous one
            what = f"the grant is covered by the one in line {other.element.position.line}"
            yield entry.find("SP040", Severity.NOTE, what, "Remove it.")
            break


def _covers(wide: _Entry, wide_ports: list[range], narrow: _Entry, narrow_ports: list[range]) -> bool:
    if wide.pattern is None or narrow.pattern is None or (wide.grant.secure and not narrow.grant.secure):
        return False
    if not wide.pattern.covers(narrow.pattern):
        return False
    for part in narrow_ports:
        index = bisect.bisect_right(wide_ports, part.start, key=lambda ports: ports.start) - 1
        if index < 0 or part.stop > wide_ports[index].stop:
            return False
    return True


def _merge(ranges: Iterable[range] | None) -> list[range]:
    merged: list[range] = []
    for part in sorted(ranges or (), key=lambda ports: ports.start):
        if merged and part.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, part.stop))
        else:
            merged.append(part)
    return merged


def _find_ungranted(policy: Policy, context: LintContext) -> Iterator[Finding]:
    entries = list(_pair(policy))
    reached = [ports for entry in entries if entry.pattern for ports in entry.ports or ()]
    lowest = 1 if context.serving_port < FIRST_HIGH_PORT else FIRST_HIGH_PORT
    for port in sorted(context.service_ports):
        if port < lowest or not any(port in ports for ports in reached):
            fix = f"Add {port} to to-ports" + (", and serve the file from port 843." if port < lowest else ".")
            yield Finding("SP018", Severity.WARNING, f"no grant reaches the service on port {port}", fix)
    if context.own_host is not None:
        own = parse_host(context.own_host)
        if not any(entry.pattern and entry.ports and entry.pattern.matches(own) for entry in entries):
            what = f"no grant is for the host itself, {quote(format_host(own))}"
            yield Finding("SP036", Severity.NOTE, what, "Add its domain if it serves the content as well.")
