"""What a socket policy file says: its grants and its meta-policy."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable

from ..errors import PolicyError
from .matching import DomainPattern, format_host, is_in_authority, parse_domain, parse_ports
from .quoting import quote
from .requester import Requester

ROOT_NAME = "cross-domain-policy"
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class MetaPolicy(enum.Enum):
    """What the file on port 843 says of all policy files of its host (``site-control``)."""

    NONE = "none"
    MASTER_ONLY = "master-only"
    ALL = "all"

    @classmethod
    def strictest(cls, values: Iterable[MetaPolicy]) -> MetaPolicy | None:
        """Choose the most restrictive of several; ``None`` if there is none."""
        return min(values, key=list(cls).index, default=None)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file: line and column, both from 1, columns in characters."""

    line: int
    column: int


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute as it was read: character references resolved, nothing trimmed."""

    name: str
    value: str
    position: Position


@dataclasses.dataclass(frozen=True, slots=True)
class Element:
    """An element as it was read, whether it means anything to a player or not.

    Attributes:
        name: Its name.
        attributes: Its attributes in their order.
        position: Where its tag starts.
        parents: Names of the elements around it, the root first; empty for the root.
    """

    name: str
    attributes: tuple[Attribute, ...]
    position: Position
    parents: tuple[str, ...] = ()

    def attribute(self, name: str) -> Attribute | None:
        """Find an attribute by its exact name."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)

    def value(self, name: str) -> str | None:
        """Get the value of an attribute, or ``None``."""
        attribute = self.attribute(name)
        return None if attribute is None else attribute.value

    @property
    def is_direct(self) -> bool:
        """Whether it stands directly in the root, where alone players look."""
        return len(self.parents) == 1


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """One ``allow-access-from``: who may connect to which ports.

    A grant may be void, as many in circulation are; then :meth:`objection` says why. The linter tells
    the author.

    Attributes:
        domain: Whom: ``*``, ``*.example.com``, a host, or ``None`` where the attribute is missing.
        to_ports: Ports and ranges such as ``843,8000-8010``, or ``*``; ``None`` where it is missing.
        secure: Only content loaded over HTTPS.
        position: Where it stands in its file, if it came from one.
        pattern: What ``domain`` means, or why it means nothing.
        ports: What ``to_ports`` means, or why it means nothing.
    """

    domain: str | None
    to_ports: str | None
    secure: bool = False
    position: Position | None = dataclasses.field(default=None, compare=False)
    pattern: DomainPattern | PolicyError = dataclasses.field(init=False, repr=False, compare=False)
    ports: tuple[range, ...] | PolicyError = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", _understand_domain(self.domain))
        object.__setattr__(self, "ports", _understand_ports(self.to_ports))

    def objection(self, requester: Requester, port: int, served_from: int) -> str | None:
        """Say why it does not let the requester connect to the port; ``None`` if it does.

        Args:
            requester: The content that asks.
            port: The destination port.
            served_from: The port that the policy file came from.
        """
        if isinstance(self.pattern, PolicyError):
            return self.pattern.detail
        if isinstance(self.ports, PolicyError):
            return self.ports.detail
        if not self.pattern.matches(requester.host):
            return f"the domain {quote(self.domain or '')} does not match {_describe(requester)}"
        if not any(port in ports for ports in self.ports):
            return f"to-ports {quote(self.to_ports or '')} does not name {port}"
        if not is_in_authority(port, served_from):
            return f"a policy file from port {served_from} grants nothing below port 1024"
        if self.secure and not requester.is_secure:
            return 'secure="true" asks for content that was loaded over HTTPS'
        return None


def _describe(requester: Requester) -> str:
    return "a local file, which only * matches" if requester.host is None else quote(format_host(requester.host))


def _understand_domain(domain: str | None) -> DomainPattern | PolicyError:
    if domain is None:
        return PolicyError("the attribute domain is missing", rule="SP010")
    try:
        return parse_domain(domain)
    except PolicyError as error:
        return error.with_traceback(None)


def _understand_ports(to_ports: str | None) -> tuple[range, ...] | PolicyError:
    if to_ports is None:
        return PolicyError("the attribute to-ports is missing, and a socket policy must have it", rule="SP011")
    try:
        return parse_ports(to_ports)
    except PolicyError as error:
        return error.with_traceback(None)


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """A socket policy file.

    Attributes:
        entries: Its grants. They are a union: no grant takes another away, and order means nothing.
        meta_policy: What its ``site-control`` says; ``None`` where there is none, which means ``all``.
            It counts only in the file that port 843 serves.
        elements: Everything that stood in the file it came from, for those who want to look closer;
            grants of HTTP headers and to identities among them. Empty if it came from no file.
    """

    entries: tuple[Grant, ...] = ()
    meta_policy: MetaPolicy | None = None
    elements: tuple[Element, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def grants(self, requester: Requester, port: int, served_from: int) -> Grant | None:
        """Find the first grant that lets the requester connect to the port, or ``None``.

        Only the grants count here. Whether this file may speak at all is for the meta-policy of port 843
        to say (see :class:`PolicySearch`).
        """
        return next((grant for grant in self.entries if grant.objection(requester, port, served_from) is None), None)

    def grants_over_http(self, requester: Requester) -> Grant | None:
        """Find the first grant that counted in an HTTP policy file for sockets, as players before 9.0.124 read it.

        Ports and ``secure`` had no meaning there.
        """
        return next(
            (
                grant
                for grant in self.entries
                if isinstance(grant.pattern, DomainPattern) and grant.pattern.matches(requester.host)
            ),
            None,
        )

    @property
    def effective_meta_policy(self) -> MetaPolicy:
        """The meta-policy when port 843 serves this file."""
        return self.meta_policy or MetaPolicy.ALL

    def render(self) -> str:
        """Write it as a policy file: XML without document type, one element a line, values escaped.

        Raises:
            PolicyError: A value has a character that XML cannot carry.
        """
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<{ROOT_NAME}>"]
        if self.meta_policy is not None:
            lines.append(f'  <site-control permitted-cross-domain-policies="{self.meta_policy.value}"/>')
        for grant in self.entries:
            values = {"domain": grant.domain, "to-ports": grant.to_ports, "secure": "true" if grant.secure else None}
            lines.append("  <allow-access-from" + "".join(map(_render_attribute, values.items())) + "/>")
        lines.append(f"</{ROOT_NAME}>")
        return "\n".join(lines) + "\n"

    def to_answer(self) -> bytes:
        """Write what a server sends to who asks for it: the file in UTF-8 and one NUL.

        Raises:
            PolicyError: A value has a character that XML cannot carry.
        """
        return self.render().encode() + b"\0"


def _render_attribute(item: tuple[str, str | None]) -> str:
    name, value = item
    if value is None:
        return ""
    if _NOT_XML.search(value):
        raise PolicyError(f"{name} {quote(value)} has a character that XML cannot carry")
    return f' {name}="{value.translate(_ESCAPES)}"'
