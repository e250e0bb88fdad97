"""Section 1.4 to 1.6 row by row, then everything against a slow obvious version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import PolicyError
from xmlsocket.policy import format_host, parse_domain, parse_host, parse_ports
from xmlsocket.policy.matching import is_in_authority, superdomain


def matches(pattern: str, requester: str | None) -> bool:
    try:
        return parse_domain(pattern).matches(None if requester is None else parse_host(requester))
    except PolicyError:
        return False


@pytest.mark.parametrize("requester", ["www.example.com", "localhost", "192.0.34.166", "[::1]", None])
def test_a_star_matches_names_addresses_and_local_files(requester: str | None) -> None:
    assert matches("*", requester)


@pytest.mark.parametrize(
    ("requester", "expected"),
    [
        ("xyz.com", True),
        ("a.xyz.com", True),
        ("a.b.xyz.com", True),
        ("A.XYZ.Com", True),
        ("notxyz.com", False),
        ("xyz.com.evil.test", False),
        ("xyz.com.", False),
        ("com", False),
        (None, False),
    ],
)
def test_a_suffix_matches_itself_and_every_name_below_it(requester: str | None, expected: bool) -> None:
    assert matches("*.xyz.com", requester) is expected


@pytest.mark.parametrize("pattern", ["*foo.com", "www.*.com", "www.foo.*", "*.*", "*.", "*.*.foo.com", "**", "*.."])
@pytest.mark.parametrize("requester", ["foo.com", "www.foo.com", "www.x.com", "a.www.foo.com"])
def test_any_other_star_matches_nothing(pattern: str, requester: str) -> None:
    assert not matches(pattern, requester)


@pytest.mark.parametrize("pattern", ["192.0.34.*", "*.34.166", "*.166", "192.*.34.166", "*.0.34.166"])
def test_a_wildcard_in_an_address_matches_nothing(pattern: str) -> None:
    assert not matches(pattern, "192.0.34.166")
    assert not matches(pattern, "a.34.166")


def test_an_address_matches_only_the_same_literal() -> None:
    assert matches("192.0.34.166", "192.0.34.166")
    assert not matches("192.0.34.166", "www.example.com")
    assert not matches("192.0.34.166", "192.0.34.16")
    assert not matches("192.000.034.166", "192.0.34.166")


def test_localhost_and_its_address_are_different_hosts() -> None:
    assert not matches("localhost", "127.0.0.1")
    assert not matches("127.0.0.1", "localhost")
    assert matches("localhost", "LOCALHOST")


def test_subdomains_are_different_domains() -> None:
    assert not matches("example.com", "www.example.com")
    assert not matches("www.example.com", "example.com")


def test_names_compare_without_case() -> None:
    assert matches("WWW.Example.COM", "www.example.com")
    assert matches("www.example.com", "WWW.EXAMPLE.COM")


@pytest.mark.parametrize("pattern", ["www.example.com", "*.example.com", "localhost", "", "null"])
def test_a_local_file_matches_only_the_star(pattern: str) -> None:
    assert not matches(pattern, None)


@pytest.mark.parametrize(
    "pattern",
    [
        "http://www.example.com",
        "www.example.com:80",
        "www.example.com/",
        "www.example.com/path",
        "user@www.example.com",
        " www.example.com",
        "www.example.com ",
        "www.example.com\t",
        "www.example.com,other.test",
        "www.example.com?x",
        "www.example.com#x",
        "//www.example.com",
        ".www.example.com",
        "www..example.com",
        "",
        " * ",
        "* ",
    ],
)
def test_what_is_not_part_of_a_host_makes_the_domain_match_nothing(pattern: str) -> None:
    assert not matches(pattern, "www.example.com")
    with pytest.raises(PolicyError):
        parse_domain(pattern)


def test_a_trailing_dot_is_compared_literally() -> None:
    assert not matches("example.com.", "example.com")
    assert not matches("example.com", "example.com.")
    assert matches("example.com.", "example.com.")
    assert matches("*.example.com.", "www.example.com.")


@pytest.mark.parametrize("pattern", ["*.com", "*.co.uk"])
def test_public_suffixes_are_not_special(pattern: str) -> None:
    assert matches(pattern, "shop.example" + pattern[1:])


@pytest.mark.parametrize(
    ("pattern", "requester", "expected"),
    [
        ("[2001:db8::1]", "[2001:db8:0:0:0:0:0:1]", True),
        ("2001:DB8::1", "[2001:db8:0:0:0:0:0:1]", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]", "[2001:db8::2]", False),
        ("[::ffff:192.0.2.1]", "192.0.2.1", False),
        ("*.db8::1", "[2001:db8::1]", False),
        ("[192.0.2.1]", "192.0.2.1", False),
        ("[2001:db8::1", "[2001:db8::1]", False),
    ],
)
def test_ipv6_literals_compare_as_addresses(pattern: str, requester: str, expected: bool) -> None:
    assert matches(pattern, requester) is expected


@pytest.mark.parametrize(
    ("pattern", "requester"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("BÜCHER.example", "bücher.Example"),
        ("*.bücher.example", "www.xn--bcher-kva.example"),
        ("*.xn--bcher-kva.example", "www.BÜCHER.example"),
    ],
)
def test_international_names_compare_as_a_labels(pattern: str, requester: str) -> None:
    assert matches(pattern, requester)


def test_a_name_that_idna_refuses_equals_only_itself() -> None:
    assert parse_host("ü" * 300 + ".example") == "ü" * 300 + ".example"
    with pytest.raises(PolicyError, match="international"):
        parse_domain("ü" * 300 + ".example")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("2001:db8:ccc3:ffff:0:444d:555e:666f", "[2001:db8:ccc3:ffff:0:444d:555e:666f]"),
        ("[2001:DB8::1]", "[2001:db8:0:0:0:0:0:1]"),
        ("::", "[::]"),
        ("::1", "[::1]"),
        ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]"),
        ("::192.0.2.1", "[::192.0.2.1]"),
        ("192.0.2.1", "192.0.2.1"),
        ("WWW.Example.com", "www.example.com"),
    ],
)
def test_hosts_are_printed_as_the_player_prints_them(text: str, printed: str) -> None:
    assert format_host(parse_host(text)) == printed


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("*", [1, 80, 65535], []),
        ("507", [507], [506, 508, 50, 5070]),
        ("507,516", [507, 516], [510]),
        ("516-523", [516, 520, 523], [515, 524]),
        ("123,456-458", [123, 456, 457, 458], [455, 459, 124]),
        ("80-80", [80], [79, 81]),
        ("1-65535", [1, 65535], []),
        ("8000-8010,9000,9100-9110", [8000, 9000, 9105], [8011, 9001, 9111]),
        (" 80 , 443 ", [80, 443], [81]),
        ("80,\t443\n", [80, 443], []),
        ("80,*", [80, 9000], []),
        (" * ", [1], []),
        ("00080", [80], [8]),
    ],
)
def test_ports_and_ranges_count_with_both_ends(text: str, inside: list[int], outside: list[int]) -> None:
    ports = parse_ports(text)
    assert all(any(port in part for part in ports) for port in inside)
    assert not any(port in part for part in ports for port in outside)


@pytest.mark.parametrize(
    "text",
    [
        *["8080-8000", "8000-", "-8000", "-", "80,", ",80", "80,,90", "abc", "80,abc", "0", "0-80", "65536", "1-65536"],
        *[
            "000080",
            "80 - 90",
            "8 0",
            "80;90",
            "80.5",
            "+80",
            "-80",
            "0x50",
            "*-80",
            "80-*",
            "**",
            "٨٠",
            "80-90-100",
            "65616",
        ],
    ],
)
def test_one_invalid_part_makes_the_whole_list_void(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_ports(text)
    assert caught.value.rule == "SP014"


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_list_of_ports_is_void(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_ports(text)
    assert caught.value.rule == "SP011"


@pytest.mark.parametrize("text", [" 80", "80, 90", "80,*", "*,*"])
def test_strict_mode_refuses_blanks_and_stars_in_lists(text: str) -> None:
    parse_ports(text)
    with pytest.raises(PolicyError):
        parse_ports(text, strict=True)


@pytest.mark.parametrize("text", ["*", "80", "80-90,100"])
def test_strict_mode_takes_what_is_right(text: str) -> None:
    assert parse_ports(text, strict=True) == parse_ports(text)


@pytest.mark.parametrize(
    ("served_from", "port", "expected"),
    [
        (843, 1, True),
        (1023, 80, True),
        (1023, 1024, True),
        (1024, 1023, False),
        (1024, 1024, True),
        (8080, 80, False),
        (8080, 65535, True),
    ],
)
def test_a_high_port_speaks_only_for_high_ports(served_from: int, port: int, expected: bool) -> None:
    assert is_in_authority(port, served_from) is expected


def test_a_superdomain_lacks_the_first_of_three_labels() -> None:
    assert superdomain("www.example.com") == "example.com"
    assert superdomain("example.com") == "example.com"
    assert superdomain(parse_host("192.0.2.1")) == parse_host("192.0.2.1")


LABELS = st.sampled_from(["a", "b", "ab", "A", "com", "*", "x-1", "7", ""])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def slow_match(pattern: str, requester: str) -> bool:
    """All patterns that may match this requester, written down one by one."""
    labels = requester.lower().split(".")
    accepted = {"*", requester.lower()}
    if not labels[-1].isdigit() and all(labels):
        accepted |= {"*." + ".".join(labels[start:]) for start in range(len(labels))}
    return pattern.lower() in accepted


@given(pattern=NAMES, requester=NAMES.filter(lambda name: "*" not in name and all(name.split("."))))
def test_matching_domains_agrees_with_a_slow_obvious_version(pattern: str, requester: str) -> None:
    assert matches(pattern, requester) is slow_match(pattern, requester)


PARTS = st.one_of(
    st.integers(0, 65_540).map(str),
    st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda ends: f"{ends[0]}-{ends[1]}"),
    st.sampled_from(["*", "", " ", "x", "-", "1-", " 5 ", "65535", "65536", "00001", "000001"]),
)


def slow_ports(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        item = part.strip(" ")
        ends = item.split("-")
        if item == "*":
            found |= set(range(1, 65_536))
        elif len(ends) <= 2 and all(end.isdigit() and len(end) <= 5 and 1 <= int(end) <= 65_535 for end in ends):
            if int(ends[0]) > int(ends[-1]):
                return set()
            found |= set(range(int(ends[0]), int(ends[-1]) + 1))
        else:
            return set()
    return found


@given(st.lists(PARTS, min_size=1, max_size=4).map(",".join))
def test_lists_of_ports_agree_with_a_slow_obvious_version(text: str) -> None:
    try:
        found = {port for part in parse_ports(text) for port in part}
    except PolicyError:
        found = set()
    assert found == slow_ports(text)
