"""Section 1.8 row by row, the bad files in circulation, and any bytes at all."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import PolicyError
from xmlsocket.limits import PolicyLimits
from xmlsocket.policy import Grant, MetaPolicy, Policy, Position, lint, parse_policy

OPEN = '<allow-access-from domain="*" to-ports="*"/>'
GRANT = Grant("*", "*")


def file(body: str = OPEN) -> bytes:
    return f"<cross-domain-policy>{body}</cross-domain-policy>".encode()


def fault(data: bytes | str, *, strict: bool = False) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        parse_policy(data.encode() if isinstance(data, str) else data, strict=strict)
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        file(),
        b'<?xml version="1.0"?>' + file(),
        b'<?xml version="1.0" encoding="UTF-8"?>\n' + file() + b"\n",
        b'<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd">' + file(),
        b'<!DOCTYPE cross-domain-policy SYSTEM "/xml/dtds/cross-domain-policy.dtd">\n' + file(),
        b'<!DOCTYPE cross-domain-policy PUBLIC "-//x//y" "http://x">' + file(),
        b"<!-- one --><?pi x?>" + file("<!-- two --><?pi y?> text " + OPEN) + b"<!-- three -->",
        file('<allow-access-from domain="*" to-ports="*"></allow-access-from>'),
        file("<allow-access-from to-ports='*'\n\tdomain = '*' />"),
        file('<allow-access-from domain="&#42;" to-ports="&#x2a;"/>'),
        file('<future-thing x="1"><deeper/></future-thing>' + OPEN),
        file('<allow-access-from domain="*" to-ports="*" x="&amp;&lt;&quot;"/>'),
        b'<cross-domain-policy xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation='
        b'"http://www.adobe.com/xml/schemas/PolicyFileSocket.xsd">' + OPEN.encode() + b"</cross-domain-policy>",
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_what_is_right_is_read(data: bytes, strict: bool) -> None:
    assert parse_policy(data + b"\0", strict=strict).entries == (GRANT,)


def test_an_empty_policy_grants_nothing_and_says_nothing() -> None:
    assert parse_policy(b"<cross-domain-policy/>") == Policy()


def test_the_document_ends_at_the_first_nul() -> None:
    assert parse_policy(file() + b"\0trailing").entries == (GRANT,)
    assert parse_policy(file() + b"\0" + file(OPEN + OPEN), strict=True).entries == (GRANT,)
    assert fault(b"<cross-domain-policy>\0</cross-domain-policy>").rule == "SP001"


def test_a_missing_nul_is_an_error_in_strict_mode_only() -> None:
    assert parse_policy(file()).entries == (GRANT,)
    assert fault(file(), strict=True).rule == "SP003"


@pytest.mark.parametrize("front", ["\ufeff", "\n", "\n  \r\n\t", "\ufeff \n"])
def test_a_byte_order_mark_or_blanks_in_front_are_an_error_in_strict_mode_only(front: str) -> None:
    data = (front + '<?xml version="1.0"?>').encode() + file() + b"\0"
    assert parse_policy(data).entries == (GRANT,)
    assert fault(data, strict=True).rule == "SP001"


def test_blanks_before_a_document_without_declaration_are_right() -> None:
    assert parse_policy(b" \n" + file() + b"\0", strict=True).entries == (GRANT,)


@pytest.mark.parametrize("ports", ["80,*", "80, 90"])
def test_strict_mode_points_at_tolerated_lists_of_ports(ports: str) -> None:
    data = file(f'\n<allow-access-from domain="*" to-ports="{ports}"/>') + b"\0"
    assert parse_policy(data).entries[0].to_ports == ports
    error = fault(data, strict=True)
    assert (error.line, error.column, error.rule) == (2, 31, "SP014")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_cannot_work(encoding: str) -> None:
    data = file().decode().encode(encoding)
    assert fault(data + b"\0").rule == "SP005"


def test_other_encodings_work_where_they_are_declared() -> None:
    name = "bücher.example"
    body = f'<cross-domain-policy><allow-access-from domain="{name}" to-ports="80"/></cross-domain-policy>'
    for encoding in ("iso-8859-1", "windows-1252", "UTF-8"):
        data = f"<?xml version='1.0' encoding='{encoding}'?>{body}".encode(encoding)
        assert parse_policy(data).entries[0].domain == name
    assert "0xfc is not utf-8" in fault(body.encode("latin-1")).detail
    assert fault(body.encode("latin-1")).column == 50


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-7", "rot13", "idna", "cp037", "unicode_escape", "x" * 30, "iso-8859-12"]
)
def test_encodings_that_are_none_for_us_are_refused(encoding: str) -> None:
    assert "encoding" in fault(b'<?xml version="1.0" encoding="' + encoding.encode() + b'"?>' + file()).detail


def test_a_file_at_the_limit_is_read_and_one_byte_more_is_not() -> None:
    data = file()
    limits = PolicyLimits(max_policy_size=len(data))
    assert parse_policy(data, limits=limits).entries == (GRANT,)
    assert parse_policy(data + b"\0" + data, limits=limits).entries == (GRANT,)
    for longer in (data + b" ", data + b" \0"):
        with pytest.raises(PolicyError) as caught:
            parse_policy(longer, limits=limits)
        assert caught.value.rule == "SP006"


def test_ten_megabytes_are_refused_by_default_and_read_without_a_limit() -> None:
    data = file(" " * 10_000_000 + OPEN)
    assert fault(data).rule == "SP006"
    assert parse_policy(data, limits=PolicyLimits(max_policy_size=None)).entries == (GRANT,)


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE cross-domain-policy [<!ENTITY d "*">]>' + file(),
        b"<!DOCTYPE cross-domain-policy []>" + file(),
        b'<!DOCTYPE cross-domain-policy SYSTEM "http://x" [<!ELEMENT a ANY>]>' + file(),
        b'<!DOCTYPE cross-domain-policy [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>' + file(),
        b'<!DOCTYPE cross-domain-policy SYSTEM "http://x">' + file("&unknown;"),
        b'<!DOCTYPE cross-domain-policy SYSTEM "http://x">'
        + file('<allow-access-from domain="&unknown;*" to-ports="*"/>'),
        b'<!DOCTYPE cross-domain-policy SYSTEM "http://x">' + file('<group><x y="&unknown;"/></group>'),
    ],
)
def test_declarations_and_entities_make_a_file_unusable(data: bytes) -> None:
    assert fault(data).rule == "SP007"


def test_many_levels_of_entities_cost_nothing() -> None:
    levels = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    bomb = f'<!DOCTYPE cross-domain-policy [<!ENTITY e0 "x">{levels}]><cross-domain-policy>&e9;</cross-domain-policy>'
    assert fault(bomb).rule == "SP007"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"<policy/>", "must be cross-domain-policy"),
        (b"<Cross-Domain-Policy/>", "lower case"),
        (b"<x:cross-domain-policy xmlns:x='u'/>", "must be"),
        (b"<access-policy><cross-domain-access/></access-policy>", "Silverlight"),
        (b"<policy-file-request/>", "echoes"),
        (b"<html><body/></html>", "web page"),
    ],
)
def test_another_root_is_named_for_what_it_is(data: bytes, hint: str) -> None:
    error = fault(data)
    assert (error.rule, error.line, error.column) == ("SP002", 1, 1)
    assert hint in error.detail


@pytest.mark.parametrize(
    ("data", "cause", "line", "column"),
    [
        ("", "empty", 1, 1),
        (" \n ", "empty", 2, 2),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<cross-domain-policy/>", "HTTP headers", 1, 1),
        ("<!DOCTYPE html public><html>", "web page", 1, 1),
        ("220 mail.example.com ESMTP", "not XML", 1, 1),
        ("hello <cross-domain-policy/>", "stands in front", 1, 1),
        ('<a>\n<b to-ports="999,3050-3052/>\n</a>', "value of to-ports has no closing quote", 2, 13),
        ('<a>\n<b domain="* to-ports="80"/>\n</a>', "value of domain has no closing quote", 2, 11),
        ('<a>\n<b domain="*"to-ports="80"/>\n</a>', "blank is missing between two attributes", 2, 14),
        ('<a>\n<b domain="*", to-ports="80"/>\n</a>', "stands between attributes", 2, 14),
        ('<a>\n<b domain="*";to-ports="80"/>\n</a>', "stands between attributes", 2, 14),
        ('<a>\n<b domain=* to-ports="80"/>\n</a>', "does not begin with a quote", 2, 11),
        ('<a>\n<b domain=“*” to-ports="80"/>\n</a>', "typographic quotes", 2, 11),
        ('<a>\n<b domain to-ports="80"/>\n</a>', "has no value", 2, 4),
        ('<a>\n<b domain="a&b"/>\n</a>', "bare &", 2, 13),
        ("<a>x & y</a>", "bare &", 1, 24),
        ('<a>\n<b domain="*" domain="*"/>\n</a>', "twice", 2, 15),
        ('<a>\n<b domain="*">\n</a>', "still open", 3, 3),
        ('<a>\n<b domain="*"></B>\n</a>', "differs in case", 2, 17),
        ('<a>\n<b domain="*"/>\n', "ends before", 3, 1),
        ('<a>\n<b domain="*" ', "not closed with >", 2, 1),
        ('<a>\n<b domain="*"\n<b/></a>', "not closed with >", 2, 1),
        ("<a/>\n<a/>", "something follows", 2, 1),
        ("<a>\x01</a>", "cannot stand in XML", 1, 22),
        ('<!-- x --><?xml version="1.0"?><a/>', "very start", 1, 11),
        ("<a>&nbsp;</a>", "entity", 1, 22),
        ('<a><b domain="*" =/></a>', "where an attribute should", 1, 36),
        ("<a>" * 101 + "</a>" * 101, "more than 100 deep", 1, 2101),
    ],
)
def test_the_usual_mistakes_are_named_and_located(data: str, cause: str, line: int, column: int) -> None:
    written = data.replace("<a>", "<cross-domain-policy>").replace("</a>", "</cross-domain-policy>")
    error = fault(written.replace("<a/>", "<cross-domain-policy/>"))
    assert error.rule == "SP001"
    assert cause in error.detail
    assert (error.line, error.column) == (line, column)


def test_positions_count_characters_and_what_was_taken_off_in_front() -> None:
    front = '\ufeff\n <?xml version="1.0"?>\r\n'
    data = front + '<cross-domain-policy>ü<a\n\tü="1"\r x="é" y="2"/></cross-domain-policy>'
    element = parse_policy(data.encode()).elements[1]
    assert element.position == Position(3, 23)
    assert [(attribute.name, attribute.position) for attribute in element.attributes] == [
        ("ü", Position(4, 2)),
        ("x", Position(5, 2)),
        ("y", Position(5, 8)),
    ]
    assert parse_policy(b" \n  <cross-domain-policy/>").elements[0].position == Position(2, 3)


def test_only_direct_children_of_the_root_count() -> None:
    inner = '<site-control permitted-cross-domain-policies="none"/>' + OPEN
    policy = parse_policy(file(f"<group>{inner}</group>"))
    assert policy == Policy()
    assert [element.parents for element in policy.elements] == [
        (),
        ("cross-domain-policy",),
        ("cross-domain-policy", "group"),
        ("cross-domain-policy", "group"),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["all"], MetaPolicy.ALL),
        (["master-only"], MetaPolicy.MASTER_ONLY),
        (["none"], MetaPolicy.NONE),
        (["all", "master-only"], MetaPolicy.MASTER_ONLY),
        (["all", "none", "all"], MetaPolicy.NONE),
        (["by-content-type"], MetaPolicy.NONE),
        (["by-ftp-filename"], MetaPolicy.NONE),
        (["none-this-response"], MetaPolicy.NONE),
        (["All"], MetaPolicy.NONE),
        ([" all"], MetaPolicy.NONE),
        ([""], MetaPolicy.NONE),
        (["all", "whatever"], MetaPolicy.NONE),
    ],
)
def test_the_most_restrictive_meta_policy_counts_and_unknown_ones_are_none(
    values: list[str], expected: MetaPolicy | None
) -> None:
    body = "".join(f'<site-control permitted-cross-domain-policies="{value}"/>' for value in values)
    assert parse_policy(file(body)).meta_policy is expected


def test_a_site_control_without_value_is_none() -> None:
    assert parse_policy(file("<site-control/>")).meta_policy is MetaPolicy.NONE


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [("", False), ('secure="false"', False), ('secure="true"', True), ('secure="False"', True), ('secure="0"', True)],
)
def test_anything_but_false_makes_a_grant_secure(attribute: str, expected: bool) -> None:
    entry = parse_policy(file(f'<allow-access-from domain="*" to-ports="*" {attribute}/>')).entries[0]
    assert entry.secure is expected


def test_grants_with_missing_attributes_are_kept_and_void() -> None:
    policy = parse_policy(file('<allow-access-from to-ports="*"/><allow-access-from domain="*"/>' + OPEN))
    assert policy.entries == (Grant(None, "*"), Grant("*", None), GRANT)


def find_fault(data: bytes, *, strict: bool) -> PolicyError | None:
    try:
        parse_policy(data, strict=strict)
    except PolicyError as error:
        return error
    return None


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_make_anything_but_a_policy_error(data: bytes, strict: bool) -> None:
    error = find_fault(data, strict=strict)
    assert error is None or error.rule is not None
    lint(data)


SEED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE cross-domain-policy SYSTEM "x.dtd">\n<cross-domain-policy>\n'
    b'<site-control permitted-cross-domain-policies="all"/><!-- c --><allow-access-from domain="*.b\xc3\xbc.example" '
    b"to-ports='80-90,*' secure=\"true\"></allow-access-from><group>&amp;text</group>\n</cross-domain-policy>\0"
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(SEED)),
        st.integers(0, 8),
        st.one_of(
            st.sampled_from([b"<", b">", b'"', b"'", b"&", b"&x;", b"=", b",", b"\0", b"/", b"[", b"\xff"]),
            st.binary(max_size=3),
        ),
    ),
    max_size=4,
)


@given(EDITS, st.booleans())
def test_no_damaged_file_makes_anything_but_a_policy_error(edits: list[tuple[int, int, bytes]], strict: bool) -> None:
    data = SEED
    for index, removed, inserted in edits:
        data = data[:index] + inserted + data[index + removed :]
    error = find_fault(data, strict=strict)
    if error is not None:
        assert error.line is None or 1 <= error.line <= data.count(b"\n") + data.count(b"\r") + 1
        assert error.detail.isprintable()
    for finding in lint(data):
        assert finding.message.isprintable()


def test_hostile_names_are_shown_escaped() -> None:
    error = fault("\x1b[2J\u202e")
    assert error.detail.isprintable()
    assert "\\x1b[2J\\u202e" in error.detail


def test_an_error_with_its_rule_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(fault(b"<x/>")))
    assert (error.rule, error.line, error.column) == ("SP002", 1, 1)
    assert str(error).startswith("line 1, column 1: ")
