"""``xmlsocket connect`` and ``send``: clients for terminals and for scripts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest
from tests.cli.processes import DEADLINE, SCRIPT, Client, environment, run, serving, until

from xmlsocket.cli import program
from xmlsocket.cli.display import render

pty = pytest.importorskip("pty", reason="terminals need a Unix")


@pytest.fixture(scope="module")
def chat():
    with serving() as daemon:
        yield daemon.port


@pytest.fixture(scope="module")
def echo():
    with serving("echo") as daemon:
        yield daemon.port


@contextlib.contextmanager
def peer(behave):
    """A server of one connection, in plain sockets, that does what a function says."""
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE)
                behave(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"localhost:{listener.getsockname()[1]}"
        thread.join(DEADLINE)
        assert not thread.is_alive()


# In a pipe


def test_a_line_in_a_pipe_is_a_message_and_its_answer_a_line(chat):
    result = run("connect", f"localhost:{chat}", "--wait", "0.3", input=b"<ping/>\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"<pong/>\n", b"")


def test_the_default_wait_is_long_enough_for_an_answer(chat):
    assert run("connect", f"localhost:{chat}", input=b"<ping/>\n").stdout == b"<pong/>\n"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (
            "one\n\ntwo\tlines\nfrom Windows\r\né 🐌 \u3000 日本\n",
            "one\n\ntwo\tlines\nfrom Windows\né 🐌 \u3000 日本\n",
        ),
        ("no line break at the end", "no line break at the end\n"),
        ("", ""),
    ],
)
def test_lines_become_messages(echo, typed, shown):
    result = run("connect", f"localhost:{echo}", "--wait", "0.2", input=typed.encode())
    assert (result.returncode, result.stdout.decode(), result.stderr) == (0, shown, b"")


def test_a_large_input_goes_through_whole_and_in_order(echo):
    lines = b"".join(b"line %d %s\n" % (number, b"x" * 90) for number in range(50_000))
    result = run("connect", f"localhost:{echo}", input=lines)
    assert result.returncode == 0
    assert result.stdout == lines


def test_a_file_can_be_the_input(echo, tmp_path):
    file = tmp_path / "messages.txt"
    file.write_bytes(b"a\nb\n")
    with file.open("rb") as stdin:
        result = subprocess.run(
            [SCRIPT, "connect", f"localhost:{echo}", "--wait", "0.2"],
            stdin=stdin,
            capture_output=True,
            env=environment(),
            timeout=DEADLINE,
        )
    assert result.stdout == b"a\nb\n"


def test_control_characters_are_escaped_so_that_a_message_stays_a_line():
    hostile = "<a>\x1b]0;owned\x07\nsecond line \u202e \x9b2J</a>\0".encode()
    with peer(lambda connection: connection.sendall(hostile)) as address:
        result = run("connect", address, "--wait", "none")
    assert result.stdout.decode() == "<a>\\x1b]0;owned\\x07\\nsecond line \\u202e \\x9b2J</a>\n"


def test_json_shows_messages_exactly_one_on_a_line(echo):
    message = 'quote " backslash \\ line\nbreak \x1b[2J é'
    result = run("send", f"localhost:{echo}", message, "--json", "--wait", "0.2")
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == message


def test_nul_takes_and_shows_messages_exactly(echo):
    typed = b"line\nbreak\0\x1b[2J\0\0"
    result = run("connect", f"localhost:{echo}", "--null", "--wait", "0.2", input=typed)
    assert result.stdout == typed


# Waiting


def test_it_waits_as_long_as_answers_keep_coming():
    def behave(connection: socket.socket) -> None:
        pause = threading.Event()
        for number in range(6):
            connection.sendall(b"%d\0" % number)
            pause.wait(0.25)
        while connection.recv(100):
            pass

    with peer(behave) as address:
        result = run("connect", address, "--wait", "0.6")
    assert result.stdout == b"0\n1\n2\n3\n4\n5\n"


def test_wait_none_listens_until_the_server_closes():
    def behave(connection: socket.socket) -> None:
        assert connection.recv(100) == b"hi\0"
        threading.Event().wait(1.5)
        connection.sendall(b"late\0")

    with peer(behave) as address:
        result = run("connect", address, "--wait", "none", input=b"hi")
    assert (result.returncode, result.stdout) == (0, b"late\n")


def test_wait_0_sends_everything_and_does_not_wait():
    got = []

    def behave(connection: socket.socket) -> None:
        while data := connection.recv(65_536):
            got.append(data)

    with peer(behave) as address:
        result = run("connect", address, "--wait", "0", input=b"x" * 500_000 + b"\nend")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"".join(got) == b"x" * 500_000 + b"\0end\0"


def test_it_ends_when_the_server_closes_while_the_input_is_still_open():
    with peer(lambda connection: connection.sendall(b"bye\0")) as address:
        process = subprocess.Popen(
            [SCRIPT, "connect", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )
        assert process.wait(DEADLINE) == 0
        assert process.stdout.read() == b"bye\n"
        process.stdin.close()
        process.stdout.close()


# What goes wrong


def test_nobody_listening_is_a_sentence_and_exit_code_1():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for command in (("connect", f"127.0.0.1:{port}"), ("send", f"127.0.0.1:{port}", "x")):
            result = run(*command)
            assert result.returncode == 1
            assert result.stderr.decode() == f"error: 127.0.0.1:{port} refused the connection: nothing listens there\n"


def test_a_connection_that_is_reset_is_exit_code_1():
    def behave(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with peer(behave) as address:
        result = run("connect", address, "--wait", "none", input=b"x\n")
    assert result.returncode == 1
    assert b"the connection was lost" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_server_that_closes_before_everything_is_sent_is_exit_code_1():
    reading, writing = os.pipe()
    with peer(lambda connection: connection.recv(2)) as address:
        process = subprocess.Popen(
            [SCRIPT, "connect", address], stdin=reading, stderr=subprocess.PIPE, env=environment()
        )
        with contextlib.suppress(BrokenPipeError):
            os.close(reading)
            while process.poll() is None:
                os.write(writing, b"x\n" * 1000)
        os.close(writing)
        errors = process.stderr.read()
        process.stderr.close()
        # Which of the two is noticed first is the system's affair, but it is never silent about unsent lines.
        assert (process.wait(DEADLINE), errors) == (0, b"") or (
            process.returncode == 1 and re.search(b"not everything was sent|the connection was lost", errors)
        )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("send", "{}", "a\nb" * 100, "--max-message-size", "100"), "exceeds max_message_size (100 bytes)"),
        (("send", "{}", "ü", "--encoding", "ascii"), "does not exist in ascii"),
        (("send", "{}", "--file", "/no/such/file"), "cannot read /no/such/file: No such file"),
        (("send", "{}"), "there is nothing to send"),
        (("send", "{}", "x", "--json", "--null"), "say one"),
        (("send", "{}", "x", "--wait", "soon"), "--wait must be a number of seconds, or none"),
        (("send", "{}", "x", "--encoding", "klingon"), "is not a text encoding"),
        (("send", "{}", "x", "--errors", "flsh"), "did you mean flash?"),
        (("send", "{}", "x", "--tls-ca", "/no/such/file"), "cannot use the certificates in /no/such/file"),
        (("connect", "localhost:0"), "a port is a number from 1 to 65535, not '0'"),
        (("connect", "localhost:"), "a port is a number from 1 to 65535"),
        (("connect", "::1"), "[::1]:8080"),
        (("connect", "xmlsocket://localhost:1"), "not the URL"),
        (("connect", "{}", "123"), "says it all"),
    ],
)
def test_what_cannot_be_tried_is_a_sentence_and_exit_code_2(echo, capsys, arguments, sentence):
    code = program.run([argument.format(f"localhost:{echo}") for argument in arguments])
    assert code == 2
    assert sentence in capsys.readouterr().err


def test_input_that_is_not_utf_8_is_refused_with_its_place(echo):
    result = run("connect", f"localhost:{echo}", "--wait", "0.2", input=b"good\nb\xffd\n")
    assert result.returncode == 2
    assert b"message 2 of the input is not UTF-8 at byte 1" in result.stderr


def test_received_text_that_does_not_fit_is_repaired_unless_strict_is_asked_for():
    for rule, code, shown in (("replace", 0, "a\ufffdb\n"), ("strict", 1, ""), ("flash", 0, "aÿb\n")):
        with peer(lambda connection: connection.sendall(b"a\xffb\0") or connection.recv(1)) as address:
            result = run("connect", address, "--errors", rule, "--wait", "0.3")
        assert (result.returncode, result.stdout.decode()) == (code, shown)


def test_whoever_reads_the_output_may_leave(echo):
    shell = subprocess.run(
        ["sh", "-c", f"yes | head -100000 | '{SCRIPT}' connect localhost:{echo} | head -1"],
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
    )
    assert (shell.stdout, shell.stderr) == (b"y\n", b"")


def test_a_full_disk_is_a_sentence(echo):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [SCRIPT, "send", f"localhost:{echo}", "x"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=DEADLINE,
        )
    assert (result.returncode, result.stderr) == (
        1,
        b"error: cannot write to standard output: No space left on device\n",
    )


# send


def test_send_sends_each_message_and_prints_the_answers(echo, tmp_path):
    file = tmp_path / "message.xml"
    file.write_text("<from>\n  a file\n</from>\n")
    result = run(
        "send",
        f"localhost:{echo}",
        "one",
        "-",
        "--file",
        str(file),
        "--json",
        "--wait",
        "0.3",
        input=b"<from>\nstdin</from>\n",
    )
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert answers == ["one", "<from>\nstdin</from>", "<from>\n  a file\n</from>"]


def test_a_message_with_a_nul_is_refused_with_its_place(echo):
    result = run("send", f"localhost:{echo}", "-", input=b"ab\0cd")
    assert result.returncode == 2
    assert b"NUL at index 2" in result.stderr


def test_other_encodings_are_spoken():
    got = []

    def behave(connection: socket.socket) -> None:
        got.append(connection.recv(100))
        connection.sendall("こんにちは\0".encode("shift_jis"))

    with peer(behave) as address:
        result = run("send", address, "日本", "--encoding", "shift_jis")
    assert got == ["日本".encode("shift_jis") + b"\0"]
    assert result.stdout.decode() == "こんにちは\n"


def test_host_and_port_may_be_two_arguments_and_the_host_may_be_left_out(chat):
    for address in (("localhost", str(chat)), (f":{chat}",), (f"[::ffff:127.0.0.1]:{chat}",)):
        assert run("connect", *address, "--wait", "0.3", input=b"<ping/>").stdout == b"<pong/>\n"


# On a terminal


class Terminal:
    """``xmlsocket connect`` with a terminal for input and output."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        env = {**environment(), "TERM": "xterm-256color", "COLUMNS": "40"}
        env.pop("NO_COLOR")
        self.process = subprocess.Popen(
            [SCRIPT, "connect", *arguments], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        self.output = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> None:
        def read() -> bool:
            if text.encode() not in self.output:
                self.output += os.read(self.master, 65_536)
            return text.encode() in self.output

        until(read, f"{text!r} in {self.output!r}")

    def finish(self) -> int:
        code = self.process.wait(DEADLINE)
        with contextlib.suppress(OSError):  # Linux says EIO where others say end of file
            while data := os.read(self.master, 65_536):
                self.output += data
        os.close(self.master)
        return code

    @property
    def text(self) -> str:
        """The output without colours, and with plain line breaks."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.output.decode()).replace("\r\n", "\n")


def test_on_a_terminal_what_is_typed_is_sent_and_answers_are_in_colour(chat):
    terminal = Terminal(f"localhost:{chat}")
    terminal.wait_for("connected to")
    terminal.type("\n<ping/>\n")
    terminal.wait_for("pong")
    terminal.type("\x04")
    assert terminal.finish() == 0
    assert "<pong/>" in terminal.text
    assert "<error" not in terminal.text, "an empty line is no message there"
    assert b"\x1b[" in terminal.output


@pytest.mark.parametrize("depth", [64, 65, 9000])
def test_xml_that_nobody_could_follow_is_not_indented_to_its_square(depth):
    message = "<a>" * depth + "<b/>" * 20 + "</a>" * depth
    shown = render(message, 80).plain
    assert shown.replace("\n", "").replace(" ", "") == message
    assert (shown == message) == (depth > 64)


def test_input_without_an_end_is_not_collected_for_ever(echo):
    with open("/dev/zero", "rb") as zeros:
        result = subprocess.run(
            [SCRIPT, "connect", f"localhost:{echo}"],
            stdin=zeros,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            env=environment(),
        )
    said = b"error: message 1 of the input is longer than --max-message-size allows\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_on_a_terminal_long_xml_is_indented_and_nothing_else_changes():
    message = '<list kind="a > b"><item id="1">some <b>mixed</b> text</item><item id=\'2\'/><!-- c --></list>'
    with peer(lambda connection: connection.sendall(message.encode() + b"\0")) as address:
        terminal = Terminal(address)
        assert terminal.finish() == 0
    assert (
        '<list kind="a > b">\n  <item id="1">some <b>mixed</b> text</item>\n  <item id=\'2\'/>\n  <!-- c -->\n</list>\n'
        in terminal.text
    )
    assert "closed by the peer" in terminal.text


def test_on_a_terminal_a_hostile_message_cannot_move_the_cursor():
    with peer(
        lambda connection: connection.sendall(b"<a b='\x1b[2J'>[red]x[/red] :smile: \x1b]0;t\x07</a>\0")
    ) as address:
        terminal = Terminal(address)
        assert terminal.finish() == 0
    assert "<a b='\\x1b[2J'>[red]x[/red] :smile: \\x1b]0;t\\x07</a>" in terminal.text
    assert b"\x1b[2J" not in terminal.output
    assert b"\x1b]0" not in terminal.output


def test_on_a_terminal_a_message_that_cannot_be_sent_does_not_end_the_session(chat):
    terminal = Terminal(f"localhost:{chat}", "--max-message-size", "10")
    terminal.wait_for("connected to")
    terminal.type("<much-too-long/>\n<ping/>\n")
    terminal.wait_for("pong")
    terminal.type("\x04")
    assert terminal.finish() == 0
    assert "exceeds max_message_size" in terminal.text


def test_ctrl_c_ends_it_without_a_traceback(chat):
    terminal = Terminal(f"localhost:{chat}")
    terminal.wait_for("connected to")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text


def test_two_people_on_terminals_hear_each_other(chat):
    ana, other = Terminal(f"localhost:{chat}"), Client(chat)
    ana.wait_for("connected to")
    ana.type('<login name="ana"/>\n<join room="pub"/>\n')
    ana.wait_for("joined")
    other.send('<login name="bob"/>', '<join room="pub"/>', '<say room="pub">good evening</say>')
    ana.wait_for("good evening")
    other.close()
    ana.type("\x04")
    assert ana.finish() == 0
