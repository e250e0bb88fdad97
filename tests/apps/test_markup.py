from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.apps import markup
from xmlsocket.rooms import KeptMessage

# What XML 1.0 lets a document contain.
XML_CHARACTERS = st.one_of(
    st.sampled_from("\t\n\r <>&\"']"),
    st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"),
)
XML_TEXTS = st.text(XML_CHARACTERS, max_size=50)


@given(XML_TEXTS, XML_TEXTS)
def test_any_text_and_any_value_come_out_the_same_at_a_parser(text: str, value: str) -> None:
    parsed = ElementTree.fromstring(markup.element("a", [("b", value), ("c", None)], markup.escape_text(text)))
    assert (parsed.text or "", parsed.attrib) == (text, {"b": value})


@given(XML_TEXTS, XML_TEXTS, XML_TEXTS, XML_TEXTS)
def test_what_is_said_comes_out_the_same_at_a_parser(room: str, sender: str, text: str, ref: str) -> None:
    parsed = ElementTree.fromstring(markup.said(room, KeptMessage(17, 0.0, sender, text), ref))
    assert (parsed.tag, parsed.text or "") == ("said", text)
    expected = {"room": room, "id": "17", "from": sender, "at": "1970-01-01T00:00:00.000Z", "ref": ref}
    assert list(parsed.attrib.items()) == list(expected.items())


@given(st.floats(min_value=0, max_value=4e9))
def test_a_timestamp_is_a_moment_in_milliseconds(at: float) -> None:
    written = markup.timestamp(at)
    assert len(written) == len("2026-11-23T12:00:00.000Z")
    moment = datetime.fromisoformat(written)
    assert moment.tzinfo == UTC
    assert abs(moment.timestamp() - at) <= 0.001


def test_a_list_that_fits_is_whole() -> None:
    entries = ["<a/>"] * 3
    whole = markup.listing("list", [("b", "c")], entries)
    assert whole == '<list b="c"><a/><a/><a/></list>'
    assert markup.listing("list", [("b", "c")], entries, len(whole) + 20) == whole
    assert markup.listing("list", [], []) == "<list/>"


@given(st.lists(st.sampled_from(["<a/>", "<ä/>", "<looooooong/>"]), max_size=30), st.integers(30, 300))
def test_a_list_that_is_cut_fits_and_counts_who_is_left_out(entries: list[str], size: int) -> None:
    written = markup.listing("list", [], entries, size)
    assert len(written.encode()) <= size
    parsed = ElementTree.fromstring(written)
    assert len(parsed) + int(parsed.get("more", "0")) == len(entries)
    assert [child.tag for child in parsed] == [entry[1:-2] for entry in entries[: len(parsed)]]


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (1.7e12, "9999-12-31T23:59:59.999Z"),  # milliseconds, where seconds are meant
        (float("inf"), "9999-12-31T23:59:59.999Z"),
        (float("nan"), "9999-12-31T23:59:59.999Z"),
        (-1e12, "0001-01-01T00:00:00.000Z"),
        (-1.0, "1969-12-31T23:59:59.000Z"),
    ],
)
def test_a_time_that_no_calendar_has_is_written_as_the_nearest(at: float, written: str) -> None:
    assert markup.timestamp(at) == written


@given(st.text(max_size=30))
def test_what_xml_cannot_say_does_not_make_an_answer_ill_formed(text: str) -> None:
    kept = KeptMessage(1, 0.0, text, text)
    parsed = ElementTree.fromstring(markup.said(text, kept, text))
    assert len(parsed.text or "") == len(text)
    assert "\x01" not in (parsed.text or "")


def test_a_control_character_of_an_import_is_shown_as_replaced() -> None:
    assert markup.escape_text("a\x01b\ufffe\ud800\n\r") == "a\ufffdb\ufffd\ufffd\n&#13;"


def test_a_room_of_the_list_is_written_as_any_element() -> None:
    assert markup.room('a"<b>', 3) == '<room name="a&quot;&lt;b&gt;" members="3"/>'
