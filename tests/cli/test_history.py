from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from xmlsocket.rooms import History
from xmlsocket.rooms.history import NewMessage


def run(*arguments: str, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from xmlsocket.cli import main; main()", "history", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=50,
        env=os.environ | environment,
    )


@pytest.fixture
def folder(tmp_path):
    with History(tmp_path / "chat.db") as history:
        history.append([NewMessage("lobby", "ana", "hi"), NewMessage("ä b", "bob", "<x/>\n")])
    return tmp_path


def test_what_export_writes_import_reads_elsewhere(folder, tmp_path_factory):
    exported = run("export", "--data-dir", str(folder))
    assert exported.returncode == 0
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [(line["room"], line["id"], line["sender"], line["text"]) for line in lines] == [
        ("lobby", 1, "ana", "hi"),
        ("ä b", 1, "bob", "<x/>\n"),
    ]
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    assert "2 messages imported" in run("import", "-", "--data-dir", elsewhere, text=exported.stdout).stdout
    assert "0 messages imported" in run("import", "-", "--data-dir", elsewhere, text=exported.stdout).stdout
    assert run("export", "--data-dir", elsewhere).stdout == exported.stdout
    assert len(run("export", "--room", "lobby", "--data-dir", elsewhere).stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 1: not JSON"),
        ("[]", "not an object"),
        ('{"room": "a", "id": "1", "at": 0, "sender": "", "text": ""}', "id is missing or wrong"),
        ('{"room": "a", "id": 0, "at": 0, "sender": "", "text": ""}', "they begin at 1"),
        ('{"room": "a", "id": 9223372036854775808, "at": 0, "sender": "", "text": ""}', "id is missing or wrong"),
        ('{"room": "a", "id": true, "at": 0, "sender": "", "text": ""}', "id is missing or wrong"),
        ('{"room": "a", "id": 1, "at": NaN, "sender": "", "text": ""}', "at is missing or wrong"),
        ('{"room": "a", "id": 1, "at": 1e999, "sender": "", "text": ""}', "at is missing or wrong"),
        (r'{"room": "a", "id": 1, "at": 0, "sender": "", "text": "\ud800"}', "text is missing or wrong"),
        (r'{"room": "a", "id": 1, "at": 0, "sender": "a\u0000b", "text": ""}', "sender is missing or wrong"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_nothing_is_imported(folder, line, said):
    good = json.dumps({"room": "new", "id": 1, "at": 0, "sender": "", "text": "x"})
    done = run("import", "-", "--data-dir", str(folder), text=line if "line 1" in said else f"{good}\n{line}")
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "new" not in run("export", "--data-dir", str(folder)).stdout


def test_check_says_sound_or_what_is_wrong(folder):
    assert run("check", "--data-dir", str(folder)).stdout.endswith("sound, 2 messages\n")
    with History(folder / "chat.db") as history:
        history._db.execute("UPDATE rooms SET last_id = 0")
    done = run("check", "--data-dir", str(folder))
    assert done.returncode == 1
    assert "counts to 0 but has a message 1" in done.stdout


def test_a_history_that_is_not_there_is_named(tmp_path):
    done = run("check", "--port", "18999", XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"there is no history file {tmp_path}" in done.stderr.replace("\n", " ")


def test_a_free_port_has_a_history_only_where_a_folder_is_named():
    done = run("check", "--port", "0")
    assert done.returncode != 0
    assert "--data-dir" in done.stderr


def test_importing_a_file_that_is_not_there_makes_no_history(tmp_path):
    done = run("import", str(tmp_path / "none.jsonl"), "--data-dir", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        f"error: cannot use {tmp_path}/none.jsonl: No such file or directory\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_an_export_that_cannot_be_written_is_said_in_a_sentence(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from xmlsocket.cli import main; main()", "history", "export", "--data-dir", folder],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
        )
    assert (done.returncode, done.stderr) == (1, "error: cannot write to standard output: No space left on device\n")
