"""The linter's rules on the file as a whole: meta-policy, order, and what sockets do not know."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from .findings import Finding, LintContext, Severity
from .model import ROOT_NAME, Attribute, Element, MetaPolicy, Position
from .parsing import Document
from .quoting import quote

_CONTROL = "permitted-cross-domain-policies"
_ORDER = ("site-control", "allow-access-from", "allow-http-request-headers-from", "allow-access-from-identity")
_ATTRIBUTES = {
    ROOT_NAME: (),
    "site-control": (_CONTROL,),
    "allow-access-from": ("domain", "to-ports", "secure"),
    "allow-http-request-headers-from": ("domain", "headers", "secure"),
    "allow-access-from-identity": (),
    "signatory": (),
    "certificate": ("fingerprint", "fingerprint-algorithm"),
}
_OTHER_NAMES = {"ports": "to-ports", "port": "to-ports", "host": "domain", "domains": "domain"}


def find_in_site_control(document: Document, context: LintContext) -> Iterator[Finding]:
    """Apply the rules on the meta-policy."""
    policy = document.policy
    controls = [element for element in policy.elements if element.is_direct and element.name == "site-control"]
    for index, control in enumerate(controls):
        yield from _find_in_control(control, context)
        if index:
            fix = "Keep one."
            yield _at(control.position, "SP022", Severity.WARNING, "there is more than one site-control", fix)
    if not context.is_master:
        return
    if not controls:
        fix = 'Add <site-control permitted-cross-domain-policies="master-only"/>.'
        yield Finding("SP023", Severity.WARNING, "the file for port 843 has no site-control", fix)
    says_none = any(control.value(_CONTROL) == MetaPolicy.NONE.value for control in controls)
    if says_none and policy.entries:
        position = policy.entries[0].position or Position(1, 1)
        fix = "Write master-only if the grants shall count, or remove them."
        yield _at(position, "SP025", Severity.ERROR, "there are grants under the meta-policy none", fix)


def _find_in_control(control: Element, context: LintContext) -> Iterator[Finding]:
    attribute = control.attribute(_CONTROL)
    position = attribute.position if attribute else control.position
    value = attribute.value if attribute else None
    if value not in [meta_policy.value for meta_policy in MetaPolicy]:
        shown = "has no value" if value is None else f"is {quote(value)}"
        fix = "Write none, master-only or all."
        yield _at(position, "SP020", Severity.ERROR, f"the meta-policy {shown}", fix)
    if not context.is_master:
        what = f"there is a site-control, but the file is served from port {context.serving_port}"
        yield _at(control.position, "SP021", Severity.WARNING, what, "Put it into the file on port 843.")
    elif value == MetaPolicy.ALL.value:
        fix = "Write master-only unless other ports of this host serve policy files."
        yield _at(position, "SP024", Severity.WARNING, "the meta-policy is all", fix)


def find_in_elements(document: Document, context: LintContext) -> Iterator[Finding]:
    """Apply the rules on order, on names, and on what belongs to other transports."""
    highest = 0
    for element in document.policy.elements:
        yield from _find_in_attributes(element)
        if not element.parents or "allow-access-from-identity" in element.parents:
            continue
        yield from _find_in_name(element)
        if element.is_direct and element.name in _ORDER:
            place = _ORDER.index(element.name)
            if place < highest:
                what = f"{element.name} stands after {_ORDER[highest]}"
                fix = f"Put it before {_ORDER[highest]}."
                yield _at(element.position, "SP041", Severity.NOTE, what, fix)
            highest = max(highest, place)
            if place > 1:
                what = f"there is an {element.name} in a socket policy"
                yield _at(element.position, "SP043", Severity.WARNING, what, "Remove it.")


def _find_in_name(element: Element) -> Iterator[Finding]:
    if element.name in _ORDER:
        if not element.is_direct:
            what = f"{element.name} stands inside {quote(element.parents[-1])}, where players do not look"
            fix = f"Put it directly into {ROOT_NAME}."
            yield _at(element.position, "SP042", Severity.ERROR, what, fix)
        return
    near = difflib.get_close_matches(element.name[:60].lower().replace("_", "-"), _ORDER, n=1, cutoff=0.85)
    what = f"the element {quote(element.name)} is unknown"
    if near:
        yield _at(element.position, "SP042", Severity.ERROR, what, f"Write {near[0]} if you mean that.")
    elif element.is_direct:
        yield _at(element.position, "SP042", Severity.NOTE, what, "Remove it if nobody else reads it.")


def _find_in_attributes(element: Element) -> Iterator[Finding]:
    known = _ATTRIBUTES.get(element.name)
    if known is None:
        return
    for attribute in element.attributes:
        if attribute.name in known or attribute.name.startswith("xml"):
            continue
        if not element.parents and attribute.name.startswith("xsi:"):
            continue
        yield _judge_attribute(element, attribute, known)


def _judge_attribute(element: Element, attribute: Attribute, known: tuple[str, ...]) -> Finding:
    plain = attribute.name[:60].lower().replace("_", "-")
    meant = _OTHER_NAMES.get(plain)
    if meant not in known:
        candidates = {name.replace("-", ""): name for name in known}
        near = difflib.get_close_matches(plain.replace("-", ""), candidates, n=1, cutoff=0.8)
        meant = candidates[near[0]] if near else None
    if meant is not None:
        what = f"the attribute {quote(attribute.name)} is misspelt"
        return _at(attribute.position, "SP012", Severity.ERROR, what, f"Write {meant}.")
    what = f"{element.name} has an unknown attribute {quote(attribute.name)}"
    return _at(attribute.position, "SP042", Severity.NOTE, what, "Remove it if nobody else reads it.")


def _at(position: Position, rule: str, severity: Severity, what: str, fix: str) -> Finding:
    return Finding(rule, severity, what, fix, position.line, position.column)
