"""``xmlsocket policy check``, ``serve`` and ``lint HOST``: against real servers, as a person or a script meets them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from tests.cli.processes import SCRIPT, Client, Daemon, ask, environment, run
from typer.testing import CliRunner

from xmlsocket.cli.inherited import take_inherited_sockets
from xmlsocket.cli.policy import app
from xmlsocket.policy import Grant, MetaPolicy, Policy

LOCALHOST = "127.0.0.1"
REQUEST = b"<policy-file-request/>\0"
POLICY = Policy((Grant("games.example.com", "9339"),), MetaPolicy.MASTER_ONLY)
OTHER = Policy((Grant("www.example.org", "80"),), MetaPolicy.MASTER_ONLY)
MOVIE = "http://games.example.com/chat.swf"


@contextlib.contextmanager
def answering(answer, greeting=b""):
    """A server of the plain kind: it greets, reads a message, and answers if that is a policy request."""

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.sendall(greeting)
                received = b""
                while b"\0" not in received and (data := sock.recv(100)):
                    received += data
                if received == REQUEST:
                    sock.sendall(answer)

    with socket.create_server((LOCALHOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def policy(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def closed_port():
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return probe.getsockname()[1]


# check


def test_check_says_that_a_movie_may_connect_who_was_asked_and_how_long_it_took():
    with answering(POLICY.to_answer()) as port:
        result = policy("check", "--from", MOVIE, "--to", "127.0.0.1:9339", "--master-port", port)
    first, second, third = result.stdout.splitlines()
    assert (result.exit_code, first) == (0, "allowed")
    assert second == "games.example.com may connect to 127.0.0.1:9339, because the policy file on port 843 grants it."
    assert third.startswith("xmlsocket://127.0.0.1:843 sent a policy file after ")
    assert third.partition(" after ")[2].split()[1].rstrip(":") in ("ms", "s")
    assert third.endswith(': domain "games.example.com", to-ports "9339" grants it (line 4).')


def test_check_says_that_a_movie_may_not_connect_and_why():
    with answering(POLICY.to_answer()) as port:
        result = policy("check", "--from", "http://www.example.com/", "--to", "127.0.0.1:9339", "--master-port", port)
    assert result.exit_code == 1
    assert result.stdout.startswith("denied, error 2048 as a securityError event\n")
    assert "master-only" in result.stdout
    assert 'the domain "games.example.com" does not match "www.example.com"' in result.stdout


def test_check_follows_load_policy_file_and_the_destination_port():
    with answering(Policy((Grant("games.example.com", "*"),)).to_answer()) as port:
        by_name = policy(
            "check", "--from", MOVIE, "--to", "127.0.0.1:65000", "--master-port", closed_port(),
            "--load-policy-file", f"xmlsocket://127.0.0.1:{port}", "--json",
        )  # fmt: skip
        by_destination = policy(
            "check", "--from", MOVIE, "--to", f"127.0.0.1:{port}", "--master-port", closed_port(), "--json"
        )
    answer = json.loads(by_name.stdout)
    assert (by_name.exit_code, answer["rule"]) == (0, "explicit_grants")
    assert [step["outcome"] for step in answer["trail"]] == ["refused", "ok"]
    assert answer["address"] == "127.0.0.1"
    assert all(step["elapsed"] > 0 for step in answer["trail"])
    assert json.loads(by_destination.stdout)["rule"] == "destination_grants"


def test_check_knows_sandboxes_and_older_players():
    local = ("check", "--from", "file:///chat.swf", "--to", "127.0.0.1:9339")
    assert policy(*local).stdout.startswith("denied, error 2010 thrown by connect")
    assert policy(*local, "--sandbox", "localTrusted").exit_code == 0
    same_host = ("check", "--from", "http://127.0.0.1/chat.swf", "--to", "127.0.0.1:9339", "--player", "9.0.115")
    assert policy(*same_host).exit_code == 0
    assert policy(*same_host, "--allow-networking", "none").stdout.startswith("denied, error 2146")


def test_check_tells_of_every_address_that_was_tried(monkeypatch):
    async def resolve(host, longest):
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr("xmlsocket.net.policy_client.resolve", resolve)
    arguments = ("check", "--from", MOVIE, "--to", "chat.example.com:9339")
    with answering(POLICY.to_answer()) as port:
        text = policy(*arguments, "--master-port", port).stdout.splitlines()
        answer = json.loads(policy(*arguments, "--master-port", port, "--json").stdout)
    assert "At 127.0.0.2 there is no policy file:" in text
    assert text.index("At 127.0.0.1:") == len(text) - 3
    assert text[-1] == "All of it was asked at 127.0.0.1, and the connection must go there too."
    assert [tried["address"] for tried in answer["tried_before"]] == ["127.0.0.2"]
    assert (answer["allowed"], answer["address"]) == (True, "127.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "games.example.com", "--to", "127.0.0.1:9339"), "does not say where the content comes from"),
        (("--from", MOVIE, "--to", "127.0.0.1"), "is no HOST:PORT"),
        (("--from", MOVIE, "--to", "127.0.0.1:1", "--load-policy-file", "chat:80"), "write xmlsocket://host:port"),
        (("--from", MOVIE, "--to", "127.0.0.1:1", "--player", "new"), "is no player version"),
        (("--from", MOVIE, "--to", "127.0.0.1:1", "--master-port", "0"), "--master-port"),
    ],
)
def test_a_wrong_option_is_a_sentence_and_exit_code_2(arguments, words):
    result = run("policy", "check", *arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert words in result.stderr.decode()


# lint of a server


def test_lint_of_a_server_exits_by_severity_and_names_the_place_in_what_it_sent():
    with answering(POLICY.to_answer()) as good, answering(POLICY.to_answer()[:-1]) as unended:
        result = policy("lint", LOCALHOST, "--master-port", good)
        assert (result.exit_code, result.stdout) == (0, "0 errors, 0 warnings, 0 notes\n")
        result = policy("lint", "127.0.0.1:843", "--master-port", unended)
        assert result.exit_code == 2
        assert "xmlsocket://127.0.0.1:843: error SP003" in result.stdout
        result = policy("lint", f"127.0.0.1:{good}", "--master-port", good, "--json")
        answer = json.loads(result.stdout)
        assert (result.exit_code, answer["outcome"], answer["address"]) == (1, "ok", LOCALHOST)
        assert [finding["rule"] for finding in answer["findings"]] == ["SP021"]


def test_lint_of_a_server_that_greets_says_that_players_see_the_greeting():
    with answering(POLICY.to_answer(), greeting=b"welcome\0") as port:
        result = policy("lint", LOCALHOST, "--master-port", port)
    assert result.exit_code == 2
    assert "error SP052" in result.stdout


@pytest.mark.parametrize("arguments", [(LOCALHOST, "--master-port", "PORT"), ("127.0.0.1:PORT",), ("nobody.invalid",)])
def test_lint_of_a_server_that_gives_no_file_exits_with_3_and_says_why(arguments):
    port = str(closed_port())
    result = policy("lint", *(argument.replace("PORT", port) for argument in arguments))
    assert (result.exit_code, result.stdout) == (3, "")
    assert "refused the connection" in result.stderr or "there is no file nobody.invalid" in result.stderr


@pytest.mark.parametrize("name", ["./missing", "/missing", "missing/policy.xml"])
def test_what_has_a_slash_is_a_file(name):
    result = policy("lint", name)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"cannot read {name}: No such file" in result.stderr


def test_what_is_a_file_is_read_even_if_it_has_the_name_of_a_host(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "localhost").write_text(POLICY.render())
    assert policy("lint", "localhost").stdout == "0 errors, 0 warnings, 0 notes\n"


def test_a_port_that_is_none_is_said():
    result = run("policy", "lint", "localhost:99999")
    assert (result.returncode, b"a port is a number from 1 to 65535" in result.stderr) == (2, True)


# serve


@contextlib.contextmanager
def serving(*arguments, **options):
    options.setdefault("env", environment())
    daemon = Daemon([SCRIPT, "policy", "serve", *map(str, arguments)], **options)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.stop()
        daemon.process.stdout.close()
        daemon.process.stderr.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.xml"
    path.write_text(POLICY.render())
    return path


def test_serve_answers_reads_the_file_anew_at_sighup_and_keeps_the_old_one_if_that_is_wrong(file):
    with serving(file, "--host", LOCALHOST, "--port", "0", "--served-from", "843") as daemon:
        port = int(daemon.wait_for(r"on 127\.0\.0\.1, port (\d+)\n.*SIGHUP")[1])
        assert ask(port, "<policy-file-request/>") == [POLICY.render()]
        assert ask(port, "<login/>") == []
        file.write_text(OTHER.render())
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for(rf"read {file} anew")
        assert ask(port, "<policy-file-request/>") == [OTHER.render()]
        file.write_text("<oops")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("the old policy stays: .*SP001", "stderr")
        assert ask(port, "<policy-file-request/>") == [OTHER.render()]
        with Client(port, LOCALHOST):
            assert daemon.stop() == 0
        assert "stopped after" in daemon.stdout
        assert "3 served, 1 bogus" in daemon.stdout


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (POLICY.render().replace("to-ports", "ports"), (), "SP012"),
        (Policy((Grant("*", "*"),)).render(), (), "SP032"),
        (OTHER.render(), ("--port", "10843"), "SP015"),
        (None, (), "cannot read the policy file"),
        (POLICY.render(), ("--max-askers", "many"), "--max-askers must be a whole number"),
        (POLICY.render(), ("--log-level", "loud"), "--log-level must be"),
    ],
)
def test_serve_refuses_what_cannot_work_with_exit_code_2(tmp_path, content, options, words):
    path = tmp_path / "policy.xml"
    if content is not None:
        path.write_text(content)
    result = run("policy", "serve", str(path), "--host", LOCALHOST, *options)
    assert (result.returncode, result.stdout) == (2, b"")
    assert words in result.stderr.decode()


def test_serve_says_in_a_sentence_that_a_port_is_taken(file):
    with socket.create_server((LOCALHOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("policy", "serve", str(file), "--host", LOCALHOST, "--port", port, "--served-from", "843")
    assert result.returncode == 1
    assert "is taken already" in result.stderr.decode()


ACTIVATE = """
import os, socket, sys
sock = socket.create_server(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_serve_uses_the_sockets_that_systemd_passes(file):
    arguments = [sys.executable, "-c", ACTIVATE, SCRIPT, "policy", "serve", str(file)]
    daemon = Daemon(arguments, env=environment())
    try:
        port = int(daemon.wait_for(r"^(\d+)$")[1])
        daemon.wait_for(f"on 127.0.0.1, port {port}")
        assert ask(port, "<policy-file-request/>") == [POLICY.render()]
        assert daemon.stop() == 0
    finally:
        daemon.process.stdout.close()
        daemon.process.stderr.close()
    refused = subprocess.run(
        [*arguments, "--port", "843"], capture_output=True, env=environment(), stdin=subprocess.DEVNULL, check=False
    )
    assert refused.returncode == 2
    assert b"leave them out" in refused.stderr


def test_what_was_passed_to_another_process_or_is_no_listening_socket_is_not_taken():
    assert take_inherited_sockets({}) == []
    assert take_inherited_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
    assert take_inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}) == []
    script = (
        "import os, socket, sys\n"
        "from xmlsocket.cli.inherited import take_inherited_sockets\n"
        "sock = socket.socket()\n"
        "os.dup2(os.open(os.devnull, os.O_RDONLY) if sys.argv[1] == 'file' else sock.fileno(), 3)\n"
        "environment = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}\n"
        "try:\n"
        "    take_inherited_sockets(environment)\n"
        "except ValueError as error:\n"
        "    print(error, environment, flush=True)\n"
        "os._exit(0)\n"
    )
    for kind, words in (("file", "was passed as a socket, and is none"), ("socket", "no listening socket")):
        ran = subprocess.run([sys.executable, "-c", script, kind], capture_output=True, text=True, check=True)
        assert words in ran.stdout
        assert ran.stdout.endswith("{}\n")
