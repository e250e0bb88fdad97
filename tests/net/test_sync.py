"""The blocking client: the same words and errors as the asyncio one, without a loop and without a thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import threading
import time
from xml.etree import ElementTree

import pytest
import trustme

import xmlsocket
from xmlsocket import CloseReason, ConfigurationError, ConnectionClosedError

LOCALHOST = "127.0.0.1"


@contextlib.contextmanager
def asyncio_server(handler, host=LOCALHOST, port=0, **options):
    """One of our servers, on an event loop in a thread of its own."""
    started, finish = threading.Event(), None
    box = {}

    async def main():
        nonlocal finish
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        finish = lambda: loop.call_soon_threadsafe(over.set)  # noqa: E731
        if "path" in options:
            serving = xmlsocket.serve(handler, **options)
        else:
            serving = xmlsocket.serve(handler, host, port, **options)
        async with serving as server:
            box["server"] = server
            started.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert started.wait(10)
        yield box["server"]
    finally:
        finish()
        thread.join()


@contextlib.contextmanager
def plain_server(**options):
    """A client of ours, and the plain socket at the other end."""
    with (
        socket.create_server((LOCALHOST, 0)) as listener,
        xmlsocket.sync.connect(LOCALHOST, listener.getsockname()[1], **options) as connection,
    ):
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(10)
            yield connection, peer


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_it_is_there_after_import_xmlsocket():
    assert xmlsocket.sync.connect.__module__ == "xmlsocket.sync"
    assert "sync" in xmlsocket.__all__


def test_messages_come_back_in_order():
    with asyncio_server(echo) as server, xmlsocket.sync.connect(LOCALHOST, server.port) as connection:
        for number in range(500):
            connection.send(f"<message number='{number}'/>")
        for number in range(500):
            assert connection.receive() == f"<message number='{number}'/>"
        assert connection.statistics.messages_sent == connection.statistics.messages_received == 500
        assert connection.statistics.bytes_sent == connection.statistics.bytes_received


def test_text_bytes_and_elements_can_be_sent_and_long_messages_too():
    with asyncio_server(echo) as server, xmlsocket.sync.connect(LOCALHOST, server.port) as connection:
        for message, answer in [
            ("", ""),
            ("é語🐌", "é語🐌"),
            (b"bytes", "bytes"),
            (ElementTree.fromstring("<a b='c'/>"), '<a b="c" />'),
            ("x" * 1_048_576, "x" * 1_048_576),
        ]:
            connection.send(message)
            assert connection.receive(timeout=10) == answer


def test_sending_much_to_a_server_that_answers_all_of_it_is_no_deadlock():
    with (
        asyncio_server(echo) as server,
        xmlsocket.sync.connect(LOCALHOST, server.port, receive_high_water=30_000_000) as connection,
    ):
        for _ in range(200):
            connection.send("x" * 99_999, timeout=20)  # 20 MB, more than all buffers between the two hold
        for _ in range(200):
            assert len(connection.receive(timeout=20)) == 99_999


def test_a_stream_in_any_pieces_gives_whole_messages():
    with plain_server() as (connection, peer):
        for byte in "één\0twee\0".encode():
            peer.sendall(bytes([byte]))
        assert connection.receive() == "één"
        assert connection.receive() == "twee"


def test_a_timeout_loses_nothing():
    with plain_server() as (connection, peer):
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=f"no message within {timeout} s"):
                connection.receive(timeout=timeout)
        peer.sendall(b"half")
        with pytest.raises(TimeoutError):
            connection.receive(timeout=0.01)
        peer.sendall(b" and half\0next\0")
        assert connection.receive(timeout=10) == "half and half"
        assert connection.receive(timeout=0) == "next"


def test_a_timeout_of_0_takes_what_is_there():
    with plain_server() as (connection, peer):
        peer.sendall(b"there\0")
        deadline = time.monotonic() + 10
        while True:
            try:
                assert connection.receive(timeout=0) == "there"
                break
            except TimeoutError:
                assert time.monotonic() < deadline


def test_iteration_ends_when_the_server_closes_and_sending_may_go_on():
    with plain_server() as (connection, peer):
        peer.sendall(b"one\0two\0cut off")
        peer.shutdown(socket.SHUT_WR)
        assert list(connection) == ["one", "two"]
        assert list(connection) == []
        with pytest.raises(ConnectionClosedError, match="closed by the peer"):
            connection.receive()
        connection.send("late")
        assert peer.recv(100) == b"late\0"


def test_a_reset_is_told_by_iteration_and_by_send():
    with plain_server() as (connection, peer):
        peer.sendall(b"one\0")
        assert connection.receive() == "one"
        reset(peer)
        with pytest.raises(ConnectionClosedError, match="the connection was lost") as caught:
            list(connection)
        assert caught.value.reason is connection.close_reason is CloseReason.CONNECTION_LOST
        with pytest.raises(ConnectionClosedError):
            connection.send("late")
        assert not connection.is_open


def test_send_to_a_server_that_has_gone_raises():
    def send_on(connection):
        for _ in range(1000):  # the first may still be taken by the system
            connection.send("x")
            time.sleep(0.001)

    with plain_server() as (connection, peer):
        reset(peer)
        with pytest.raises(ConnectionClosedError):
            send_on(connection)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"one\0two\0\xff\0after\0", CloseReason.INVALID_TEXT), (b"one\0two\0toolong", CloseReason.MESSAGE_TOO_LARGE)],
)
def test_messages_before_a_fault_are_delivered_then_the_reason_is_told(data, reason, caplog):
    with caplog.at_level(logging.WARNING), plain_server(max_message_size=6) as (connection, peer):
        peer.sendall(data)
        assert [connection.receive(), connection.receive()] == ["one", "two"]
        with pytest.raises(ConnectionClosedError) as caught:
            connection.receive()
        assert caught.value.reason is reason
        assert isinstance(caught.value.__cause__, xmlsocket.RemoteProtocolError)
        with pytest.raises(ConnectionClosedError):
            connection.send("late")
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("message", "error"), [("a\0b", xmlsocket.EmbeddedNulError), ("long", xmlsocket.OversizedMessageError)]
)
def test_what_cannot_be_sent_changes_nothing(message, error):
    with plain_server(max_message_size=3) as (connection, peer):
        with pytest.raises(error):
            connection.send(message)
        connection.send("ok")
        assert peer.recv(100) == b"ok\0"
        assert connection.statistics.messages_sent == 1


def test_a_server_that_does_not_read_ends_in_a_timeout_and_nothing_is_lost():
    sent = 0

    def send_on(connection):
        nonlocal sent
        while True:
            connection.send(f"{sent:>99999}", timeout=0.05)
            sent += 1

    with plain_server(receive_high_water=1000) as (connection, peer):
        with pytest.raises(TimeoutError, match=r"did not read within 0\.05 s"):
            send_on(connection)
        peer.sendall(b"go on\0")
        received = b""

        def read_all():
            nonlocal received
            while len(received) < 100_000 * (sent + 1):
                received += peer.recv(1_000_000)

        reader = threading.Thread(target=read_all)
        reader.start()
        connection.send("last", timeout=10)
        assert connection.receive(timeout=10) == "go on"
        reader.join()
        assert received[:100_000] == b"%99999d\0" % 0
        assert received[100_000 * sent :][:100_000] == b"%99999d\0" % sent


def test_a_backlog_that_timeouts_have_left_is_bounded():
    def send_on(connection):
        for _ in range(1000):
            with contextlib.suppress(TimeoutError):
                connection.send("x" * 99_999, timeout=0)
            assert len(connection._outgoing) <= 1_100_000

    with plain_server(max_send_backlog=1_000_000, max_message_size=100_000, close_timeout=0.0) as (connection, _):
        with pytest.raises(ConnectionClosedError) as caught:
            send_on(connection)
        assert caught.value.reason is CloseReason.SLOW_READER


def test_closing_delivers_everything_and_waits_for_the_server():
    with asyncio_server(echo) as server:
        with xmlsocket.sync.connect(LOCALHOST, server.port) as connection:
            for _ in range(20):
                connection.send("x" * 99_999)
        assert connection.close_reason is CloseReason.PEER_CLOSED
        assert not connection.is_open
        connection.close()
        assert server.traffic.messages_received == 20


def test_messages_received_before_closing_can_be_taken_after_it():
    with plain_server(close_timeout=0.0) as (connection, peer):
        peer.sendall(b"one\0two\0")
        assert connection.receive() == "one"
        connection.close()
        assert connection.receive() == "two"
        with pytest.raises(ConnectionClosedError, match="closed by this side"):
            connection.receive()


def test_closing_ends_after_close_timeout_though_the_server_stays():
    with plain_server(close_timeout=0.05) as (connection, peer):
        connection.close()
        assert connection.close_reason is CloseReason.CLOSED
        assert peer.recv(10) == b""


def test_aborting_is_at_once_and_harmless_twice():
    with plain_server() as (connection, peer):
        connection.abort()
        connection.abort()
        assert connection.close_reason is CloseReason.ABORTED
        assert peer.recv(10) == b""
        with pytest.raises(ConnectionClosedError, match="aborted"):
            connection.receive()


def test_an_idle_server_is_left_after_idle_timeout():
    with plain_server(idle_timeout=0.05) as (connection, peer):
        peer.sendall(b"one\0")
        assert connection.receive() == "one"
        with pytest.raises(TimeoutError):
            connection.receive(timeout=0)
        with pytest.raises(ConnectionClosedError, match="idle_timeout"):
            connection.receive(timeout=10)


def test_without_an_encoding_messages_are_bytes():
    with (
        asyncio_server(echo, encoding=None) as server,
        xmlsocket.sync.connect(LOCALHOST, server.port, encoding=None) as connection,
    ):
        connection.send(b"\xff\xfe")
        assert connection.receive() == b"\xff\xfe"


def test_code_pages_and_the_players_rule():
    with plain_server(encoding="cp1252") as (connection, peer):
        connection.send("€")
        assert peer.recv(10) == b"\x80\0"
    with plain_server(errors="flash") as (connection, peer):
        peer.sendall(b"a\xff\0")
        assert connection.receive() == "aÿ"


def test_addresses_id_and_options_of_the_socket():
    with plain_server() as (connection, peer):
        assert connection.remote_address == peer.getsockname()
        assert connection.local_address == peer.getpeername()
        assert repr(connection) == f"<Connection {connection.id} {peer.getsockname()!r}: open>"
        assert connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    with asyncio_server(echo, path=path) as _, xmlsocket.sync.connect(path=path) as connection:
        connection.send("x")
        assert connection.receive() == "x"


def test_tls_in_both_directions_and_the_end_of_it():
    authority = trustme.CA()
    server_context, client_context = tls_contexts(authority, "localhost")
    with asyncio_server(echo, ssl=server_context) as server:
        options = {"ssl": client_context, "server_hostname": "localhost", "receive_high_water": 30_000_000}
        with xmlsocket.sync.connect(LOCALHOST, server.port, **options) as connection:
            for _ in range(100):
                connection.send("x" * 99_999, timeout=20)
            for _ in range(100):
                assert len(connection.receive(timeout=20)) == 99_999
            with pytest.raises(TimeoutError):
                connection.receive(timeout=0.01)
        assert connection.close_reason is CloseReason.PEER_CLOSED


def tls_contexts(authority, *names):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    return server_context, client_context


def test_a_certificate_that_is_not_to_be_trusted_is_named():
    server_context, _ = tls_contexts(trustme.CA(), "localhost")
    with (
        asyncio_server(echo, ssl=server_context) as server,
        pytest.raises(xmlsocket.OpenError, match=r"certificate of localhost:\d+ is not to be trusted: .*unable to get"),
    ):
        xmlsocket.sync.connect("localhost", server.port, ssl=True)


def test_a_plain_server_is_no_tls_server():
    with (
        asyncio_server(echo) as server,
        pytest.raises(xmlsocket.OpenError, match=r"no TLS with .*does the server speak TLS on that port"),
    ):
        xmlsocket.sync.connect(LOCALHOST, server.port, ssl=True)


def test_failures_to_open_have_the_errors_of_the_asyncio_client():
    with socket.create_server((LOCALHOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(xmlsocket.OpenError, match=f"{LOCALHOST}:{port} refused the connection: nothing listens there"):
        xmlsocket.sync.connect(LOCALHOST, port)
    with pytest.raises(xmlsocket.OpenError, match=r"the host of nowhere\.invalid:80 is unknown"):
        xmlsocket.sync.connect("nowhere.invalid", 80)
    with pytest.raises(xmlsocket.OpenError, match="cannot connect to /nowhere/socket: No such file"):
        xmlsocket.sync.connect(path="/nowhere/socket")


def test_a_tls_server_that_never_answers_ends_in_open_timeout():
    with (
        socket.create_server((LOCALHOST, 0)) as listener,
        pytest.raises(xmlsocket.OpenTimeoutError, match=r"within open_timeout \(0\.05 s\)"),
    ):
        xmlsocket.sync.connect(LOCALHOST, listener.getsockname()[1], ssl=True, open_timeout=0.05)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "a host and a port, or a path"),
        ({"host": "x"}, "a host and a port, or a path"),
        ({"host": "x", "port": 1, "path": "y"}, "a host and a port, or a path"),
        ({"host": "x", "port": 0}, "a whole number from 1 to 65535, not 0"),
        ({"host": "x", "port": 65_536}, "not 65536"),
        ({"host": "x", "port": "80"}, "not '80'"),
        ({"path": "y", "ssl": True}, "needs server_hostname"),
        ({"host": "x", "port": 1, "server_hostname": "z"}, "needs ssl"),
        ({"host": "x", "port": 1, "encoding": "utf-16"}, "zero byte"),
        ({"host": "x", "port": 1, "max_mesage_size": 5}, "did you mean max_message_size"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_anything_is_tried(arguments, text):
    for connect in (xmlsocket.sync.connect, xmlsocket.connect):
        with pytest.raises(ConfigurationError, match=text):
            connect(**arguments)


def test_threads_with_connections_of_their_own_do_not_disturb_each_other():
    with asyncio_server(echo) as server:
        results = []

        def talk(name):
            with xmlsocket.sync.connect(LOCALHOST, server.port) as connection:
                for number in range(50):
                    connection.send(f"{name} {number}")
                results.append([connection.receive() for _ in range(50)] == [f"{name} {n}" for n in range(50)])

        threads = [threading.Thread(target=talk, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 8


def test_it_starts_no_thread():
    before = threading.active_count()
    with plain_server() as (connection, peer):
        connection.send("x")
        peer.sendall(b"y\0")
        connection.receive()
        assert threading.active_count() == before


def test_a_server_that_resets_at_once_is_an_error_in_opening_and_leaves_no_socket(monkeypatch):
    with socket.create_server((LOCALHOST, 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        monkeypatch.setattr("xmlsocket.sync.dial", lambda target, timeout: sock)
        with pytest.raises(xmlsocket.OpenError, match=f"cannot connect to {LOCALHOST}:{listener.getsockname()[1]}: "):
            xmlsocket.sync.connect(*listener.getsockname())
        assert sock.fileno() == -1
