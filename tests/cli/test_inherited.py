"""Listening sockets that systemd passes to the daemon, and ports that players see differently."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.processes import DEADLINE, SCRIPT, Daemon, ask, environment, run, serving

from xmlsocket.policy import Grant, MetaPolicy, Policy

LOCALHOST = "127.0.0.1"
MASTER = Policy((Grant("games.example.com", "99"),), MetaPolicy.MASTER_ONLY)  # a low port, which only low ports grant

ACTIVATE = """
import os, socket, sys
names, path, *command = sys.argv[1:]
for number, name in enumerate(names.split(":"), 3):
    if path:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen()
    else:
        sock = socket.create_server(("127.0.0.1", 0))
        print(name or "unnamed", sock.getsockname()[1], flush=True)
    sock.set_inheritable(True)
    if sock.fileno() != number:
        os.dup2(sock.fileno(), number)
    sock.detach()
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names.split(":"))), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.xml"
    path.write_text(MASTER.render())
    return path


@contextlib.contextmanager
def activated(names: str, *arguments: str, path: str = "") -> Iterator[Daemon]:
    """Run ``xmlsocket serve`` as systemd does, with a socket of each name."""
    daemon = Daemon([sys.executable, "-c", ACTIVATE, names, path, SCRIPT, "serve", *arguments], env=environment())
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.process.kill()
        daemon.wait()
        daemon.process.stdout.close()
        daemon.process.stderr.close()


def test_the_daemon_listens_where_systemd_says_and_says_so():
    with activated("", "echo", "--operations", "none") as daemon:
        port = int(daemon.wait_for(r"^unnamed (\d+)$")[1])
        daemon.wait_for(rf"^serving echo on {LOCALHOST}, port {port}$")
        daemon.wait_for(r"^  stop:")
        assert ask(port, "hello") == ["hello"]


def test_a_socket_named_policy_answers_policy_requests_alone(file):
    arguments = ("echo", "--operations", "none", "--policy", str(file), "--policy-served-from", "843")
    with activated("chat:policy", *arguments) as daemon:
        port, policy_port = (int(daemon.wait_for(rf"^{name} (\d+)$")[1]) for name in ("chat", "policy"))
        daemon.wait_for(rf"and on port {policy_port}$")
        daemon.wait_for(r"^  stop:")
        assert ask(port, "hello") == ["hello"]
        for place in (port, policy_port):
            assert ask(place, "<policy-file-request/>") == [MASTER.render()]
        assert ask(policy_port, "hello") == []


def test_a_unix_socket_of_systemd_is_served_and_left_where_it_is(tmp_path):
    path = str(tmp_path / "socket")
    with activated("", "echo", "--operations", "none", path=path) as daemon:
        daemon.wait_for(rf"^serving echo on the Unix socket {path}$")
        daemon.wait_for(r"^  stop:")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(path)
            client.sendall(b"hello\0")
            assert client.recv(100) == b"hello\0"
    assert os.path.exists(path)


@pytest.mark.parametrize(
    ("names", "arguments", "said"),
    [
        ("policy", (), "a socket named policy was passed; it needs --policy FILE"),
        ("", ("--workers", "2"), "workers need sockets of their own, and systemd passed some"),
    ],
)
def test_sockets_that_cannot_be_used_are_an_error(names, arguments, said):
    command = [sys.executable, "-c", ACTIVATE, names, "", SCRIPT, "serve", "echo", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=DEADLINE)
    assert result.returncode == 2
    assert said in result.stderr


def test_a_policy_is_judged_by_the_port_that_players_ask(file):
    result = run("serve", "echo", "--port", "0", "--policy", str(file), "--policy-port", "0")
    assert result.returncode == 2
    assert b"SP015" in result.stderr
    with serving("echo", "--policy", str(file), "--policy-port", "0", "--policy-served-from", "843") as daemon:
        policy_port = int(daemon.wait_for(r"and on port (\d+)$")[1])
        for port in (daemon.port, policy_port):
            assert ask(port, "<policy-file-request/>") == [MASTER.render()]


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_a_port_that_players_cannot_ask_is_refused(file, port):
    result = run("serve", "--policy", str(file), "--policy-served-from", port)
    assert result.returncode == 2
    assert b"--policy-served-from must be a whole number from 1 to 65535" in result.stderr


def test_a_port_that_players_ask_needs_a_policy():
    result = run("serve", "--policy-served-from", "843")
    assert (result.returncode, result.stderr) == (
        2,
        b"error: --policy-served-from needs --policy FILE, the policy that is meant\n",
    )
