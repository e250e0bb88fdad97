"""Sections 3 and 4: the order of asking, the time limits, the cache, every sandbox and every player."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.limits import PolicyLimits
from xmlsocket.policy import (
    AllowNetworking,
    Ask,
    Decision,
    Ending,
    Grant,
    KnownAnswer,
    Location,
    MetaPolicy,
    Outcome,
    Policy,
    PolicyCache,
    PolicySearch,
    Reply,
    Requester,
    Rule,
    Sandbox,
    parse_player,
    rehearse,
)

HOST = "chat.example.net"
LIMITS = PolicyLimits()
WWW = Requester("www.example.com")
OPEN = Policy((Grant("*", "*"),))
OTHER = Policy((Grant("other.test", "*"),))


def served(policy: Policy | bytes, delay: float | None = 0.0) -> KnownAnswer:
    data = policy if isinstance(policy, bytes) else policy.to_answer()
    return KnownAnswer(Reply(Ending.ANSWERED if b"\0" in data else Ending.CLOSED, data), delay)


SILENT = KnownAnswer(Reply(Ending.TIMED_OUT), None)


def decide(
    answers: Mapping[int | Location, Policy | KnownAnswer],
    *,
    requester: Requester = WWW,
    host: str | None = HOST,
    port: int = 9000,
    explicit: Iterable[int | Location] = (),
    limits: PolicyLimits = LIMITS,
    strict: bool = False,
) -> Decision:
    locations = {
        Location(HOST, place) if isinstance(place, int) else place: served(answer)
        if isinstance(answer, Policy)
        else answer
        for place, answer in answers.items()
    }
    named = [Location(HOST, place) if isinstance(place, int) else place for place in explicit]
    return rehearse(PolicySearch(requester, host, port, explicit=named, limits=limits, strict=strict), locations)


def asked(decision: Decision) -> list[int]:
    return [step.location.port for step in decision.trail if step.outcome is not Outcome.NOT_ASKED]


def test_843_is_asked_first_then_named_locations_in_call_order_then_the_destination() -> None:
    decision = decide({9000: OPEN}, explicit=[2525, 80, 2525, 9000, 843])
    assert decision.rule is Rule.DESTINATION_GRANTS
    assert asked(decision) == [843, 2525, 80, 9000]
    assert decision.error is None
    assert decision.grant == Grant("*", "*")


def test_a_master_that_grants_ends_the_search() -> None:
    decision = decide({843: OPEN, 9000: OTHER}, explicit=[2525])
    assert (decision.rule, asked(decision)) == (Rule.MASTER_GRANTS, [843])


@pytest.mark.parametrize("entries", [(), (Grant("*", "*"),)])
def test_a_master_with_none_voids_every_file(entries: tuple[Grant, ...]) -> None:
    decision = decide({843: Policy(entries, MetaPolicy.NONE), 2525: OPEN, 9000: OPEN}, explicit=[2525])
    assert (decision.allowed, decision.rule, decision.error) == (False, Rule.MASTER_NONE, 2048)
    assert asked(decision) == [843]


def test_a_master_with_master_only_is_asked_alone() -> None:
    decision = decide({843: Policy(OTHER.entries, MetaPolicy.MASTER_ONLY), 2525: OPEN, 9000: OPEN}, explicit=[2525])
    assert (decision.rule, decision.error, asked(decision)) == (Rule.MASTER_ONLY, 2048, [843])
    assert decide({843: Policy(OPEN.entries, MetaPolicy.MASTER_ONLY)}).rule is Rule.MASTER_GRANTS


@pytest.mark.parametrize("meta_policy", [None, MetaPolicy.ALL])
def test_a_master_that_does_not_grant_leaves_it_to_the_others(meta_policy: MetaPolicy | None) -> None:
    master = Policy(OTHER.entries, meta_policy)
    assert decide({843: master, 9000: OPEN}).rule is Rule.DESTINATION_GRANTS
    assert decide({843: master, 2525: OPEN}, explicit=[2525]).rule is Rule.EXPLICIT_GRANTS


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (KnownAnswer(Reply(Ending.REFUSED)), Outcome.REFUSED),
        (KnownAnswer(Reply(Ending.FAILED, b"<cross", "reset")), Outcome.FAILED),
        (KnownAnswer(Reply(Ending.CLOSED)), Outcome.CLOSED_EMPTY),
        (KnownAnswer(Reply(Ending.OVERFLOWED, b"x" * 30_000)), Outcome.TOO_BIG),
        (SILENT, Outcome.TIMEOUT),
        (served(b"<cross-domain-policy>" + b" " * 20_480 + b"</cross-domain-policy>\0"), Outcome.TOO_BIG),
        (served(b"\0"), Outcome.MALFORMED),
        (served(b"<policy/>\0"), Outcome.MALFORMED),
        (served(b'<cross-domain-policy><site-control permitted-cross-domain-policies="none"/>\0'), Outcome.MALFORMED),
    ],
)
def test_a_master_without_a_policy_file_counts_as_absent(answer: KnownAnswer, outcome: Outcome) -> None:
    decision = decide({843: answer, 9000: OPEN})
    assert decision.rule is Rule.DESTINATION_GRANTS
    assert decision.trail[0].outcome is outcome
    assert decide({843: answer}).rule is Rule.NOTHING_GRANTS


def test_a_nul_completes_an_answer_whatever_happens_after_it() -> None:
    for ending in Ending:
        assert decide({843: KnownAnswer(Reply(ending, OPEN.to_answer() + b"rubbish"))}).allowed


def test_without_nul_only_the_end_of_the_connection_completes_an_answer() -> None:
    data = OPEN.to_answer()[:-1]
    assert decide({843: served(data)}).allowed
    assert not decide({843: served(data)}, strict=True).allowed
    for ending in (Ending.TIMED_OUT, Ending.FAILED, Ending.OVERFLOWED):
        assert not decide({843: KnownAnswer(Reply(ending, data))}).allowed


def test_site_control_outside_the_master_is_ignored() -> None:
    policy = Policy(OPEN.entries, MetaPolicy.NONE)
    assert decide({9000: policy}).allowed
    assert decide({2525: policy}, explicit=[2525]).allowed


def test_the_destination_port_843_is_asked_once() -> None:
    assert asked(decide({843: Policy((Grant("*", "1"),))}, port=843, explicit=[843])) == [843]
    assert decide({843: Policy((Grant("*", "843"),))}, port=843).rule is Rule.MASTER_GRANTS


def test_each_file_grants_only_what_its_port_may_grant() -> None:
    assert not decide({1024: OPEN}, port=1023, explicit=[1024]).allowed
    assert decide({1023: OPEN}, port=80, explicit=[1023]).allowed
    assert decide({80: Policy((Grant("*", "80"),))}, port=80).allowed
    assert not decide({8080: Policy((Grant("*", "80"),))}, port=80, explicit=[8080]).allowed


def test_locations_on_other_hosts_are_not_asked_and_the_trail_says_so() -> None:
    decision = decide({}, explicit=[Location("other.example.net", 2525)])
    assert [(step.outcome, step.location.port) for step in decision.trail[1:2]] == [(Outcome.NOT_ASKED, 2525)]
    assert "another host" in decision.explanation


def test_http_files_do_not_count_since_9_0_124_and_the_trail_says_so() -> None:
    http = Location.parse(f"http://{HOST}/crossdomain.xml")
    decision = decide({http: OPEN}, explicit=[http])
    assert not decision.allowed
    assert "players since 9.0.124 take no permission" in decision.explanation


@pytest.mark.parametrize(("delay", "allowed"), [(0.0, True), (2.9, True), (3.0, True), (3.1, False), (None, False)])
def test_default_locations_have_three_seconds(delay: float | None, allowed: bool) -> None:
    for port in (843, 9000):
        decision = decide({port: served(OPEN, delay)})
        assert decision.allowed is allowed
        step = next(step for step in decision.trail if step.location.port == port)
        assert step.elapsed == (delay if allowed else 3.0)
        assert step.outcome is (Outcome.OK if allowed else Outcome.TIMEOUT)


def test_a_named_location_has_no_time_limit() -> None:
    for port in (843, 2525, 9000):
        assert decide({port: served(OPEN, 1000.0)}, explicit=[port]).allowed
        limits = PolicyLimits(explicit_timeout=60.0)
        assert not decide({port: served(OPEN, 60.5)}, explicit=[port], limits=limits).allowed


def test_what_to_ask_is_said_with_address_time_and_size() -> None:
    search = PolicySearch(WWW, HOST, 9000, address="192.0.2.1", explicit=[Location(HOST, 2525)])
    step = search.next_step(0.0)
    assert step == Ask(Location(HOST, 843), "192.0.2.1", 3.0, 20_480)
    assert search.next_step(1.0) == step
    search.receive_reply(Reply(Ending.REFUSED), 1.5)
    assert search.next_step(1.5) == Ask(Location(HOST, 2525), "192.0.2.1", None, 20_480)
    search.receive_reply(served(OPEN).reply, 2.0)
    decision = search.next_step(2.0)
    assert isinstance(decision, Decision)
    assert [step.elapsed for step in decision.trail] == [1.5, 0.5]
    assert decision.address == "192.0.2.1"
    assert search.next_step(9.0) is decision


def test_a_report_that_nobody_asked_for_is_an_error() -> None:
    search = PolicySearch(WWW, HOST, 9000)
    with pytest.raises(RuntimeError):
        search.receive_reply(Reply(Ending.REFUSED), 0.0)
    search.next_step(0.0)
    search.receive_reply(served(OPEN).reply, 0.0)
    with pytest.raises(RuntimeError):
        search.receive_reply(Reply(Ending.REFUSED), 0.0)


@pytest.mark.parametrize(
    ("requester", "port", "rule", "error"),
    [
        (Requester("x.test", allow_networking=AllowNetworking.NONE), 0, Rule.NETWORKING_FORBIDDEN, 2146),
        (
            Requester(None, "file", Sandbox.LOCAL_WITH_FILE, AllowNetworking.NONE),
            80,
            Rule.NETWORKING_FORBIDDEN,
            2146,
        ),
        (Requester(None, "file", Sandbox.LOCAL_WITH_FILE), 99_999, Rule.LOCAL_WITH_FILE, 2010),
        (Requester(None, "app", Sandbox.APPLICATION), 65_536, Rule.INVALID_PORT, 2003),
        (Requester(None, "file", Sandbox.LOCAL_TRUSTED), 0, Rule.INVALID_PORT, 2003),
        (WWW, -1, Rule.INVALID_PORT, 2003),
        (Requester(None, "app", Sandbox.APPLICATION), 80, Rule.APPLICATION, None),
        (Requester(None, "file", Sandbox.LOCAL_TRUSTED), 80, Rule.LOCAL_TRUSTED, None),
    ],
)
def test_what_needs_no_policy_file_is_decided_at_once(
    requester: Requester, port: int, rule: Rule, error: int | None
) -> None:
    decision = decide({843: Policy((), MetaPolicy.NONE)}, requester=requester, port=port)
    assert (decision.rule, decision.error, decision.trail) == (rule, error, ())
    assert decision.allowed is (error is None)
    assert decision.is_thrown is (error is not None)


@pytest.mark.parametrize(
    ("requester", "policy", "allowed"),
    [
        (Requester("www.example.com", allow_networking=AllowNetworking.INTERNAL), OPEN, True),
        (Requester(HOST), None, False),
        (Requester("localhost"), None, False),
        (Requester(None, "file", Sandbox.LOCAL_WITH_NETWORK), OPEN, True),
        (Requester(None, "file", Sandbox.LOCAL_WITH_NETWORK), Policy((Grant("localhost", "*"),)), False),
        (Requester(None, "file", Sandbox.LOCAL_WITH_NETWORK), None, False),
    ],
)
def test_every_other_content_needs_a_policy_file(requester: Requester, policy: Policy | None, allowed: bool) -> None:
    decision = decide({} if policy is None else {843: policy}, requester=requester)
    assert decision.allowed is allowed
    assert decision.error == (None if allowed else 2048)
    assert not decision.is_thrown


@pytest.mark.parametrize(
    ("host", "requester", "expected"),
    [
        (None, WWW, "www.example.com"),
        ("", WWW, "www.example.com"),
        (None, Requester(None, "file", Sandbox.LOCAL_WITH_NETWORK), "localhost"),
        ("chat.example.net\0evil", WWW, "chat.example.net"),
        ("\0evil", WWW, "www.example.com"),
    ],
)
def test_no_host_means_the_one_that_served_the_content(host: str | None, requester: Requester, expected: str) -> None:
    decision = decide({}, requester=requester, host=host)
    assert decision.host == expected
    assert {step.location.host for step in decision.trail} == {expected}


def test_hosts_are_the_same_whatever_their_case_or_notation() -> None:
    location = Location.parse("xmlsocket://CHAT.example.net:2525")
    assert decide({location: OPEN}, host="Chat.Example.NET", explicit=[location]).allowed
    location = Location.parse("xmlsocket://[2001:db8::1]:2525")
    search = PolicySearch(WWW, "2001:db8:0::1", 9000, explicit=[location])
    assert rehearse(search, {location: served(OPEN)}).allowed


# Players before 9.0.124 (section 4.3).

HTTP = Location.parse(f"http://{HOST}/crossdomain.xml")
WITHOUT_PORTS = Policy((Grant("*", None),))
OLD = ["5", "6.0.79", "7.0.14", "7.0.19", "8", "9.0.28", "9.0.115"]


def old(player: str, domain: str | None = "www.example.com") -> Requester:
    return Requester(domain, player=parse_player(player))


@pytest.mark.parametrize("player", OLD)
def test_old_players_need_no_policy_for_high_ports_of_their_own_host(player: str) -> None:
    decision = decide({843: Policy((), MetaPolicy.NONE)}, requester=old(player, HOST.upper()), port=1024)
    assert (decision.rule, decision.trail) == (Rule.OWN_HOST, ())
    assert not decide({}, requester=old(player, HOST), port=1023).allowed
    assert not decide({}, requester=old(player, "www.example.com"), port=1024).allowed
    assert not decide({}, requester=old(player, None), host="localhost", port=1024).allowed


def test_only_player_6_compares_superdomains() -> None:
    for player in OLD:
        decision = decide({}, requester=old(player, "www.example.net"))
        assert decision.allowed is player.startswith("6")
        assert not decide({}, requester=old(player, "www.example.org")).allowed


@pytest.mark.parametrize(
    ("player", "by_default", "when_named"),
    [
        ("5", False, False),
        ("6", False, False),
        ("7.0.14", True, True),
        ("7.0.19", True, True),
        ("8", True, True),
        ("9", False, True),
        ("9.0.115", False, True),
        ("9.0.124", False, False),
    ],
)
def test_the_http_file_grants_high_ports_to_old_players_whatever_its_to_ports(
    player: str, by_default: bool, when_named: bool
) -> None:
    answers = {HTTP: served(WITHOUT_PORTS.render().encode())}
    assert decide(answers, requester=old(player)).allowed is by_default
    assert decide(answers, requester=old(player), explicit=[HTTP]).allowed is when_named
    assert not decide(answers, requester=old(player), port=1023, explicit=[HTTP]).allowed
    other = {HTTP: served(OTHER.render().encode())}
    assert not decide(other, requester=old(player), explicit=[HTTP]).allowed


@pytest.mark.parametrize(
    "url",
    [f"http://{HOST}/sub/crossdomain.xml", f"http://{HOST}:8080/crossdomain.xml", f"https://{HOST}/crossdomain.xml"],
)
def test_other_http_files_never_grant_sockets(url: str) -> None:
    location = Location.parse(url)
    for player in OLD:
        assert not decide({location: OPEN}, requester=old(player), explicit=[location]).allowed


@pytest.mark.parametrize(
    ("player", "named", "destination", "master"),
    [
        ("6", False, False, False),
        ("7.0.14", False, False, False),
        ("7.0.19", True, False, False),
        ("8", True, False, False),
        ("9.0.28", True, True, False),
        ("9.0.115", True, True, True),
        ("9.0.124", True, True, True),
    ],
)
def test_each_player_asks_where_its_row_says(player: str, named: bool, destination: bool, master: bool) -> None:
    requester = old(player)
    for port in (2525, 843, 9000):
        assert decide({port: OPEN}, requester=requester, explicit=[port]).allowed is named
    assert decide({80: OPEN}, requester=requester, port=22, explicit=[80]).allowed is named
    assert decide({9000: OPEN}, requester=requester).allowed is destination
    assert decide({843: OPEN}, requester=requester).allowed is master
    voided = decide({843: Policy((), MetaPolicy.NONE), 2525: OPEN}, requester=requester, explicit=[2525])
    assert voided.allowed is (named and not master)


def test_a_low_port_needs_a_socket_policy_from_a_low_port_in_every_player_that_knows_one() -> None:
    for player in OLD:
        assert not decide({2525: OPEN}, requester=old(player, HOST), port=80, explicit=[2525]).allowed


def test_an_http_file_with_the_meta_policy_none_is_void_where_meta_policies_are_known() -> None:
    policy = Policy(WITHOUT_PORTS.entries, MetaPolicy.NONE)
    assert decide({HTTP: policy}, requester=old("9.0.28"), explicit=[HTTP]).allowed
    assert not decide({HTTP: policy}, requester=old("9.0.115"), explicit=[HTTP]).allowed


# Sharing and caching (section 3.3).


def run(search: PolicySearch, answers: Mapping[int, KnownAnswer], now: float) -> tuple[Decision, list[int]]:
    ports = []
    while isinstance(step := search.next_step(now), Ask):
        ports.append(step.location.port)
        search.receive_reply(answers.get(step.location.port, KnownAnswer(Reply(Ending.REFUSED))).reply, now)
    return step, ports


def test_a_location_is_asked_once_in_a_session_and_each_requester_gets_its_own_decision() -> None:
    cache = PolicyCache()
    answers = {843: served(Policy((Grant("www.example.com", "9000"),)))}
    assert run(PolicySearch(WWW, HOST, 9000, cache=cache), answers, 0.0)[1] == [843]
    decision, ports = run(PolicySearch(WWW, HOST, 9000, cache=cache), {}, 1e6)
    assert (decision.allowed, ports, decision.trail[0].is_cached) == (True, [], True)
    decision, ports = run(PolicySearch(Requester("x.test"), HOST, 9000, cache=cache), {}, 1e6)
    assert (decision.allowed, ports) == (False, [9000])


def test_what_one_address_said_is_not_taken_for_another() -> None:
    cache = PolicyCache()
    assert run(PolicySearch(WWW, HOST, 9000, cache=cache, address="192.0.2.1"), {843: served(OPEN)}, 0.0)[0].allowed
    decision, ports = run(PolicySearch(WWW, HOST, 9000, cache=cache, address="10.0.0.1"), {}, 0.0)
    assert (decision.allowed, ports) == (False, [843, 9000])


@pytest.mark.parametrize(
    ("ttl", "later", "asks"), [(None, 1e9, False), (10.0, 9.9, False), (10.0, 10.0, True), (0.0, 0.0, True)]
)
def test_failures_are_remembered_as_long_as_negative_ttl_says(ttl: float | None, later: float, asks: bool) -> None:
    limits = PolicyLimits(negative_ttl=ttl)
    cache = PolicyCache(limits)
    run(PolicySearch(WWW, HOST, 9000, cache=cache, limits=limits), {}, 0.0)
    assert run(PolicySearch(WWW, HOST, 9000, cache=cache, limits=limits), {}, later)[1] == ([843, 9000] if asks else [])


def test_a_time_out_does_not_stand_for_somebody_who_would_wait_longer() -> None:
    cache = PolicyCache()
    run(PolicySearch(WWW, HOST, 9000, cache=cache), {843: SILENT, 9000: SILENT}, 0.0)
    named = PolicySearch(WWW, HOST, 9000, cache=cache, explicit=[Location(HOST, 843)])
    assert run(named, {843: served(OPEN)}, 5.0)[1] == [843]
    assert run(PolicySearch(WWW, HOST, 9000, cache=cache), {}, 9.0)[0].allowed


def test_a_search_finds_what_another_learnt_while_it_waited() -> None:
    cache = PolicyCache()
    first, second = (PolicySearch(WWW, HOST, 9000, cache=cache) for _ in range(2))
    assert first.next_step(0.0) == second.next_step(0.0)
    first.receive_reply(served(OPEN).reply, 1.0)
    decision = second.next_step(1.0)
    assert isinstance(decision, Decision)
    assert decision.allowed
    assert (decision.trail[0].is_cached, decision.trail[0].elapsed) == (True, 1.0)


def test_the_cache_forgets_the_oldest_beyond_its_limit() -> None:
    limits = PolicyLimits(max_cached_policies=2)
    cache = PolicyCache(limits)
    run(PolicySearch(WWW, HOST, 9000, cache=cache, explicit=[Location(HOST, 2525)]), {}, 0.0)
    assert len(cache) == 2
    assert run(PolicySearch(WWW, HOST, 9000, cache=cache), {}, 0.0)[1] == [843]
    cache.clear()
    assert len(cache) == 0


# What people read.


def test_the_explanation_tells_every_location_and_every_objection() -> None:
    master = b'<cross-domain-policy>\n<allow-access-from domain="x.test" to-ports="80"/></cross-domain-policy>\0'
    decision = decide({843: served(master, 0.5), 2525: served(b"<oops\0"), 9000: SILENT}, explicit=[2525])
    assert decision.explanation.splitlines() == [
        "www.example.com may not connect to chat.example.net:9000, because no policy file grants it.",
        'xmlsocket://chat.example.net:843 sent a policy file after 500 ms: the domain "x.test" does not match '
        '"www.example.com".',
        "xmlsocket://chat.example.net:2525 sent no usable policy file: line 1, column 1: the tag that starts here is "
        "not closed with >.",
        "xmlsocket://chat.example.net:9000 did not answer in time after 3.0 s.",
    ]


def test_the_explanation_names_the_grant() -> None:
    lines = decide({9000: Policy((Grant("*", "9000"),))}).explanation.splitlines()
    assert lines[-1] == (
        'xmlsocket://chat.example.net:9000 sent a policy file: domain "*", to-ports "9000" grants it (line 3).'
    )


def test_the_explanation_says_why_a_file_without_objections_does_not_grant() -> None:
    decision = decide({843: Policy(OPEN.entries, MetaPolicy.NONE)})
    assert decision.explanation.endswith(
        "its meta-policy is none, or one that sockets do not know, so its grants are void."
    )
    assert "it has no allow-access-from" in decide({843: Policy()}).explanation


def test_hostile_texts_are_escaped_in_the_explanation() -> None:
    policy = Policy((Grant("a\u202e\n", "\n"),)).to_answer()
    failed = KnownAnswer(Reply(Ending.FAILED, b"", "\x1b[31m"))
    decision = decide({843: served(policy), 9000: failed})
    assert all(line.isprintable() for line in decision.explanation.splitlines())
    assert len(decision.explanation.splitlines()) == 3


def test_a_file_with_many_elements_gives_a_short_explanation() -> None:
    decision = decide({843: Policy(tuple(Grant(f"h{index}.test", "80") for index in range(200)))})
    assert "and 195 more do not match either" in decision.explanation
    assert len(decision.trail[0].objections) == 200


# The whole procedure against the description of section 3.2, written down directly.

DOMAINS = st.sampled_from(["*", "www.example.com", "*.example.com", "other.test"])
PORTS = st.sampled_from(["*", "80", "9000", "80,9000", "1000-9000"])
POLICIES = st.none() | st.builds(
    Policy,
    st.lists(st.builds(Grant, DOMAINS, PORTS), max_size=2).map(tuple),
    st.none() | st.sampled_from(MetaPolicy),
)


def describe(files: Mapping[int, Policy], explicit: list[int], requester: Requester, port: int) -> bool:
    def grants(place: int) -> bool:
        return place in files and files[place].grants(requester, port, place) is not None

    meta_policy = files[843].meta_policy if 843 in files else None
    if meta_policy is MetaPolicy.NONE:
        return False
    if grants(843) or meta_policy is MetaPolicy.MASTER_ONLY:
        return grants(843)
    return any(map(grants, explicit)) or grants(port)


@given(
    files=st.dictionaries(st.sampled_from([843, 80, 9000, 2525, 1000]), POLICIES),
    explicit=st.lists(st.sampled_from([843, 80, 9000, 2525, 1000]), max_size=4),
    port=st.sampled_from([80, 843, 9000]),
    domain=st.sampled_from(["www.example.com", "example.com", "x.test"]),
)
def test_the_search_agrees_with_the_description_of_the_procedure(
    files: dict[int, Policy | None], explicit: list[int], port: int, domain: str
) -> None:
    present = {place: policy for place, policy in files.items() if policy is not None}
    requester = Requester(domain)
    decision = decide(present, requester=requester, port=port, explicit=explicit)
    assert decision.allowed is describe(present, explicit, requester, port)
    assert len(asked(decision)) == len(set(asked(decision)))
