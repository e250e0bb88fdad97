"""Adobe's errors: names, numbers, texts, and the Python exceptions that they also are."""

from __future__ import annotations

import builtins
import copy
import pickle

import pytest

from xmlsocket.errors import XMLSocketError
from xmlsocket.flash import errors
from xmlsocket.flash.errors import numbered


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (numbered(2002), "Error: Error #2002: Operation attempted on invalid socket."),
        (numbered(2003), "SecurityError: Error #2003: Invalid socket port number specified."),
        (numbered(2007, "event"), "TypeError: Error #2007: Parameter event must be non-null."),
        (numbered(1009), "TypeError: Error #1009: Cannot access a property or method of a null object reference."),
        (numbered(2011, "localhost", 80), "Error: Error #2011: Socket connection failed to localhost:80."),
        (numbered(2030), "Error: Error #2030: End of file was encountered."),
        (
            numbered(2048, "http://a/b.swf", "c:5"),
            "SecurityError: Error #2048: Security sandbox violation: http://a/b.swf cannot load data from c:5.",
        ),
        (numbered(2008, "type"), "ArgumentError: Error #2008: Parameter type must be one of the accepted values."),
        (
            numbered(1085, "a"),
            'TypeError: Error #1085: The element type "a" must be terminated by the matching end-tag "</a>".',
        ),
        (errors.Error(), "Error"),
        (errors.Error("own text"), "Error: own text"),
        (errors.SecurityError(), "SecurityError"),
    ],
)
def test_an_error_prints_as_in_the_player(error, text):
    assert str(error) == error.toString() == text


@pytest.mark.parametrize(
    ("kind", "python"),
    [
        (errors.IOError, OSError),
        (errors.IOError, ConnectionError),
        (errors.EOFError, builtins.EOFError),
        (errors.EOFError, errors.IOError),
        (errors.SecurityError, PermissionError),
        (errors.TypeError, builtins.TypeError),
        (errors.ArgumentError, ValueError),
        (errors.RangeError, ValueError),
        (errors.ReferenceError, AttributeError),
        (errors.IllegalOperationError, RuntimeError),
        (errors.StackOverflowError, RecursionError),
    ],
)
def test_an_error_is_also_what_a_python_program_catches(kind, python):
    with pytest.raises(python):
        raise kind("text", 5)
    assert issubclass(kind, errors.Error)
    assert issubclass(kind, XMLSocketError)


@pytest.mark.parametrize("number", sorted(errors._ERRORS))
def test_every_error_survives_copying_and_pickling(number):
    error = numbered(number, "one", "two", "three")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert (other.message, other.errorID, str(other)) == (error.message, number, str(error))
        assert "%" not in other.message


def test_a_value_with_a_percent_sign_is_not_taken_for_a_place():
    assert "%2 %1" in str(numbered(2048, "%2 %1", "x"))


def test_the_number_is_read_only_and_the_name_can_be_changed():
    error = numbered(2002)
    assert error.errorID == 2002
    with pytest.raises(AttributeError):
        error.errorID = 5
    error.name = "Mine"
    assert str(error).startswith("Mine: ")


def test_getErrorMessage_gives_the_text_of_a_number():
    assert errors.Error.getErrorMessage(2031) == "Error #2031: Socket Error."
    assert errors.Error.getErrorMessage(2048).endswith("%1 cannot load data from %2.")
    assert errors.Error.getErrorMessage(1) == ""


def test_getStackTrace_tells_where_it_was_raised():
    with pytest.raises(errors.IOError) as caught:
        raise numbered(2002)
    assert "test_getStackTrace" in caught.value.getStackTrace()
