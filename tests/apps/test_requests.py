from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apps.test_markup import XML_TEXTS

from xmlsocket.apps.markup import element, escape_text
from xmlsocket.apps.requests import Request, RequestError, RequestParser
from xmlsocket.limits import ChatLimits

PARSER = RequestParser(["say", "ping"], ChatLimits(max_attributes=4, max_text_length=10, max_ref_length=5))


def refused(message: bytes, parser: RequestParser = PARSER) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parser.parse(message)
    return caught.value


@given(XML_TEXTS, XML_TEXTS)
def test_a_request_is_read_as_it_was_written(text: str, value: str) -> None:
    parser = RequestParser(["say"], ChatLimits())
    request = parser.parse(element("say", [("room", value)], escape_text(text)).encode())
    assert request == Request("say", {"room": value}, text, 1, 1, None)


@given(st.binary(max_size=60))
def test_whatever_arrives_is_a_request_or_refused(message: bytes) -> None:
    refusal = None
    try:
        request = PARSER.parse(message)
    except RequestError as error:
        refusal = error
    if refusal is None:
        assert request.kind in ("say", "ping")
    else:
        assert (refusal.line >= 1, refusal.column >= 1, bool(refusal.sentence)) == (True, True, True)


@pytest.mark.parametrize("length", [9, 10, 11])
@pytest.mark.parametrize("letter", ["x", "ä", "💬", "&amp;", "\n"])
def test_a_text_is_measured_in_characters(letter: str, length: int) -> None:
    message = f"<say>{letter * length}</say>".encode()
    if length <= 10:
        assert len(PARSER.parse(message).text) == length
    else:
        assert refused(message).code == "too-long"


@pytest.mark.parametrize("length", [4, 5, 6])
def test_a_ref_has_a_longest_length(length: int) -> None:
    message = f'<ping ref="{"r" * length}"/>'.encode()
    if length <= 5:
        assert PARSER.parse(message).ref == "r" * length
    else:
        error = refused(message)
        assert (error.code, error.ref) == ("too-long", None)


@pytest.mark.parametrize("count", [3, 4, 5, 10_000])
def test_a_request_has_so_many_attributes_at_most(count: int) -> None:
    message = "<ping " + " ".join(f'a{number}=""' for number in range(count)) + "/>"
    if count <= 4:
        assert len(PARSER.parse(message.encode()).attributes) == count
    else:
        assert refused(message.encode()).code == "too-many-attributes"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"<say>" + b"<a>" * 300_000, "unexpected-element"),
        (b"<a>" * 300_000, "unknown-request"),
        (b"<" + b"a" * 900_000 + b"/>", "unknown-request"),
        (b"<say>" + b"&lt;" * 200_000 + b"</say>", "too-long"),
        (b"<!--" + b"-" * 900_000 + b"--><ping/>", "ill-formed"),
        (b'<ping a="' + b"&#x10ffff;" * 90_000 + b'"/>', None),
        (b"\n" * 900_000 + b"<ping/>", None),
        (b'<!DOCTYPE a [<!ENTITY x "' + b"y" * 900_000 + b'">]><ping/>', "forbidden-markup"),
    ],
)
def test_messages_made_to_cost_much_are_answered_like_others(message: bytes, code: str | None) -> None:
    if code is None:
        assert PARSER.parse(message).kind == "ping"
    else:
        assert refused(message).code == code


def test_what_a_client_sent_is_quoted_in_short() -> None:
    assert len(refused(b"<" + b"a" * 10_000 + b"/>").sentence) < 150


def test_a_request_that_was_refused_leaves_nothing_for_the_next() -> None:
    refused(b"<say>abc<b/></say>")
    refused(b"<say>abc")
    assert PARSER.parse(b"<say>d</say>").text == "d"
    refused(b"")
    assert refused(b'<ping ref="1"').ref is None
