"""``xmlsocket serve module:handler``: a user's own code, with and without ``--reload``."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from tests.cli.processes import Client, ask, run, serving, until

from xmlsocket.cli import loading, program, serve

COROUTINE = """
async def handler(connection):
    async for message in connection:
        await connection.send("{} " + message)
"""
CLASS = """
import xmlsocket
class Handler(xmlsocket.Handler):
    def received(self, connection, messages):
        for message in messages:
            connection.send_nowait("{} " + message)
handler = Handler()
class Plain:
    def received(self, connection, messages):
        for message in messages:
            connection.send_nowait("plain " + message)
"""


@pytest.mark.parametrize(
    ("code", "target", "answer"),
    [
        (COROUTINE, "game:handler", "own x"),
        (CLASS, "game:handler", "own x"),
        (CLASS, "game:Handler", "own x"),
        (CLASS, "game:Plain", "plain x"),
    ],
)
def test_a_coroutine_function_a_handler_object_and_a_class_are_served(tmp_path, code, target, answer):
    (tmp_path / "game.py").write_text(code.replace("{}", "own"))
    with serving(target, cwd=tmp_path) as daemon:
        assert f"serving {target} on" in daemon.wait_for("^serving.*")[0]
        assert ask(daemon.port, "x") == [answer]


def test_bytes_and_greetings_are_options(tmp_path):
    (tmp_path / "game.py").write_text(
        "async def handler(connection):\n"
        "    await connection.send('welcome')\n"
        "    async for message in connection:\n"
        "        await connection.send(repr(message))\n"
    )
    options = ("--speaks-first", "--encoding", "none", "--no-detect")
    with serving("game:handler", *options, cwd=tmp_path) as daemon, Client(daemon.port) as client:
        assert client.receive() == "welcome"
        client.send("x")
        assert client.receive() == "b'x'"


@pytest.mark.parametrize(
    ("code", "target", "sentence"),
    [
        ("x = 1", "game:handlr", "game has no handlr"),
        ("async def handler(c): ...", "game:handlr", "did you mean handler?"),
        ("async def handler(c): ...", "gane:handler", "did you mean game?"),
        ("async def handler(c): ...", "game", "as in game:handler"),
        ("x = 1", "game:x", "game:x is a int; a handler is a coroutine function"),
        ("def handler(c): ...", "game:handler", "write it as: async def handler(connection)"),
        ("async def handler(c):\n yield 1", "game:handler", "has a yield in it"),
        ("class Handler: ...", "game:Handler", "is a class without received"),
        (
            "class Handler:\n def __init__(self, x): ...\n def received(self, c, m): ...",
            "game:Handler",
            "cannot be made without arguments",
        ),
        ("def (", "game:handler", "SyntaxError"),
        ("import no_such_module_at_all", "game:handler", "No module named 'no_such_module_at_all'"),
        ("1 / 0", "game:handler", "ZeroDivisionError"),
    ],
)
def test_code_that_cannot_be_served_is_shown_with_what_to_do(tmp_path, monkeypatch, capsys, code, target, sentence):
    (tmp_path / "game.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "game", raising=False)
    monkeypatch.setattr(serve, "run_daemon", loading.load_service)
    try:
        assert program.run(["serve", target]) == 2
    finally:
        sys.modules.pop("game", None)
    assert sentence in capsys.readouterr().err


def test_of_code_that_fails_only_the_users_own_lines_are_shown(tmp_path):
    (tmp_path / "game.py").write_text("def f():\n    return 1 / 0\nf()\n")
    result = run("serve", "game:handler", "--port", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.decode().count("File ") == 2
    assert b"game.py" in result.stderr
    assert result.stderr.endswith(b"error: game cannot be imported\n")


def write(path, text):
    """Replace a file as editors do: at once, and with a new time."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def test_reload_serves_changed_code_on_the_same_port_and_survives_a_syntax_error(tmp_path):
    game, part = tmp_path / "game.py", tmp_path / "parts" / "part.py"
    part.parent.mkdir()
    part.write_text("WORD = 'first'\n")
    game.write_text(
        "from parts.part import WORD\n"
        "async def handler(connection):\n"
        "    async for message in connection:\n"
        "        await connection.send(WORD + ' ' + message)\n"
    )
    with serving("game:handler", "--reload", cwd=tmp_path) as daemon:
        port = daemon.port
        client = Client(port)
        client.send("x")
        assert client.receive() == "first x"
        write(part, "WORD = 'second'\n")
        assert client.read_all() == [], "connections are closed gracefully"
        client.close()
        daemon.wait_for("^  stop:", count=2)
        assert ask(port, "x") == ["second x"]
        assert os.path.join("parts", "part.py") + " changed" in daemon.stderr
        write(part, "WORD = 'third\n")
        daemon.wait_for("SyntaxError", "stderr")
        daemon.wait_for("waiting for the next change", "stderr")
        write(part, "WORD = 'fourth'\n")
        daemon.wait_for("^  stop:", count=3)
        assert ask(port, "x") == ["fourth x"]
        assert daemon.stop() == 0


def test_reload_ends_when_the_port_is_taken(tmp_path):
    (tmp_path / "game.py").write_text(COROUTINE)
    with serving("echo") as other:
        result = run("serve", "game:handler", "--reload", "--port", str(other.port), cwd=tmp_path)
        assert result.returncode == 1
        assert b"is taken already" in result.stderr


def test_reload_leaves_no_process_behind_when_it_is_killed(tmp_path):
    (tmp_path / "game.py").write_text(COROUTINE.replace("own", "{}"))
    with serving("game:handler", "--reload", cwd=tmp_path) as daemon, Client(daemon.port) as client:
        daemon.process.kill()
        assert client.read_all() == []
        until(lambda: "stopped after" in daemon.stdout, "the end of the serving process")


def test_ctrl_c_ends_both_processes_gracefully(tmp_path):
    (tmp_path / "game.py").write_text(COROUTINE)
    with serving("game:handler", "--reload", cwd=tmp_path, start_new_session=True) as daemon:
        with Client(daemon.port) as client:
            os.killpg(daemon.process.pid, signal.SIGINT)
            assert client.read_all() == []
        assert daemon.wait() == 0
        assert "stopped after" in daemon.stdout
        assert "at once" not in daemon.stderr
