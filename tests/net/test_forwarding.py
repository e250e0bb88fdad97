"""Whom to believe about the address of a client."""

from __future__ import annotations

import pytest

from xmlsocket.errors import ConfigurationError
from xmlsocket.net.forwarding import client_address, is_trusted, trusted_networks

PROXIES = trusted_networks(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


def address(peer: str, *values: str, header: str = "X-Forwarded-For") -> str:
    return client_address(peer, [(header, value) for value in values], PROXIES, header=header)


def test_without_a_trusted_proxy_the_peer_is_the_client() -> None:
    assert address("192.0.2.9", "198.51.100.1") == "192.0.2.9"
    assert client_address("127.0.0.1", [("X-Forwarded-For", "198.51.100.1")], ()) == "127.0.0.1"


def test_a_trusted_proxy_tells_its_client() -> None:
    assert address("127.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert address("::ffff:10.1.2.3", "2001:db8::7") == "2001:db8::7"


def test_what_a_client_invented_is_not_believed() -> None:
    assert address("127.0.0.1", "1.2.3.4, 198.51.100.1") == "198.51.100.1"
    assert address("127.0.0.1", "1.2.3.4", "198.51.100.1") == "198.51.100.1"
    assert address("127.0.0.1", "10.9.9.9, 198.51.100.1") == "198.51.100.1"


def test_several_trusted_proxies_are_walked_through() -> None:
    assert address("127.0.0.1", "1.2.3.4, 198.51.100.1, 10.0.0.7,fd00::5") == "198.51.100.1"
    assert address("127.0.0.1", "10.0.0.7, fd00::5") == "10.0.0.7"


@pytest.mark.parametrize("entry", ["unknown", "_hidden", "", "localhost", "1.2.3.4.5", "999.1.1.1", "\x00"])
def test_an_entry_that_is_no_address_ends_the_walk(entry: str) -> None:
    assert address("127.0.0.1", f"198.51.100.1, {entry}") == "127.0.0.1"
    assert address("127.0.0.1", f"198.51.100.1, {entry}, 10.0.0.7") == "10.0.0.7"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("198.51.100.1:5678", "198.51.100.1"),
        ("[2001:db8::7]:5678", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_ports_and_brackets_are_taken_off(entry: str, expected: str) -> None:
    assert address("127.0.0.1", entry) == expected


def test_no_header_leaves_the_peer() -> None:
    assert address("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ("For=198.51.100.1;Proto=http;By=10.0.0.1", "198.51.100.1"),
        ("proto=http; for=198.51.100.1 ; host=x", "198.51.100.1"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for="198.51.100.1:80"', "198.51.100.1"),
        ('for=1.2.3.4, for="198.51.100.1", for=10.0.0.1', "198.51.100.1"),
        ('for=1.2.3.4;host="a,for=5.6.7.8", for=198.51.100.1', "198.51.100.1"),
        ('for=198.51.100.1;ext="a\\",for=5.6.7.8"', "198.51.100.1"),
        ('for="\\198.51.100.1"', "198.51.100.1"),
        ("for=_hidden", "127.0.0.1"),
        ("for=198.51.100.1, proto=http", "127.0.0.1"),
        ("nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_forwarded_header_of_rfc_7239_is_read(value: str, expected: str) -> None:
    assert address("127.0.0.1", value, header="Forwarded") == expected


@pytest.mark.parametrize("invented", ['for="1.2.3.4', 'x="', 'x="";y="\\"', 'x="\\', '"', 'for=", for="1.2.3.4'])
@pytest.mark.parametrize(
    "added", ["for=198.51.100.1", 'for="198.51.100.1"', 'proto=http;for="198.51.100.1";host="a,b"']
)
def test_an_open_quotation_mark_does_not_swallow_what_a_proxy_added(invented: str, added: str) -> None:
    assert address("127.0.0.1", f"{invented}, {added}", header="Forwarded") == "198.51.100.1"


def test_only_the_header_that_the_proxies_write_is_believed() -> None:
    headers = [("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "198.51.100.1")]
    assert client_address("127.0.0.1", headers, PROXIES) == "198.51.100.1"
    assert client_address("127.0.0.1", headers, PROXIES, header="forwarded") == "1.2.3.4"


def test_long_headers_are_read_in_little_time() -> None:
    for value in ('"' * 16_000, "for=" * 4000, "," * 16_000, 'for="\\' * 2600, "for=10.0.0.1," * 1200):
        assert address("127.0.0.1", value, header="Forwarded") in ("127.0.0.1", "10.0.0.1")


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "", "10.0.0.*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="to trust"):
        trusted_networks([text])


def test_a_peer_without_address_is_not_trusted() -> None:
    assert not is_trusted("", PROXIES)
    assert not is_trusted("/run/socket", PROXIES)
    assert is_trusted("fd00::1%eth0", PROXIES)
