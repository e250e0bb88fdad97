"""The commands that need no network, as a person or a script meets them."""

from __future__ import annotations

import json
import pathlib

import pytest
from typer.testing import CliRunner, Result

from xmlsocket.cli.policy import app
from xmlsocket.policy import Grant, MetaPolicy, Policy, parse_policy

OPEN = '<cross-domain-policy><allow-access-from domain="*" to-ports="*"/></cross-domain-policy>'
GOOD = Policy((Grant("www.example.com", "8000-8010"),), MetaPolicy.MASTER_ONLY).render()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def write(tmp_path: pathlib.Path):
    def write_file(content: str | bytes, name: str = "policy.xml") -> pathlib.Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize(
    ("content", "code", "last"),
    [
        (GOOD, 0, "0 errors, 0 warnings, 0 notes"),
        (GOOD.replace("www", "WWW"), 0, "0 errors, 0 warnings, 1 note"),
        (GOOD.replace("8010", "*, 8010").replace("8000-", ""), 1, "0 errors, 2 warnings, 0 notes"),
        (GOOD.replace("to-ports", "ports"), 2, "2 errors, 0 warnings, 0 notes"),
        ("", 2, "1 error, 0 warnings, 0 notes"),
    ],
)
def test_lint_exits_by_severity(write, content: str, code: int, last: str) -> None:
    result = run("lint", write(content))
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (code, last)


def test_lint_gives_place_severity_rule_and_message(write) -> None:
    path = write(GOOD.replace("to-ports", "ports"))
    first = run("lint", path).stdout.splitlines()[1]
    assert first.startswith(f'{path}:4:47: error SP012: the attribute "ports" is misspelt. Players ignore')


def test_lint_speaks_json(write) -> None:
    path = write("<x/>")
    result = run("lint", path, "--json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["source"] == str(path)
    assert [(finding["rule"], finding["severity"], finding["line"]) for finding in answer["findings"]] == [
        ("SP002", "error", 1)
    ]


def test_lint_takes_the_context(write) -> None:
    path = write(OPEN)
    assert "SP032" in run("lint", path).stdout
    assert "SP032" not in run("lint", path, "--allow-everybody").stdout
    assert "SP023" not in run("lint", path, "--served-from", 8080).stdout
    assert "SP018" in run("lint", write(GOOD), "--service-port", 9000, "--service-port", 8000).stdout
    assert "SP036" in run("lint", write(GOOD), "--own-host", "chat.example.com").stdout
    secure = GOOD.replace("/>\n</", ' secure="true"/>\n</')
    assert "SP017" in run("lint", write(secure)).stdout
    assert "SP017" not in run("lint", write(secure), "--local-service").stdout


def test_a_file_that_cannot_be_read_is_said_on_standard_error(tmp_path: pathlib.Path) -> None:
    for arguments in (["lint"], ["explain", "--from", "http://a.test/", "--to", "b.test:80"], ["test"]):
        result = run(arguments[0], tmp_path / "missing", *arguments[1:])
        assert (result.exit_code, result.stdout) == (3, "")
        assert "cannot read" in result.stderr
        assert "No such file" in result.stderr


def test_hostile_text_reaches_the_terminal_escaped(write) -> None:
    hostile = Policy((Grant("\u202e[red]:skull:\t\u0085", "80"),)).render()
    for result in (
        run("lint", write(hostile)),
        run("explain", write(hostile), "--from", "http://a.test/", "--to", "b.test:80"),
        run("lint", write("\x1b[2J<x/>")),
    ):
        assert all(line.isprintable() for line in result.stdout.split("\n"))
    assert '"\\u202e[red]:skull:\\t\\x85"' in run("lint", write(hostile)).stdout


def test_explain_tells_the_decision_and_the_trail(write) -> None:
    result = run("explain", write(GOOD), "--from", "http://www.example.com/a.swf", "--to", "chat.example.com:8001")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "allowed",
        "www.example.com may connect to chat.example.com:8001, because the policy file on port 843 grants it.",
        'xmlsocket://chat.example.com:843 sent a policy file: domain "www.example.com", to-ports "8000-8010" grants it '
        "(line 4).",
    ]


@pytest.mark.parametrize(
    ("options", "code", "first"),
    [
        (["--served-from", 9000], 0, "allowed"),
        (["--served-from", 2525], 0, "allowed"),
        (["--from", "file:///a.swf"], 1, "denied, error 2010 thrown by connect"),
        (["--from", "file:///a.swf", "--sandbox", "localWithNetwork"], 0, "allowed"),
        (["--from", "app:/a.swf"], 0, "allowed"),
        (["--allow-networking", "none"], 1, "denied, error 2146 thrown by connect"),
        (["--to", "b.test:70000"], 1, "denied, error 2003 thrown by connect"),
        (["--to", "b.test:80", "--served-from", 2525], 1, "denied, error 2048 as a securityError event"),
        (["--player", "8"], 1, "denied, error 2048 as a securityError event"),
        (["--to", "[2001:db8::1]:9000"], 0, "allowed"),
    ],
)
def test_explain_honours_every_option(write, options: list[object], code: int, first: str) -> None:
    result = run("explain", write(OPEN), "--from", "http://a.test/", "--to", "b.test:9000", *options)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (code, first)


def test_explain_can_be_strict(write) -> None:
    path = write(OPEN.replace('to-ports="*"', 'to-ports="80, 90"'))
    arguments = ["explain", path, "--from", "http://a.test/", "--to", "b.test:80"]
    assert [run(*arguments).exit_code, run(*arguments, "--strict").exit_code] == [0, 1]


@pytest.mark.parametrize(
    "options", [["--to", "b.test"], ["--to", ":80"], ["--to", "b.test:x"], ["--from", "a.test"], ["--player", "new"]]
)
def test_explain_refuses_what_it_does_not_understand(write, options: list[str]) -> None:
    result = run("explain", write(OPEN), "--from", "http://a.test/", "--to", "b.test:80", *options)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_explain_speaks_json(write) -> None:
    result = run("explain", write(OPEN), "--from", "http://a.test/", "--to", "b.test:80", "--json")
    answer = json.loads(result.stdout)
    assert (answer["allowed"], answer["rule"], answer["error"]) == (True, "master_grants", None)
    assert [(step["location"], step["outcome"]) for step in answer["trail"]] == [("xmlsocket://b.test:843", "ok")]


def test_make_writes_a_file_that_has_no_findings_and_grants(tmp_path: pathlib.Path) -> None:
    result = run("make", "--domain", "www.example.com", "--domain", "*.example.org", "--to-ports", "8000-8010,9339")
    assert (result.exit_code, result.stderr) == (0, "")
    assert parse_policy(result.stdout.encode()).entries == (
        Grant("www.example.com", "8000-8010,9339"),
        Grant("*.example.org", "8000-8010,9339"),
    )
    path = tmp_path / "made.xml"
    assert run("make", "--domain", "www.example.com", "--to-ports", "8000", "--output", path).stdout == ""
    assert run("lint", path).exit_code == 0


def test_make_writes_the_meta_policy_for_port_843_only() -> None:
    made = ["make", "--domain", "a.test", "--to-ports", "8000"]
    assert parse_policy(run(*made).stdout.encode()).meta_policy is MetaPolicy.MASTER_ONLY
    assert parse_policy(run(*made, "--meta-policy", "all").stdout.encode()).meta_policy is MetaPolicy.ALL
    assert parse_policy(run(*made, "--served-from", 8000).stdout.encode()).meta_policy is None
    assert parse_policy(run(*made, "--secure").stdout.encode()).entries[0].secure


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--domain", "http://a.test", "--to-ports", "80"], "SP013"),
        (["--domain", "a.test", "--to-ports", "x"], "SP014"),
        (["--domain", "a.test", "--to-ports", "80", "--served-from", 8000], "SP015"),
        (["--domain", "*", "--to-ports", "*"], "SP032"),
        (["--domain", "a.test", "--to-ports", "80", "--meta-policy", "none"], "SP025"),
        (["--domain", "a\x01", "--to-ports", "80"], "cannot carry"),
    ],
)
def test_make_writes_nothing_that_cannot_work(options: list[object], rule: str) -> None:
    result = run("make", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert rule in result.stderr


def test_make_writes_an_open_file_when_that_is_meant() -> None:
    result = run("make", "--domain", "*", "--to-ports", "*", "--allow-everybody")
    assert result.exit_code == 0
    assert "SP030" in result.stderr
    assert "<allow-access-from" in result.stdout


def test_make_says_when_it_cannot_write(tmp_path: pathlib.Path) -> None:
    result = run("make", "--domain", "a.test", "--to-ports", "80", "-o", tmp_path / "no" / "file.xml")
    assert result.exit_code == 3
    assert "cannot write" in result.stderr


def test_test_runs_the_reference_vectors() -> None:
    result = run("test", pathlib.Path(__file__).with_name("policy_vectors.json"))
    assert (result.exit_code, result.stdout) == (0, "115 passed, 0 failed\n")


def test_test_prints_a_line_for_each_failure_then_the_counts(write) -> None:
    vector = {"swf_domain": "a.test", "host": "b.test", "port": 80, "expect": "deny"}
    vectors = [
        vector,
        {**vector, "id": "X1\n", "expect": "allow"},
        {**vector, "id": "X2", "colour": "red"},
        {**vector, "error": 2010},
        7,
    ]
    result = run("test", write(json.dumps(vectors), "vectors.json"))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "X1\\n: expected allow, got deny: a.test may not connect to b.test:80, because no policy file grants it.",
        "X2: unknown field 'colour'",
        "vector 4: expected error 2010, got 2048",
        "vector 5: it is not an object",
        "1 passed, 4 failed",
    ]


@pytest.mark.parametrize("content", ["", "{}", "[", "[" * 100_000, b"\xff"])
def test_test_refuses_what_is_no_list_of_vectors(write, content: str | bytes) -> None:
    result = run("test", write(content))
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr
