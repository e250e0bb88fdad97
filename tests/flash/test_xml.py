"""``flash.XML``: what players made of markup, recorded, and rules that hold for any tree."""

from __future__ import annotations

import contextlib
import itertools
from xml.dom import minidom
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.flash.errors import Error
from xmlsocket.flash.xml import XML, XMLList


@pytest.fixture(autouse=True)
def _default_settings():
    yield
    XML.setSettings()


@pytest.fixture
def plain():
    XML.prettyPrinting = False


@pytest.mark.parametrize(
    ("markup", "printed"),
    [
        ("<root><item/></root>", "<root>\n  <item/>\n</root>"),
        ("<root><item></item></root>", "<root>\n  <item/>\n</root>"),
        ("<root>Hello!</root>", "<root>Hello!</root>"),
        ("<root><item>Hello world!</item></root>", "<root>\n  <item>Hello world!</item>\n</root>"),
        ("<a><b><c>x</c></b>text</a>", "<a>\n  <b>\n    <c>x</c>\n  </b>\n  text\n</a>"),
        ("<a>one<!-- ignored -->two</a>", "<a>\n  one\n  two\n</a>"),
        ("<a> padded </a>", "<a>padded</a>"),
        ("<a>\n  <b/>\n</a>", "<a>\n  <b/>\n</a>"),
        ("plain text", "plain text"),
        ("", ""),
        ('<?xml version="1.0" encoding="utf-8"?>\n<a/>', "<a/>"),
        ("<a><![CDATA[x < y]]></a>", "<a><![CDATA[x < y]]></a>"),
    ],
)
def test_toXMLString_prints_pretty_with_two_blanks_by_default(markup, printed):
    assert XML(markup).toXMLString() == printed


@pytest.mark.parametrize(
    ("indent", "printed"),
    [(0, "<a>\n<b>\n<c/>\n</b>\n</a>"), (4, "<a>\n    <b>\n        <c/>\n    </b>\n</a>"), (-1, "<a><b><c/></b></a>")],
)
def test_prettyIndent_sets_the_blanks_and_a_negative_one_turns_it_off(indent, printed):
    XML.prettyIndent = indent
    assert XML("<a><b><c/></b></a>").toXMLString() == printed


@pytest.mark.parametrize(
    ("markup", "printed"),
    [
        ('<animal id="1">Cow</animal>', "Cow"),
        ("<a><b>1</b>\n<b>2</b></a>", "<a><b>1</b><b>2</b></a>"),
        ('<foo><bar a="x" b="y" c="z"/></foo>', '<foo><bar a="x" b="y" c="z"/></foo>'),
        ('<foo><bar x="a&quot;b">&gt;&amp;&lt;</bar></foo>', '<foo><bar x="a&quot;b">&gt;&amp;&lt;</bar></foo>'),
        ("<!-- some comment -->", "<!-- some comment -->"),
        ("<? processing instruction! ?>", "<? processing instruction! ?>"),
        ("<a>x<![CDATA[<y>]]>z</a>", "x<y>z"),
        ("<a/>", ""),
        ("a &amp; b", "a & b"),
    ],
)
def test_toString_drops_the_tags_of_simple_content_only(plain, markup, printed):
    XML.ignoreComments = XML.ignoreProcessingInstructions = False
    assert str(XML(markup)) == XML(markup).toString() == printed


def test_markup_is_escaped_as_e4x_says(plain):
    xml = XML("<a b='\"&lt;&amp;&#10;&#13;&#9;>'>&lt;&gt;&amp;\"'\n</a>")
    XML.ignoreWhitespace = False
    assert xml.toXMLString() == '<a b="&quot;&lt;&amp;&#xA;&#xD;&#x9;>">&lt;&gt;&amp;"\'</a>'
    assert XML('<a b="1\n2\t3">\r\n</a>').toXMLString() == '<a b="1&#xA;2&#x9;3">\r\n</a>'


def test_white_space_is_ignored_by_the_settings():
    XML.prettyPrinting = False
    data = "<outer><first>  \t</first><second><![CDATA[\t]]></second><third><![CDATA[]]></third></outer>"
    assert (
        XML(data).toXMLString() == "<outer><first/><second><![CDATA[\t]]></second><third><![CDATA[]]></third></outer>"
    )
    XML.ignoreWhitespace = False
    assert XML(data).toXMLString() == data


MALFORMED_1088 = "TypeError: Error #1088: The markup in the document following the root element must be well-formed."


@pytest.mark.parametrize(
    ("markup", "printed"),
    [
        ("<![CDATA[abcd]]>text", [MALFORMED_1088] * 8),
        (
            "<!-- comment --><elem><?pi PI?><!-- inner --> innerText </elem><?pi PI?><![CDATA[  ]]>",
            [
                "<elem><?pi PI?><!-- inner --> innerText </elem>",
                "<elem><?pi PI?><!-- inner -->innerText</elem>",
                "<elem><!-- inner --> innerText </elem>",
                "<elem><!-- inner -->innerText</elem>",
                "<elem><?pi PI?> innerText </elem>",
                "<elem><?pi PI?>innerText</elem>",
                "<elem> innerText </elem>",
                "<elem>innerText</elem>",
            ],
        ),
        ("    <![CDATA[abcd]]><body/>", ["<body/>"] * 8),
        ("<body/><?pi PI?><body2/><!-- comment -->", [MALFORMED_1088] * 8),
        ("<elem><?pi innerPI?></elem><?pi PI?>", (["<elem><?pi innerPI?></elem>"] * 2 + ["<elem/>"] * 2) * 2),
        ("    <body/>   ", ["<body/>"] * 8),
        (
            "<?pi PI?><!-- comment -->",
            [MALFORMED_1088] * 2 + ["<!-- comment -->"] * 2 + ["<?pi PI?>"] * 2 + [""] * 2,
        ),
    ],
)
def test_what_stands_beside_the_root_is_treated_as_players_do(plain, markup, printed):
    results = []
    for comments, instructions, blanks in itertools.product((False, True), repeat=3):
        XML.setSettings(
            {"ignoreComments": comments, "ignoreProcessingInstructions": instructions, "ignoreWhitespace": blanks}
        )
        try:
            results.append(XML(markup).toXMLString())
        except Error as error:
            results.append(str(error))
    assert results == printed


A_UNCLOSED = 'TypeError: Error #1085: The element type "a" must be terminated by the matching end-tag "</a>".'


@pytest.mark.parametrize("markup", ["<a></a>", "<a></a/>", "<a></a />", "<a></a >", "<a></a\t>", '<a></a b="c">'])
def test_end_tags_that_players_take_close_the_element(markup):
    assert XML(markup).toXMLString() == "<a/>"
    assert XML(f"<root>{markup}<test/></root>").toXMLString() == "<root>\n  <a/>\n  <test/>\n</root>"


@pytest.mark.parametrize(
    ("markup", "number"),
    [
        *((markup, 1085) for markup in ("<a>", "<a></b>", "<a></b/>", "<a></b//>", "<a></b >", "<a></A>", "<a></ab>")),
        ("<p:a xmlns:p='u'>", 1085),
        ("</a>", 1088),
        ("<a/></a>", 1088),
        ("<a/><b/>", 1088),
        ("text<a/>", 1088),
        ("<xm", 1090),
        ("><", 1090),
        ("<", 1090),
        ("<>", 1090),
        ("<a b>", 1090),
        ("<a b=c/>", 1090),
        ("<a ='c'/>", 1090),
        ("<a b='c", 1095),
        ("<a b='<'/>", 1095),
        ("<a/><![CDATA[", 1091),
        ("<?xml version='1.0'", 1092),
        ("<!DOCTYPE ", 1093),
        ("<!-- ", 1094),
        ("<?pi ", 1097),
        ("<p:a/>", 1083),
        ("<a p:b='1'/>", 1083),
        ("<:a/>", 1084),
        ("<a xmlns:='u'/>", 1084),
        ("<a xmlns:p=''/>", 1098),
        ("<a b='1' b='2'/>", 1104),
        ("<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", 1104),
    ],
)
def test_malformed_markup_is_adobes_error(markup, number):
    with pytest.raises(TypeError) as caught:
        XML(markup)
    assert caught.value.errorID == number
    assert caught.value.message.startswith(f"Error #{number}: ")


def test_an_element_not_closed_is_named_without_its_prefix():
    with pytest.raises(TypeError) as caught:
        XML("<p:a xmlns:p='u'></a>")
    assert str(caught.value) == A_UNCLOSED


@pytest.mark.parametrize(
    "markup",
    ["<!DOCTYPE a><a/>", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "<!-- c --><!doctype a SYSTEM 'file:x'><a/>"],
)
def test_a_document_type_is_refused(markup):
    with pytest.raises(TypeError, match="document type is refused"):
        XML(markup)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("A &amp; &#39; B", "A & ' B"),
        ("A & &thing; B", "A & &thing; B"),
        ("A &&thing; B", "A &&thing; B"),
        ("A &&&thing; B", "A &&&thing; B"),
        ("A &&amp; B", "A &&amp; B"),
        ("A &amp;&amp; B", "A && B"),
        ("&lt;&gt;&quot;&apos;&nbsp;", "<>\"'\xa0"),
        ("&#x41;&#65;&#x1F600;&#xD83D;&#xDE00;", "AA\U0001f600\U0001f600"),
        ("&AMP;&#x;&#;&;&#xFFFFFFFF;", "&AMP;&#x;&#;&;&#xFFFFFFFF;"),
        ("no end &amp", "no end &amp"),
    ],
)
def test_references_are_replaced_as_players_do_and_the_rest_is_text(source, text):
    assert XML(f"<data>{source}</data>").toString() == text
    XML.prettyPrinting = False
    quoted = source.replace('"', "&quot;")
    again = XML(XML(f'<data label="{quoted}"/>').toXMLString()).toXMLString()
    assert again == XML(f'<data label="{quoted}"/>').toXMLString()


def test_a_name_space_is_declared_where_it_begins_and_after_the_attributes():
    markup = (
        '<root xmlns="http://example.com" xmlns:ns1="http://xxx.com/">'
        '<ns1:foo xmlns:ns2="http://yyy.com/">'
        '<ns2:bar abc="1" ns1:def="2" ns2:ghi="3" xmlns:ns1="http://xxx.com/">bar</ns2:bar></ns1:foo></root>'
    )
    assert XML(markup).toXMLString() == (
        '<root xmlns="http://example.com" xmlns:ns1="http://xxx.com/">\n'
        '  <ns1:foo xmlns:ns2="http://yyy.com/">\n'
        '    <ns2:bar abc="1" ns1:def="2" ns2:ghi="3">bar</ns2:bar>\n'
        "  </ns1:foo>\n</root>"
    )
    assert XML('<a xmlns:p="u" p:b="1"/>').toXMLString() == '<a p:b="1" xmlns:p="u"/>'


def test_a_prefix_bound_anew_is_declared_again_below():
    XML.prettyPrinting = False
    markup = '<a xmlns:x="1"><b xmlns:x="2"><c xmlns:x="1"/></b><x:d/></a>'
    assert XML(markup).toXMLString() == markup


def test_xml_lang_needs_no_declaration():
    assert XML('<a xml:lang="en"/>').toXMLString() == '<a xml:lang="en"/>'


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, ""),
        (5, "5"),
        (1.0, "1"),
        (True, "true"),
        (b"<a/>", "<a/>"),
        (XML("<a/>"), "<a/>"),
        (XMLList("<a/>"), "<a/>"),
        (ElementTree.fromstring("<a><b>1</b></a>"), "<a>\n  <b>1</b>\n</a>"),
        (minidom.parseString("<a><b>1</b></a>"), "<a>\n  <b>1</b>\n</a>"),
    ],
)
def test_an_XML_is_made_of_many_things(value, printed):
    assert XML(value).toXMLString() == printed


def test_an_XML_of_a_list_of_two_or_none_is_error_1088():
    for markup in ("", "<a/><b/>"):
        with pytest.raises(TypeError) as caught:
            XML(XMLList(markup))
        assert str(caught.value) == MALFORMED_1088


def test_a_list_prints_its_items_on_lines_of_their_own_whatever_the_settings():
    XML.prettyPrinting = False
    items = XMLList("<a>1</a><b><c/></b>text")
    assert items.toXMLString() == str(items) == "<a>1</a>\n<b><c/></b>\ntext"
    assert (items.length(), len(items), [str(item) for item in items]) == (3, 3, ["1", "<b><c/></b>", "text"])
    assert items[1].hasComplexContent()


def test_a_list_of_simple_content_is_its_text():
    assert str(XMLList("<a>1</a>")) == "1"
    assert str(XMLList([XML("one"), XML("two")])) == "onetwo"
    assert str(XMLList()) == XMLList("").toXMLString() == ""
    assert str(XMLList(XMLList(XML("<a>1</a>")))) == "1"
    assert not XMLList("<a>1</a><b/>").hasSimpleContent()
    XML.ignoreComments = False
    assert str(XMLList("one<!-- c -->two")) == "onetwo"


def test_settings_are_read_changed_and_restored():
    default = {
        "ignoreComments": True,
        "ignoreProcessingInstructions": True,
        "ignoreWhitespace": True,
        "prettyPrinting": True,
        "prettyIndent": 2,
    }
    assert XML.settings() == XML.defaultSettings() == default
    XML.setSettings({"prettyIndent": 4, "ignoreComments": "no", "unknown": 1})
    assert XML.settings() == {**default, "prettyIndent": 4}
    assert XML.defaultSettings() == default
    XML.setSettings()
    assert XML.settings() == default


def test_settings_belong_to_the_class_alone():
    with pytest.raises(AttributeError):
        XML("<a/>").prettyPrinting = False


def test_depth_is_bounded_by_a_limit_and_not_by_the_stack():
    deep = XML("<a>" * 512 + "x" + "</a>" * 512)
    XML.prettyPrinting = False
    assert deep.toXMLString().count("<a>") == 512
    with pytest.raises(RecursionError, match="#1023"):
        XML("<a>" * 513 + "</a>" * 513)


def test_hostile_text_takes_time_in_proportion_to_its_length():
    # Each of these takes minutes if any step looks at the rest of the text again and again.
    size = 200_000
    for markup in (
        "&" * size,
        "a&" * size + ";",
        "<a " + "b" * size,
        "<a" + " b='1'" * 10_000,
        "<!--" * size,
        "<" * size,
    ):
        with contextlib.suppress(TypeError):
            XML(markup)


names = st.sampled_from(["a", "b", "long-name", "p:q", "é"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def as_markup(tree):
    if isinstance(tree, str):
        return tree.replace("&", "&amp;").replace("<", "&lt;")
    name, attributes, children = tree
    written = "".join(
        ' {}="{}"'.format(key, value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;"))
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(map(as_markup, children))}</{name}>"


trees = st.recursive(
    st.tuples(names, st.dictionaries(st.sampled_from(["x", "y", "p:z"]), texts, max_size=2), st.just([])),
    lambda trees: st.tuples(
        names,
        st.dictionaries(st.sampled_from(["x", "y", "p:z"]), texts, max_size=2),
        st.lists(trees | texts.filter(bool), max_size=4),
    ),
    max_leaves=12,
)


@given(trees)
def test_what_is_written_reads_back_as_the_same(tree):
    XML.setSettings({"prettyPrinting": False, "ignoreWhitespace": False})
    markup = f'<root xmlns:p="urn:p">{as_markup(tree)}</root>'
    written = XML(markup).toXMLString()
    assert XML(written).toXMLString() == written
    XML.setSettings()
    pretty = XML(markup).toXMLString()
    assert XML(pretty).toXMLString() == pretty


@given(st.text("<>/&;!?-[]=\"' \n\tabx:DOCTYPECDATA\0#0", max_size=60))
def test_any_text_is_an_XML_or_an_error_of_adobes(text):
    try:
        printed = XML(text).toXMLString()
    except Error as error:
        printed = f"Error #{error.errorID}: {error.message}"
    assert not printed.startswith("Error #0")
