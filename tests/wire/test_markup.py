"""An XML element becomes its full markup, nothing added and nothing lost."""

from __future__ import annotations

import sys
from xml.dom import minidom
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree, html, objectify

from xmlsocket import EmbeddedNulError
from xmlsocket.wire import MessageEncoder, check_whole, text_codec, to_text

SOURCE = '<a x="1">\n  <b>text &amp; more</b> tail <c/>\n</a>'


def minidom_element(source):
    return minidom.parseString(source).documentElement


@pytest.mark.parametrize("parse", [ElementTree.fromstring, etree.fromstring, minidom_element])
def test_an_element_becomes_its_markup_with_its_white_space(parse):
    text = to_text(parse(SOURCE))
    assert text.replace(" />", "/>") == SOURCE
    assert not text.startswith("<?xml")


@pytest.mark.parametrize(
    "document",
    [
        minidom.parseString('<?xml version="1.0"?>' + SOURCE),
        ElementTree.ElementTree(ElementTree.fromstring(SOURCE)),
        etree.ElementTree(etree.fromstring(SOURCE)),
        etree.ElementTree(etree.fromstring('<?xml version="1.0"?><!DOCTYPE a []>' + SOURCE)),
    ],
    ids=["minidom", "ElementTree", "lxml", "lxml with a document type"],
)
def test_of_a_document_the_root_is_sent_without_declaration_or_document_type(document):
    assert to_text(document).replace(" />", "/>") == SOURCE


@pytest.mark.parametrize("parse", [ElementTree.fromstring, etree.fromstring])
def test_the_text_behind_an_element_is_not_part_of_it_and_stays_in_its_document(parse):
    root = parse("<a><b>inside</b>behind</a>")
    assert to_text(root[0]) == "<b>inside</b>"
    assert root[0].tail == "behind"


@pytest.mark.parametrize("parse", [ElementTree.fromstring, etree.fromstring, minidom_element])
def test_characters_beyond_ascii_are_sent_as_themselves(parse):
    assert to_text(parse("<a>ü語🐌</a>")) == "<a>ü語🐌</a>"


def test_namespaces_and_comments_survive():
    element = etree.fromstring('<x:a xmlns:x="urn:x"><!-- c --><x:b x:k="v"/></x:a>')
    assert to_text(element) == '<x:a xmlns:x="urn:x"><!-- c --><x:b x:k="v"/></x:a>'


class Custom(etree.ElementBase):
    pass


@pytest.mark.parametrize(
    "element",
    [Custom("k"), html.fragment_fromstring("<p>k</p>"), objectify.fromstring("<k><n>1</n></k>")],
    ids=["own class", "html", "objectify"],
)
def test_every_kind_of_lxml_element_is_one(element):
    assert to_text(element) == etree.tostring(element, encoding="unicode")


def test_nodes_of_minidom_other_than_elements_are_their_markup():
    document = minidom.parseString("<a>1 &lt; 2<!--c--></a>")
    assert [to_text(node) for node in document.documentElement.childNodes] == ["1 &lt; 2", "<!--c-->"]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("<>&\"'\t\n")))
def test_any_text_in_an_element_can_be_parsed_back(text):
    element = ElementTree.Element("a", {"k": text})
    element.text = text
    again = ElementTree.fromstring(to_text(element))
    assert (again.text or "", again.get("k")) == (text, text)


def test_a_nul_hidden_in_an_element_is_refused():
    element = ElementTree.Element("a")
    element.text = "x\0"
    with pytest.raises(EmbeddedNulError, match="at index 4"):
        check_whole(element)


def test_markup_in_a_code_page_is_encoded_like_text():
    element = ElementTree.Element("a")
    element.text = "é"
    assert MessageEncoder(text_codec("cp1252"), None).check(element) == b"<a>\xe9</a>"


@pytest.mark.parametrize(
    "thing",
    [None, 1, 1.5, ["<a/>"], {"a": 1}, object(), ElementTree.ElementTree(), minidom.Document(), etree.ElementTree()],
)
def test_anything_else_is_refused_with_advice(thing):
    with pytest.raises(
        TypeError, match=r"a message is str, bytes or an XML element \(ElementTree, lxml, minidom\), not "
    ):
        to_text(thing)


def test_lxml_is_not_needed_for_anything_but_its_own_elements(monkeypatch):
    monkeypatch.setitem(sys.modules, "lxml", None)
    assert to_text(ElementTree.Element("a")) == "<a />"
    with pytest.raises(TypeError):
        to_text(object())
