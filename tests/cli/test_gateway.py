"""``xmlsocket gateway`` as people run it: a process of its own in front of a plain TCP server."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import trustme
import websockets
from tests.cli.processes import DEADLINE, SCRIPT, Client, Daemon, environment
from websockets.sync.client import connect

from xmlsocket.cli.program import run as run_here

POLICY = '<cross-domain-policy><allow-access-from domain="*.example.com" to-ports="8080"/></cross-domain-policy>'


@contextlib.contextmanager
def old_server() -> Iterator[int]:
    """A game server from long ago: echoes, and knows nothing of browsers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                while data := sock.recv(65_536):
                    sock.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def gateway(*arguments: str, command: tuple[str, ...] = ("gateway",), listen: bool = True) -> Iterator[Daemon]:
    where = ("--listen", "localhost:0") if listen else ()
    daemon = Daemon([SCRIPT, *command, *arguments, *where], env=environment())
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        daemon.process.stdout.close()
        daemon.process.stderr.close()


def talk(url: str, *messages: bytes) -> list[bytes]:
    with connect(url, compression=None, open_timeout=DEADLINE) as client:
        for message in messages:
            client.send(message)
        return [client.recv(DEADLINE) for _ in messages]


def test_one_command_leads_a_browser_and_a_player_to_a_server_that_exists():
    with old_server() as port, gateway("--target", f"127.0.0.1:{port}") as daemon:
        assert talk(f"ws://localhost:{daemon.port}/", b"hello\0", b"\xc3\xa9\0") == [b"hello\0", b"\xc3\xa9\0"]
        assert f"ws://localhost:{daemon.port}/ leads to 127.0.0.1:{port}\n" in daemon.stdout
        with Client(daemon.port) as player:
            player.send("x")
            assert player.receive() == "x"
        assert daemon.stop() == 0
        assert "2 connections, 3 messages received, 3 sent" in daemon.stdout
        assert daemon.stderr == ""


def test_a_file_says_the_same_as_options_and_the_command_line_wins(tmp_path):
    (tmp_path / "policy.xml").write_text(POLICY)
    with old_server() as port:
        file = tmp_path / "gateway.toml"
        file.write_text(
            f'[gateway]\nlisten = "localhost:1"\ntargets = ["game=127.0.0.1:{port}", "chat=127.0.0.1:{port}"]\n'
            'default = "chat"\npolicy = "policy.xml"\n[limits]\nmax_message_size = 10\nhalf_close_timeout = 1.5\n'
        )
        with gateway("--config", str(file), "--max-message-size", "20") as daemon:
            assert talk(f"ws://localhost:{daemon.port}/game", b"x" * 19 + b"\0") == [b"x" * 19 + b"\0"]
            with Client(daemon.port) as player:
                player.send("<policy-file-request/>")
                assert player.receive() == POLICY
            with connect(f"ws://localhost:{daemon.port}/chat", compression=None) as client:
                client.send(b"x" * 30 + b"\0")
                with pytest.raises(websockets.ConnectionClosed):
                    client.recv(DEADLINE)
                assert client.close_code == 1009


def test_a_unix_socket_is_a_target_by_its_name(tmp_path):
    place = tmp_path / "game.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        with gateway("--target", f"game=unix:{place}", "--target", "tls://localhost:1") as daemon:
            with connect(f"ws://localhost:{daemon.port}/game", compression=None) as client:
                client.send(b"hello\0")
                accepted = listener.accept()[0]
                assert accepted.recv(100) == b"hello\0"
                accepted.close()
            assert f"/game leads to unix:{place}\n" in daemon.stdout
            assert "/localhost:1 leads to tls://localhost:1\n" in daemon.stdout


def test_a_refused_target_is_in_the_log():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with gateway("--target", f"127.0.0.1:{port}") as daemon:
        with connect(f"ws://localhost:{daemon.port}/", compression=None) as client:
            with pytest.raises(websockets.ConnectionClosed):
                client.recv(DEADLINE)
            assert client.close_code == 1014
        daemon.wait_for(f"WARNING xmlsocket.gateway: .*no connection to 127.0.0.1:{port}.*nothing listens", "stderr")
        assert daemon.stop() == 0
        assert "1 x the server behind the gateway cannot be reached" in daemon.stdout


def test_hangup_without_a_terminal_reads_the_policy_anew_and_ends_nothing(tmp_path):
    file = tmp_path / "policy.xml"
    file.write_text(POLICY)

    def ask(port: int) -> str:
        with Client(port) as player:
            player.send("<policy-file-request/>")
            return player.receive()

    with old_server() as port, gateway("--target", f"127.0.0.1:{port}", "--policy", str(file)) as daemon:
        with connect(f"ws://localhost:{daemon.port}/", compression=None) as client:
            assert ask(daemon.port) == POLICY
            file.write_text(POLICY.replace("*.example.com", "other.example"))
            daemon.send_signal(signal.SIGHUP)
            daemon.wait_for("read .*policy.xml anew")
            assert "other.example" in ask(daemon.port)
            file.write_text("<cross-domain-policy>")
            daemon.send_signal(signal.SIGHUP)
            daemon.wait_for("the old policy stays", "stderr")
            assert "other.example" in ask(daemon.port)
            client.send(b"x\0")
            assert client.recv(DEADLINE) == b"x\0"
        assert daemon.stop() == 0


def test_hangup_reads_a_renewed_certificate_and_a_bad_one_leaves_the_old(tmp_path):
    file, authority, trusting = tmp_path / "cert.pem", trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)

    def renew() -> None:
        file.write_bytes(authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes())

    def serial(port: int) -> str:
        sock = socket.create_connection(("localhost", port), DEADLINE)
        with trusting.wrap_socket(sock, server_hostname="localhost") as client:
            client.sendall(b"x\0")
            assert client.recv(100) == b"x\0"
            return client.getpeercert()["serialNumber"]

    renew()
    with old_server() as port, gateway("--target", f"127.0.0.1:{port}", "--tls-cert", str(file)) as daemon:
        first = serial(daemon.port)
        renew()
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("read .*cert.pem anew")
        second = serial(daemon.port)
        assert second != first
        file.write_text("this is none")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("the old certificate stays", "stderr")
        assert serial(daemon.port) == second
        assert daemon.stop() == 0


def test_hangup_without_a_policy_is_a_line_in_the_log():
    with old_server() as port, gateway("--target", f"127.0.0.1:{port}") as daemon:
        assert talk(f"ws://localhost:{daemon.port}/", b"x\0") == [b"x\0"]
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("SIGHUP reads the policy file and the certificate anew, and there is neither", "stderr")
        assert talk(f"ws://localhost:{daemon.port}/", b"x\0") == [b"x\0"]
        assert daemon.stop() == 0


def test_a_server_that_speaks_first_is_heard_by_a_silent_player():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        greets = ("--speaks-first", "--detection-timeout", "0.05")
        with gateway("--target", f"127.0.0.1:{port}", *greets) as daemon, Client(daemon.port) as player:
            accepted = listener.accept()[0]
            accepted.sendall(b"welcome\0")
            assert player.receive() == "welcome"
            accepted.close()


def test_only_pages_of_an_allowed_origin_may_connect():
    with (
        old_server() as port,
        gateway("--target", f"127.0.0.1:{port}", "--allowed-origin", "https://game.example") as daemon,
    ):
        url = f"ws://localhost:{daemon.port}/"
        with pytest.raises(websockets.InvalidStatus, match="403"):
            connect(url, origin="https://other.example")
        with connect(url, origin="https://game.example", compression=None) as client:
            client.send(b"x\0")
            assert client.recv(DEADLINE) == b"x\0"


def test_stopping_tells_browsers_that_the_server_goes_away():
    with old_server() as port, gateway("--target", f"127.0.0.1:{port}") as daemon:
        with connect(f"ws://localhost:{daemon.port}/", compression=None) as client:
            client.send(b"x\0")
            assert client.recv(DEADLINE) == b"x\0"
            daemon.send_signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed):
                client.recv(DEADLINE)
            assert client.close_code == 1001
        assert daemon.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--target HOST:PORT"),
        (("--target", "nowhere"), "HOST:PORT"),
        (("--target", "a:1", "--listen", "x:y"), "--listen"),
        (("--target", "a:1", "--listen", "::1:80"), "brackets"),
        (("--target", "a:1", "--mode", "message"), "did you mean messages"),
        (("--target", "a:1", "--send-proxy-protocol", "3"), "v1 or v2"),
        (("--target", "a:1", "--proxy-protocol"), "--trusted-proxy"),
        (("--target", "a:1", "--tls-key", "k.pem"), "--tls-cert"),
        (("--target", "a:1", "--max-message-size", "many"), "--max-message-size"),
        (("--target", "a:1", "--default", "b"), "none of the targets"),
        (("--target", "a:1", "--detection-timeout", "1"), "needs --speaks-first"),
        (("--target", "a:1", "--backoff-max", "1"), "there is no option"),
        (("--config", "/no/such/file.toml"), "cannot read"),
    ],
)
def test_options_that_cannot_work_end_it_with_2_and_a_sentence(arguments, complaint, capsys):
    assert run_here(["gateway", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("listen = 5", "text in quotes"),
        ("[gateway]\ntarget = 'a:1'", "did you mean targets"),
        ("[gateway]\ntargets = 'a:1'", "list of texts"),
        ("[gateway]\nmax_message_size = 5", "belongs below [limits]"),
        ("[limits]\nmax_message_sise = 5", "did you mean max_message_size"),
        ("[gatway]\n", "did you mean gateway"),
    ],
)
def test_a_file_that_cannot_work_is_told_with_its_name(text, complaint, tmp_path, capsys):
    file = tmp_path / "g.toml"
    file.write_text(text if text.startswith("[") else f"[gateway]\n{text}\n")
    assert run_here(["gateway", "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert str(file) in said


def test_a_gateway_shows_browsers_a_page_with_names_and_no_addresses():
    with (
        old_server() as port,
        gateway("--target", f"chess=localhost:{port}", "--target", f"127.0.0.1:{port}") as daemon,
    ):
        where = f"localhost:{daemon.port}"
        with urllib.request.urlopen(f"http://{where}/", timeout=DEADLINE) as answer:
            page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
        assert "This is a gateway" in page
        assert "<code>/chess</code>" in page
        assert "clients now: 0" in page
        assert str(port) not in page.replace(where, ""), "the servers' addresses are the operator's affair"
        assert "no target is the default" in page
        with urllib.request.urlopen(f"http://{where}/chat.css", timeout=DEADLINE) as answer:
            assert answer.headers["Content-Type"].startswith("text/css")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        head = urllib.request.Request(f"http://{where}/", method="HEAD")
        with urllib.request.urlopen(head, timeout=DEADLINE) as answer:
            assert (answer.status, answer.read()) == (200, b"")
        for path in ("chess", "index.html", "elsewhere"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://{where}/{path}", timeout=DEADLINE)
            assert refused.value.code in (404, 426)
            refused.value.close()
        with connect(f"ws://{where}/chess", compression=None, open_timeout=DEADLINE) as client:
            client.send(b"x\0")
            assert client.recv(DEADLINE) == b"x\0"
            with urllib.request.urlopen(f"http://{where}/", timeout=DEADLINE) as answer:
                assert "clients now: 1" in answer.read().decode()
