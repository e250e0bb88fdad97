"""The HTTP side: what becomes a WebSocket, what gets a page, and what is refused with which status."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterable
from http import HTTPStatus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from xmlsocket.errors import ConfigurationError
from xmlsocket.net.handshake import Answer, Handshake, HandshakeOptions, Page, Request, Upgrade, refuse
from xmlsocket.wire.deflate import DeflateOptions, DeflateParameters

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PAGE = Page(b"<!doctype html><title>hello</title>", headers=(("Content-Security-Policy", "default-src 'none'"),))
USUAL = {
    "Host": "localhost:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(
    line: str = "GET / HTTP/1.1", *, without: Iterable[str] = (), more: Iterable[str] = (), **changed: str
) -> bytes:
    """A handshake as a browser sends it, with some headers changed (underscores for hyphens), removed or added."""
    headers = {**USUAL, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if name not in without), *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def plain(line: str = "GET / HTTP/1.1", *more: str) -> bytes:
    return ("\r\n".join([line, "Host: localhost", *more]) + "\r\n\r\n").encode("latin-1")


def outcome(data: bytes, **options: object) -> Upgrade | Answer | None:
    options.setdefault("pages", {"/": PAGE})
    return Handshake(HandshakeOptions(**options)).feed(data)  # type: ignore[arg-type]  # options by name


def upgraded(data: bytes, **options: object) -> Upgrade:
    result = outcome(data, **options)
    assert isinstance(result, Upgrade), result
    return result


def answered(data: bytes, **options: object) -> Answer:
    result = outcome(data, **options)
    assert isinstance(result, Answer), result
    head, _, body = result.response.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == f"HTTP/1.1 {result.status} {HTTPStatus(result.status).phrase}"
    fields = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines[1:]}
    assert len(fields) == len(lines) - 1, "a header is sent twice"
    assert "close" in fields["Connection"]
    assert {"Date", "Content-Type", "X-Content-Type-Options"} <= set(fields)
    if not data.startswith(b"HEAD "):
        assert int(fields["Content-Length"]) == len(body)
    return result


def test_the_handshake_of_the_rfc_is_answered_as_in_the_rfc() -> None:
    # RFC 6455, sections 1.2 and 1.3
    result = upgraded(request("GET /chat?room=1&x=%20 HTTP/1.1", Origin="http://example.com"))
    assert result.response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    assert (result.request.path, result.request.query) == ("/chat", "room=1&x=%20")
    assert (result.origin, result.subprotocol, result.deflate, result.rest) == ("http://example.com", None, None, b"")
    assert result.request.header("host") == "localhost:8080"
    assert result.request.header("Cookie") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", "upgrade"),
    ],
)
def test_upgrade_and_connection_are_read_in_any_case(name: str, value: str) -> None:
    # RFC 6455, section 4.2.1
    assert upgraded(request(**{name: value}))


def test_the_library_of_a_client_accepts_the_answer() -> None:
    client = ClientProtocol(parse_uri("ws://localhost:8080/path?query"))
    client.send_request(client.connect())
    (data,) = client.data_to_send()
    result = upgraded(data)
    client.receive_data(result.response)
    assert client.handshake_exc is None
    assert client.state.name == "OPEN"


@pytest.mark.parametrize(
    "data",
    [
        request(Origin="http://example.com", more=["Sec-WebSocket-Protocol: xmlsocket.text"]) + b"\x82\x80abcd",
        plain("GET / HTTP/1.0") + b"GET / HTTP/1.0\r\n",
        request("POST / HTTP/1.1"),
        request(Connection="close"),
        request(Sec_WebSocket_Key="no key"),
        plain("GET / HTTP/1.1", "Content-Length: 5") + b"hello",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"\r\n",
        b"GET / HTTP/1.1\r\nCookie: " + b"x" * 20_000,
    ],
)
def test_a_request_cut_at_every_byte_gets_the_same_outcome(data: bytes) -> None:
    options = HandshakeOptions(pages={"/": PAGE})
    whole = Handshake(options).feed(data)
    assert whole is not None
    size = len(data) - len(whole.rest) if isinstance(whole, Upgrade) else len(data)
    for cut in range(min(size, 600)):
        handshake = Handshake(options)
        first = handshake.feed(data[:cut])
        assert alike(first or handshake.feed(data[cut:]), whole)
    slow = Handshake(options)
    result = None
    for index in range(len(data)):
        result = slow.feed(data[index : index + 1])
        if result is not None:
            break
    assert alike(result, whole)


def alike(first: Upgrade | Answer | None, second: Upgrade | Answer | None) -> bool:
    if isinstance(first, Answer) and isinstance(second, Answer):
        return (first.status, first.detail) == (second.status, second.detail)  # the dates may differ
    if isinstance(first, Upgrade) and isinstance(second, Upgrade):
        return (first.response, first.request) == (second.response, second.request)
    return first is second


def test_frames_that_come_with_the_request_are_kept() -> None:
    assert upgraded(request() + b"\x82\x80abcd").rest == b"\x82\x80abcd"


# Refusals


def test_a_missing_or_malformed_key_is_a_bad_request() -> None:
    # RFC 6455, section 4.2.1
    assert answered(request(without=["Sec-WebSocket-Key"])).status == 400
    for key in ("", "abc", "dGhlIHNhbXBsZQ==", KEY[:-2] + "!!", KEY + "x", "é" * 24):
        assert answered(request(Sec_WebSocket_Key=key)).status == 400
    assert answered(request(more=[f"Sec-WebSocket-Key: {KEY}"])).status == 400


@pytest.mark.parametrize("version", ["8", "0", "14", "13, 8", "", None])
def test_another_version_is_told_ours(version: str | None) -> None:
    # RFC 6455, section 4.4
    if version is None:
        data = request(without=["Sec-WebSocket-Version"])
    else:
        data = request(Sec_WebSocket_Version=version)
    result = answered(data)
    assert result.status == 426
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in result.response
    assert b"\r\nUpgrade: websocket\r\n" in result.response


@pytest.mark.parametrize(
    "data",
    [
        request(without=["Connection"]),
        request(Connection="close"),
        request(without=["Upgrade"]),
        request(without=["Upgrade", "Connection"]),
        request(Upgrade="h2c"),
        request(Upgrade="websocket, h2c"),
        request("GET / HTTP/1.0"),
        request("GET / HTTP/1.0", without=["Upgrade", "Connection"]),
    ],
)
def test_a_handshake_that_a_proxy_mangled_is_told_so(data: bytes) -> None:
    result = answered(data)
    assert result.status == 426
    assert "proxy" in result.detail
    assert result.detail.encode() in result.response


def test_only_pages_of_allowed_origins_may_connect() -> None:
    allowed = frozenset({"https://example.org", "null"})
    assert upgraded(request(Origin="https://example.org"), allowed_origins=allowed).origin == "https://example.org"
    assert upgraded(request(Origin="null"), allowed_origins=allowed).origin == "null"
    for origin in (
        "http://example.org",
        "https://example.org:443",
        "https://example.org.evil.example",
        "https://EXAMPLE.org",
        "",
    ):
        assert answered(request(Origin=origin), allowed_origins=allowed).status == 403
    assert answered(request(Origin="https://example.org"), allowed_origins=frozenset()).status == 403
    assert answered(request(more=["Origin: https://example.org"] * 2), allowed_origins=allowed).status == 400


def test_without_a_list_every_origin_may_connect_and_without_origin_every_client() -> None:
    assert upgraded(request(Origin="http://evil.example")).origin == "http://evil.example"
    assert upgraded(request(), allowed_origins=frozenset({"https://example.org"})).origin is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI", "get"])
def test_other_methods_are_told_which_there_are(method: str) -> None:
    target = "*" if method == "PRI" else "/"
    result = answered(request(f"{method} {target} HTTP/1.1"))
    assert result.status == 405
    assert b"\r\nAllow: GET, HEAD\r\n" in result.response


def test_the_lines_of_a_posted_form_never_become_messages() -> None:
    form = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n<admin/>\0"
    result = answered(form)
    assert result.status == 405
    assert not hasattr(result, "rest")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / http/1.1\r\nHost: x\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: x\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ftp://localhost/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:///path HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /#fragment HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\n",
        b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_bad_request(data: bytes) -> None:
    # RFC 9112, sections 2.2, 3, 3.2 and 5
    assert answered(data).status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", ["Content-Length: 5", "Content-Length: 0, 5", "Transfer-Encoding: chunked"])
def test_a_body_is_a_bad_request(method: str, header: str) -> None:
    assert answered(plain(f"{method} / HTTP/1.1", header)).status == 400
    assert answered(request(f"{method} / HTTP/1.1", more=[header])).status == 400


def test_an_empty_body_is_no_body() -> None:
    assert upgraded(request(more=["Content-Length: 0"]))


@pytest.mark.parametrize("limit", [200, 1000, 16_384])
def test_a_request_head_is_bounded(limit: int) -> None:
    for size in (limit - 1, limit):
        assert isinstance(outcome(sized_request(size), max_size=limit), Upgrade)
        assert isinstance(outcome(sized_request(size) + b"x" * 5000, max_size=limit), Upgrade)
    assert answered(sized_request(limit + 1), max_size=limit).status == 431


def sized_request(size: int) -> bytes:
    data = request(more=["X-Fill: "])
    while len(data) < size:
        data = data[:-4] + b"x" * min(size - len(data), 4000) + b"\r\n\r\n"
        if len(data) + 10 < size:
            data = data[:-2] + b"X-Fill: \r\n\r\n"
    assert len(data) == size
    return data


def test_endless_headers_are_refused_while_they_come() -> None:
    handshake = Handshake(HandshakeOptions())
    fed = 0
    for piece in itertools.chain([b"GET / HTTP/1.1\r\n"], itertools.repeat(b"X-Endless: yes\r\n")):
        result = handshake.feed(piece)
        fed += len(piece)
        if result is not None:
            break
    assert isinstance(result, Answer)
    assert result.status == 431
    assert fed < 20_000


def test_a_line_without_end_is_refused() -> None:
    handshake = Handshake(HandshakeOptions())
    results = [handshake.feed(b"x" * 1000) for _ in range(17)]
    assert results[:16] == [None] * 16
    assert isinstance(results[16], Answer)
    assert results[16].status == 431


def test_too_many_and_too_long_headers_are_refused() -> None:
    assert answered(request(more=[f"X-{number}: x" for number in range(200)])).status == 431
    assert answered(request(more=["Cookie: " + "x" * 9000])).status == 431


# Pages


def test_a_page_is_shown() -> None:
    result = answered(plain("GET /?from=ad HTTP/1.1"))
    assert result.status == 200
    assert result.response.endswith(b"\r\n\r\n" + PAGE.body)
    assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in result.response
    assert b"\r\nContent-Security-Policy: default-src 'none'\r\n" in result.response


def test_the_headers_of_a_page_come_before_the_usual_ones() -> None:
    page = Page(b"x", "text/css", (("cache-control", "max-age=60"),))
    response = answered(plain(), pages={"/": page}).response
    assert b"cache-control: max-age=60" in response
    assert b"Cache-Control: no-cache" not in response


@pytest.mark.parametrize("path", ["/", "/missing"])
def test_head_gets_the_head_of_what_get_gets(path: str) -> None:
    by_get = answered(plain(f"GET {path} HTTP/1.1")).response
    by_head = answered(plain(f"HEAD {path} HTTP/1.1")).response
    head, _, body = by_get.partition(b"\r\n\r\n")
    assert body
    assert [line for line in by_head.split(b"\r\n") if not line.startswith(b"Date")] == [
        line for line in (head + b"\r\n\r\n").split(b"\r\n") if not line.startswith(b"Date")
    ]


def test_head_never_upgrades() -> None:
    assert answered(request("HEAD / HTTP/1.1")).status == 200


def test_there_is_no_other_page() -> None:
    assert answered(plain("GET /missing HTTP/1.1")).status == 404
    assert answered(plain("GET /index.html/../ HTTP/1.1")).status == 404
    assert answered(plain(), pages={}).status == 404


def test_pages_can_come_from_a_function() -> None:
    asked: list[Request] = []

    def pages(request: Request) -> Page | None:
        asked.append(request)
        return Page(request.query.encode(), "text/plain", status=503) if request.path == "/status" else None

    result = answered(plain("GET /status?all HTTP/1.1", "X-Real: 1"), pages=pages)
    assert (result.status, result.response.endswith(b"\r\n\r\nall")) == (503, True)
    assert asked[0].header("x-real") == "1"
    assert answered(plain("GET /other HTTP/1.1"), pages=pages).status == 404


def test_http_1_0_gets_pages_and_needs_no_host() -> None:
    # RFC 9112, section 3.2: only requests of HTTP/1.1 must have a Host.
    assert answered(b"GET / HTTP/1.0\r\n\r\n").status == 200
    assert answered(plain("GET / HTTP/1.0")).status == 200
    assert answered(plain("GET / HTTP/1.9")).status == 200


@pytest.mark.parametrize("server", ["http://localhost:8080", "HTTPS://example.org", "ws://[::1]:80", "wss://x"])
def test_the_whole_address_is_read_as_its_path(server: str) -> None:
    # RFC 9112, section 3.2.2
    result = upgraded(request(f"GET {server}/chat?x=1 HTTP/1.1"))
    assert (result.request.path, result.request.query) == ("/chat", "x=1")
    assert answered(plain(f"GET {server} HTTP/1.1")).status == 200
    assert upgraded(request(f"GET {server}?x HTTP/1.1")).request.query == "x"


def test_of_pipelined_requests_only_the_first_is_answered() -> None:
    result = answered(plain() + plain("GET /missing HTTP/1.1"))
    assert result.status == 200
    assert result.response.count(b"HTTP/1.1 ") == 1


def test_another_upgrade_is_ignored() -> None:
    # RFC 9110, section 7.8: a server may ignore an Upgrade that it does not want.
    assert answered(plain("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c")).status == 200


@pytest.mark.parametrize(
    "page",
    [
        {"headers": (("X-Name", "a\r\nb"),)},
        {"headers": (("X\nName", "a"),)},
        {"content_type": "text/html\r\n"},
        {"headers": (("X-Name", "é"),)},
        {"status": 99},
        {"status": 101},
    ],
)
def test_a_page_that_would_break_the_answer_is_refused(page: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Page(b"", **page)  # type: ignore[arg-type]  # fields by name


def test_an_upgrade_can_still_be_refused() -> None:
    result = refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The server is full.", headers=(("Retry-After", "5"),))
    assert result.response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in result.response
    assert result.response.endswith(b"\r\n\r\nThe server is full.\n")


# Subprotocols and extensions


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([], None),
        (["xmlsocket.text"], "xmlsocket.text"),
        (["binary"], "binary"),
        (["base64, binary"], "binary"),
        (["chat", "xmlsocket.text"], "xmlsocket.text"),
        (["binary, xmlsocket.text"], "binary"),
        (["chat, mqtt"], None),
        (["XMLSOCKET.TEXT"], None),
    ],
)
def test_a_subprotocol_is_answered_only_if_it_was_offered(offered: list[str], expected: str | None) -> None:
    # RFC 6455, section 4.2.2
    result = upgraded(request(more=[f"Sec-WebSocket-Protocol: {value}" for value in offered]))
    assert result.subprotocol == expected
    line = f"\r\nSec-WebSocket-Protocol: {expected}\r\n".encode()
    assert (line in result.response) == (expected is not None)
    assert (b"Sec-WebSocket-Protocol" in result.response) == (expected is not None)


def test_a_malformed_list_of_subprotocols_is_a_bad_request() -> None:
    assert answered(request(more=["Sec-WebSocket-Protocol: a b"])).status == 400


OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def test_compression_is_declined_unless_it_is_wanted() -> None:
    result = upgraded(request(more=[OFFER]))
    assert result.deflate is None
    assert b"Extensions" not in result.response


def test_compression_is_agreed_on_without_memory_between_messages() -> None:
    # RFC 7692, section 7.1
    result = upgraded(request(more=[OFFER]), deflate=DeflateOptions())
    assert result.deflate == DeflateParameters(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=12,
        client_max_window_bits=12,
    )
    assert (
        b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        b"server_max_window_bits=12; client_max_window_bits=12\r\n"
    ) in result.response


def test_compression_with_context_is_agreed_on_if_it_is_wanted() -> None:
    options = DeflateOptions(
        server_no_context_takeover=False, client_no_context_takeover=False, server_max_window_bits=15
    )
    result = upgraded(request(more=["Sec-WebSocket-Extensions: permessage-deflate"]), deflate=options)
    assert result.deflate == DeflateParameters(
        server_no_context_takeover=False,
        client_no_context_takeover=False,
        server_max_window_bits=15,
        client_max_window_bits=15,
    )


@pytest.mark.parametrize(
    "offer",
    [
        "x-webkit-deflate-frame",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=8",
        "foo; a=b",
    ],
)
def test_an_offer_that_cannot_be_met_is_declined(offer: str) -> None:
    # RFC 7692, section 5.1
    result = upgraded(request(more=[f"Sec-WebSocket-Extensions: {offer}"]), deflate=DeflateOptions())
    assert result.deflate is None
    assert b"Extensions" not in result.response


def test_the_first_offer_that_can_be_met_is_taken() -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; unknown, permessage-deflate"
    assert upgraded(request(more=[offer]), deflate=DeflateOptions()).deflate is not None


def test_a_malformed_offer_is_a_bad_request() -> None:
    data = request(more=["Sec-WebSocket-Extensions: permessage-deflate; ;"])
    assert answered(data, deflate=DeflateOptions()).status == 400


# Anything at all

lines = st.one_of(
    st.sampled_from([f"{name}: {value}".encode() for name, value in USUAL.items()]),
    st.sampled_from(
        [OFFER.encode(), b"Origin: http://x", b"Sec-WebSocket-Protocol: a,b", b"Content-Length: 1", b"Host:"]
    ),
    st.binary(max_size=30),
)


@settings(max_examples=300)
@given(
    st.sampled_from([b"GET / HTTP/1.1", b"GET /a?b HTTP/1.1", b"HEAD / HTTP/1.0", b"POST / HTTP/1.1", b"\x16\x03\x01"]),
    st.lists(lines, max_size=10),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
    st.lists(st.integers(0, 1000), max_size=5),
)
@example(b"GET / HTTP/1.1", [f"{name}: {value}".encode() for name, value in USUAL.items()], b"\r\n", [1])
def test_whatever_comes_ends_in_one_of_the_answers(
    first: bytes, more: list[bytes], end: bytes, cuts: list[int]
) -> None:
    data = end.join([first, *more, b"", b""])
    options = HandshakeOptions(pages={"/": PAGE}, deflate=DeflateOptions(), allowed_origins=frozenset({"http://x"}))
    handshake = Handshake(options)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    result = None
    for start, stop in itertools.pairwise(places):
        result = result or handshake.feed(data[start:stop])
    assert alike(result, Handshake(options).feed(data))
    if isinstance(result, Answer):
        assert result.status in {200, 400, 403, 404, 405, 426, 431}
    elif result is not None:
        digest = hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
        assert base64.b64encode(digest) in result.response
