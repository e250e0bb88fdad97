"""The tree behind an ``XML`` value: built from markup and written as markup, by the rules of ECMA-357 (E4X).

Where the players differ from the standard, it is as in the players.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Mapping
from typing import Final

from ..limits import FlashLimits
from .errors import TypeError as FlashTypeError
from .errors import numbered
from .tokenizer import WHITE_SPACE, MarkupError, Token, Tokenizer, TokenKind, unescape_as3

_MAX_DEPTH: Final = FlashLimits().max_xml_depth


class Kind(enum.Enum):
    """What a node is."""

    TEXT = enum.auto()
    CDATA = enum.auto()
    COMMENT = enum.auto()
    INSTRUCTION = enum.auto()
    ELEMENT = enum.auto()


TEXTS: Final = (Kind.TEXT, Kind.CDATA)
_KINDS: Final = {
    TokenKind.TEXT: Kind.TEXT,
    TokenKind.CDATA: Kind.CDATA,
    TokenKind.COMMENT: Kind.COMMENT,
    TokenKind.INSTRUCTION: Kind.INSTRUCTION,
}


class Node:
    """A node of the tree. ``value`` is the name of an element and the text of anything else."""

    __slots__ = ("attributes", "children", "kind", "namespaces", "value")

    def __init__(self, kind: Kind, value: str) -> None:
        self.kind = kind
        self.value = value
        self.attributes: list[tuple[str, str]] = []
        self.namespaces: dict[str, str] = {}  # prefix to URI, of the declarations at this element
        self.children: list[Node] = []

    @property
    def is_simple(self) -> bool:
        """E4X's hasSimpleContent: no element inside, and it is no comment or instruction itself."""
        if self.kind in (Kind.COMMENT, Kind.INSTRUCTION):
            return False
        return all(child.kind is not Kind.ELEMENT for child in self.children)


def parse(text: str, *, condense: bool, ignored: Container[TokenKind]) -> list[Node]:
    """Build the tree of each root, in order.

    Args:
        text: The markup.
        condense: See :class:`~xmlsocket.flash.tokenizer.Tokenizer`.
        ignored: Kinds of tokens to leave out.

    Raises:
        TypeError: See :class:`~xmlsocket.flash.XML`.
        StackOverflowError: See :class:`~xmlsocket.flash.XML`.
    """
    builder = _Builder()
    try:
        for token in Tokenizer(text, unescape_as3, condense=condense):
            if token.kind not in ignored:
                builder.add(token)
    except MarkupError as error:
        if error.detail:
            raise FlashTypeError(f"Error #{error.errorID}: {error.detail}", error.errorID) from None
        raise numbered(error.errorID) from None
    return builder.finish()


def root_of(roots: list[Node]) -> Node:
    """Choose the root as the player does: what else stands at the top must be comments, instructions or blanks."""
    if not roots:
        return Node(Kind.TEXT, "")
    if len(roots) == 1:
        return roots[0]
    elements = [node for node in roots if node.kind is Kind.ELEMENT]
    if len(elements) != 1 or any(node.kind is Kind.TEXT and node.value.strip(WHITE_SPACE) for node in roots):
        raise numbered(1088)
    return elements[0]


class _Builder:
    """Turns tokens into trees. ``_open`` are the elements that are not closed yet, below a parent for the roots."""

    def __init__(self) -> None:
        self._open = [Node(Kind.ELEMENT, "")]
        self._scopes: list[Mapping[str, str]] = [{"xml": "http://www.w3.org/XML/1998/namespace"}]

    def add(self, token: Token) -> None:
        if token.kind is TokenKind.OPENING:
            self._open_element(token)
        elif token.kind is TokenKind.CLOSING:
            self._close_element(token.value)
        elif token.kind is not TokenKind.DECLARATION:
            self._open[-1].children.append(Node(_KINDS[token.kind], token.value))

    def finish(self) -> list[Node]:
        if len(self._open) > 1:
            raise numbered(1085, _split_name(self._open[-1].value)[1])
        return self._open[0].children

    def _open_element(self, token: Token) -> None:
        if len(self._open) > _MAX_DEPTH:
            raise numbered(1023)
        element = Node(Kind.ELEMENT, token.value)
        for name, value in token.attributes:
            prefix = _declared_prefix(name)
            if prefix is None:
                element.attributes.append((name, value))
            elif prefix and not value:
                raise numbered(1098, prefix)
            else:
                element.namespaces[prefix] = value
        scope = {**self._scopes[-1], **element.namespaces} if element.namespaces else self._scopes[-1]
        _check_names(element, scope)
        self._open[-1].children.append(element)
        if not token.is_empty:
            self._open.append(element)
            self._scopes.append(scope)

    def _close_element(self, name: str) -> None:
        element = self._open[-1]
        if len(self._open) == 1:
            raise numbered(1088)
        if element.value != name:
            raise numbered(1085, _split_name(element.value)[1])
        self._open.pop()
        self._scopes.pop()


def _declared_prefix(name: str) -> str | None:
    """The prefix that an attribute declares, empty for the default namespace; ``None`` for all other attributes."""
    if name[:5].lower() != "xmlns" or name[5:6] not in ("", ":"):
        return None
    if name[5:] == ":":
        raise numbered(1084, name)
    return name[6:]


def _split_name(name: str) -> tuple[str, str]:
    prefix, colon, local = name.partition(":")
    return (prefix, local) if colon else ("", name)


def _check_names(element: Node, scope: Mapping[str, str]) -> None:
    _namespace_of(element.value, scope)
    seen: set[tuple[str, str]] = set()
    for name, _ in element.attributes:
        # An attribute without a prefix is in no namespace.
        qualified = (_namespace_of(name, scope) if ":" in name else "", _split_name(name)[1])
        if qualified in seen:
            raise numbered(1104, qualified[1], element.value)
        seen.add(qualified)


def _namespace_of(name: str, scope: Mapping[str, str]) -> str:
    if name.startswith(":"):
        raise numbered(1084, name)
    prefix, local = _split_name(name)
    if prefix and prefix not in scope:
        raise numbered(1083, prefix, local)
    return scope.get(prefix, "")


# Writing

_ELEMENT_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "&#x0;"})
_ATTRIBUTE_ESCAPES: Final = str.maketrans(
    {'"': "&quot;", "&": "&amp;", "<": "&lt;", "\n": "&#xA;", "\r": "&#xD;", "\t": "&#x9;", "\0": "&#x0;"}
)


def write(root: Node, indent_by: int | None) -> str:
    """Write a tree as markup; not by recursion, so that its depth costs no stack.

    Args:
        root: Where to begin.
        indent_by: Blanks for each level of pretty printing; ``None`` writes everything on one line.
    """
    pieces: list[str] = []
    # What is still to be written, next at the end: text as it is, or a node with its indent and what is in scope there.
    waiting: list[str | tuple[Node, int, Mapping[str, str]]] = [(root, 0, {})]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
            continue
        node, indent, scope = item
        if indent_by is not None:
            pieces.append(" " * indent)
        if node.kind is not Kind.ELEMENT:
            pieces.append(_write_leaf(node, is_pretty=indent_by is not None))
            continue
        scope = _write_tag(node, scope, pieces)
        children = node.children
        if children:
            line, inner = "", 0
            if indent_by is not None and (len(children) > 1 or children[0].kind not in TEXTS):
                line, inner = "\n", indent + indent_by
            waiting.append(f"{line}{' ' * indent if line else ''}</{node.value}>")
            for child in reversed(children):
                waiting += ((child, inner, scope), line)
    return "".join(pieces)


def _write_leaf(node: Node, *, is_pretty: bool) -> str:
    if node.kind is Kind.TEXT:
        return (node.value.strip(WHITE_SPACE) if is_pretty else node.value).translate(_ELEMENT_ESCAPES)
    if node.kind is Kind.CDATA:
        return f"<![CDATA[{node.value}]]>"
    if node.kind is Kind.COMMENT:
        return f"<!--{node.value}-->"
    name, _, value = node.value.partition(" ")
    return f"<?{name} {value.lstrip(WHITE_SPACE)}?>"


def _write_tag(element: Node, scope: Mapping[str, str], pieces: list[str]) -> Mapping[str, str]:
    """Write an opening tag, or the whole of an empty element; returns what is in scope inside."""
    pieces.append(f"<{element.value}")
    pieces += [f' {name}="{value.translate(_ATTRIBUTE_ESCAPES)}"' for name, value in element.attributes]
    for prefix, uri in element.namespaces.items():
        if scope.get(prefix, "") != uri:
            pieces.append(f' xmlns{":" if prefix else ""}{prefix}="{uri.translate(_ATTRIBUTE_ESCAPES)}"')
    pieces.append(">" if element.children else "/>")
    return {**scope, **element.namespaces} if element.namespaces else scope
