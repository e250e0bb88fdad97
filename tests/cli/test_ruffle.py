"""``xmlsocket ruffle config`` and ``xmlsocket ruffle serve`` as people run them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import websockets
from tests.cli.processes import DEADLINE, Client, until
from tests.cli.test_gateway import gateway, old_server, talk
from websockets.sync.client import connect

from xmlsocket.cli.program import run

TARGET = ("--target", "localhost:9339", "--public-url", "wss://web.example/")


def fetch(url: str, method: str = "GET") -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=DEADLINE) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


@pytest.fixture
def game(tmp_path):
    """A game: its movie, a folder of other files with a secret beside it, and Ruffle as npm installs it."""
    (tmp_path / "my game.swf").write_bytes(b"FWS movie")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "files" / "deep").mkdir(parents=True)
    (tmp_path / "files" / "deep" / "level.xml").write_text("<level/>")
    (tmp_path / "files" / ".hidden").write_text("secret")
    (tmp_path / "files" / "link.txt").symlink_to(tmp_path / "secret.txt")
    ruffle = tmp_path / "node_modules" / "@ruffle-rs" / "ruffle"
    ruffle.mkdir(parents=True)
    (ruffle / "ruffle.js").write_text("// ruffle")
    (ruffle / "core.wasm").write_bytes(os.urandom(12_000_000))
    return tmp_path


# config


def test_it_prints_the_setting_with_an_entry_for_each_spelling(capsys):
    assert run(["ruffle", "config", *TARGET, "--movie-host", "127.0.0.1", "--movie-host", "old.example:843"]) == 0
    assert json.loads(capsys.readouterr().out)["socketProxy"] == [
        {"host": "localhost", "port": 9339, "proxyUrl": "wss://web.example/"},
        {"host": "127.0.0.1", "port": 9339, "proxyUrl": "wss://web.example/"},
        {"host": "old.example", "port": 843, "proxyUrl": "wss://web.example/"},
    ]


def test_a_unix_socket_needs_to_be_told_what_the_movie_says(capsys, game):
    target = ("--target", "unix:/run/game.sock")
    assert run(["ruffle", "config", *target, *TARGET[2:], "--movie-host", "old.example:843"]) == 0
    assert json.loads(capsys.readouterr().out)["socketProxy"] == [
        {"host": "old.example", "port": 843, "proxyUrl": "wss://web.example/"}
    ]
    for command in (
        ("config", *target, *TARGET[2:]),
        ("config", *target, *TARGET[2:], "--movie-host", "old.example"),
        ("serve", str(game / "my game.swf"), *target),
    ):
        assert run(["ruffle", *command, *(("--ruffle", "https://cdn/") if command[0] == "serve" else ())]) == 2
        assert "--movie-host HOST:PORT" in capsys.readouterr().err.replace("\n", " ")


def test_it_prints_a_script_for_a_page(capsys):
    assert run(["ruffle", "config", *TARGET, "--script"]) == 0
    assert capsys.readouterr().out.startswith("window.RufflePlayer = window.RufflePlayer || {};\n")


def test_a_file_keeps_its_other_settings_its_permissions_and_its_line_ends(tmp_path, capsys):
    file = tmp_path / "ruffle.js"
    file.write_bytes(b"window.RufflePlayer.config = {\r\n  autoplay: 'on',\r\n};\r\n")
    file.chmod(0o640)
    assert run(["ruffle", "config", *TARGET, "--into", str(file)]) == 0
    text = file.read_bytes()
    assert b"  autoplay: 'on',\r\n};\r\n" in text
    assert b'"host": "localhost"' in text
    assert file.stat().st_mode & 0o777 == 0o640
    assert run(["ruffle", "config", *TARGET, "--into", str(file)]) == 0
    assert file.read_bytes() == text
    assert "nothing to change" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["ruffle.js"]


def test_a_dry_run_prints_and_changes_nothing(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text('{"a": 1}')
    assert run(["ruffle", "config", *TARGET, "--into", str(file), "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["a"] == 1
    assert file.read_text() == '{"a": 1}'


@pytest.mark.parametrize(("name", "start"), [("new.json", "{"), ("new.js", "window.RufflePlayer")])
def test_a_file_that_is_not_there_is_written(name, start, tmp_path):
    assert run(["ruffle", "config", *TARGET, "--into", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith(start)


def test_a_page_that_is_not_there_is_not_written_as_json(tmp_path, capsys):
    assert run(["ruffle", "config", *TARGET, "--into", str(tmp_path / "new.html")]) == 2
    assert "--script without --into prints what goes into it" in capsys.readouterr().err.replace("\n", " ")
    assert not os.listdir(tmp_path)


def test_a_file_that_cannot_be_changed_stays_and_is_named(tmp_path, capsys):
    file = tmp_path / "page.html"
    file.write_text("<p>nothing</p>")
    assert run(["ruffle", "config", *TARGET, "--into", str(file)]) == 2
    complaint = capsys.readouterr().err
    assert f"{file}: there is no window.RufflePlayer.config" in complaint
    assert "\\n" not in complaint  # an error is one line; a line break in it would show as an escape
    assert file.read_text() == "<p>nothing</p>"


# serve


def test_one_port_has_the_page_ruffle_the_movie_its_files_the_gateway_and_the_policy(game):
    with (
        old_server() as port,
        gateway(
            str(game / "my game.swf"),
            "--target",
            f"127.0.0.1:{port}",
            "--movie-host",
            "game.example",
            "--base",
            str(game / "files"),
            "--flashvar",
            "name=</script>",
            command=("ruffle", "serve"),
        ) as daemon,
    ):
        here = f"localhost:{daemon.port}"
        status, kind, page = fetch(f"http://{here}/")
        assert (status, kind) == (200, "text/html; charset=utf-8")
        for host in ("127.0.0.1", "localhost", "game.example"):
            assert json.dumps({"host": host, "port": port, "proxyUrl": "/"}).encode() in page
        assert b'"/my%20game.swf"' in page
        assert b"\\u003c/script>" in page
        assert fetch(f"http://{here}/my%20game.swf") == (200, "application/x-shockwave-flash", b"FWS movie")
        assert fetch(f"http://{here}/@ruffle/ruffle.js")[1] == "text/javascript; charset=utf-8"
        wasm = (game / "node_modules/@ruffle-rs/ruffle/core.wasm").read_bytes()
        assert fetch(f"http://{here}/@ruffle/core.wasm") == (200, "application/wasm", wasm)
        assert fetch(f"http://{here}/deep/level.xml?x=1") == (200, "text/xml", b"<level/>")
        assert fetch(f"http://{here}/deep/level.xml", "HEAD") == (200, "text/xml", b"")
        for path in (
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/deep/..%2f..%2fsecret.txt",
            "/..%5csecret.txt",
            "/link.txt",
            "/.hidden",
            "/secret.txt",
            "//etc/passwd",
            "/%2fetc/passwd",
            "/deep",
            "/%00",
            "/@ruffle/../../../secret.txt",
            "/" + "x" * 5000,
        ):
            assert fetch(f"http://{here}{path}")[0] == 404, path
        assert talk(f"ws://{here}/", b"hello\0") == [b"hello\0"]
        with connect(f"ws://{here}/", origin=f"http://{here}", compression=None) as client:
            client.send(b"x\0")
            assert client.recv(DEADLINE) == b"x\0"
        with pytest.raises(websockets.InvalidStatus, match="403"):
            connect(f"ws://{here}/", origin="https://evil.example")
        with Client(daemon.port) as player:
            player.send("<policy-file-request/>")
            assert f'<allow-access-from domain="localhost" to-ports="{daemon.port}"' in player.receive()
        assert daemon.stop() == 0
        assert all("there is no file" in line for line in daemon.stderr.splitlines())


@pytest.fixture
def served(game):
    """A game that is served, with a large file, and names of files that are odd."""
    files = game / "files"
    with (files / "video.flv").open("wb") as large:
        for number in range(40_000):
            large.write(number.to_bytes(4, "big") * 256)  # 40 MB
    (files / "odd %41 + é #?.txt").write_text("odd")
    (files / "empty.txt").write_bytes(b"")
    (files / "circle.txt").symlink_to(files / "circle.txt")
    (files / "inside.xml").symlink_to(files / "deep" / "level.xml")
    os.mkfifo(files / "pipe.txt")
    os.mkdir(os.fsencode(files) + b"/\xff")
    Path(os.fsdecode(os.fsencode(files) + b"/\xff/\xfe.txt")).write_text("no UTF-8")
    with gateway(
        str(game / "my game.swf"),
        "--target",
        "localhost:1",
        "--base",
        str(files),
        "--load-from",
        "https://assets.example",
        "--close-timeout",
        "1",
        command=("ruffle", "serve"),
    ) as daemon:
        yield daemon


def get(daemon, path, method="GET", **headers):
    """Fetch over one connection; status, headers and body."""
    client = http.client.HTTPConnection("localhost", daemon.port, timeout=DEADLINE)
    with contextlib.closing(client):
        client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read()


def test_a_range_of_a_file_is_a_206_and_what_is_no_range_is_all_of_it(served, game):
    data = (game / "files" / "video.flv").read_bytes()
    size = len(data)
    for text, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=40959000-", 40_959_000, size),
        ("bytes=-1000", size - 1000, size),
        ("bytes=5-999999999999", 5, size),
        ("bytes=-999999999999", 0, size),
    ):
        status, headers, body = get(served, "/video.flv", Range=text)
        assert (status, headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/{size}"), text
        assert body == data[start:end], text
    for text in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0"):
        status, headers, body = get(served, "/video.flv", Range=text)
        assert (status, headers["Content-Range"], body) == (416, f"bytes */{size}", b""), text
    for text in ("bytes=5-4", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", ""):
        status, headers, body = get(served, "/video.flv", Range=text)
        assert (status, headers["Content-Range"], len(body)) == (200, None, size), text
    modified = headers["Last-Modified"]
    assert get(served, "/video.flv", Range="bytes=0-1", If_Range=modified)[0] == 206
    assert get(served, "/video.flv", Range="bytes=0-1", If_Range="Mon, 01 Jan 2001 00:00:00 GMT")[0] == 200
    status, headers, body = get(served, "/video.flv", "HEAD", Range="bytes=0-1")
    assert (status, headers["Content-Length"], headers["Accept-Ranges"], body) == (200, str(size), "bytes", b"")
    assert get(served, "/empty.txt")[2] == b""
    assert get(served, "/empty.txt", Range="bytes=0-")[0] == 416


def test_files_of_any_name_are_found_and_what_is_no_file_is_404(served):
    for path, content in (
        ("/odd%20%2541%20+%20%C3%A9%20%23%3F.txt", b"odd"),
        ("/%ff/%fe.txt", b"no UTF-8"),
        ("/inside.xml", b"<level/>"),
        ("/deep//level.xml", b"<level/>"),
    ):
        assert get(served, path)[::2] == (200, content), path
    for path in ("/circle.txt", "/pipe.txt", "/link.txt", "/deep/", "/%ff", "/video.flv/", "/%E2%82"):
        assert get(served, path)[0] == 404, path
    served.wait_for("WARNING xmlsocket.gateway: there is no file '/circle.txt' in ", "stderr")
    assert get(served, "/video.flv", "POST")[0] == 405


def test_a_large_file_goes_out_as_it_is_read_and_is_never_in_memory(served):
    def memory() -> int:
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    def files() -> int:
        return len(os.listdir(f"/proc/{served.process.pid}/fd"))

    get(served, "/empty.txt")
    before, at_first = memory(), files()
    slow = [socket.create_connection(("localhost", served.port), DEADLINE) for _ in range(20)]
    for sock in slow:
        sock.sendall(b"GET /video.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
    # Somebody who reads slowly, for longer than close_timeout, gets all of it; others go on meanwhile.
    size = 0
    last = socket.socket()
    last.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    last.settimeout(DEADLINE)
    last.connect(("127.0.0.1", served.port))
    last.sendall(b"GET /video.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in range(300):
        size += len(last.recv(65_536))
        threading.Event().wait(0.01)
    for _ in range(3):
        assert get(served, "/deep/level.xml")[0] == 200
    last.shutdown(socket.SHUT_WR)
    while data := last.recv(1 << 20):
        size += len(data)
    assert size > 40_960_000
    # Those who read nothing are sent away, and nothing of the file was kept for them.
    until(lambda: files() == at_first, "those who read nothing are sent away")
    assert memory() - before < 30_000
    for sock in (*slow, last):
        sock.close()


def test_the_page_may_load_what_the_movie_needs_and_nothing_else(served):
    here = f"localhost:{served.port}"
    _, headers, body = get(served, "/")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == f"'self' https://assets.example ws://{here} wss://{here}"
    assert "'unsafe-inline'" not in policy["script-src"]
    [nonce] = set(re.findall(rb'nonce="([^"]+)"', body))
    assert f"'nonce-{nonce.decode()}'" in policy["script-src"]
    assert nonce not in get(served, "/")[2]
    assert b"onerror=" not in body
    # What a client says that it asks is put into no policy, unless it can be a name.
    assert "evil" not in get(served, "/", Host="x; script-src evil")[1]["Content-Security-Policy"]


def test_ruffle_may_come_from_an_address_that_the_user_chooses(game):
    with gateway(
        str(game / "my game.swf"),
        "--target",
        "localhost:1",
        "--ruffle",
        "https://cdn.example/ruffle",
        command=("ruffle", "serve"),
    ) as daemon:
        assert b'src="https://cdn.example/ruffle/ruffle.js"' in fetch(f"http://localhost:{daemon.port}/")[2]
        assert fetch(f"http://localhost:{daemon.port}/@ruffle/ruffle.js")[0] == 404


def test_what_is_not_there_ends_it_with_2_and_a_sentence(game, capsys, monkeypatch):
    movie = str(game / "my game.swf")
    for arguments, complaint in (
        (("no.swf",), "there is no movie"),
        ((str(game / "secret.txt"),), "is no SWF movie: it begins with b'sec'"),
        ((movie, "--base", movie), "must be a folder"),
        ((movie, "--ruffle", str(game / "files")), "there is no ruffle.js"),
        ((movie, "--flashvar", "x"), "NAME=VALUE"),
        ((movie, "--mode", "x"), "messages or stream"),
        ((movie, "--load-from", "https://x; script-src y"), "--load-from is a site"),
        ((movie, "--movie-host", "a:x"), "HOST or HOST:PORT"),
    ):
        assert run(["ruffle", "serve", *arguments, "--target", "localhost:1"]) == 2
        assert complaint in capsys.readouterr().err
    bare = game / "bare"
    bare.mkdir()
    Path(bare / "game.swf").write_bytes(b"FWS")
    monkeypatch.chdir(bare)
    assert run(["ruffle", "serve", "game.swf", "--target", "localhost:1"]) == 2
    assert "npm install @ruffle-rs/ruffle" in capsys.readouterr().err
