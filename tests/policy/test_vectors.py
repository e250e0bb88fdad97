"""The reference vectors, and that every optional field of a vector counts."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from xmlsocket.errors import ConfigurationError
from xmlsocket.policy import Rule, run_vector

VECTORS = json.loads(pathlib.Path(__file__).with_name("policy_vectors.json").read_text(encoding="utf-8"))
OPEN = '<cross-domain-policy><allow-access-from domain="*" to-ports="*"/></cross-domain-policy>'
OTHER = OPEN.replace('"*" to', '"other.test" to')


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_the_reference_vectors_come_out_as_expected(vector: dict[str, Any]) -> None:
    assert run_vector(vector).failure == ""


def vector(**fields: Any) -> dict[str, Any]:
    return {
        "policy": OPEN,
        "policy_port": 843,
        "swf_domain": "www.example.com",
        "host": "chat.example.net",
        "port": 9000,
        "expect": "allow",
        **fields,
    }


def check(expect: str, **fields: Any) -> None:
    result = run_vector(vector(expect=expect, **fields))
    assert result.passed, result.failure
    wrong = "deny" if expect == "allow" else "allow"
    assert not run_vector(vector(expect=wrong, **fields)).passed


@pytest.mark.parametrize(
    ("expect", "fields"),
    [
        ("allow", {"delay_s": 3}),
        ("deny", {"delay_s": 3.5}),
        ("allow", {"delay_s": 3.5, "load_policy_file": [843]}),
        ("allow", {"delay_s": 300, "policy_port": 2525}),
        ("deny", {"delay_s": 4, "policy_port": 9000}),
        ("allow", {"delay_s": 4, "policy_port": 9000, "load_policy_file": ["xmlsocket://chat.example.net:9000"]}),
        ("allow", {"delay_s": 4, "policy": OTHER, "others": [{"port": 9000, "policy": OPEN}]}),
        ("deny", {"terminator": "none"}),
        ("allow", {"terminator": "eof"}),
        ("allow", {"terminator": "nul"}),
        ("deny", {"terminator": "none", "policy_port": 2525}),
        ("deny", {"encoding": "utf-16"}),
        ("allow", {"encoding": "latin-1"}),
        ("deny", {"encoding": "utf-32-be"}),
        ("deny", {"policy_host": "other.example.net"}),
        ("allow", {"policy_host": "CHAT.example.net"}),
        ("deny", {"policy_host": "other.example.net", "policy_port": 2525}),
        ("allow", {"host": None, "policy_host": "www.example.com"}),
        ("deny", {"policy_transport": "http"}),
        ("deny", {"policy_transport": "https", "policy_port": 443}),
        ("deny", {"policy_transport": "http", "policy_port": 80, "port": 80}),
        ("allow", {"policy_transport": "xmlsocket"}),
        ("allow", {"policy_transport": "socket", "policy_port": 2525}),
        ("deny", {"policy_transport": "tls"}),
        ("allow", {"policy_transport": "http", "policy_port": 80, "player": "8"}),
        ("deny", {"policy_transport": "https", "policy_port": 443, "player": "8"}),
        ("deny", {"policy_transport": "http", "policy_port": 80, "player": "9.0.115"}),
        ("deny", {"policy_transport": "http", "policy_port": 80, "player": "8", "runtime": "air"}),
        ("deny", {"master_state": "refused"}),
        ("deny", {"master_state": "timeout"}),
        ("allow", {"master_state": "timeout", "policy_port": 2525}),
        ("deny", {"policy": None}),
        ("allow", {"policy": None, "others": [{"port": 843, "policy": OPEN}]}),
        ("deny", {"policy": None, "others": [{"port": 2525, "policy": OPEN}]}),
        ("allow", {"policy": None, "others": [{"port": 2525, "policy": OPEN}], "load_policy_file": [2525]}),
        (
            "deny",
            {
                "policy": None,
                "others": [{"port": 2525, "policy": OPEN}],
                "load_policy_file": ["xmlsocket://other.example.net:2525"],
            },
        ),
        ("deny", {"others": [{"port": 9000, "policy": None}], "policy": None}),
        ("deny", {"sandbox": "localWithFile", "swf_domain": None, "error": 2010}),
        ("allow", {"sandbox": "localWithNetwork", "swf_domain": None}),
        ("allow", {"sandbox": "localTrusted", "swf_domain": None, "policy": None}),
        ("allow", {"sandbox": "application", "swf_domain": None, "policy": None, "runtime": "air"}),
        ("deny", {"allow_networking": "none", "error": 2146}),
        ("deny", {"allow_networking": "none", "sandbox": "application", "error": 2146}),
        ("allow", {"allow_networking": "internal"}),
        ("deny", {"port": 65536, "error": 2003}),
        ("allow", {"policy": None, "swf_domain": "chat.example.net", "player": "9.0.115"}),
        ("deny", {"policy": None, "swf_domain": "chat.example.net", "player": "9.0.124", "error": 2048}),
        ("deny", {"policy": None, "swf_domain": "chat.example.net", "player": "9.0.115", "runtime": "air"}),
        ("allow", {"policy": OPEN.replace("/>", ' secure="true"/>'), "swf_scheme": "https"}),
        ("deny", {"policy": OPEN.replace("/>", ' secure="true"/>')}),
        ("deny", {"policy": OPEN.replace("/>", ' secure="true"/>'), "swf_scheme": "https", "swf_domain": None}),
        ("deny", {"policy": "\ud800"}),
    ],
)
def test_each_optional_field_counts(expect: str, fields: dict[str, Any]) -> None:
    check(expect, **fields)


def test_another_error_number_than_expected_is_a_failure() -> None:
    assert "expected error 2010, got 2048" in run_vector(vector(policy=None, expect="deny", error=2010)).failure
    assert run_vector(vector(policy=None, expect="deny", error=None)).passed


def test_policy_and_port_may_be_left_out() -> None:
    fields = {"swf_domain": None, "host": "x.test", "port": 80, "expect": "deny"}
    assert run_vector(fields).decision.rule is Rule.NOTHING_GRANTS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"polcy": OPEN}, "unknown field 'polcy'; did you mean policy?"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"others": [{"port": 1, "policy": OPEN, "delay": 2}]}, "unknown field 'delay'"),
        ({"others": [{"port": 1}]}, "policy is missing"),
        ({"others": ["x"]}, "others holds 'x'"),
        ({"others": [{"port": 843, "policy": OPEN}]}, "two policies are served on port 843"),
        ({"others": None}, "others cannot be None"),
        ({"load_policy_file": 2525}, "load_policy_file cannot be 2525"),
        ({"load_policy_file": [True]}, "load_policy_file holds True"),
        ({"load_policy_file": ["chat.example.net"]}, "no location"),
        ({"port": "80"}, "port cannot be '80'"),
        ({"port": True}, "port cannot be True"),
        ({"expect": "maybe"}, "one of allow, deny"),
        ({"sandbox": "moon"}, "one of remote, localWithFile"),
        ({"allow_networking": "some"}, "one of all, internal, none"),
        ({"player": "new"}, "no player version"),
        ({"runtime": "node"}, "one of flash, air"),
        ({"terminator": "lf"}, "one of nul, eof, none"),
        ({"master_state": "sad"}, "one of refused, timeout"),
        ({"policy_transport": "pigeon"}, "one of xmlsocket, socket, http, https, ftp, tls"),
        ({"encoding": "klingon"}, "cannot be encoded as 'klingon'"),
        ({"policy": "ü", "encoding": "ascii"}, "cannot be encoded as 'ascii'"),
    ],
)
def test_fields_that_mean_nothing_are_an_error(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run_vector(vector(**fields))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["swf_domain", "host", "port", "expect"])
def test_a_vector_must_say_who_wants_what(name: str) -> None:
    fields = vector()
    del fields[name]
    with pytest.raises(ConfigurationError, match=f"{name} is missing"):
        run_vector(fields)
