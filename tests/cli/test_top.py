"""xmlsocket top, and where a daemon shows its figures, as people run them: processes and real sockets."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from tests.cli.processes import DEADLINE, SCRIPT, Client, Daemon, environment, run, serving, until

from xmlsocket.cli.address import Address
from xmlsocket.cli.operations import Place, parse_operations
from xmlsocket.cli.scraping import Look, parse_watched
from xmlsocket.cli.top_view import View
from xmlsocket.errors import ConfigurationError
from xmlsocket.operations import Sample


def get(port, path):
    connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def watch_port(daemon):
    return int(daemon.wait_for(r"^  watch: .*http://localhost:(\d+)/metrics")[1])


@contextlib.contextmanager
def watched(*arguments):
    with serving(*arguments, "--no-history", "--operations", "0") as daemon:
        yield daemon, watch_port(daemon)


def sample_of(document, name, **labels):
    found = [item["value"] for item in document["samples"] if item["name"] == name and item["labels"] == labels]
    assert len(found) == 1, (name, labels)
    return found[0]


def test_a_daemon_shows_what_its_clients_do():
    with watched() as (daemon, port):
        assert get(port, "/healthz") == (200, "alive\n")
        assert get(port, "/readyz") == (200, "ready\n")
        with Client(daemon.port) as client:
            client.send('<login name="ann"/>', "<ping/>")
            client.receive()
            client.receive()
            document = json.loads(run("top", f"localhost:{port}", "--once", "--json").stdout)
        assert document["ready"] is True
        assert sample_of(document, "xmlsocket_connections", transport="tcp") == 1
        assert sample_of(document, "xmlsocket_messages_received_total") == 2
        assert sample_of(document, "xmlsocket_messages_sent_total") == 2
        assert sample_of(document, "xmlsocket_rooms") == 0


def test_a_daemon_that_is_told_to_stop_is_not_ready_any_more_while_it_answers():
    with watched("--close-timeout", "20") as (daemon, port):
        with Client(daemon.port) as client:
            client.send("<ping/>")
            client.receive()
            daemon.send_signal(signal.SIGTERM)
            daemon.wait_for("^stopping")
            until(lambda: get(port, "/readyz") == (503, "not ready: it is stopping\n"), "unready")
            assert get(port, "/healthz") == (200, "alive\n")
        assert daemon.wait() == 0


def test_a_port_that_was_named_must_be_free_and_one_that_was_not_need_not_be():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = run("serve", "--port", "0", "--no-history", "--operations", f"127.0.0.1:{port}")
        assert found.returncode == 1
        assert f"127.0.0.1:{port} is taken already".encode() in found.stderr


def test_two_daemons_on_ports_of_their_own_both_serve_and_the_second_says_that_it_shows_nothing():
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(contextlib.closing(socket.socket()))
        with contextlib.suppress(OSError):  # somebody else has it already, which is as good
            holder.bind(("127.0.0.1", 9464))
            holder.listen()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        daemon = stack.enter_context(serving("--no-history", listen=("--port", str(port))))
        daemon.wait_for(r"^  watch:   nowhere, as localhost:9464 is taken; --operations PORT chooses another$")
        with Client(port) as client:
            client.send("<ping/>")
            assert client.receive() == "<pong/>"


@pytest.mark.parametrize("arguments", [(), ("--operations", "none")])
def test_nothing_is_shown_on_a_port_that_the_system_chose_or_where_none_was_said(arguments):
    with serving("--no-history", *arguments) as daemon:
        daemon.wait_for("^  stop:")
        assert "watch:" not in daemon.stdout


def test_a_gateway_shows_its_links_and_the_server_behind(tmp_path):
    with serving("echo") as behind, contextlib.ExitStack() as stack:
        command = ("gateway", "--target", f"localhost:{behind.port}", "--listen", "localhost:0", "--operations", "0")
        gateway = Daemon([SCRIPT, *command], env=environment())
        stack.callback(gateway.process.stdout.close)
        stack.callback(gateway.process.stderr.close)
        stack.callback(gateway.wait)
        stack.callback(gateway.send_signal, signal.SIGTERM)
        port = watch_port(gateway)
        with Client(gateway.port) as client:
            client.send("hello")
            assert client.receive() == "hello"
            document = json.loads(run("top", str(port), "--once", "--json").stdout)
            assert sample_of(document, "xmlsocket_gateway_links") == 1
            assert sample_of(document, "xmlsocket_upstream_connections") == 1
            assert sample_of(document, "xmlsocket_upstream_connects_total") == 1
            assert sample_of(document, "xmlsocket_upstream_received_bytes_total") == 6
            shown = run("top", str(port), "--once", "--interval", "0.1").stdout.decode()
            assert "Gateway" in shown


def children(pid):
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_workers_are_shown_side_by_side_and_one_that_stands_still_hides_no_other():
    with serving("echo", "--workers", "2", "--operations", "0") as daemon:
        port = watch_port(daemon)
        assert get(port, "/readyz") == (200, "ready\n")
        document = json.loads(run("top", str(port), "--once", "--json").stdout)
        assert sample_of(document, "xmlsocket_workers", state="answering") == 2
        for worker in ("1", "2"):
            assert sample_of(document, "xmlsocket_messages_received_total", worker=worker) == 0
            assert sample_of(document, "process_resident_memory_bytes", worker=worker) > 0
        stopped = next(pid for pid in children(daemon.process.pid) if b"resource_tracker" not in command_of(pid))
        os.kill(stopped, signal.SIGSTOP)
        try:
            until(
                lambda: re.fullmatch("not ready: worker [12] does not answer within 2 s\n", get(port, "/readyz")[1]),
                "it",
            )
            assert get(port, "/healthz")[0] == 200
            assert 'xmlsocket_workers{state="silent"} 1.0' in get(port, "/metrics")[1]
        finally:
            os.kill(stopped, signal.SIGCONT)
        until(lambda: get(port, "/readyz")[0] == 200, "ready again")


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_top_once_prints_a_picture_that_fits_the_terminal():
    with watched() as (_, port):
        for width in (40, 76, 120):
            found = run("top", f"localhost:{port}", "--once", "--interval", "0.1", env=environment(COLUMNS=str(width)))
            lines = found.stdout.decode().splitlines()
            assert found.returncode == 0
            assert "ready" in lines[0]
            assert max(map(len, lines)) <= width
            assert any("messages in" in line for line in lines)


def in_terminal(*arguments):
    """Run a command in a terminal of its own; gives the process and the terminal's other end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env = {**environment(), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen([SCRIPT, *arguments], stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env)
    os.close(slave)
    return process, master


class Screen:
    """What a terminal was sent."""

    def __init__(self, master):
        self.master = master
        self.text = ""

    def wait_for(self, pattern):
        start = len(self.text)
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, self.text[start:]):
            assert time.monotonic() < end, f"not seen: {pattern}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65_536).decode("utf-8", "replace")


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of our own")
def test_top_is_live_survives_the_daemon_and_ends_with_ctrl_c():
    with watched() as (daemon, port):
        process, master = in_terminal("top", f"localhost:{port}", "--interval", "0.1")
        screen = Screen(master)
        try:
            screen.wait_for("ready")
            with Client(daemon.port) as client:
                client.send("<ping/>")
                screen.wait_for(r"messages in +1 ")
            daemon.stop()
            screen.wait_for("not answering")
            screen.wait_for("still trying")
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.communicate()
            os.close(master)


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of our own")
@pytest.mark.parametrize("how", ["q", "Q", "\x03", signal.SIGTERM], ids=["q", "Q", "Ctrl-C", "SIGTERM"])
def test_top_leaves_the_terminal_as_it_was_however_it_is_ended(how):
    with watched() as (_, port):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        before = termios.tcgetattr(slave)
        env = {**environment(), "TERM": "xterm-256color"}
        command = [SCRIPT, "top", f"localhost:{port}", "--interval", "0.2"]
        own = "os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR))"  # so that Ctrl-C reaches it
        code = f"import os, sys; {own}; os.execv(sys.argv[1], sys.argv[1:])"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command], stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env
        )
        screen = Screen(master)
        try:
            screen.wait_for("ready")
            screen.wait_for("Traffic")
            os.write(master, b"typed\x1b[A")  # which is neither shown nor a reason to end
            screen.wait_for("Traffic")
            screen.wait_for("Traffic")
            assert "typed" not in screen.text
            if isinstance(how, str):
                os.write(master, how.encode())
            else:
                process.send_signal(how)
            assert process.wait(DEADLINE) == (0 if isinstance(how, str) else 128 + how)
            screen.wait_for(re.escape("\x1b[?1049l"))  # the screen that was there before
            assert screen.text.rfind("\x1b[?25h") > screen.text.rfind("\x1b[?25l")  # the cursor is shown
            assert termios.tcgetattr(slave) == before
        finally:
            process.kill()
            process.communicate()
            os.close(master)
            os.close(slave)


def test_top_says_in_plain_words_that_nothing_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = run("top", f"127.0.0.1:{port}")
    assert (found.returncode, found.stdout) == (1, b"")
    assert found.stderr.decode().startswith(f"error: nothing listens at 127.0.0.1:{port}; is the daemon running?")
    assert b"Traceback" not in found.stderr


def test_top_says_that_it_was_sent_to_the_port_of_the_clients():
    with serving("--no-history") as daemon:
        found = run("top", f"localhost:{daemon.port}")
        assert found.returncode == 1
        assert b"answers, but is no operations address of xmlsocket (HTTP 404 for /metrics)" in found.stderr


@contextlib.contextmanager
def answering(answer):
    """Somebody who says the same to everybody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"hello\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "is no operations address of xmlsocket"),
        (b"HTTP/1.1 501 X\r\nContent-Length: 14\r\n\r\nit needs more\n", "has no metrics: it needs more"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nxmlsocket_build_info{ \x1b oh\n",
            "cannot be read",
        ),
    ],
)
def test_top_says_what_is_wrong_with_an_answer_that_is_none(answer, sentence):
    with answering(answer) as port:
        found = run("top", f"127.0.0.1:{port}", "--once")
        assert found.returncode == 1
        assert sentence in found.stderr.decode()
        assert b"\x1b" not in found.stderr


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (None, Address("localhost", 9464)),
        ("", Address("localhost", 9464)),
        ("9500", Address("localhost", 9500)),
        (":9500", Address("localhost", 9500)),
        ("example.org", Address("example.org", 9464)),
        ("example.org:1", Address("example.org", 1)),
        ("[::1]:9465", Address("::1", 9465)),
        ("http://localhost:9470/metrics", Address("localhost", 9470)),
    ],
)
def test_an_address_to_watch_may_be_short(text, address):
    assert parse_watched(text) == address


@pytest.mark.parametrize("text", ["/run/x.sock", "localhost:x", "localhost:0", "https://x/", "a:b:c"])
def test_what_is_no_address_to_watch_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_watched(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9464", Place("localhost", 9464)),
        ("0", Place("localhost", 0)),
        ("*:9464", Place("*", 9464)),
        ("192.0.2.7:1", Place("192.0.2.7", 1)),
        ("[::1]:9464", Place("::1", 9464)),
        ("none", None),
        ("None", None),
    ],
)
def test_a_place_to_show_figures_is_this_machine_alone_unless_said_otherwise(text, place):
    assert parse_operations(text, "--operations") == place


@pytest.mark.parametrize("text", ["", "x", ":9464", "localhost:", "localhost:70000", "::1:9464", "[::1:9464", "off"])
def test_what_is_no_place_to_show_figures_is_refused(text):
    with pytest.raises(ConfigurationError, match="--operations"):
        parse_operations(text, "--operations")


@pytest.mark.parametrize("command", [("serve",), ("gateway", "--target", "localhost:1")])
def test_a_place_that_is_none_is_refused_before_anything_starts(command):
    found = run(*command, "--operations", "off")
    assert found.returncode == 2
    assert b"--operations" in found.stderr
    assert b"Traceback" not in found.stderr


@pytest.mark.parametrize("interval", ["0", "nan"])
def test_an_interval_that_cannot_be_is_refused(interval):
    found = run("top", "--interval", interval)
    assert found.returncode == 2
    assert b"--interval" in found.stderr


def look_at(at, received, **more):
    samples = [
        Sample("xmlsocket_build_info", 1, {"version": "1\x1b[2J"}),
        Sample("xmlsocket_messages_received_total", received, {"worker": "1"}),
        Sample("xmlsocket_messages_received_total", received, {"worker": "2"}),
        *(Sample(name, value) for name, value in more.items()),
    ]
    return Look(at, True, (), tuple(samples))


def test_rates_are_of_all_workers_and_of_a_process_that_started_anew_what_it_has_counted_since():
    view = View(Address("localhost", 9464))
    view.add(look_at(0.0, 100))
    assert view.rate("xmlsocket_messages_received_total") is None
    view.add(look_at(2.0, 150))
    assert view.rate("xmlsocket_messages_received_total") == 50
    view.add(look_at(4.0, 10))
    assert view.rate("xmlsocket_messages_received_total") == 10


def test_a_worker_that_starts_anew_or_did_not_answer_makes_no_rate_of_what_the_others_have_counted():
    def looked(at, **workers):
        samples = [Sample("xmlsocket_clients_total", count, {"worker": name}) for name, count in workers.items()]
        return Look(at, True, (), (Sample("xmlsocket_build_info", 1, {}), *samples))

    view = View(Address("localhost", 9464))
    view.add(looked(0.0, one=1_000_000, two=1_000_000))
    view.add(looked(1.0, one=1_000_010, two=5))
    assert view.rate("xmlsocket_clients_total") == 15
    view.add(looked(2.0, one=1_000_020))
    assert view.rate("xmlsocket_clients_total") == 10
    view.add(looked(3.0, one=1_000_030, two=900_000))
    assert view.rate("xmlsocket_clients_total") == 10


def test_what_a_service_calls_itself_cannot_write_on_the_terminal():
    from rich.console import Console

    view = View(Address("localhost", 9464))
    view.add(look_at(0.0, 1))
    view.lose("gone\x1b]0;x\x07")
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115  # closed with the test
    with console.file:
        console.print(view.render(100))
    assert not set(console.export_text()) & {"\x1b", "\x07"}
