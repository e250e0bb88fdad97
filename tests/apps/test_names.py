from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.apps.names import clean, fold


@pytest.mark.parametrize(
    "name",
    [
        "ana",
        "Ana María",
        "日本太郎",
        "Санёк",
        "محمد",
        "DJ_Санёк-99",
        "<b>&'\"",
        "❤️",
        "💬",
        "x" * 32,
        "ß",
        "O'Neil",
        "$%^",
        "1",
    ],
)
def test_what_can_be_seen_and_typed_is_a_name(name: str) -> None:
    assert clean(name, 32) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (" ", "blank at its start"),
        (" ana", "blank at its start"),
        ("ana ", "blank at its start"),
        ("a  b", "two in a row"),
        ("a\tb", "U+0009"),
        ("a\nb", "U+000A"),
        ("a\u00a0b", "U+00A0"),  # a blank that looks like the plain one
        ("a\u3000b", "U+3000"),
        ("a\u200bb", "U+200B"),  # zero width
        ("a\u200db", "U+200D"),
        ("a\u202eb", "U+202E"),  # turns the direction of what follows
        ("a\u2066b", "U+2066"),
        ("a\ufeffb", "U+FEFF"),
        ("a\u00adb", "U+00AD"),
        ("a\u3164b", "U+3164"),  # a letter by its category, and nothing to see
        ("\u115f", "U+115F"),
        ("a\u2800b", "U+2800"),
        ("a\u034fb", "U+034F"),
        ("a\U000e0101b", "U+E0101"),
        ("a\ue000b", "U+E000"),  # private use
        ("a\u0378b", "U+0378"),  # not assigned
        ("a\ufe00b", "U+FE00"),  # choose a variant of a letter, mostly the one that is shown anyway
        ("ana\ufe0d", "U+FE0D"),
        ("ana\U00016fe4", "U+16FE4"),
        ("ana\U0001d159", "U+1D159"),
        ("ana\ufffc", "U+FFFC"),
        ("\u0301a", "no letter before it"),
        ("ana \u0301", "no letter before it"),
        ("ana \ufe0f", "no letter before it"),  # as if it ended with the blank
        ("x" * 33, "longer than 32"),
        ("e\u0301" * 33, "longer than 32"),
        ("x" * 1_000_000, "longer than 32"),
    ],
)
def test_what_cannot_be_seen_or_is_too_long_is_no_name(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("+", r"\+")):
        clean(name, 32)


@pytest.mark.parametrize("length", [31, 32, 33])
@pytest.mark.parametrize("letter", ["x", "é", "e\u0301", "💬"])
def test_a_name_is_measured_in_composed_characters(letter: str, length: int) -> None:
    name = letter * length
    if length <= 32:
        assert clean(name, 32) == unicodedata.normalize("NFC", name)
    else:
        with pytest.raises(ValueError, match="longer"):
            clean(name, 32)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana", "ANA"),
        ("straße", "STRASSE"),
        ("María", "mari\u0301a"),
        ("ana", "ａｎａ"),
        ("K", "\u212a"),  # the sign of the unit kelvin
        ("ﬁn", "fin"),
        ("❤", "❤️"),
        ("²", "2"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ],
)
def test_names_that_look_the_same_fold_to_the_same(one: str, other: str) -> None:
    assert fold(clean(one, 32)) == fold(clean(other, 32))


def test_names_that_differ_to_the_eye_stay_different() -> None:
    names = ["ana", "anna", "aña", "ana1", "an a", "a-na"]
    assert len({fold(name) for name in names}) == len(names)


@given(st.text(max_size=20))
def test_a_clean_name_stays_as_it_is_and_folding_twice_changes_nothing(text: str) -> None:
    try:
        name = clean(text, 32)
    except ValueError:
        return
    assert clean(name, 32) == name == unicodedata.normalize("NFC", text)
    assert fold(name)
    assert fold(fold(name)) == fold(name)
    assert fold(name.upper()) == fold(name.upper().lower())


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=32))
def test_any_visible_ascii_is_a_name(name: str) -> None:
    assert clean(name, 32) == name


def test_names_that_differ_in_case_only_are_the_same_whatever_the_letter() -> None:
    for code in (*range(0xD800), *range(0xE000, 0x30000)):
        name = f"a{chr(code)}b"
        try:
            key = fold(clean(name, 32))
            others = [clean(form, 32) for form in (name.upper(), name.lower(), name.swapcase())]
        except ValueError:
            continue
        assert {fold(other) for other in others} == {key}, hex(code)


def test_a_mark_that_is_not_seen_makes_no_other_name() -> None:
    assert fold(clean("ana\ufe0f", 32)) == fold(clean("a\ufe0ena", 32)) == fold("ANA")
