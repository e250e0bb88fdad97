"""Section 7 rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from xmlsocket.errors import PolicyError
from xmlsocket.limits import PolicyLimits
from xmlsocket.policy import (
    RULES,
    Grant,
    LintContext,
    MetaPolicy,
    Policy,
    ProbeFacts,
    Severity,
    find_worst,
    grants_differ,
    lint,
    lint_policy,
)

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE
CONTROL = '<site-control permitted-cross-domain-policies="master-only"/>'
GOOD = '<allow-access-from domain="www.example.com" to-ports="8000-8010"/>'


def root(body: str) -> bytes:
    return f"<cross-domain-policy>{body}</cross-domain-policy>".encode()


def grant(attributes: str) -> bytes:
    return root(f"{CONTROL}<allow-access-from {attributes}/>")


def control(value: str, after: str = "") -> bytes:
    return root(f'<site-control permitted-cross-domain-policies="{value}"/>{after}')


def find(data: bytes, **context: Any) -> list[tuple[str, Severity]]:
    return [(finding.rule, finding.severity) for finding in lint(data, LintContext(**context))]


HIGH = {"serving_port": 8080}
CASES: list[tuple[str, Severity, bytes, dict[str, Any]]] = [
    ("SP001", E, root('<allow-access-from domain="*", to-ports="80"/>'), {}),
    ("SP001", E, b"HTTP/1.1 200 OK\r\n\r\n" + root(GOOD), {}),
    ("SP001", W, b"\xef\xbb\xbf" + root(CONTROL + GOOD), {}),
    ("SP001", W, b'\n<?xml version="1.0"?>' + root(CONTROL + GOOD), {}),
    ("SP002", E, b"<access-policy/>", {}),
    ("SP003", E, root(CONTROL + GOOD), {"is_captured": True}),
    ("SP004", W, root(CONTROL + GOOD) + b"\0x", {}),
    ("SP005", E, root(CONTROL).decode().encode("utf-16"), {}),
    ("SP005", E, b"<cross-domain-policy>\0" + b"</cross-domain-policy>", {}),
    ("SP006", W, root(CONTROL + GOOD + " " * 10_000), {}),
    ("SP006", E, root(CONTROL + GOOD + " " * 20_480), {}),
    ("SP007", E, b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + root(""), {}),
    ("SP007", N, b'<!DOCTYPE cross-domain-policy SYSTEM "http://x">' + root(CONTROL + GOOD), {}),
    ("SP010", E, grant('to-ports="80"'), {}),
    ("SP011", E, grant('domain="www.example.com"'), {}),
    ("SP011", E, grant('domain="www.example.com" to-ports=""'), {}),
    *(("SP012", E, grant(f'domain="a.test" {name}="80"'), {}) for name in ("ports", "toports", "to_ports", "To-Ports")),
    ("SP012", E, grant('Domain="a.test" to-ports="80"'), {}),
    ("SP012", E, grant('domain="a.test" to-ports="80" secured="true"'), {}),
    ("SP012", E, root('<site-control permitted-cross-domain-policy="all"/>'), {}),
    *(
        ("SP013", E, grant(f'domain="{domain}" to-ports="80"'), {})
        for domain in ("http://a.test", "a.test:80", "a.test/x", " a.test", "*a.test", "a.*", "10.0.0.*", "*.", "")
    ),
    *(("SP014", E, grant(f'domain="a.test" to-ports="{ports}"'), {}) for ports in ("x", "9-8", "0", "65536", "80,")),
    *(("SP014", W, grant(f'domain="a.test" to-ports="{ports}"'), {}) for ports in ("80, 90", "80,*")),
    ("SP015", E, root('<allow-access-from domain="a.test" to-ports="80"/>'), HIGH),
    ("SP015", E, root('<allow-access-from domain="a.test" to-ports="1000-2000"/>'), HIGH),
    ("SP016", E, grant('domain="a.test" to-ports="80" secure="yes"'), {}),
    ("SP016", E, grant('domain="a.test" to-ports="80" secure="TRUE"'), {}),
    ("SP017", W, grant('domain="a.test" to-ports="80" secure="true"'), {}),
    ("SP018", W, grant('domain="a.test" to-ports="80"'), {"service_ports": frozenset({81})}),
    ("SP018", W, root('<allow-access-from domain="*" to-ports="*"/>'), {"service_ports": frozenset({80}), **HIGH}),
    *(
        ("SP020", E, control(value), {})
        for value in ("by-content-type", "by-ftp-filename", "none-this-response", "some", "ALL", "")
    ),
    ("SP020", E, root("<site-control/>"), {}),
    ("SP021", W, control("all"), HIGH),
    ("SP022", W, root(CONTROL + CONTROL), {}),
    ("SP023", W, root(GOOD), {}),
    ("SP024", W, control("all"), {}),
    ("SP025", E, control("none", GOOD), {}),
    ("SP030", W, grant('domain="*" to-ports="8000"'), {}),
    ("SP031", W, grant('domain="a.test" to-ports="*"'), {}),
    ("SP031", W, grant('domain="a.test" to-ports="1-65535"'), {}),
    ("SP032", E, grant('domain="*" to-ports="*"'), {}),
    *(
        ("SP033", W, grant(f'domain="*.{suffix}" to-ports="8000"'), {})
        for suffix in ("com", "co.uk", "github.io", "museum")
    ),
    *(("SP034", W, grant(f'domain="a.test" to-ports="{ports}"'), {}) for ports in ("25", "1-100", "3000-4000", "6379")),
    *(
        ("SP035", W, grant(f'domain="{domain}" to-ports="8000"'), {})
        for domain in ("192.0.2.1", "10.0.0.1", "[::1]", "localhost", "127.0.0.1", "8.8.8.8")
    ),
    ("SP036", N, root(CONTROL + GOOD), {"own_host": "chat.example.com"}),
    ("SP040", N, root(CONTROL + GOOD + GOOD), {}),
    ("SP040", N, root(CONTROL + GOOD + '<allow-access-from domain="*" to-ports="*"/>'), {}),
    (
        "SP040",
        N,
        root(CONTROL + GOOD + '<allow-access-from domain="*.example.com" to-ports="8000-8005,8006-8010"/>'),
        {},
    ),
    ("SP041", N, root(GOOD + CONTROL), {}),
    ("SP042", N, root(CONTROL + "<future/>" + GOOD), {}),
    ("SP042", N, grant('domain="a.test" to-ports="80" colour="red"'), {}),
    ("SP042", E, root(CONTROL + "<allow-acces-from/>"), {}),
    ("SP042", E, root(f"{CONTROL}<group>{GOOD}</group>"), {}),
    ("SP043", W, root(CONTROL + '<allow-http-request-headers-from domain="*" headers="*"/>'), {}),
    ("SP043", W, root(CONTROL + "<allow-access-from-identity><signatory/></allow-access-from-identity>"), {}),
    ("SP044", N, grant('domain="*.Example.com" to-ports="8000"'), {}),
    ("SP045", W, grant('domain="example.com." to-ports="8000"'), {}),
    ("SP046", W, grant('domain="bücher.example" to-ports="8000"'), {}),
    ("SP050", W, root(CONTROL), {"probe": ProbeFacts(answers_unasked=True)}),
    ("SP051", W, root(CONTROL), {"probe": ProbeFacts(answers_anything=True)}),
    ("SP052", E, b"220 ready", {"probe": ProbeFacts(speaks_first=True)}),
    ("SP053", W, root(CONTROL), {"probe": ProbeFacts(seconds=3.1)}),
    ("SP054", W, root(CONTROL), {"probe": ProbeFacts(is_master_filtered=True)}),
    ("SP055", N, root(CONTROL), {"probe": ProbeFacts(grants_differ=True)}),
]


@pytest.mark.parametrize(("rule", "severity", "data", "context"), CASES)
def test_each_rule_finds_what_it_is_for(rule: str, severity: Severity, data: bytes, context: dict[str, Any]) -> None:
    assert (rule, severity) in find(data, **context)


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(RULES)


@pytest.mark.parametrize(
    ("data", "context"),
    [
        (root(CONTROL + GOOD), {}),
        (root(CONTROL + GOOD) + b"\0", {"is_captured": True, "probe": ProbeFacts(seconds=3.0)}),
        (root(GOOD), HIGH),
        (control("none"), {}),
        (root(CONTROL + GOOD), {"own_host": "WWW.example.com", "service_ports": frozenset({8000, 8010})}),
        (grant('domain="a.test" to-ports="25"'), {"service_ports": frozenset({25})}),
        (grant('domain="a.test" to-ports="8000" secure="true"'), {"is_local_service": True}),
        (root(GOOD + GOOD.replace("www.", "*.").replace("8010", "8009")), HIGH),
        (
            b'<cross-domain-policy xmlns:xsi="u" xsi:noNamespaceSchemaLocation="v">'
            + CONTROL.encode()
            + b"</cross-domain-policy>",
            {},
        ),
    ],
)
def test_a_right_file_gives_no_finding(data: bytes, context: dict[str, Any]) -> None:
    assert find(data, **context) == []


def test_what_is_known_and_meant_is_not_found() -> None:
    data = grant('domain="*" to-ports="*"')
    assert "SP032" not in [rule for rule, _ in find(data, allows_everybody=True)]
    assert "SP032" not in [rule for rule, _ in find(data, serving_port=1024)]
    assert "SP015" not in [rule for rule, _ in find(data, serving_port=1024)]


def test_a_file_that_is_not_read_gets_its_cause_and_no_guesses() -> None:
    assert find(root("<allow-access-from domain=*>")) == [("SP001", E)]
    assert find(root("x" * 30_000)) == [("SP006", E)]


def test_of_two_alike_the_later_one_is_superfluous() -> None:
    findings = [finding for finding in lint(root(f"{CONTROL}\n{GOOD}\n{GOOD}")) if finding.rule == "SP040"]
    assert [(finding.line, finding.what) for finding in findings] == [(3, "the grant is covered by the one in line 2")]


def test_a_secure_grant_does_not_cover_an_open_one() -> None:
    secure = GOOD.replace("/>", ' secure="true"/>')
    assert "SP040" not in [rule for rule, _ in find(root(CONTROL + secure + GOOD.replace("8010", "8009")))]
    assert "SP040" in [rule for rule, _ in find(root(CONTROL + GOOD + secure))]


def test_findings_come_in_the_order_of_the_file_with_line_and_column() -> None:
    data = root(f'\n{CONTROL}\n<allow-access-from domain="*.com" to-ports="80,x"\n  secure="no"/>')
    found = [(finding.rule, finding.line, finding.column) for finding in lint(data)]
    assert found == [("SP033", 3, 20), ("SP014", 3, 35), ("SP016", 4, 3)]


def test_each_message_says_what_why_and_what_to_do() -> None:
    for _, _, data, context in CASES:
        for finding in lint(data, LintContext(**context)):
            assert finding.message == f"{finding.what}. {RULES[finding.rule]} {finding.fix}"
            assert finding.fix.endswith(".")
            assert not finding.what.endswith(".")


def test_the_limits_move_the_bounds() -> None:
    assert find(root(CONTROL + " " * 20_480), probe=None) == [("SP006", E)]
    findings = lint(root(CONTROL + " " * 20_480), limits=PolicyLimits(max_policy_size=None))
    assert [(finding.rule, finding.severity) for finding in findings] == [("SP006", W)]
    context = LintContext(probe=ProbeFacts(seconds=4.0))
    assert lint(root(CONTROL), context, limits=PolicyLimits(policy_timeout=5.0)) == ()


def test_the_worst_severity_is_found() -> None:
    assert find_worst([]) is None
    assert find_worst(lint(root(CONTROL + GOOD + GOOD))) is N
    assert find_worst(lint(root(GOOD + GOOD))) is W
    assert find_worst(lint(b"")) is E


def test_a_policy_made_by_a_program_is_checked_as_the_file_it_becomes() -> None:
    policy = Policy((Grant("*.com", "8000"), Grant(None, "1")), MetaPolicy.MASTER_ONLY)
    findings = lint_policy(policy)
    assert [(finding.rule, finding.line) for finding in findings] == [("SP033", 4), ("SP010", 5)]
    assert lint_policy(Policy((Grant("a.test", "80"),)), LintContext(serving_port=9000))[0].rule == "SP015"
    with pytest.raises(PolicyError):
        lint_policy(Policy((Grant("\0", "80"),)))


def test_files_differ_when_they_let_different_requesters_reach_the_destination() -> None:
    one = Policy((Grant("A.test", "80,9000"),))
    assert not grants_differ(one, Policy((Grant("a.test", "*"), Grant("b.test", "1"), Grant("x y", "9000"))), 9000)
    assert grants_differ(one, Policy((Grant("*.test", "9000"),)), 9000)
    assert grants_differ(one, Policy((Grant("a.test", "9000", secure=True),)), 9000)
