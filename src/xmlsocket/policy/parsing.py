"""From bytes to a :class:`Policy`. Whatever the bytes are, only :class:`PolicyError` comes out."""

from __future__ import annotations

import dataclasses
import re
from xml.parsers import expat

from ..errors import PolicyError
from ..limits import PolicyLimits
from .decoding import Source, cut_document, decode_document, locate
from .diagnosis import explain_fault, explain_root
from .matching import parse_ports
from .model import ROOT_NAME, Attribute, Element, Grant, MetaPolicy, Policy, Position
from .quoting import quote

_DEFAULT_LIMITS = PolicyLimits()
_MAX_DEPTH = 100
_ATTRIBUTE = re.compile(rb"""\s+([^\s=>/]+)\s*=\s*("[^"]*"|'[^']*')""")
_ENTITY = re.compile(rb"&(?!#|(?:lt|gt|amp|quot|apos);)([^;\s]*)")


def parse_policy(data: bytes, *, strict: bool = False, limits: PolicyLimits = _DEFAULT_LIMITS) -> Policy:
    """Read a socket policy file or a captured answer.

    The document ends at the first NUL; what follows is ignored. Document types are never fetched; those
    with an internal subset, and entities of their own, make the file unusable. Elements with odd or
    missing values are kept: they just grant nothing.

    Args:
        data: The bytes.
        strict: Refuse what players are only thought to tolerate: a missing NUL, a byte order mark,
            blanks before the XML declaration, ``*`` or blanks in a list of ports.
        limits: ``max_policy_size`` counts here.

    Raises:
        PolicyError: A player would treat the file as if it were not there; with position and cause.
    """
    return read_document(data, strict=strict, limits=limits).policy


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A policy file with everything that the linter wants to know of it.

    Attributes:
        policy: What it says.
        source: Its text.
        doctype: Where a document type without internal subset stands, or ``None``.
    """

    policy: Policy
    source: Source
    doctype: Position | None


def read_document(data: bytes, *, strict: bool = False, limits: PolicyLimits = _DEFAULT_LIMITS) -> Document:
    """Read a policy file as :func:`parse_policy` does, and keep what is around the policy.

    Raises:
        PolicyError: As there.
    """
    source = decode_document(cut_document(data, strict=strict, max_size=limits.max_policy_size), strict=strict)
    reader = _Reader(source)
    elements = reader.read()
    return Document(_make_policy(elements, strict=strict), source, reader.doctype)


class _Reader:
    """Collects the elements of one document."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._bytes = source.text.encode()
        self._open: list[Element] = []
        self._elements: list[Element] = []
        self.doctype: Position | None = None
        # Naming the encoding here makes expat ignore the one in the declaration: the text is decoded already.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser.ordered_attributes = True
        self._parser.StartDoctypeDeclHandler = self._start_doctype
        self._parser.SkippedEntityHandler = self._skip_entity
        self._parser.StartElementHandler = self._start_element
        self._parser.EndElementHandler = self._end_element

    def read(self) -> tuple[Element, ...]:
        try:
            self._parser.Parse(self._bytes, True)
        except expat.ExpatError as error:
            raise self._explain(error) from error
        return tuple(self._elements)

    def _explain(self, error: expat.ExpatError) -> PolicyError:
        before = self._bytes[: max(self._parser.ErrorByteIndex, 0)]
        index = len(before.decode("utf-8", "ignore"))
        open_names = [element.name for element in self._open]
        detail, index = explain_fault(self._source.text, index, error.code, open_names)
        return PolicyError(detail, *self._source.place(*locate(self._source.text, index)), "SP001")

    def _position(self) -> Position:
        line, column = self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1
        return Position(*self._source.place(line, column))

    def _fail(self, detail: str, rule: str, position: Position | None = None) -> PolicyError:
        position = position or self._position()
        return PolicyError(detail, position.line, position.column, rule)

    def _start_doctype(self, name: str, system: str | None, public: str | None, has_subset: bool | int) -> None:
        # expat reports it where its name or its identifiers end, so the start is looked for backwards.
        start = self._bytes.rfind(b"<!DOCTYPE", 0, self._parser.CurrentByteIndex + 1)
        place = locate(self._bytes[:start].decode(), None)
        self.doctype = Position(*self._source.place(*place))
        if has_subset:
            detail = "the document type has declarations of its own, which are refused; remove it"
            raise self._fail(detail, "SP007", self.doctype)

    def _skip_entity(self, name: str, is_parameter: bool) -> None:
        raise self._fail(f"the entity {quote(name)} is not defined; write & as &amp;", "SP007")

    def _start_element(self, name: str, attributes: list[str]) -> None:
        position = self._position()
        if not self._open and name != ROOT_NAME:
            raise self._fail(explain_root(name), "SP002")
        if len(self._open) >= _MAX_DEPTH:
            raise self._fail(f"elements are nested more than {_MAX_DEPTH} deep", "SP001")
        positions = self._attribute_positions(name, position, len(attributes) // 2)
        found = tuple(map(Attribute, attributes[::2], attributes[1::2], positions))
        element = Element(name, found, position, tuple(outer.name for outer in self._open))
        self._open.append(element)
        self._elements.append(element)

    def _end_element(self, name: str) -> None:
        self._open.pop()

    def _attribute_positions(self, name: str, position: Position, count: int) -> list[Position]:
        """Find the attributes in the tag itself, and entities in them that expat would pass over in silence."""
        positions = []
        start = self._parser.CurrentByteIndex
        index = start + 1 + len(name.encode())
        line, column = position.line, position.column + 1 + len(name)
        for _ in range(count):
            match = _ATTRIBUTE.match(self._bytes, index)
            if match is None:  # cannot be in a well-formed tag; if it can, an entity must not slip through
                raise self._fail("an attribute cannot be found in its tag", "SP001", position)
            line, column = _advance(line, column, self._bytes[index : match.start(1)])
            positions.append(Position(line, column))
            if entity := _ENTITY.search(match[2]):
                named = quote(entity[1].decode("utf-8", "replace"))
                raise self._fail(f"the entity {named} is not defined; write & as &amp;", "SP007", positions[-1])
            line, column = _advance(line, column, self._bytes[match.start(1) : match.end()])
            index = match.end()
        return positions


def _advance(line: int, column: int, passed: bytes) -> tuple[int, int]:
    more_lines, last_column = locate(passed.decode("utf-8", "replace"), None)
    return line + more_lines - 1, last_column + (column - 1 if more_lines == 1 else 0)


def _make_policy(elements: tuple[Element, ...], *, strict: bool) -> Policy:
    direct = [element for element in elements if element.is_direct]
    controls = [_read_control(element) for element in direct if element.name == "site-control"]
    entries = tuple(_read_grant(element) for element in direct if element.name == "allow-access-from")
    if strict:
        for element in direct:
            _check_strictly(element)
    return Policy(entries, MetaPolicy.strictest(controls), elements)


def _read_control(element: Element) -> MetaPolicy:
    try:
        return MetaPolicy(element.value("permitted-cross-domain-policies"))
    except ValueError:
        return MetaPolicy.NONE  # unknown, missing or of another transport: closed, as lightspark does


def _read_grant(element: Element) -> Grant:
    secure = element.value("secure")
    return Grant(element.value("domain"), element.value("to-ports"), secure not in (None, "false"), element.position)


def _check_strictly(element: Element) -> None:
    ports = element.attribute("to-ports") if element.name == "allow-access-from" else None
    if ports is None:
        return
    try:
        parse_ports(ports.value)
    except PolicyError:
        return  # void in both modes
    try:
        parse_ports(ports.value, strict=True)
    except PolicyError as error:
        raise PolicyError(error.detail, ports.position.line, ports.position.column, error.rule) from error
