"""How values become text: row S5, and the numbers of ECMA-262."""

from __future__ import annotations

import decimal
import enum
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.flash.conversion import number_to_text, toInt32, toString


class Plain:
    pass


class Speaking:
    def toString(self):
        return "spoken"


class Printing:
    def __str__(self):
        return "printed"


class Color(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("", ""),
        (Color.RED, "red"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (9, "9"),
        (-9, "-9"),
        (2**70, "1180591620717411303424"),
        (1.5, "1.5"),
        (9.0, "9"),
        (-0.0, "0"),
        ([1, 2], "1,2"),
        ((1, None, "x", [True, 2.0]), "1,,x,true,2"),
        ([], ""),
        ({}, "[object Object]"),
        (object(), "[object Object]"),
        (Plain(), "[object Plain]"),
        (Plain, "[class Plain]"),
        (Speaking(), "spoken"),
        (Printing(), "printed"),
        (decimal.Decimal("1.50"), "1.50"),
        (len, "function Function() {}"),
        (lambda: None, "function Function() {}"),
        (b"h\xc3\xa9", "hé"),
    ],
)
def test_S5_a_value_becomes_the_text_that_actionscript_gives_it(value, text):
    assert toString(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (-1e21, "-1e+21"),
        (2.0**60, "1152921504606847000"),
        (123456789012345680000.0, "123456789012345680000"),
        (0.000001, "0.000001"),
        (0.0000015, "0.0000015"),
        (1e-7, "1e-7"),
        (1.25e-9, "1.25e-9"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (100.0, "100"),
        (123.456, "123.456"),
        (-0.5, "-0.5"),
    ],
)
def test_S5_a_number_prints_by_the_rule_of_ecma_262(number, text):
    assert number_to_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_S5_a_printed_number_reads_back_as_itself(number):
    text = number_to_text(number)
    assert float(text) == number
    assert not text.endswith(".0")


@pytest.mark.parametrize(
    ("number", "wrapped"),
    [
        (0, 0),
        (1.9, 1),
        (-1.9, -1),
        (2**31 - 1, 2**31 - 1),
        (2**31, -(2**31)),
        (-(2**31), -(2**31)),
        (2**32, 0),
        (2**32 + 5, 5),
        (math.nan, 0),
        (math.inf, 0),
    ],
)
def test_an_int_has_32_bits_and_a_sign(number, wrapped):
    assert toInt32(number) == wrapped
