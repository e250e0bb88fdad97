"""An XML element becomes the text that goes on the wire: its full markup, nothing added.

Adobe's class sends ``toXMLString()`` of an XML value. Here an element of ElementTree, lxml or minidom becomes its
markup without pretty printing (white space is data to most servers) and without an XML declaration.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol, TypeAlias, cast
from xml.dom import minidom
from xml.etree import ElementTree


class LxmlElement(Protocol):
    """What tells an element of lxml from other objects, so that lxml need not be installed."""

    def getroottree(self) -> Any:
        """Find the tree the element stands in."""


Markup: TypeAlias = "ElementTree.Element | ElementTree.ElementTree[Any] | minidom.Node | LxmlElement"


def to_text(element: Markup) -> str:
    """Write an element, or the root of a document, as markup.

    The text that follows the element in its own document (its tail) is not part of it.

    Raises:
        TypeError: It is no element of ElementTree, lxml or minidom.
    """
    if isinstance(element, ElementTree.ElementTree):
        return to_text(element.getroot())
    if isinstance(element, ElementTree.Element):
        if element.tail:
            element = copy.copy(element)
            element.tail = None
        return ElementTree.tostring(element, encoding="unicode")
    if isinstance(element, minidom.Document):
        return to_text(cast("minidom.Node", element.documentElement))
    if isinstance(element, minidom.Node):
        return element.toxml()
    return _lxml_to_text(element)


def _lxml_to_text(element: object) -> str:
    # The classes of elements can be replaced by one's own, so look at their bases too.
    if any(base.__module__.startswith("lxml.") for base in type(element).__mro__):
        from lxml import etree  # not at the top: who passes an element of lxml has it, nobody else needs it

        root = element.getroot() if isinstance(element, etree._ElementTree) else element
        if root is not None:
            return etree.tostring(cast("Any", root), encoding="unicode", with_tail=False)
    raise TypeError(
        f"a message is str, bytes or an XML element (ElementTree, lxml, minidom), not {type(element).__name__}; "
        "for other values say how they become text, for example str(value)"
    )
