"""How ActionScript turns a value into text, and into a whole number of 32 bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

_UNSIGNED_SPAN = 1 << 32


def toString(value: object, write_number: Callable[[float], str] | None = None) -> str:
    """Write a value as ActionScript's ``String(value)`` does.

    Text stays, ``None`` is ``null``, truth values are ``true`` and ``false``, numbers follow ECMA-262 (see
    :func:`number_to_text`), a list or tuple is its items joined by commas with ``None`` as nothing. An object says it
    itself, by a method ``toString`` or by its own ``__str__``; one that does neither is ``[object ItsClass]``.
    Python's whole numbers keep all their digits.

    Args:
        value: The value.
        write_number: How to write fractions, if not as :func:`number_to_text` does.
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__str__(value)
    if isinstance(value, float):
        return (write_number or number_to_text)(value)
    if isinstance(value, (list, tuple)):
        return ",".join("" if item is None else toString(item, write_number) for item in value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return _object_to_text(value)


def _object_to_text(value: object) -> str:
    if isinstance(value, type):
        return f"[class {value.__name__}]"
    own: Callable[[], object] | None = getattr(value, "toString", None)
    if callable(own):
        return str(own())
    if type(value).__str__ is not object.__str__:
        return str(value)
    if isinstance(value, dict):
        return "[object Object]"
    if callable(value):
        return "function Function() {}"
    return object_to_text(value)


def object_to_text(value: object) -> str:
    """What an object without a text of its own is in print: ``[object ItsClass]``."""
    name = type(value).__name__
    return f"[object {'Object' if name == 'object' else name}]"


def number_to_text(number: float) -> str:
    """Write a number as ECMA-262 (edition 3, section 9.8.1) says: ``9``, ``1.5``, ``1e+21``, ``NaN``, ``-Infinity``.

    The digits are the fewest that read back as the same number; a point is used from 1e-6 up to below 1e+21.
    """
    # float(), because a subclass may print itself in its own way; repr() finds the fewest digits.
    return _write_number(number, repr(float(number)), 21, -6)


def number_to_text_as2(number: float) -> str:
    """Write a number as ActionScript 1 and 2 do: 15 digits at most, a point from 1e-5 up to below 1e+15."""
    return _write_number(number, f"{number:.14e}", 15, -5)


def _write_number(number: float, decimal: str, longest: int, smallest: int) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(decimal).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)  # where the decimal point stands in the digits
    return ("-" if sign else "") + _place_point(text, point, longest, smallest)


def _place_point(digits: str, point: int, longest: int, smallest: int) -> str:
    if len(digits) <= point <= longest:
        return digits + "0" * (point - len(digits))
    if 0 < point <= longest:
        return f"{digits[:point]}.{digits[point:]}"
    if smallest < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{mantissa}e{point - 1:+d}"


def toInt32(number: float) -> int:
    """Cut a number to a signed whole number of 32 bits, as assigning it to an ``int`` does (ECMA-262, section 9.5)."""
    if not math.isfinite(number):
        return 0
    wrapped = int(number) % _UNSIGNED_SPAN
    return wrapped - _UNSIGNED_SPAN if wrapped >= _UNSIGNED_SPAN >> 1 else wrapped


def toNumber(value: object) -> float:
    """Read a value as a number that has a whole part: what ActionScript makes of an argument for an ``int``.

    Text is read as a decimal or ``0x`` number. What is no number, and what is infinite, is 0.
    """
    if isinstance(value, (int, float)):
        return value if isinstance(value, int) or math.isfinite(value) else 0
    if not isinstance(value, str):
        return 0
    try:
        return int(value, 16) if value.strip().lower().startswith("0x") else toNumber(float(value))
    except ValueError:
        return 0
