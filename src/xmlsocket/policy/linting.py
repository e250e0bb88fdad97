"""Finds what is wrong or risky in a socket policy file and with the server that serves it."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import PolicyError
from ..limits import PolicyLimits
from .decoding import locate
from .findings import Finding, LintContext, ProbeFacts, Severity
from .grant_rules import find_in_grants
from .model import Policy
from .parsing import Document, read_document
from .site_rules import find_in_elements, find_in_site_control

PORTABLE_SIZE = 10_000
"""Bytes above which Adobe's sample servers refuse to serve a policy file."""

_DEFAULT_LIMITS = PolicyLimits()
_DEFAULT_CONTEXT = LintContext()
_FIXES = {
    "SP001": "Correct the file there, and check it again.",
    "SP002": "Serve a Flash socket policy here.",
    "SP005": "Save the file as UTF-8 without NUL bytes.",
    "SP006": "Make it shorter, with wildcards or fewer elements.",
    "SP007": "Remove the document type, and write & as &amp;.",
}


def lint(
    data: bytes, context: LintContext = _DEFAULT_CONTEXT, *, limits: PolicyLimits = _DEFAULT_LIMITS
) -> tuple[Finding, ...]:
    """Check a policy file, whatever bytes it holds, in the order of its lines.

    Of a file that cannot be read, the cause is found and nothing else about its contents.

    Args:
        data: The file, or with ``context.is_captured`` all that a server sent.
        context: How the file is used.
        limits: ``max_policy_size`` and ``policy_timeout`` count here.
    """
    findings = []
    try:
        document = read_document(data, limits=limits)
    except PolicyError as error:
        rule = error.rule or "SP001"
        findings.append(Finding(rule, Severity.ERROR, error.detail, _FIXES[rule], error.line, error.column))
        findings.extend(_find_in_bytes(data, context, is_readable=False))
    else:
        findings.extend(_find_in_bytes(data, context, is_readable=True))
        findings.extend(_find_in_front(document))
        findings.extend(find_in_site_control(document, context))
        findings.extend(find_in_elements(document, context))
        findings.extend(find_in_grants(document, context))
    if context.probe is not None:
        findings.extend(_find_in_probe(context.probe, limits))
    return tuple(sorted(findings, key=lambda finding: (finding.line or 0, finding.column or 0, finding.rule)))


def lint_policy(policy: Policy, context: LintContext = _DEFAULT_CONTEXT) -> tuple[Finding, ...]:
    """Check a policy that a program made, as the file that :meth:`Policy.render` writes.

    Raises:
        PolicyError: It cannot be written, for a value has a character that XML cannot carry.
    """
    return lint(policy.render().encode(), context, limits=PolicyLimits(max_policy_size=None))


def _find_in_bytes(data: bytes, context: LintContext, *, is_readable: bool) -> Iterator[Finding]:
    document, nul, rest = data.partition(b"\0")
    if context.is_captured and not nul:
        fix = "Send one NUL byte after the document."
        yield Finding("SP003", Severity.ERROR, "the answer does not end in a NUL", fix)
    if rest:
        line, column = locate(document.decode("utf-8", "replace"), None)
        count = f"{len(rest)} byte{'s' if len(rest) > 1 else ''}"
        if is_readable:
            fix = "Send nothing after the NUL."
            yield Finding("SP004", Severity.WARNING, f"{count} follow the NUL", fix, line, column)
        elif len(document) > 1:  # shorter ones are UTF-16, which is said already
            what = f"a NUL stands inside the file, with {count} after it"
            yield Finding("SP005", Severity.ERROR, what, _FIXES["SP005"], line, column)
    if is_readable and len(document) > PORTABLE_SIZE:
        what = f"the file has {len(document)} bytes"
        yield Finding("SP006", Severity.WARNING, what, _FIXES["SP006"])


def _find_in_front(document: Document) -> Iterator[Finding]:
    if document.source.has_byte_order_mark:
        what = "a byte order mark stands before the document, which not every player may accept"
        yield Finding("SP001", Severity.WARNING, what, "Save the file without one.", 1, 1)
    if document.source.has_leading_blanks:
        what = "blanks stand before the XML declaration, which not every player may accept"
        yield Finding("SP001", Severity.WARNING, what, "Remove them.", 1, 1)
    if document.doctype is not None:
        fix = "It is harmless; leave it out."
        line, column = document.doctype.line, document.doctype.column
        yield Finding("SP007", Severity.NOTE, "there is a document type", fix, line, column)


def _find_in_probe(probe: ProbeFacts, limits: PolicyLimits) -> Iterator[Finding]:
    if probe.answers_unasked:
        fix = "Read the request before you answer."
        yield Finding("SP050", Severity.WARNING, "the server answers without a request", fix)
    if probe.answers_anything:
        fix = "Answer <policy-file-request/> and a NUL only; close on anything else."
        yield Finding("SP051", Severity.WARNING, "the server answers what is no policy request", fix)
    if probe.speaks_first:
        fix = "Let the server wait for the first byte of the client, or serve the policy on another port."
        yield Finding("SP052", Severity.ERROR, "the server speaks first, and not with a policy file", fix)
    if probe.seconds is not None and limits.policy_timeout is not None and probe.seconds > limits.policy_timeout:
        what = f"the answer took {probe.seconds:.1f} s, longer than {limits.policy_timeout:g} s"
        yield Finding("SP053", Severity.WARNING, what, "Answer at once, from memory.")
    if probe.is_master_filtered:
        fix = "Let the firewall refuse connections to port 843 instead of dropping them, or serve the file there."
        yield Finding("SP054", Severity.WARNING, "port 843 neither accepts nor refuses connections", fix)
    if probe.grants_differ:
        what = "port 843 and the destination port grant different requesters"
        yield Finding("SP055", Severity.NOTE, what, "Serve the same grants on both.")


def grants_differ(master: Policy, destination: Policy, port: int) -> bool:
    """Tell whether the files on port 843 and on the destination port let different requesters connect to the latter."""
    return _grants_for(master, port) != _grants_for(destination, port)


def _grants_for(policy: Policy, port: int) -> set[tuple[object, bool]]:
    return {
        (grant.pattern, grant.secure)
        for grant in policy.entries
        if not isinstance(grant.pattern, PolicyError)
        and not isinstance(grant.ports, PolicyError)
        and any(port in ports for ports in grant.ports)
    }
