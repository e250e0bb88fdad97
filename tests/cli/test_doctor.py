"""``xmlsocket doctor``: servers that are well, and servers with one fault each."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.cli.processes import DEADLINE
from tests.cli.test_gateway import gateway, old_server
from websockets.sync.server import serve as serve_websocket

import xmlsocket
from xmlsocket.cli.program import run

PAGE = "http://game.example/movie.html"


@contextmanager
def tcp(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """A TCP server that does one thing with each client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(sock: socket.socket) -> None:
            with sock:
                sock.settimeout(DEADLINE)
                with suppress(OSError):  # the doctor has gone
                    behave(sock)

        def accept() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def refused() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def examine(capsys, refused):
    """Run the doctor, and give the exit code and the findings by check."""

    def examine(port: int, *arguments: str, host: str = "127.0.0.1", master: int | None = None):
        where = ("--policy-port", str(master or refused))
        code = run(["doctor", f"{host}:{port}", "--json", "--timeout", "0.6", *where, *arguments])
        report = json.loads(capsys.readouterr().out)
        assert all(finding["why"] for finding in report["findings"] if finding["status"] in ("warning", "error"))
        return code, {finding["check"]: finding for finding in report["findings"]}

    return examine


def policy(text: str, *, pause: float = 0, ending: bytes = b"\0") -> Callable[[socket.socket], object]:
    def answer(sock: socket.socket) -> None:
        if sock.recv(100):
            threading.Event().wait(pause)
            sock.sendall(text.encode() + ending)

    return answer


def frames(*payloads: bytes | str) -> Callable[[object], object]:
    def answer(client: object) -> None:
        for _ in client:  # type: ignore[attr-defined]  # a ServerConnection
            for payload in payloads:
                client.send(payload)  # type: ignore[attr-defined]  # a ServerConnection

    return answer


@contextmanager
def websocket(behave: Callable[[object], object], **options: object) -> Iterator[int]:
    with serve_websocket(behave, "127.0.0.1", 0, compression=None, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


GRANT = '<cross-domain-policy><allow-access-from domain="game.example" to-ports="*"/></cross-domain-policy>'


def test_a_gateway_with_a_policy_in_front_of_an_echo_is_well(examine, tmp_path):
    file = tmp_path / "policy.xml"
    with (
        old_server() as port,
        gateway("--target", f"127.0.0.1:{port}", "--listen", "127.0.0.1:0", listen=False) as first,
    ):
        free = first.port
    file.write_text(GRANT.replace('"*"', f'"{free}"'))
    with (
        old_server() as port,
        gateway(
            "--target", f"127.0.0.1:{port}", "--listen", f"127.0.0.1:{free}", "--policy", str(file), listen=False
        ) as daemon,
    ):
        assert daemon.port == free
        code, found = examine(free, "--page", PAGE)
    assert code == 0, found
    assert {name for name, finding in found.items() if finding["status"] == "ok"} == {
        "tcp",
        "greeting",
        "policy-843",
        "policy-inline",
        "policy",
        "ws",
        "frames",
    }
    assert found["wss"]["status"] == "note"


def test_an_old_server_without_a_gateway_is_told_what_to_run(examine):
    with tcp(lambda sock: sock.recv(100)) as port:
        code, found = examine(port)
        assert code == 0
        assert found["browsers"]["fix"] == f"xmlsocket gateway --target 127.0.0.1:{port}"
        assert examine(port, "--page", PAGE)[0] == 1


def test_a_port_where_nothing_listens(examine, refused):
    code, found = examine(refused)
    assert code == 1
    assert set(found) == {"tcp"}
    assert "refuses" in found["tcp"]["what"]


def test_an_unknown_host(examine):
    code, found = examine(9, host="no-such-host.invalid")
    assert (code, found["tcp"]["status"]) == (1, "error")


def test_a_server_that_speaks_first_and_one_that_hangs_up(examine):
    with tcp(lambda sock: (sock.sendall(b"hello\0"), sock.recv(1))) as port:
        assert "b'hello\\x00'" in examine(port)[1]["greeting"]["what"]
    with tcp(lambda sock: None) as port:
        code, found = examine(port)
        assert (code, found["greeting"]["status"]) == (1, "error")


@pytest.mark.parametrize(
    ("behave", "status", "what"),
    [
        (policy(GRANT), "ok", "answers with a policy"),
        (policy(GRANT, ending=b""), "warning", "without the NUL"),
        (policy("<cross-domain-policy>"), "error", "something else"),
        (policy("hello"), "error", "something else"),
        (
            policy("", pause=2),
            "warning",
            "does not answer policy requests: it accepted the connection",
        ),
        (lambda sock: sock.recv(100), "warning", "does not answer policy requests: it closes the connection without"),
    ],
)
def test_what_the_port_says_to_a_policy_request(examine, behave, status, what):
    with tcp(behave) as port:
        _, found = examine(port)
        assert found["policy-inline"]["status"] == status, found["policy-inline"]
        assert what in found["policy-inline"]["what"]


def test_a_policy_that_does_not_let_the_page_in_and_one_on_the_master_port_that_does(examine):
    with tcp(policy(GRANT)) as port, tcp(policy(GRANT)) as master:
        code, found = examine(port, "--page", "http://other.example/")
        assert (code, found["policy"]["status"]) == (1, "error")
        assert "other.example" in found["policy"]["what"]
        _, found = examine(port, "--page", PAGE, master=master)
        assert found["policy-843"]["status"] == found["policy"]["status"] == "ok"


@pytest.mark.parametrize(
    ("answers", "status", "what"),
    [
        ((b"<pong/>\0", b"x\0"), "ok", "2 binary frames"),
        (("<pong/>",), "error", "text frames"),
        ((b"a\0b\0",), "error", "1 of 1 frames"),
        ((b"a", b"b\0"), "error", "1 of 2 frames"),
        ((), "note", "nothing was answered"),
    ],
)
def test_how_a_websocket_server_frames_its_messages(examine, answers, status, what):
    with websocket(frames(*answers)) as port:
        code, found = examine(port)
        assert found["frames"]["status"] == status
        assert what in found["frames"]["what"]
        assert code == (status == "error")


def test_an_origin_that_is_refused(examine):
    with websocket(frames(), origins=["http://other.example"]) as port:
        code, found = examine(port, "--page", PAGE)
        assert code == 1
        assert "403 to pages of http://game.example" in found["ws"]["what"]


def test_a_page_by_https_needs_wss_unless_the_server_is_this_machine(examine):
    with websocket(frames(b"x\0")) as port:
        _, found = examine(port, "--page", "https://game.example/")
        assert "mixed-content" not in found  # browsers take ws://127.0.0.1 for safe
    with old_server() as port:
        code, found = examine(port, "--page", "https://game.example/")
        assert (code, found["mixed-content"]["status"]) == (1, "error")


def test_a_server_behind_the_gateway_that_is_down(examine, refused):
    with gateway("--target", f"127.0.0.1:{refused}", "--listen", "127.0.0.1:0", listen=False) as daemon:
        code, found = examine(daemon.port)
        assert code == 1
        assert "code 1014" in found["frames"]["what"]


def test_an_unknown_path_of_a_gateway(examine):
    with old_server() as port, gateway("--target", f"127.0.0.1:{port}") as daemon:
        code, found = examine(daemon.port, "--websocket", f"ws://localhost:{daemon.port}/nobody", host="localhost")
        assert code == 1
        assert "404" in found["ws"]["what"]


def test_what_the_movie_says_is_compared_with_the_configuration(examine, tmp_path):
    file = tmp_path / "page.html"
    with old_server() as port:
        file.write_text(
            "<script>window.RufflePlayer.config = {socketProxy: "
            f"[{{host: 'localhost', port: {port}, proxyUrl: 'ws://x/'}}]}};</script>"
        )
        code, found = examine(port, "--config", str(file))
        assert (code, found["socketProxy"]["status"]) == (1, "error")
        assert f"localhost:{port}" in found["socketProxy"]["what"]
        _, found = examine(port, "--config", str(file), "--movie-host", "localhost")
        assert found["socketProxy"]["status"] == "ok"
        _, found = examine(port, "--movie-host", "Localhost")
        assert found["socketProxy"]["status"] == "warning"


def test_the_address_that_stands_in_the_configuration_is_the_one_that_is_tried(examine, tmp_path, refused):
    file = tmp_path / "config.json"
    with old_server() as port, gateway("--target", f"game=127.0.0.1:{port}") as daemon:
        entry = {"host": "old.example", "port": port, "proxyUrl": f"ws://localhost:{daemon.port}/game"}
        file.write_text(json.dumps({"socketProxy": [entry]}))
        code, found = examine(port, "--config", str(file), "--movie-host", "old.example")
        assert found["ws"]["what"] == f"ws://localhost:{daemon.port}/game opens a WebSocket"
        assert found["frames"]["status"] == "ok"
        assert "wss" not in found
        entry["proxyUrl"] = f"ws://localhost:{refused}/"
        file.write_text(json.dumps({"socketProxy": [entry]}))
        code, found = examine(port, "--config", str(file), "--movie-host", "old.example")
        assert (code, found["ws"]["status"]) == (1, "error")


def test_our_own_daemon_is_well(examine):
    async def echo(connection: xmlsocket.Connection) -> None:
        async for message in connection:
            await connection.send(message)

    started, stop, port = threading.Event(), [], []

    async def main() -> None:
        async with xmlsocket.serve(echo, "127.0.0.1", 0) as server:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(ended.set))
            port.append(server.port)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert started.wait(DEADLINE)
        code, found = examine(port[0])
        assert code == 0
        assert found["ws"]["status"] == found["frames"]["status"] == "ok"
    finally:
        stop[0]()
        thread.join(DEADLINE)


def test_text_has_one_line_for_each_finding(capsys, refused):
    with old_server() as port:
        run(["doctor", f"127.0.0.1:{port}", "--policy-port", str(refused), "--timeout", "0.5"])
        lines = capsys.readouterr().out.splitlines()
        assert all(line.split()[0] in ("ok", "note", "warning", "error") for line in lines)
        assert any("To do: xmlsocket gateway" in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ("/run/x.sock",),
        ("a:x",),
        ("a:1", "--page", "game.example"),
        ("a:1", "--websocket", "http://x/"),
        ("a:1", "--config", "/no/such"),
        ("a:1", "--policy-port", "0"),
    ],
)
def test_options_that_cannot_work_end_it_with_2(arguments, capsys):
    assert run(["doctor", *arguments]) == 2
    assert capsys.readouterr().err
