"""ActionScript 3's ``XML`` and ``XMLList`` as values to send: parsed, and written as the player writes them.

There is no query language here: to look into what arrives, give ``event.data`` to ElementTree or lxml.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final, TypeGuard, cast

from ..wire import Markup, to_text
from .conversion import toString
from .e4x import TEXTS, Kind, Node, parse, root_of, write
from .errors import numbered
from .tokenizer import TokenKind


class XML:
    """An XML value: one element with all that is in it, or a text, comment or processing instruction.

    The class properties are settings for all values, as in ActionScript: ``XML.prettyPrinting = False``.

    Args:
        value: Markup, another XML value, a list of just one, an element of ElementTree, lxml or minidom, or anything
            else that turns into text. ``None`` and empty text make an empty text.

    Raises:
        TypeError: The markup is malformed (numbers 1083 to 1098 and 1104), has more than one root (1088), or has a
            document type.
        StackOverflowError: Elements stand more than ``max_xml_depth`` deep in each other (1023).
    """

    ignoreComments: ClassVar[bool] = True
    """Whether parsing leaves out comments."""
    ignoreProcessingInstructions: ClassVar[bool] = True
    """Whether parsing leaves out processing instructions."""
    ignoreWhitespace: ClassVar[bool] = True
    """Whether parsing takes white space off both ends of each text, and leaves out text that is nothing else."""
    prettyPrinting: ClassVar[bool] = True
    """Whether writing puts each element on a line of its own."""
    prettyIndent: ClassVar[int] = 2
    """Blanks for each level when printing pretty; a negative number turns that off."""

    __slots__ = ("_node",)
    _node: Node

    def __init__(self, value: object = None) -> None:
        if isinstance(value, XML):
            self._node = value._node
        elif isinstance(value, XMLList):
            if value.length() != 1:
                raise numbered(1088)
            self._node = value[0]._node
        else:
            self._node = root_of(_parse(value))

    @classmethod
    def _of(cls, node: Node) -> XML:
        xml = cls.__new__(cls)
        xml._node = node
        return xml

    @staticmethod
    def settings() -> dict[str, bool | int]:
        """The settings in force, by name."""
        return {name: getattr(XML, name) for name in _DEFAULTS}

    @staticmethod
    def setSettings(settings: Mapping[str, bool | int] | None = None) -> None:
        """Change settings; without any, restore the defaults. Unknown names and values of other types are ignored."""
        for name, default in _DEFAULTS.items():
            if settings is None:
                setattr(XML, name, default)
            elif isinstance(settings.get(name), type(default)):
                setattr(XML, name, settings[name])

    @staticmethod
    def defaultSettings() -> dict[str, bool | int]:
        """The settings that a program begins with."""
        return dict(_DEFAULTS)

    def hasSimpleContent(self) -> bool:
        """Whether it is text, or an element without elements inside."""
        return self._node.is_simple

    def hasComplexContent(self) -> bool:
        """Whether there are elements inside."""
        return any(child.kind is Kind.ELEMENT for child in self._node.children)

    def toString(self) -> str:
        """The text of simple content without its tags, everything else as :meth:`toXMLString`."""
        node = self._node
        if node.kind in TEXTS:
            return node.value
        if not node.is_simple:
            return self.toXMLString()
        return "".join(child.value for child in node.children if child.kind in TEXTS)

    def toXMLString(self) -> str:
        """The markup, always with all tags, printed as the settings say. This is what ``XMLSocket.send`` sends."""
        is_pretty = XML.prettyPrinting and XML.prettyIndent >= 0
        return write(self._node, XML.prettyIndent if is_pretty else None)

    def __str__(self) -> str:
        return self.toString()

    def __repr__(self) -> str:
        return f"XML({self.toXMLString()!r})"


_DEFAULTS: Final[Mapping[str, bool | int]] = {
    "ignoreComments": True,
    "ignoreProcessingInstructions": True,
    "ignoreWhitespace": True,
    "prettyPrinting": True,
    "prettyIndent": 2,
}


class XMLList:
    """Several XML values in order.

    Args:
        value: Markup with any number of roots, an XML value, another list, a Python sequence of XML values, or anything
            else that :class:`XML` takes.

    Raises:
        TypeError: See :class:`XML`.
    """

    __slots__ = ("_items",)
    _items: tuple[XML, ...]

    def __init__(self, value: object = None) -> None:
        if isinstance(value, XML):
            items: Iterable[XML] = (value,)
        elif isinstance(value, XMLList):
            items = value._items
        elif isinstance(value, (list, tuple)) and all(isinstance(item, XML) for item in value):
            items = cast("Iterable[XML]", value)
        else:
            items = map(XML._of, _parse(value))
        self._items = tuple(items)

    def length(self) -> int:
        """How many there are."""
        return len(self._items)

    def hasSimpleContent(self) -> bool:
        """Whether a single item has simple content, or there is no element among several."""
        if len(self._items) == 1:
            return self._items[0].hasSimpleContent()
        return all(item._node.kind is not Kind.ELEMENT for item in self._items)

    def toString(self) -> str:
        """The texts one after the other if the content is simple, else as :meth:`toXMLString`."""
        if self.hasSimpleContent():
            hidden = (Kind.COMMENT, Kind.INSTRUCTION)
            return "".join(item.toString() for item in self._items if item._node.kind not in hidden)
        return self.toXMLString()

    def toXMLString(self) -> str:
        """The markup of each, on a line of its own whatever the settings say."""
        return "\n".join(item.toXMLString() for item in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> XML:
        return self._items[index]

    def __iter__(self) -> Iterator[XML]:
        return iter(self._items)

    def __str__(self) -> str:
        return self.toString()

    def __repr__(self) -> str:
        return f"XMLList({self.toXMLString()!r})"


def _parse(value: object) -> list[Node]:
    ignored = set()
    if XML.ignoreComments:
        ignored.add(TokenKind.COMMENT)
    if XML.ignoreProcessingInstructions:
        ignored.add(TokenKind.INSTRUCTION)
    return parse(_source_of(value), condense=XML.ignoreWhitespace, ignored=ignored)


def _source_of(value: object) -> str:
    if value is None:
        return ""
    if is_element(value):
        return to_text(value)
    return toString(value)


def is_element(value: object) -> TypeGuard[Markup]:
    """Whether it is an element, document or tree of ElementTree, minidom or lxml."""
    return type(value).__module__.startswith(("xml.etree", "xml.dom", "lxml."))
