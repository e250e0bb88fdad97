"""ActionScript 1 and 2's ``XML``: a document that never fails to parse, and is written with a blank in ``<item />``.

Only what a program needs to read a message, or to send one on: no loading, no changing of the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from ..limits import FlashLimits
from .conversion import toString
from .tokenizer import WHITE_SPACE, MarkupError, Token, Tokenizer, TokenKind, unescape_as2

_MAX_DEPTH: Final = FlashLimits().max_xml_depth
_ELEMENT: Final = 1
_TEXT: Final = 3
_OUT_OF_MEMORY: Final = -7
_UNCLOSED: Final = -9
_UNOPENED: Final = -10

# XML.status by the number of ActionScript 3's error for the same fault.
_STATUS: Final = {1090: -6, 1091: -2, 1092: -3, 1093: -4, 1094: -5, 1095: -8, 1097: -6}
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})


class XMLNode:
    """An element or a text.

    Attributes:
        nodeType: 1 for an element, 3 for a text.
        nodeName: Name of an element as written, with its prefix; ``None`` of a text.
        nodeValue: The text; ``None`` of an element.
        attributes: Of an element, in order; empty of a text.
        childNodes: What is inside, in order.
        parentNode: The element or document it stands in.
    """

    __slots__ = ("_index", "attributes", "childNodes", "nodeName", "nodeType", "nodeValue", "parentNode")

    def __init__(self, type: int, value: str | None = None) -> None:
        self.nodeType = type
        self.nodeName = value if type == _ELEMENT else None
        self.nodeValue = value if type != _ELEMENT else None
        self.attributes: dict[str, str] = {}
        self.childNodes: list[XMLNode] = []
        self.parentNode: XMLNode | None = None
        self._index = 0

    @property
    def firstChild(self) -> XMLNode | None:
        """The first node inside."""
        return self.childNodes[0] if self.childNodes else None

    @property
    def lastChild(self) -> XMLNode | None:
        """The last node inside."""
        return self.childNodes[-1] if self.childNodes else None

    @property
    def nextSibling(self) -> XMLNode | None:
        """The node after this one in the same parent."""
        return self._sibling(1)

    @property
    def previousSibling(self) -> XMLNode | None:
        """The node before this one in the same parent."""
        return self._sibling(-1)

    def _sibling(self, step: int) -> XMLNode | None:
        siblings: Sequence[XMLNode] = self.parentNode.childNodes if self.parentNode else ()
        index = self._index + step
        return siblings[index] if 0 <= index < len(siblings) else None

    def hasChildNodes(self) -> bool:
        """Whether anything is inside."""
        return bool(self.childNodes)

    def _append(self, node: XMLNode) -> None:
        node.parentNode = self
        node._index = len(self.childNodes)
        self.childNodes.append(node)

    def toString(self) -> str:
        """The markup; text too is escaped."""
        return _write(self)

    def __str__(self) -> str:
        return self.toString()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.toString()!r}>"


class XML(XMLNode):
    """A document: any number of elements and texts.

    Args:
        source: Markup, or anything that turns into it. Plain text makes a text node.

    Attributes:
        status: 0, or why parsing stopped; what came before is there. Not terminated: -2 CDATA, -3 XML declaration,
            -4 document type (any counts, as it is refused), -5 comment, -8 attribute. -6 malformed element, -7 nested
            too deeply, -9 element not closed, -10 end of an element that is not open.
        loaded: Whether it was parsed from a source.
        xmlDecl: The XML declaration, or ``None``.
    """

    ignoreWhite: ClassVar[bool] = False
    """Whether parsing leaves out texts that are only white space."""

    __slots__ = ("loaded", "status", "xmlDecl")

    def __init__(self, source: object = None) -> None:
        super().__init__(_ELEMENT)
        self.status = 0
        self.loaded = False
        self.xmlDecl: str | None = None
        if source is not None:
            self.parseXML(source)

    def parseXML(self, source: object) -> None:
        """Replace what is inside by the nodes of some markup. Never raises: see ``status``."""
        self.childNodes = []
        self.xmlDecl = None
        self.loaded = True
        self.status = 0
        current: XMLNode = self
        depth = 0
        try:
            for token in Tokenizer(toString(source), unescape_as2, condense=False):
                if token.kind is TokenKind.OPENING and depth == _MAX_DEPTH and not token.is_empty:
                    self.status = _OUT_OF_MEMORY
                    return
                step, current = self._add(token, current)
                if self.status:
                    return
                depth += step
        except MarkupError as error:
            self.status = _STATUS[error.errorID]
        else:
            self.status = _UNCLOSED if depth else 0

    def _add(self, token: Token, current: XMLNode) -> tuple[int, XMLNode]:
        """Put a token where it belongs; returns how much deeper we are, and in which node."""
        if token.kind is TokenKind.DECLARATION:
            self.xmlDecl = f"<?xml {token.value}?>"
        elif token.kind is TokenKind.CDATA or (token.kind is TokenKind.TEXT and not self._is_ignored(token.value)):
            current._append(XMLNode(_TEXT, token.value))
        elif token.kind is TokenKind.OPENING:
            element = XMLNode(_ELEMENT, token.value)
            element.attributes.update(token.attributes)
            current._append(element)
            if not token.is_empty:
                return 1, element
        elif token.kind is TokenKind.CLOSING:
            if current.parentNode is None or current.nodeName != token.value:
                self.status = _UNOPENED
            else:
                return -1, current.parentNode
        return 0, current

    def _is_ignored(self, text: str) -> bool:
        return self.ignoreWhite and not text.strip(WHITE_SPACE)


def _write(root: XMLNode) -> str:
    """Write a tree as markup; not by recursion, so that its depth costs no stack."""
    pieces = [root.xmlDecl] if isinstance(root, XML) and root.xmlDecl else []
    waiting: list[XMLNode | str] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            pieces.append(node)
        elif node.nodeType != _ELEMENT:
            pieces.append((node.nodeValue or "").translate(_ESCAPES))
        else:
            if node.nodeName is not None:
                pieces.append(f"<{node.nodeName}")
                pieces += [f' {name}="{value.translate(_ESCAPES)}"' for name, value in node.attributes.items()]
                pieces.append(">" if node.childNodes else " />")
                if node.childNodes:
                    waiting.append(f"</{node.nodeName}>")
            waiting += reversed(node.childNodes)
    return "".join(pieces)
