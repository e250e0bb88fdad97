"""Adobe's errors: their names, numbers and texts, each also the Python exception that a program would catch.

The texts are those of Adobe's list of run-time errors. As in the player, the errors of ``flash.errors`` call
themselves plain ``Error`` in print, the others by their class::

    >>> str(numbered(2002))
    'Error: Error #2002: Operation attempted on invalid socket.'
    >>> str(numbered(2003))
    'SecurityError: Error #2003: Invalid socket port number specified.'
"""

from __future__ import annotations

import builtins
import re
import traceback
from typing import Final

from ..errors import XMLSocketError


class Error(XMLSocketError):
    """Root of ActionScript's errors.

    Args:
        message: What happened; Adobe's own begin with ``Error #NNNN:``.
        id: Number of the error, 0 for those without.
    """

    name: str = "Error"

    def __init__(self, message: str = "", id: int = 0) -> None:
        super().__init__(message)
        self.args = (message, id)  # both, so that copying and pickling keep the number
        self.message = message
        self._errorID = id

    @property
    def errorID(self) -> int:
        """Number of the error in Adobe's list; read-only."""
        return self._errorID

    def toString(self) -> str:
        """Name and message, as ``trace(error)`` prints them."""
        return f"{self.name}: {self.message}" if self.message else self.name

    def __str__(self) -> str:
        return self.toString()

    def getStackTrace(self) -> str:
        """The traceback as Python writes it; only debug players had one."""
        return "".join(traceback.format_exception(self))

    @staticmethod
    def getErrorMessage(index: int) -> str:
        """Adobe's text of an error by its number, with ``%1`` where a value belongs; empty for an unknown number."""
        entry = _ERRORS.get(index)
        return f"Error #{index}: {entry[1]}" if entry else ""


class ArgumentError(Error, ValueError):
    """An argument cannot work."""

    name = "ArgumentError"


class RangeError(Error, ValueError):
    """A number is outside the permitted range."""

    name = "RangeError"


class ReferenceError(Error, AttributeError):
    """A property does not exist or cannot be written."""

    name = "ReferenceError"


class SecurityError(Error, PermissionError):
    """The sandbox forbids it."""

    name = "SecurityError"


class TypeError(Error, builtins.TypeError):
    """A value is of the wrong type, often null."""

    name = "TypeError"


class IOError(Error, ConnectionError):
    """Input or output failed; of a socket: it is not connected."""


class EOFError(IOError, builtins.EOFError):
    """Reading past the end."""


class IllegalOperationError(Error, RuntimeError):
    """The method is not for this object, or not now."""


class StackOverflowError(Error, RecursionError):
    """Nested too deeply."""


def numbered(errorID: int, *values: object) -> Error:
    """Make Adobe's error of a number, of its class and with its text.

    Args:
        errorID: A number of the table below.
        *values: What goes in for ``%1``, ``%2`` and so on.
    """
    kind, template = _ERRORS[errorID]
    text = re.sub("%([1-9])", lambda place: str(values[int(place[1]) - 1]), template)
    return kind(f"Error #{errorID}: {text}", errorID)


_ERRORS: Final[dict[int, tuple[type[Error], str]]] = {
    1006: (TypeError, "%1 is not a function."),
    1009: (TypeError, "Cannot access a property or method of a null object reference."),
    1010: (TypeError, "A term is undefined and has no properties."),
    1023: (StackOverflowError, "Stack overflow occurred."),
    1034: (TypeError, "Type Coercion failed: cannot convert %1 to %2."),
    1069: (ReferenceError, "Property %1 not found on %2 and there is no default value."),
    1083: (TypeError, 'The prefix "%1" for element "%2" is not bound.'),
    1084: (TypeError, "Element or attribute (\"%1\") does not match QName production: QName::=(NCName':')?NCName."),
    1085: (TypeError, 'The element type "%1" must be terminated by the matching end-tag "</%1>".'),
    1088: (TypeError, "The markup in the document following the root element must be well-formed."),
    1090: (TypeError, "XML parser failure: element is malformed."),
    1091: (TypeError, "XML parser failure: Unterminated CDATA section."),
    1092: (TypeError, "XML parser failure: Unterminated XML declaration."),
    1093: (TypeError, "XML parser failure: Unterminated DOCTYPE declaration."),
    1094: (TypeError, "XML parser failure: Unterminated comment."),
    1095: (TypeError, "XML parser failure: Unterminated attribute."),
    1097: (TypeError, "XML parser failure: Unterminated processing instruction."),
    1098: (TypeError, "Illegal prefix %1 for no namespace."),
    1104: (TypeError, 'Attribute "%1" was already specified for element "%2".'),
    2000: (SecurityError, "No active security context."),
    2002: (IOError, "Operation attempted on invalid socket."),
    2003: (SecurityError, "Invalid socket port number specified."),
    2004: (ArgumentError, "One of the parameters is invalid."),
    2006: (RangeError, "The supplied index is out of bounds."),
    2007: (TypeError, "Parameter %1 must be non-null."),
    2008: (ArgumentError, "Parameter %1 must be one of the accepted values."),
    2010: (SecurityError, "Local-with-filesystem SWF files are not permitted to use sockets."),
    2011: (IOError, "Socket connection failed to %1:%2."),
    2024: (ArgumentError, "An object cannot be added as a child of itself."),
    2028: (SecurityError, "Local-with-filesystem SWF file %1 cannot access Internet URL %2."),
    2030: (EOFError, "End of file was encountered."),
    2031: (IOError, "Socket Error."),
    2032: (IOError, "Stream Error."),
    2044: (Error, "Unhandled %1:."),
    2047: (SecurityError, "Security sandbox violation: %1: %2 cannot access %3."),
    2048: (SecurityError, "Security sandbox violation: %1 cannot load data from %2."),
    2054: (SecurityError, "The value of Security.exactSettings cannot be changed after it has been used."),
    2062: (Error, "Children of Event must override clone() {return new MyEventClass (...);}."),
    2066: (RangeError, "The Timer delay specified is out of range."),
    2146: (
        SecurityError,
        "Security sandbox violation: %1 cannot call %2 because the HTML/container parameter allowNetworking has the "
        "value %3.",
    ),
    2150: (
        ArgumentError,
        "An object cannot be added as a child to one of it's children (or children's children, etc.).",
    ),
}
