"""ActionScript 1 and 2's ``XML``: forgiving to read, and written with a blank in empty elements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.flash.document import XML, XMLNode


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("<root><item></item></root>", "<root><item /></root>"),
        ("<root><item/></root>", "<root><item /></root>"),
        ("Hello!", "Hello!"),
        ("", ""),
        ('I\'m a "text"', "I&apos;m a &quot;text&quot;"),
        ("<a b='1' c=\"x'y\">1 &lt; 2</a>", '<a b="1" c="x&apos;y">1 &lt; 2</a>'),
        ("<test>This is<!-- gone --> a text node</test>", "<test>This is a text node</test>"),
        ("<a/><b/>text", "<a /><b />text"),
        ("<root>   <foo> testing </foo>     </root>", "<root>   <foo> testing </foo>     </root>"),
        ('<?xml version="1.0"?><a/>', '<?xml version="1.0"?><a />'),
        ("<a><![CDATA[<b>]]></a>", "<a>&lt;b&gt;</a>"),
        (5, "5"),
    ],
)
def test_a_document_prints_as_in_the_player(source, printed):
    xml = XML(source)
    assert str(xml) == xml.toString() == printed
    assert xml.status == 0


def test_the_tree_can_be_walked():
    xml = XML('<msg from="bob">Hi<br/>there</msg>')
    message = xml.firstChild
    assert (message.nodeType, message.nodeName, message.nodeValue) == (1, "msg", None)
    assert message.attributes == {"from": "bob"}
    first, line, last = message.childNodes
    assert (first.nodeType, first.nodeName, first.nodeValue) == (3, None, "Hi")
    assert (message.firstChild, message.lastChild) == (first, last)
    assert (first.nextSibling, line.nextSibling, last.nextSibling) == (line, last, None)
    assert (first.previousSibling, last.previousSibling) == (None, line)
    assert message.hasChildNodes()
    assert not line.hasChildNodes()
    assert line.firstChild is line.lastChild is None
    assert (message.parentNode, xml.parentNode, xml.nextSibling) == (xml, None, None)
    assert (xml.nodeType, xml.nodeName, xml.nodeValue) == (1, None, None)


@pytest.mark.parametrize(
    ("source", "status", "printed"),
    [
        ("<a/><![CDATA[x", -2, "<a />"),
        ("<a/><?xml x", -3, "<a />"),
        ("<a/><!DOCTYPE a><b/>", -4, "<a />"),
        ("<a/><!-- x", -5, "<a />"),
        ("<a/><b", -6, "<a />"),
        ("<a/><b c>", -6, "<a />"),
        ("<a/><?pi", -6, "<a />"),
        ("<a/><b c='1", -8, "<a />"),
        ("<a><b>", -9, "<a><b /></a>"),
        ("<a><b></a>", -10, "<a><b /></a>"),
        ("<a/></a>", -10, "<a />"),
        ("<a>" * 600, -7, None),
    ],
)
def test_parsing_never_raises_but_says_in_status_why_it_stopped(source, status, printed):
    xml = XML(source)
    assert xml.status == status
    assert printed is None or str(xml) == printed


def test_parseXML_replaces_what_was_there():
    xml = XML("<a>")
    assert (xml.status, xml.loaded) == (-9, True)
    xml.parseXML("<b/>")
    assert (xml.status, str(xml)) == (0, "<b />")
    assert not XML().loaded


def test_ignoreWhite_leaves_out_blanks_and_keeps_the_rest_as_it_is():
    XML.ignoreWhite = True
    try:
        assert str(XML("<a> <b> x </b>\n</a>")) == "<a><b> x </b></a>"
    finally:
        XML.ignoreWhite = False


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("A & &thing; B", "A & &thing; B"),
        ("A &&thing; B", "A &&thing; B"),
        ("A &&amp; B", "A && B"),
        ("A &amp;&amp; B", "A && B"),
    ],
)
def test_a_reference_after_a_lone_ampersand_is_replaced_unlike_in_actionscript_3(source, text):
    assert XML(source).firstChild.nodeValue == text


@given(st.text("<>/&;!?-[]=\"' \n\tabx:DOCTYPECDATA\0#0", max_size=60))
def test_any_text_is_a_document(text):
    xml = XML(text)
    assert xml.status in (0, -2, -3, -4, -5, -6, -8, -9, -10)
    assert isinstance(str(xml), str)
    assert isinstance(xml, XMLNode)
