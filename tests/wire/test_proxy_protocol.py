"""The PROXY protocol: both versions, in any pieces, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmlsocket.errors import ProxyHeaderError
from xmlsocket.wire.proxy_protocol import Address, ProxyHeader, ProxyHeaderDecoder, encode_proxy_header

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def decode(data: bytes) -> tuple[ProxyHeader | None, bytes]:
    """Decode in one piece, having made sure that byte by byte gives the same."""
    decoder = ProxyHeaderDecoder()
    header = decoder.feed(data)
    slow = ProxyHeaderDecoder()
    for index in range(len(data)):
        slow_header = slow.feed(data[index : index + 1])
        if slow_header is not None:
            assert slow_header == header
            assert data.endswith(decoder.rest)
            assert index + 1 == len(data) - len(decoder.rest)
            break
    else:
        assert header is None
    return header, decoder.rest


def test_a_line_of_version_1_is_read() -> None:
    data = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 843\r\n<a/>\0"
    assert decode(data) == (ProxyHeader(("192.0.2.1", 56324), ("198.51.100.7", 843)), b"<a/>\0")
    data = b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"
    assert decode(data) == (ProxyHeader(("2001:db8::1", 1), ("::1", 65535)), b"")


@pytest.mark.parametrize(
    "data", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n", V2 + b"\x20\x00\0\0"]
)
def test_a_proxy_that_does_not_know_leaves_the_addresses_of_the_connection(data: bytes) -> None:
    assert decode(data + b"x") == (ProxyHeader(None, None), b"x")


def test_the_longest_line_of_version_1_is_read() -> None:
    address = ":".join(["ffff"] * 8)
    data = f"PROXY TCP6 {address} {address} 65535 65535\r\n".encode()
    assert decode(data) == (ProxyHeader((address, 65535), (address, 65535)), b"")
    filled = b"PROXY UNKNOWN " + b"x" * 91
    assert decode(filled + b"\r\n") == (ProxyHeader(None, None), b"")
    assert_refused(filled + b"x\r\n", "107 bytes")


def test_a_header_of_version_2_is_read() -> None:
    body = bytes([192, 0, 2, 1, 198, 51, 100, 7, 0xDC, 0x04, 0x03, 0x4B])
    assert decode(V2 + b"\x21\x11\x00\x0c" + body + b"rest") == (
        ProxyHeader(("192.0.2.1", 56324), ("198.51.100.7", 843)),
        b"rest",
    )


def test_what_follows_the_addresses_in_version_2_is_skipped() -> None:
    body = bytes([192, 0, 2, 1, 198, 51, 100, 7, 0, 1, 0, 2]) + b"\x04\x00\x03abc"
    header, rest = decode(V2 + b"\x21\x11" + len(body).to_bytes(2, "big") + body + b"rest")
    assert header == ProxyHeader(("192.0.2.1", 1), ("198.51.100.7", 2))
    assert rest == b"rest"


@pytest.mark.parametrize("family", [0x00, 0x01, 0x12, 0x22, 0x31, 0x32, 0x77])
def test_families_that_are_not_tcp_over_ip_are_skipped(family: int) -> None:
    assert decode(V2 + bytes([0x21, family, 0, 3]) + b"abcrest") == (ProxyHeader(None, None), b"rest")


def test_a_health_check_is_of_the_proxy_itself_whatever_addresses_it_gives() -> None:
    assert decode(V2 + b"\x20\x11\x00\x0c" + bytes(12)) == (ProxyHeader(None, None), b"")


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"GET / HTTP/1.1\r\n", "begins with"),
        (b"<policy-file-request/>\0", "begins with"),
        (b"PROXY\tTCP4", "begins with"),
        (b"\r\n\r\n\0\r\nQUIX", "begins with"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n", "malformed"),
        (b"PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n", "malformed"),
        (b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 1 65536\r\n", "65535"),
        (b"PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n", "bad address"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "bad address"),
        (b"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n", "bad address"),
        (V2 + b"\x11\x11\x00\x0c", "0x11"),
        (V2 + b"\x22\x11\x00\x0c", "0x22"),
        (V2 + b"\x21\x11\x00\x0b", "too short"),
        (V2 + b"\x21\x21\x00\x23", "too short"),
    ],
)
def test_anything_else_is_refused_as_soon_as_it_is_certain(data: bytes, detail: str) -> None:
    assert_refused(data, detail)


def assert_refused(data: bytes, detail: str) -> None:
    with pytest.raises(ProxyHeaderError, match=detail):
        ProxyHeaderDecoder().feed(data)
    slow = ProxyHeaderDecoder()
    with pytest.raises(ProxyHeaderError, match=detail):  # noqa: PT012  # which byte decides is not the promise
        for index in range(len(data)):
            slow.feed(data[index : index + 1])


v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str)
ports = st.integers(0, 65_535)


@given(
    st.one_of(st.tuples(v4, v4), st.tuples(v6, v6)),
    ports,
    ports,
    st.sampled_from([1, 2]),
    st.binary(max_size=20),
)
def test_what_is_encoded_is_decoded(
    addresses: tuple[str, str], source: int, destination: int, version: int, rest: bytes
) -> None:
    header = encode_proxy_header((addresses[0], source), (addresses[1], destination), version=version)  # type: ignore[arg-type]  # 1 or 2
    assert decode(header + rest) == (ProxyHeader((addresses[0], source), (addresses[1], destination)), rest)


@pytest.mark.parametrize("version", [1, 2])
def test_an_unknown_client_is_said_to_be_unknown(version: int) -> None:
    for source, destination in ((None, None), (("192.0.2.1", 1), None), (None, ("192.0.2.1", 1))):
        data = encode_proxy_header(source, destination, version=version)  # type: ignore[arg-type]  # 1 or 2
        assert decode(data) == (ProxyHeader(None, None), b"")


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", ("192.0.2.1", "192.0.2.2")),
        ("::ffff:192.0.2.1", "192.0.2.2", ("192.0.2.1", "192.0.2.2")),
        ("192.0.2.1", "2001:db8::1", ("::ffff:192.0.2.1", "2001:db8::1")),
        ("fe80::1%eth0", "fe80::2%3", ("fe80::1", "fe80::2")),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_addresses_as_sockets_give_them_are_told_in_one_family(
    source: str, destination: str, expected: tuple[str, str], version: int
) -> None:
    header, _ = decode(encode_proxy_header((source, 1), (destination, 2), version=version))  # type: ignore[arg-type]  # 1 or 2
    assert header is not None
    told: list[Address | None] = [header.source, header.destination]
    assert [address and ipaddress.ip_address(address[0]) for address in told] == [
        ipaddress.ip_address(address) for address in expected
    ]


def test_a_name_instead_of_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="localhost"):
        encode_proxy_header(("localhost", 1), ("192.0.2.1", 2))
