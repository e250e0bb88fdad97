"""What ``send(object)`` makes of a value: rows S2 to S6 and S10."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from lxml import etree

from xmlsocket.flash.errors import TypeError as FlashTypeError
from xmlsocket.flash.sending import toMessage
from xmlsocket.flash.xml import XML, XMLList


@pytest.fixture(autouse=True)
def _default_settings():
    yield
    XML.setSettings()


def test_S2_an_XML_value_keeps_its_tags():
    assert toMessage(XML("<root>Hello!</root>")) == "<root>Hello!</root>"


def test_S3_an_XMLList_of_simple_content_loses_its_tags_as_in_the_player():
    assert toMessage(XMLList("<a>1</a>")) == "1"
    assert toMessage(XMLList("<a/><b/>")) == "<a/>\n<b/>"


def test_S3_a_list_of_pythons_elements_is_their_markup():
    assert toMessage([ElementTree.fromstring("<a>1</a>"), etree.fromstring("<b/>")]) == "<a>1</a><b/>"


def test_S4_prettyPrinting_changes_what_is_sent_of_an_XML_and_nothing_else():
    markup = "<a><b/></a>"
    assert toMessage(XML(markup)) == "<a>\n  <b/>\n</a>"
    XML.prettyPrinting = False
    assert toMessage(XML(markup)) == markup
    XML.setSettings()
    assert toMessage(ElementTree.fromstring("<a><b>x</b></a>")) == "<a><b>x</b></a>"


@pytest.mark.parametrize(
    ("value", "text"),
    [("text", "text"), (9, "9"), (1.5, "1.5"), (2.0, "2"), (True, "true"), ([1, 2], "1,2"), ({}, "[object Object]")],
)
def test_S5_anything_else_is_its_string(value, text):
    assert toMessage(value) == text


def test_S6_none_is_error_1009():
    with pytest.raises(FlashTypeError) as caught:
        toMessage(None)
    expected = "TypeError: Error #1009: Cannot access a property or method of a null object reference."
    assert str(caught.value) == expected


def test_S10_the_empty_string_is_a_message():
    assert toMessage("") == ""
    assert toMessage([]) == ""
