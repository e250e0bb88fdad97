"""Why a server cannot listen: what happened, with which port, and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import xmlsocket
from xmlsocket import ListenError
from xmlsocket.net.ports import identify_socket, listen_error, port_owner, remove_socket, show_hosts

LOCALHOST = "127.0.0.1"


class Handler(xmlsocket.Handler):
    pass


async def listen(**arguments):
    async with xmlsocket.serve(Handler(), **arguments):
        pass


def test_a_taken_port_is_named_with_its_owner_and_what_to_do(runner):
    owner = f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"

    async def main():
        async with xmlsocket.serve(Handler(), LOCALHOST, 0) as server:
            where = f"{LOCALHOST}:{server.port}"
            with pytest.raises(ListenError) as caught:
                await listen(host=LOCALHOST, port=server.port)
            assert str(caught.value) == (
                f"{where} is taken already by {owner}; stop that, or choose another port (0 picks a free one)"
            )
            assert caught.value.errno == errno.EADDRINUSE
            assert isinstance(caught.value, OSError)

    runner(main())


def test_the_owner_is_found_in_another_process_too():
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        owner = port_owner(int(process.stdout.readline()))
        process.communicate("\n")
    assert owner.endswith(f"(process {process.pid})")


def test_nobody_owns_a_free_port_or_one_that_is_only_connected():
    with socket.create_server((LOCALHOST, 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        assert port_owner(client.getsockname()[1]) is None
        port = listener.getsockname()[1]
    assert port_owner(port) is None


@contextlib.contextmanager
def without_privileges():
    if os.geteuid() == 0:
        os.seteuid(65_534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def test_a_privileged_port_says_what_is_missing(runner):
    text = (
        "127.0.0.1:81 needs a privilege that this process lacks, as ports below 1024 do; choose a port from 1024 on, "
        "or grant CAP_NET_BIND_SERVICE"
    )
    assert str(listen_error(PermissionError(errno.EACCES, "Permission denied"), f"{LOCALHOST}:81")) == text
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 81:
        with without_privileges(), pytest.raises(ListenError) as caught:
            runner(listen(host=LOCALHOST, port=81))
        assert str(caught.value) == text
        assert caught.value.errno == errno.EACCES


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"host": "nowhere.invalid", "port": 8080},
            "nowhere.invalid:8080: the host name is unknown; use a name or address",
        ),
        ({"host": "192.0.2.1", "port": 0}, "192.0.2.1:0 is not an address of this machine; use one of its own"),
        ({"host": "2001:db8::1", "port": 0}, "[2001:db8::1]:0 is not an address of this machine"),
        ({"path": "/nowhere/socket"}, "cannot listen on /nowhere/socket: No such file or directory"),
    ],
)
def test_a_place_that_is_not_ours_is_named_with_what_to_do(runner, arguments, text):
    with pytest.raises(ListenError) as caught:
        runner(listen(**arguments))
    assert str(caught.value).startswith(text)


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(runner, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ListenError, match="is there already and no socket; remove it or choose another path"):
        runner(listen(path=path))
    assert path.read_text() == "precious"


def test_a_stale_unix_socket_is_taken_over(runner, tmp_path):
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    runner(listen(path=path))
    assert not Path(path).exists()


def test_only_the_socket_that_was_noted_is_removed(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        noted = identify_socket(path)
        os.rename(path, path + ".old")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            remove_socket(*noted)
            assert Path(path).exists()
            remove_socket(*identify_socket(path))
            assert not Path(path).exists()
            remove_socket(*noted)
    assert identify_socket("\0abstract") is None


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        (None, "*:80"),
        ("", "*:80"),
        ([], "*:80"),
        ("localhost", "localhost:80"),
        ("::1", "[::1]:80"),
        (["127.0.0.1", "::1"], "127.0.0.1:80, [::1]:80"),
    ],
)
def test_addresses_are_shown_as_people_write_them(hosts, text):
    assert show_hosts(hosts, 80) == text


def test_the_same_port_is_found_for_several_addresses_though_one_is_taken_there(monkeypatch):
    """The port that the system chose for the first address is taken at the second."""

    async def main():
        loop = asyncio.get_running_loop()
        create, tried = loop.create_server, []

        async def create_server(make, host, port, **options):
            tried.append(port)
            if len(tried) == 2:
                raise OSError(errno.EADDRINUSE, "taken")
            return await create(make, host, port, **options)

        loop.create_server = create_server
        async with xmlsocket.serve(Handler(), [LOCALHOST, "::1"], 0) as server:
            assert {sock.getsockname()[1] for sock in server.sockets} == {server.port}
        assert tried[0] == tried[2] == 0
        assert len(tried) == 4

    asyncio.run(main())
