"""``xmlsocket serve``: it says where to connect, serves real clients, and stops gracefully."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme
from tests.cli.processes import DEADLINE, SCRIPT, Client, Daemon, ask, environment, run, serving, until

POLICY = '<cross-domain-policy><allow-access-from domain="*.example.com" to-ports="8080"/></cross-domain-policy>'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost and its key, in two files, and that of who signed it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder


# What it says


def test_without_an_application_it_serves_the_chat_and_says_where():
    with serving() as daemon:
        port = daemon.port
        assert f"serving chat on localhost, port {port}\n" in daemon.stdout
        assert f"xmlsocket connect localhost:{port}\n" in daemon.stdout
        assert ask(port, "<ping/>") == ["<pong/>"]


@pytest.mark.parametrize(("app", "answer"), [("chat", b"<pong/>\0"), ("relay", b"hello\0")])
def test_the_netcat_line_that_it_prints_works(app, answer):
    with serving(app) as daemon:
        daemon.wait_for("^  stop:")
        command = daemon.wait_for(r"netcat: +(.*)")[1]
        shell = subprocess.run(["sh", "-c", command], capture_output=True, timeout=DEADLINE, check=False)
        assert shell.stdout == answer


def test_another_application_can_be_named():
    with serving("echo") as daemon:
        assert ask(daemon.port, "any\nthing") == ["any\nthing"]


def test_two_daemons_on_port_0_get_two_ports():
    with serving("echo") as first, serving("echo") as second:
        assert first.port != second.port


def test_an_ipv6_address_is_written_so_that_it_can_be_typed():
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving("--host", "::1") as daemon:
        port = daemon.port
        assert f"connect [::1]:{port}\n" in daemon.stdout.replace("'", "")
        assert run("send", f"[::1]:{port}", "<ping/>", "--wait", "0.3").stdout == b"<pong/>\n"


def test_the_star_listens_on_every_address():
    with serving("echo", "--host", "*", "--port", "0") as daemon:
        port = daemon.port
        assert "every address of this machine" in daemon.stdout
        assert f"xmlsocket connect localhost:{port}" in daemon.stdout
        with Client(port, "127.0.0.1") as client:
            client.send("x")
            assert client.receive() == "x"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_port_0_is_the_same_port_for_ipv4_and_ipv6():
    with serving("echo", "--host", "*") as daemon:
        for host in ("127.0.0.1", "::1"):
            with Client(daemon.port, host) as client:
                client.send("x")
                assert client.receive() == "x"


def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path):
    path = tmp_path / "chat.sock"
    with serving(listen=("--path", str(path))) as daemon:
        daemon.wait_for("^  stop:")
        command = daemon.wait_for(r"netcat: +(.*)")[1]
        shell = subprocess.run(["sh", "-c", command], capture_output=True, timeout=DEADLINE, check=False)
        assert shell.stdout == b"<pong/>\0"
        assert run("send", str(path), "<ping/>", "--wait", "0.3").stdout == b"<pong/>\n"
        assert daemon.stop() == 0
        assert not path.exists()


def test_the_last_line_counts_connections_and_messages():
    with serving("echo") as daemon:
        ask(daemon.port, "one", "two")
        ask(daemon.port, "three")
        assert daemon.stop() == 0
        assert re.search(r"2 connections, 3 messages received, 3 sent$", daemon.stdout)


def test_nothing_goes_to_standard_error_while_all_is_well():
    with serving("echo", "--max-connections", "100") as daemon:
        ask(daemon.port, "x")
        daemon.stop()
        assert daemon.stderr == ""


def test_a_unix_socket_that_somebody_serves_is_not_taken_away(tmp_path):
    path = tmp_path / "chat.sock"
    with serving("echo", listen=("--path", str(path))) as daemon:
        daemon.wait_for("^  stop:")
        second = run("serve", "--path", str(path))
        assert second.returncode == 1
        assert f"{path} is taken already" in second.stderr.decode()
        assert run("send", str(path), "x", "--wait", "0.3").stdout == b"x\n"
        daemon.process.kill()
        daemon.wait()
    with serving("echo", listen=("--path", str(path))) as daemon:
        daemon.wait_for("^  stop:")  # what the killed one left behind is in nobody's way


# Clients not written in Python

NODE_CLIENT = """
const socket = require("net").connect(Number(process.argv[1]), "localhost");
let rest = "";
socket.setEncoding("utf8");
socket.on("data", (data) => {
  const parts = (rest + data).split("\\0");
  rest = parts.pop();
  for (const message of parts) {
    console.log(message);
    if (message.startsWith("<joined")) socket.write('<say room="lobby">from node: \\u00fc \\u{1f40c}</say>\\0');
    if (message.includes("from python")) socket.end();
  }
});
socket.write('<login name="node"/>\\0<join ro');
setTimeout(() => socket.write('om="lobby"/>\\0'), 50);
"""


@pytest.mark.skipif(not shutil.which("nc") or not shutil.which("node"), reason="needs netcat and Node.js")
def test_netcat_node_and_python_talk_to_each_other_in_the_chat():
    with serving() as daemon:
        port = daemon.port
        netcat = subprocess.Popen(["nc", "localhost", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        netcat.stdin.write(b'<login name="netcat"/>\0<join room="lobby"/>\0')
        netcat.stdin.flush()
        heard = b""
        while b"<joined" not in heard:
            heard += os.read(netcat.stdout.fileno(), 65_536)
        with Client(port) as python:
            python.send('<login name="python"/>', '<join room="lobby"/>')
            assert python.receive().startswith("<welcome")
            assert '<member name="netcat"' in python.receive()
            node = subprocess.Popen(["node", "-e", NODE_CLIENT, str(port)], stdout=subprocess.PIPE)
            assert python.receive() == '<entered room="lobby" name="node"/>'
            by_node = python.receive()
            assert by_node.endswith(">from node: ü 🐌</said>")
            netcat.stdin.write('<say room="lobby">from netcat: é</say>\0'.encode())
            netcat.stdin.flush()
            by_netcat = python.receive()
            assert by_netcat.endswith(">from netcat: é</said>")
            python.send('<say room="lobby">from python</say>')
            by_python = python.receive()
            assert python.receive() == '<left room="lobby" name="node"/>'
        said = [by_node, by_netcat, by_python]
        heard_by_node = node.communicate(timeout=DEADLINE)[0].decode().splitlines()
        assert [message for message in heard_by_node if "<said" in message] == said
        netcat.stdin.close()
        while b'name="python"/>' not in heard.rpartition(b"<left")[2]:
            heard += os.read(netcat.stdout.fileno(), 65_536)
        netcat.terminate()
        netcat.wait(DEADLINE)
        netcat.stdout.close()
        assert [message for message in heard.decode().split("\0") if "<said" in message] == said


# Stopping


def test_it_goes_on_when_nobody_reads_its_output_any_more():
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [SCRIPT, "serve", "--port", "0"], stdout=writing, stderr=subprocess.PIPE, env=environment()
    )
    os.close(writing)
    said = b""
    while b"stop:" not in said:
        said += os.read(reading, 65_536)
    os.close(reading)
    port = int(re.search(rb"port (\d+)", said)[1])
    assert ask(port, "<ping/>") == ["<pong/>"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_ends_it_gracefully_with_exit_code_0(number):
    with serving() as daemon, Client(daemon.port) as client:
        client.send("<ping/>")
        assert client.receive() == "<pong/>"
        daemon.send_signal(number)
        assert client.read_all() == []
        client.close()
        assert daemon.wait() == 0
        assert "stopped after" in daemon.stdout


ENDLESS = """
import asyncio
async def handler(connection):
    async for message in connection:
        await connection.send("got " + message)
    print("holding on", flush=True)
    await asyncio.sleep(3600)
"""

BLOCKED = """
async def handler(connection):
    async for message in connection:
        print("blocking", flush=True)
        while True:
            pass
"""


def write_module(folder: Path, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_second_signal_ends_it_at_once(tmp_path, loop):
    write_module(tmp_path, "game", ENDLESS)
    with serving("game:handler", "--close-timeout", "3600", cwd=tmp_path, env=with_loop(loop, tmp_path)) as daemon:
        client = Client(daemon.port)
        client.send("x")
        assert client.receive() == "got x"
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_for("holding on")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 128 + signal.SIGTERM
        assert "stopped at once" in daemon.stderr
        client.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_second_signal_ends_it_even_when_a_handler_blocks_the_loop(tmp_path, loop):
    write_module(tmp_path, "game", BLOCKED)
    with serving("game:handler", cwd=tmp_path, env=with_loop(loop, tmp_path)) as daemon:
        client = Client(daemon.port)
        client.send("x")
        daemon.wait_for("blocking")
        daemon.send_signal(signal.SIGINT)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        client.close()


def test_a_handler_that_does_not_end_is_cut_off_after_close_timeout(tmp_path):
    write_module(tmp_path, "game", ENDLESS)
    with serving("game:handler", "--close-timeout", "0.2", cwd=tmp_path) as daemon, Client(daemon.port) as client:
        client.send("x")
        assert client.receive() == "got x"
        assert daemon.stop() == 0
        assert "did not end within close_timeout" in daemon.stderr


def test_what_was_received_before_the_signal_is_answered(tmp_path):
    code = """
import asyncio
async def handler(connection):
    async for message in connection:
        print("working", flush=True)
        await asyncio.sleep(0.5)
        await connection.send("done " + message)
"""
    write_module(tmp_path, "game", code)
    with serving("game:handler", cwd=tmp_path) as daemon, Client(daemon.port) as client:
        client.send("1", "2")
        daemon.wait_for("working")
        daemon.send_signal(signal.SIGTERM)
        assert client.read_all() == ["done 1", "done 2"]
        client.close()
        assert daemon.wait() == 0


def test_sigterm_under_load_delivers_every_message_that_was_accepted():
    """Who got the copy of what it said knows that everybody got it; who did not is told by the end of the stream."""
    with serving() as daemon:
        talkers = [Talker(daemon.port, f"talker-{number}") for number in range(6)]
        for talker in talkers:
            talker.start()
        until(lambda: all(len(talker.heard) > 300 for talker in talkers), "talk")
        daemon.send_signal(signal.SIGTERM)
        for talker in talkers:
            talker.join(DEADLINE)
            assert not talker.is_alive()
            assert talker.failure is None
            talker.client.close()
        assert daemon.wait() == 0
    everything = max((talker.heard for talker in talkers), key=len)
    for talker in talkers:
        # One order for all, and the same last message for all: whoever heard less heard the whole end of it.
        assert talker.heard == everything[-len(talker.heard) :]
        own = [said for said in talker.heard if f'from="{talker.label}"' in said]
        numbers = [int(re.search(r">(\d+)<", said)[1]) for said in own]
        assert numbers == list(range(len(numbers))), "what a sender said arrives whole and in order up to the end"
        assert len(numbers) <= talker.sent


class Talker(threading.Thread):
    """Logs in, and talks until the stream ends."""

    def __init__(self, port: int, label: str) -> None:
        super().__init__(daemon=True)
        self.client, self.label = Client(port), label
        self.heard: list[str] = []
        self.sent = 0
        self.may_send = threading.Semaphore(20)
        self.is_over = False
        self.failure: BaseException | None = None
        self.client.send(f'<login name="{label}"/>', '<join room="lobby"/>')
        while not (message := self.client.receive()).startswith("<joined"):
            assert message.startswith("<welcome"), message

    def run(self) -> None:
        try:
            speaker = threading.Thread(target=self.speak, daemon=True)
            speaker.start()
            while data := self.client.sock.recv(65_536):
                *messages, self.client.rest = (self.client.rest + data).split(b"\0")
                for message in messages:
                    if message.startswith(b"<said"):
                        self.heard.append(re.sub(r' ref="\d+"', "", message.decode()))
                        if b" ref=" in message:
                            self.may_send.release()
            self.is_over = True
            assert self.client.rest == b"", "the last message was cut"
            self.may_send.release()
            speaker.join(DEADLINE)
        except BaseException as error:
            self.failure = error

    def speak(self) -> None:
        try:
            while self.may_send.acquire(timeout=DEADLINE) and not self.is_over:
                self.client.send(f'<say room="lobby" ref="{self.sent}">{self.sent}</say>')
                self.sent += 1
        except OSError:
            return  # told: the server has closed


# Faults


def test_a_port_that_is_taken_is_a_sentence_that_says_by_what():
    with serving("echo") as first:
        port = first.port
        second = run("serve", "echo", "--port", str(port))
        assert second.returncode == 1
        assert second.stderr.decode().startswith(f"error: localhost:{port} is taken already by ")
        assert f"(process {first.process.pid})" in second.stderr.decode()
        assert b"Traceback" not in second.stderr


def test_a_second_chat_on_the_port_hears_of_the_port_and_not_of_the_history(tmp_path):
    for loop in ("uvloop", "asyncio"):
        env = {**with_loop(loop, tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        with socket.create_server(("localhost", 0)) as probe:
            port = str(probe.getsockname()[1])
        with serving(listen=("--port", port), env=env) as first:
            first.wait_for(f"history: {tmp_path}.*db$")
            first.wait_for("^  stop:")
            second = run("serve", "--port", port, env=env)
            assert second.returncode == 1
            assert b"is taken already" in second.stderr


def drop_privilege_to_bind() -> None:
    """Let the process that is about to start listen on no port below 1024, root or not."""
    bounding_set_drop, net_bind_service = 24, 10
    ctypes.CDLL(None).prctl(bounding_set_drop, net_bind_service, 0, 0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
def test_a_privileged_port_is_a_sentence_that_says_what_to_do():
    unprivileged = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if unprivileged.exists() and int(unprivileged.read_text()) <= 843:
        pytest.skip("this system needs no privilege for port 843")
    daemon = Daemon([SCRIPT, "serve", "echo", "--port", "843"], env=environment(), preexec_fn=drop_privilege_to_bind)
    assert daemon.wait() == 1
    assert "localhost:843 needs a privilege that this process lacks" in daemon.stderr
    daemon.process.stdout.close()
    daemon.process.stderr.close()


def test_a_host_that_is_not_ours_is_a_sentence():
    result = run("serve", "--host", "no-such-host.invalid", "--port", "0")
    assert result.returncode == 1
    assert b"no-such-host.invalid" in result.stderr
    assert b"Traceback" not in result.stderr


def test_too_few_descriptors_for_max_connections_are_said_at_the_start():
    def limit_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))

    with serving(preexec_fn=limit_descriptors) as daemon:
        daemon.wait_for(r"this system allows 300 descriptors to this process, so about \d+ connections", "stderr")
        assert ask(daemon.port, "<ping/>") == ["<pong/>"]


def test_the_soft_limit_on_descriptors_is_raised_to_the_hard_one():
    def limit_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 300))

    with serving("echo", preexec_fn=limit_descriptors) as daemon:
        port = daemon.port
        clients = [Client(port) for _ in range(100)]
        for client in clients:
            client.send("x")
        assert [client.receive() for client in clients] == ["x"] * 100
        for client in clients:
            client.close()


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 10_200, reason="the system allows too few sockets")
def test_10000_clients_from_loopback_are_served_with_default_settings():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients: list[socket.socket] = []
    try:
        with serving("echo") as daemon:
            address = ("127.0.0.1", daemon.port)
            for _ in range(10_000):
                client = socket.socket()
                client.connect(address)
                client.sendall(b"x\0")
                clients.append(client)
            for client in clients:
                client.settimeout(DEADLINE)
                assert client.recv(2) == b"x\0"
            for client in clients:
                client.close()
            assert daemon.stop() == 0
            assert "10,000 connections, 10,000 messages received, 10,000 sent" in daemon.stdout
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Loops, optional parts


def with_loop(loop: str, folder: Path) -> dict[str, str]:
    """An environment in which uvloop can be imported, or not."""
    if loop == "uvloop":
        return environment()
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "uvloop.py").write_text("raise ImportError('hidden by a test')\n")
    return environment(PYTHONPATH=str(hidden))


@pytest.mark.parametrize(("loop", "said"), [("uvloop", "event loop: uvloop"), ("asyncio", "event loop: asyncio's own")])
def test_it_serves_on_uvloop_and_without(tmp_path, loop, said):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with serving("--log-level", "debug", env=with_loop(loop, tmp_path)) as daemon:
        assert ask(daemon.port, "<ping/>") == ["<pong/>"]
        daemon.wait_for(said, "stderr")
        assert daemon.stop() == 0


# TLS and policy


def test_tls_is_served_with_a_certificate_and_its_key(certificate):
    files = ("--tls-cert", str(certificate / "cert.pem"), "--tls-key", str(certificate / "key.pem"))
    with serving(*files) as daemon:
        port = daemon.port
        assert f"localhost, port {port}, TLS" in daemon.stdout
        context = ssl.create_default_context(cafile=str(certificate / "ca.pem"))
        plain = socket.create_connection(("localhost", port), DEADLINE)
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"<ping/>\0")
            assert client.recv(100) == b"<pong/>\0"
        ours = run("send", f"localhost:{port}", "<ping/>", "--tls-ca", str(certificate / "ca.pem"), "--wait", "0.3")
        assert ours.stdout == b"<pong/>\n"
        untrusted = run("send", f"localhost:{port}", "<ping/>", "--tls")
        assert untrusted.returncode == 1
        assert b"the certificate of localhost" in untrusted.stderr


def test_the_policy_is_answered_on_the_port_and_on_one_of_its_own(tmp_path):
    file = tmp_path / "policy.xml"
    file.write_text(POLICY)
    with serving("--policy", str(file), "--policy-port", "0") as daemon:
        port = daemon.port
        policy_port = int(daemon.wait_for(r"and on port (\d+)")[1])
        for asked in (port, policy_port):
            assert ask(asked, "<policy-file-request/>") == [POLICY]
        assert ask(policy_port, "<ping/>") == [], "nothing else is served there"
        assert ask(port, "<ping/>") == ["<pong/>"]


def test_sighup_reads_the_policy_file_anew_and_keeps_the_old_one_if_the_new_one_is_wrong(tmp_path):
    file = tmp_path / "policy.xml"
    file.write_text(POLICY)
    with serving("--policy", str(file), "--policy-port", "0") as daemon:
        ports = daemon.port, int(daemon.wait_for(r"and on port (\d+)")[1])
        file.write_text(POLICY.replace("*.example.com", "*.example.org"))
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("anew$")
        assert [ask(port, "<policy-file-request/>") for port in ports] == [[file.read_text()]] * 2
        file.write_text("<cross-domain-policy><allow-access-from")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("the old policy stays", "stderr")
        assert "example.org" in ask(ports[0], "<policy-file-request/>")[0]
        assert "example.org" in ask(ports[1], "<policy-file-request/>")[0]
        assert daemon.stop() == 0


def test_a_policy_with_an_error_in_it_is_refused_at_the_start(tmp_path):
    file = tmp_path / "policy.xml"
    file.write_text("<cross-domain-policy><allow-access-from")
    result = run("serve", "echo", "--port", "0", "--policy", str(file))
    assert result.returncode == 2
    assert str(file).encode() in result.stderr


def test_closing_the_window_of_the_terminal_stops_it():
    pty = pytest.importorskip("pty", reason="terminals need a Unix")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [SCRIPT, "serve", "--port", "0"], stdin=slave, stdout=subprocess.PIPE, stderr=slave, env=environment()
    )
    os.close(slave)
    said = b""
    while b"stop:" not in said:
        said += os.read(process.stdout.fileno(), 65_536)
    process.send_signal(signal.SIGHUP)
    assert process.wait(DEADLINE) == 0
    assert b"stopped after" in process.stdout.read()
    process.stdout.close()
    os.close(master)


# Logs


def test_a_log_line_is_one_line_with_time_and_level_whatever_the_peer_does(tmp_path):
    code = """
import logging
async def handler(connection):
    async for message in connection:
        logging.getLogger("game").warning("got %s", message)
"""
    write_module(tmp_path, "game", code)
    with serving("game:handler", "--max-connections", "100", cwd=tmp_path) as daemon:
        ask(daemon.port, "a\n2030-01-01T00:00:00 CRITICAL forged: \x1b[2J")
        daemon.wait_for("got a", "stderr")
        daemon.stop()
        (line,) = daemon.stderr.splitlines()
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} WARNING game: got a\\n2030.*\\x1b\[2J$", line)


def test_a_handler_that_raises_is_logged_with_an_indented_traceback_and_harms_nobody_else(tmp_path):
    code = """
async def handler(connection):
    async for message in connection:
        if message == "bad":
            raise RuntimeError("no such thing")
        await connection.send(message)
"""
    write_module(tmp_path, "game", code)
    with serving("game:handler", "--max-connections", "100", cwd=tmp_path) as daemon, Client(daemon.port) as other:
        assert ask(daemon.port, "bad") == []
        other.send("good")
        assert other.receive() == "good"
        daemon.wait_for("RuntimeError: no such thing", "stderr")
        event, *trace = daemon.stderr.splitlines()
        assert " ERROR " in event
        assert all(line.startswith("    ") for line in trace)


def test_the_connect_line_that_it_prints_works():
    with serving() as daemon:
        daemon.wait_for("^  stop:")
        command = shlex.split(daemon.wait_for(r"connect: xmlsocket (.*)")[1])
        assert run(*command, "--wait", "0.3", input=b"<ping/>\n").stdout == b"<pong/>\n"
