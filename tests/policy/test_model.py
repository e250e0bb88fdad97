"""What a policy grants, and what it looks like when it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import PolicyError
from xmlsocket.policy import Grant, MetaPolicy, Policy, Requester, Sandbox, parse_policy

WWW = Requester("www.example.com")
LOCAL = Requester(None, "file", Sandbox.LOCAL_WITH_NETWORK)


def test_the_first_element_that_matches_domain_and_port_grants() -> None:
    policy = Policy((Grant("www.example.com", "443"), Grant("*", "80"), Grant("*.example.com", "80,443")))
    assert policy.grants(WWW, 443, 843) is policy.entries[0]
    assert policy.grants(WWW, 80, 843) is policy.entries[1]
    assert policy.grants(Requester("a.example.com"), 443, 843) is policy.entries[2]
    assert policy.grants(Requester("other.test"), 443, 843) is None


def test_no_element_takes_a_grant_away() -> None:
    grants = (Grant("www.example.com", "80"), Grant("www.example.com", "443"), Grant(None, None), Grant("*", "0"))
    for entries in (grants, grants[::-1]):
        assert Policy(entries).grants(WWW, 80, 843) == Grant("www.example.com", "80")


@pytest.mark.parametrize(
    ("served_from", "port", "granted"),
    [(1300, 1010, False), (1300, 1030, True), (1000, 1010, True), (1000, 1030, True), (843, 1010, True)],
)
def test_entries_below_1024_are_void_from_a_high_port_and_the_rest_stands(
    served_from: int, port: int, granted: bool
) -> None:
    policy = Policy((Grant("*", "1000-1040"),))
    assert (policy.grants(WWW, port, served_from) is not None) is granted


@pytest.mark.parametrize(
    ("requester", "granted"),
    [
        (Requester("www.example.com", "https"), True),
        (Requester("www.example.com", "HTTPS"), True),
        (Requester("www.example.com", "http"), False),
        (LOCAL, False),
        (Requester(None, "https"), False),
    ],
)
def test_a_secure_grant_is_for_content_over_https(requester: Requester, granted: bool) -> None:
    assert (Policy((Grant("*", "*", secure=True),)).grants(requester, 80, 843) is not None) is granted


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        (Grant(None, "80"), "domain is missing"),
        (Grant("*", None), "to-ports is missing"),
        (Grant("*", ""), "empty"),
        (Grant("*.*", "80"), "wildcard"),
        (Grant("*", "80,x"), "neither a port"),
        (Grant("other.test", "80"), "does not match"),
        (Grant("*", "81"), "does not name 80"),
        (Grant("*", "80", secure=True), "HTTPS"),
    ],
)
def test_a_grant_says_why_it_does_not_grant(grant: Grant, words: str) -> None:
    assert words in str(grant.objection(WWW, 80, 843))


def test_a_policy_is_written_as_a_right_file() -> None:
    policy = Policy((Grant("*.example.com", "843,8000-8010"), Grant("*", "80", secure=True)), MetaPolicy.MASTER_ONLY)
    assert policy.render() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<cross-domain-policy>\n"
        '  <site-control permitted-cross-domain-policies="master-only"/>\n'
        '  <allow-access-from domain="*.example.com" to-ports="843,8000-8010"/>\n'
        '  <allow-access-from domain="*" to-ports="80" secure="true"/>\n'
        "</cross-domain-policy>\n"
    )
    assert policy.to_answer() == policy.render().encode() + b"\0"


def test_markup_in_a_value_stays_a_value() -> None:
    evil = 'x"/><allow-access-from domain="*" to-ports="*"/><!--&'
    policy = Policy((Grant(evil, evil),))
    assert parse_policy(policy.to_answer(), strict=True).entries == policy.entries


@pytest.mark.parametrize("character", ["\0", "\x1b", "\ufffe", "\ud800"])
def test_what_xml_cannot_carry_is_refused(character: str) -> None:
    with pytest.raises(PolicyError, match="cannot carry"):
        Policy((Grant("a" + character, "80"),)).render()


VALUES = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32)
    | st.sampled_from("\t\n\r\"'&<>"),
    max_size=20,
)
GRANTS = st.builds(Grant, VALUES, VALUES, st.booleans())


@given(st.builds(Policy, st.lists(GRANTS, max_size=4).map(tuple), st.none() | st.sampled_from(MetaPolicy)))
def test_what_is_written_reads_back_the_same(policy: Policy) -> None:
    assert parse_policy(policy.to_answer()) == policy
