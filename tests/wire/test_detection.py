"""The first bytes tell the protocol, for any segmentation and never twice differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.wire import DETECTION_SIZE, POLICY_REQUESTS, Protocol, detect

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"]


def detect_in_pieces(data):
    """The first certain answer, with the number of bytes it took."""
    for size in range(len(data) + 1):
        if (protocol := detect(data[:size])) is not None:
            return protocol, size
    return None, len(data)


@pytest.mark.parametrize("request_", POLICY_REQUESTS)
def test_a_policy_request_is_one_only_when_its_nul_has_come(request_):
    assert detect_in_pieces(request_) == (Protocol.POLICY, len(request_))
    assert detect(request_ + b"<more/>\0") is Protocol.POLICY


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_http_is_http_when_its_blank_has_come(method):
    assert detect_in_pieces(method + b" / HTTP/1.1\r\n") == (Protocol.HTTP, len(method) + 1)


def test_a_tls_handshake_is_known_by_its_first_two_bytes():
    assert detect_in_pieces(b"\x16\x03\x01") == (Protocol.TLS, 2)
    assert detect(b"\x16") is None


@pytest.mark.parametrize(
    "start",
    [
        b"\0",
        b"hello",
        b"<login/>\0",
        b"<policy-file-request>\0",
        b"<policy-file-request/>x",
        b"<policy-file-request//>\0",
        b"<POLICY-FILE-REQUEST/>\0",
        b" <policy-file-request/>\0",
        b"GETAWAY",
        b"get / HTTP/1.1",
        b"GET\0",
        b"GET\r\n",
        b"PULL ",
        b"\x15\x03",
        b"\x16\0",
        b"\x16\x16",
        b"\xff",
    ],
)
def test_everything_else_is_xmlsocket(start):
    assert detect(start) is Protocol.XMLSOCKET


def test_nothing_yet_says_nothing():
    assert detect(b"") is None


beginnings = st.sampled_from([*POLICY_REQUESTS, *(method + b" " for method in METHODS), b"\x16\x03", b"<a/>\0"])
starts = st.binary(max_size=40) | st.builds(
    lambda start, size, rest: start[:size] + rest, beginnings, st.integers(0, 40), st.binary(max_size=10)
)


@given(starts)
def test_an_answer_once_given_never_changes_as_bytes_arrive(start):
    answers = [detect(start[:size]) for size in range(len(start) + 1)]
    certain = [answer for answer in answers if answer is not None]
    assert len(set(certain)) <= 1
    assert answers == [None] * (len(answers) - len(certain)) + certain


@given(starts)
def test_the_answer_is_certain_after_so_many_bytes(start):
    if len(start) >= DETECTION_SIZE:
        assert detect(start[:DETECTION_SIZE]) is not None


@given(starts)
def test_only_a_beginning_of_something_known_is_uncertain(start):
    known = [*POLICY_REQUESTS, *(method + b" " for method in METHODS), b"\x16\x03"]
    assert (detect(start) is None) == any(one.startswith(start) and one != start for one in known)
