"""Servers behind a gateway that are not plain TCP: TLS and Unix sockets, with and without a PROXY header."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from tests.gateway.upstreams import browser, close_of, frames, messages
from tests.net.peers import DEADLINE, until

from xmlsocket.errors import CloseReason, ConfigurationError
from xmlsocket.gateway import Gateway, GatewayOptions, GatewayServer, Targets, parse_target


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Server:
    """An echo, in threads, that takes ``skip`` bytes first and speaks TLS only after those."""

    def __init__(self, context: ssl.SSLContext | None = None, skip: int = 0) -> None:
        self.context = context
        self.skip = skip
        self.header = b""
        self.received = b""
        self.has_ended = threading.Event()

    def talk(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock).settimeout(DEADLINE)
            while len(self.header) < self.skip:
                self.header += sock.recv(self.skip - len(self.header))
            if self.context is not None:
                sock = stack.enter_context(self.context.wrap_socket(sock, server_side=True))
            sock.sendall(b"welcome\0")
            while data := sock.recv(65_536):
                self.received += data
                sock.sendall(data)
        self.has_ended.set()

    @contextlib.contextmanager
    def listening(self, listener: socket.socket) -> Iterator[None]:
        def accept() -> None:
            with contextlib.suppress(OSError):  # the test is over
                while True:
                    threading.Thread(target=self.talk, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextlib.contextmanager
def tcp(server: Server) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener, server.listening(listener):
        yield listener.getsockname()[1]


@contextlib.contextmanager
def unix(server: Server, path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with server.listening(listener):
            yield


@contextlib.asynccontextmanager
async def gateway(
    text: str, context: ssl.SSLContext | None = None, version: int | None = None
) -> AsyncIterator[GatewayServer]:
    options = GatewayOptions(proxy_protocol=version)  # type: ignore[arg-type]  # a number of the tests
    made = Gateway(Targets([parse_target(text, ssl=context)]), options)
    async with made.serve("127.0.0.1", 0) as server:
        yield server


def test_messages_pass_to_a_server_that_speaks_tls_and_back(runner, server_tls, client_tls):
    async def main() -> None:
        server = Server(server_tls)
        with tcp(server) as port:
            async with gateway(f"tls://127.0.0.1:{port}", client_tls) as gate:
                async with browser(gate) as client:
                    await client.send(b"x\0" + b"y" * 300_000 + b"\0")
                    assert await frames(client, 3) == [b"welcome\0", b"x\0", b"y" * 300_000 + b"\0"]
                await until(server.has_ended.is_set)
                assert server.received == b"x\0" + b"y" * 300_000 + b"\0"
                await until(lambda: not gate.upstream_connections)

    runner(main())


def test_the_proxy_header_stands_before_the_tls_handshake(runner, server_tls, client_tls):
    async def main() -> None:
        server = Server(server_tls, skip=28)
        with tcp(server) as port:
            async with gateway(f"tls://127.0.0.1:{port}", client_tls, 2) as gate:
                async with browser(gate) as client:
                    assert await frames(client, 1) == messages("welcome")
                    await client.send(b"x\0")
                    assert await frames(client, 1) == messages("x")
                    own = client.transport.get_extra_info("sockname")[1]
                assert server.header[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                assert server.header[24:26] == own.to_bytes(2, "big")
                assert server.received == b"x\0"

    runner(main())


def test_a_certificate_that_is_not_trusted_is_a_refusal_and_the_log_says_why(runner, server_tls, caplog):
    async def main() -> None:
        with tcp(Server(server_tls)) as port:
            async with gateway(f"tls://127.0.0.1:{port}") as gate:
                async with browser(gate) as client:
                    assert await close_of(client) == ([], 1014, CloseReason.UPSTREAM_REFUSED.value)
                assert f"the certificate of 127.0.0.1:{port} is not to be trusted" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        runner(main())


def test_a_server_that_does_not_speak_tls_is_a_refusal_and_the_log_says_so(runner, client_tls, caplog):
    async def main() -> None:
        with tcp(Server()) as port:
            async with gateway(f"tls://127.0.0.1:{port}", client_tls) as gate:
                async with browser(gate) as client:
                    assert await close_of(client) == ([], 1014, CloseReason.UPSTREAM_REFUSED.value)
                assert f"no TLS with 127.0.0.1:{port}" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        runner(main())


def test_nothing_listening_behind_a_proxy_header_and_tls_is_a_refusal(runner, client_tls, caplog):
    async def main() -> None:
        with tcp(Server()) as port:
            pass
        async with gateway(f"tls://127.0.0.1:{port}", client_tls, 1) as gate, browser(gate) as client:
            assert await close_of(client) == ([], 1014, CloseReason.UPSTREAM_REFUSED.value)
            assert "nothing listens there" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        runner(main())


@pytest.mark.parametrize("version", [None, 1])
def test_messages_pass_to_a_unix_socket_and_back(runner, tmp_path, version):
    async def main() -> None:
        place = tmp_path / "game=1.sock"
        server = Server()
        with unix(server, place):
            async with gateway(f"unix:{place}", version=version) as gate:
                async with browser(gate) as client:
                    await client.send(b"x\0")
                    assert await frames(client, 1) == messages("welcome")
                    echo = (await frames(client, 1))[0]
                    own = client.transport.get_extra_info("sockname")[1]
                await until(server.has_ended.is_set)
                header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} {gate.port}\r\n".encode() if version else b""
                assert server.received == echo == header + b"x\0"

    runner(main())


def test_a_unix_socket_that_is_not_there_is_a_refusal_and_the_log_names_it(runner, tmp_path, caplog):
    async def main() -> None:
        for place in (tmp_path / "none.sock", tmp_path / ("x" * 200)):
            async with gateway(f"unix:{place}") as gate, browser(gate) as client:
                assert await close_of(client) == ([], 1014, CloseReason.UPSTREAM_REFUSED.value)
                assert f"no connection to unix:{place}" in caplog.text

    with caplog.at_level(logging.WARNING, "xmlsocket.gateway"):
        runner(main())


def test_each_target_has_the_path_of_its_name_or_address():
    texts = ["a:1", "game=tls://b:2", "old=unix:/run/x=y.sock", "tls://[::1]:3", "unix:/run/z.sock"]
    targets = Targets([parse_target(text) for text in texts], default="unix:/run/z.sock")
    found = {str(target): target for target in targets}
    assert list(found) == texts
    paths = {"/a:1": 0, "/A:1": 0, "/game": 1, "/b:2": 1, "/old": 2, "/[::1]:3": 3, "/%5B::1%5D:3": 3, "/": 4}
    for path, index in paths.items():
        assert targets.find(path) is found[texts[index]], path
    for path in ("/GAME", "/unix:/run/z.sock", "/run/z.sock", "/tls://b:2", "/old/", ""):
        assert targets.find(path) is None, path


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (("unix:",), "path of a Unix socket"),
        (("tls://a",), "HOST:PORT"),
        (("tls://unix:/x",), "HOST:PORT"),
        (("ws://a:1",), "tls://HOST:PORT"),
        (("unix:/a", "unix:/b"), "NAME=unix:/a"),
        (("a:1", "tls://a:1"), "two targets have the path /a:1"),
        (("x=unix:/a", "x=unix:/b"), "two targets have the path /x"),
    ],
)
def test_targets_that_cannot_be_told_apart_or_reached_are_refused(texts, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        Targets([parse_target(text) for text in texts])
