"""Names, addresses and paths that cannot work are told from those that are not there, on every way to use them."""

from __future__ import annotations

import errno
import os

import pytest

import xmlsocket
import xmlsocket.sync
from xmlsocket import ConfigurationError
from xmlsocket.net.target import find_target

IMPOSSIBLE_HOSTS = ["a..b", "münchen..de", "x" * 64, "x" * 300, "a\0b", "::\ud800", b"localhost", 5]
IMPOSSIBLE_PATHS = ["", "a\0b", b"socket"]


async def nobody(connection):
    raise AssertionError("nobody can connect")


def serve(host):
    return xmlsocket.serve(nobody, host, 0)


def serve_policy(host):
    return xmlsocket.net.policy_server.serve_policy("<cross-domain-policy/>", host, 0)


def serve_among_others(host):
    return xmlsocket.serve(nobody, ["127.0.0.1", host], 0)


def connect(host):
    return xmlsocket.connect(host, 80)


def connect_and_block(host):
    return xmlsocket.sync.connect(host, 80)


@pytest.mark.parametrize("use", [connect, connect_and_block, serve, serve_policy, serve_among_others])
@pytest.mark.parametrize("host", IMPOSSIBLE_HOSTS)
def test_what_cannot_be_the_name_of_a_host_is_refused_with_the_name(use, host):
    with pytest.raises(ConfigurationError, match="cannot be the name of a host") as caught:
        use(host)
    assert repr(host) in str(caught.value)


@pytest.mark.parametrize("use", [serve, serve_policy])
def test_an_empty_list_of_hosts_is_refused(use):
    with pytest.raises(ConfigurationError, match="an empty list of hosts is nowhere to listen"):
        use([])


@pytest.mark.parametrize("port", ["80", 80.0, True, -1, 65_536])
@pytest.mark.parametrize(
    "use",
    [
        lambda port: xmlsocket.serve(nobody, "localhost", port),
        lambda port: xmlsocket.connect("localhost", port),
        lambda port: xmlsocket.sync.connect("localhost", port),
    ],
)
def test_what_is_no_port_is_refused_with_its_value(use, port):
    with pytest.raises(ConfigurationError, match=f"a port is a whole number from [01] to 65535, not {port!r}"):
        use(port)


@pytest.mark.parametrize("arguments", [(None, 80), ("localhost",), (None, None), ()])
@pytest.mark.parametrize("use", [xmlsocket.connect, xmlsocket.sync.connect])
def test_half_an_address_is_refused(use, arguments):
    with pytest.raises(ConfigurationError, match="say where to connect: a host and a port, or a path"):
        use(*arguments)


@pytest.mark.parametrize("use", [connect, connect_and_block])
def test_no_client_connects_to_the_empty_name(use):
    with pytest.raises(ConfigurationError, match="'' cannot be the name of a host"):
        use("")


@pytest.mark.parametrize("use", [connect, serve])
@pytest.mark.parametrize("host", ["münchen.de", "::1", "fe80::1%lo", "example.org.", "x" * 63, "a_b"])
def test_what_can_be_the_name_of_a_host_is_taken(use, host):
    use(host)


def test_the_name_in_a_certificate_must_be_one_too():
    with pytest.raises(ConfigurationError, match=r"'\.org' cannot be the name of a host"):
        xmlsocket.connect("localhost", 80, ssl=True, server_hostname=".org")


@pytest.mark.parametrize("path", IMPOSSIBLE_PATHS)
def test_what_cannot_be_the_path_of_a_socket_is_refused_with_the_path(path):
    for use in (xmlsocket.connect, xmlsocket.sync.connect, lambda *, path: xmlsocket.serve(nobody, path=path)):
        with pytest.raises(ConfigurationError, match="cannot be the path of a Unix socket"):
            use(path=path)


def test_asyncios_own_words_for_an_error_are_replaced_by_the_systems():
    error = ConnectionResetError(errno.ECONNRESET, "Connect call failed ('127.0.0.1', 80)")
    said = str(find_target("localhost", 80, None, None, None).open_error(error))
    assert said == f"cannot connect to localhost:80: {os.strerror(errno.ECONNRESET)}"
