"""What ``XMLSocket.send`` makes of the value that it is given: always text."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..wire import to_text
from .conversion import toString
from .errors import numbered
from .xml import XML, is_element

if TYPE_CHECKING:
    from ..wire import Markup


def toMessage(value: object) -> str:
    """Write a value as the text of a message.

    An :class:`~xmlsocket.flash.XML` keeps all its tags and is printed as its settings say; an ``XMLList`` of simple
    content is its text alone. An element of ElementTree, lxml or minidom is its markup without pretty printing, and a
    list of such elements their markup one after the other. Everything else is as in ``String(value)``.

    Raises:
        TypeError: The value is ``None`` (number 1009).
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise numbered(1009)
    if isinstance(value, XML):
        return value.toXMLString()
    if is_element(value):
        return to_text(value)
    if isinstance(value, (list, tuple)) and value and all(map(is_element, value)):
        return "".join(to_text(element) for element in cast("list[Markup]", value))
    return toString(value)
