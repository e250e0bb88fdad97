"""The load generator is what every figure rests on: it must see each fault, and must not see faults where none are."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NOTICE = b'c="ffff"'

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="the load generator is C for Linux"
)

Fault = Callable[[int, int, bytes], list[bytes]]
"""Gets receiver (in the order of connecting), how many messages it got, and the next one; returns what to send."""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("programs")
    built = {}
    for source in (BENCHMARKS / "loadgen.c", BENCHMARKS / "peers" / "server.c"):
        built[source.stem] = directory / source.stem
        command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(built[source.stem]), str(source)]
        subprocess.run(command, check=True)
    return built


class FaultyServer:
    """Echoes, or relays to everybody, and does to the messages on their way what the fault says."""

    def __init__(self, fault: Fault, *, is_relay: bool) -> None:
        self._fault = fault
        self._is_relay = is_relay
        self._members: list[socket.socket] = []
        self._delivered: dict[socket.socket, int] = {}
        self._rest: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> FaultyServer:
        for sock in (self._listener, self._woken):
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join()
        for sock in (*self._members, self._listener, self._woken):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    with contextlib.suppress(ConnectionError):  # the load generator leaves at once when it sees a fault
                        self._read(key.fileobj)

    def _accept(self) -> None:
        member, _ = self._listener.accept()
        self._members.append(member)
        self._delivered[member], self._rest[member] = 0, b""
        self._selector.register(member, selectors.EVENT_READ)

    def _read(self, member: socket.socket) -> None:
        data = member.recv(65536)
        if not data:
            self._selector.unregister(member)
            return
        *messages, self._rest[member] = (self._rest[member] + data).split(b"\0")
        for message in messages:
            for receiver in self._members if self._is_relay else [member]:
                self._deliver(receiver, message + b"\0")

    def _deliver(self, receiver: socket.socket, message: bytes) -> None:
        if NOTICE in message:
            receiver.sendall(message)
            return
        for changed in self._fault(self._members.index(receiver), self._delivered[receiver], message):
            if changed == CLOSE:
                receiver.shutdown(socket.SHUT_RDWR)
            else:
                receiver.sendall(changed)
        self._delivered[receiver] += 1


def frame(payload: bytes, head: int = 0x82) -> bytes:
    """A frame of a server; by default final and binary."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes([head]) + length + payload


class FaultyWebSocketServer(FaultyServer):
    """The same with WebSockets: what the fault returns is sent in a frame each, or as it is where that is a ``Raw``."""

    def __init__(self, fault: Fault, *, is_relay: bool, salt: bytes = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11") -> None:
        super().__init__(fault, is_relay=is_relay)
        self._salt = salt
        self._unread: dict[socket.socket, bytes] = {}

    def _read(self, member: socket.socket) -> None:
        data = member.recv(65536)
        if not data:
            self._selector.unregister(member)
            return
        data = self._unread.get(member, b"") + data
        if member not in self._unread:
            head, _, data = data.partition(b"\r\n\r\n")  # sent in one write
            (key,) = (line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
            accept = base64.b64encode(hashlib.sha1(key + self._salt).digest())
            answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            member.sendall(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while len(data) >= 6:
            more = {126: 2, 127: 8}.get(data[1] & 127, 0)
            size = int.from_bytes(data[2 : 2 + more], "big") if more else data[1] & 127
            start = 6 + more
            if len(data) < start + size:
                break
            mask = data[start - 4 : start] * (size // 4 + 1)
            payload = bytes(byte ^ key for byte, key in zip(data[start : start + size], mask, strict=False))
            if data[0] & 15 == 2:
                assert payload.endswith(b"\0")  # one whole message to a frame, as it is documented
                for receiver in self._members if self._is_relay else [member]:
                    self._deliver(receiver, payload)
            data = data[start + size :]
        self._unread[member] = data

    def _deliver(self, receiver: socket.socket, message: bytes) -> None:
        if NOTICE in message:
            receiver.sendall(frame(message))
            return
        for changed in self._fault(self._members.index(receiver), self._delivered[receiver], message):
            if changed == CLOSE:
                receiver.shutdown(socket.SHUT_RDWR)
            else:
                receiver.sendall(changed if isinstance(changed, Raw) else frame(changed))
        self._delivered[receiver] += 1


class Raw(bytes):
    """Bytes that are no payload but go out as they are."""


CLOSE = b"close"
AT = 20
"""The message that suffers: behind the first ones, long before the last."""


def at(change: Callable[[bytes], list[bytes]]) -> Fault:
    return lambda receiver, count, message: change(message) if (receiver, count) == (0, AT) else [message]


def swapped() -> Fault:
    held: list[bytes] = []

    def fault(receiver: int, count: int, message: bytes) -> list[bytes]:
        if (receiver, count) == (0, AT):
            held.append(message)
            return []
        return [message, held.pop()] if receiver == 0 and held else [message]

    return fault


def flip(message: bytes, place: int) -> bytes:
    return message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]


FAULTS: dict[str, tuple[Fault, str]] = {
    "a message is dropped": (at(lambda m: []), "lost or reordered: message 21 of sender 0 came, 20 was next"),
    "a message is repeated": (at(lambda m: [m, m]), "repeated or reordered: message 20 of sender 0 came, 21 was next"),
    "two messages are swapped": (swapped(), "lost or reordered: message 21 of sender 0 came, 20 was next"),
    "a byte of the text is altered": (at(lambda m: [flip(m, 40)]), "altered: message 20 of sender 0: byte 40 of 65"),
    "the last byte is altered": (at(lambda m: [flip(m, 63)]), "altered: message 20 of sender 0: byte 63 of 65"),
    "the header is altered": (at(lambda m: [flip(m, 2)]), "altered: what follows its 20 messages is no message"),
    "a byte is missing": (at(lambda m: [m[:40] + m[41:]]), "altered: message 20 of sender 0: byte "),
    "two messages are merged": (at(lambda m: [m[:-1]]), "altered: message 20 of sender 0: byte 64 of 65"),
    "an empty message is added": (at(lambda m: [b"\0", m]), "altered: what follows its 20 messages is no message"),
    "another's message comes": (
        at(lambda m: [m.replace(b'c="0000"', b'c="0001"')]),
        "got message 20 of sender 1, which is not for it",
    ),
    "the connection is closed": (at(lambda m: [CLOSE]), "lost: closed by the server after 20 messages"),
}


WEBSOCKET_FAULTS: dict[str, tuple[Fault, str]] = {
    "a frame is text": (at(lambda m: [Raw(frame(m, 0x81))]), "a frame with opcode 1"),
    "a frame has a reserved bit": (at(lambda m: [Raw(frame(m, 0xC2))]), "a frame with reserved bits"),
    "a frame has a mask": (
        at(lambda m: [Raw(b"\x82" + bytes([0x80 | len(m)]) + b"\0\0\0\0" + m)]),
        "a frame with a mask",
    ),
    "a ping is too long": (at(lambda m: [Raw(frame(b"x" * 126, 0x89)), m]), "a control frame of 126 bytes"),
    "a close frame comes": (
        at(lambda m: [Raw(frame(b"\x03\xe8", 0x88))]),
        "lost: closed by the server with a close frame",
    ),
    "a length is one too small": (
        at(lambda m: [Raw(b"\x82" + bytes([len(m) - 1]) + m)]),
        "connection 0: ",
    ),
    "a frame is empty, its message lost": (at(lambda m: [b""]), "lost or reordered: message 21 of sender 0"),
}


def run_load(program: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments, "--port", str(port), "--seconds", "0.2", "--warm-up", "0.05"]
    return subprocess.run(command, capture_output=True, text=True, timeout=40, input="go on\n")


@pytest.mark.parametrize("name", FAULTS)
def test_echo_fails_and_says_what_when(name: str, programs: dict[str, Path]) -> None:
    fault, sentence = FAULTS[name]
    with FaultyServer(fault, is_relay=False) as server:
        done = run_load(programs["loadgen"], server.port, "echo", "--connections", "2", "--depth", "4")
    assert sentence in done.stderr
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("name", FAULTS | WEBSOCKET_FAULTS)
def test_echo_in_frames_fails_and_says_what_when(name: str, programs: dict[str, Path]) -> None:
    fault, sentence = (FAULTS | WEBSOCKET_FAULTS)[name]
    with FaultyWebSocketServer(fault, is_relay=False) as server:
        done = run_load(programs["loadgen"], server.port, "echo", "--websocket", "--connections", "2", "--depth", "4")
    assert sentence in done.stderr
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("name", [name for name in FAULTS | WEBSOCKET_FAULTS if "another's" not in name])
def test_a_room_in_frames_fails_and_says_what_when(name: str, programs: dict[str, Path]) -> None:
    fault, sentence = (FAULTS | WEBSOCKET_FAULTS)[name]
    load = ("relay", "--websocket", "--connections", "3", "--publishers", "1", "--depth", "4")
    with FaultyWebSocketServer(fault, is_relay=True) as server:
        done = run_load(programs["loadgen"], server.port, *load)
    assert sentence in done.stderr
    assert done.returncode == 1


ODD: dict[str, Fault] = {
    "a message comes in two frames": at(lambda m: [m[:30], m[30:]]),
    "a message comes in pieces of one frame": at(lambda m: [Raw(frame(m[:30], 0x02) + frame(m[30:], 0x80))]),
    "the NUL comes by itself": at(lambda m: [m[:-1], m[-1:]]),
    "a frame without a byte comes between": at(lambda m: [b"", m]),
}


@pytest.mark.parametrize("name", [*ODD, "each message comes in its frame"])
def test_frames_that_are_not_one_whole_message_are_counted(name: str, programs: dict[str, Path]) -> None:
    with FaultyWebSocketServer(ODD.get(name, lambda receiver, count, m: [m]), is_relay=False) as server:
        done = run_load(programs["loadgen"], server.port, "echo", "--websocket", "--connections", "2", "--depth", "4")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["odd_frames"] > 0) == (name in ODD)
    assert result["frames"] >= result["messages"] > 0


def test_two_messages_in_one_frame_are_counted_as_odd(programs: dict[str, Path]) -> None:
    held: list[bytes] = []

    def fault(receiver: int, count: int, message: bytes) -> list[bytes]:
        if (receiver, count) == (0, AT):
            held.append(message)
            return []
        return [held.pop() + message] if receiver == 0 and held else [message]

    with FaultyWebSocketServer(fault, is_relay=False) as server:
        done = run_load(programs["loadgen"], server.port, "echo", "--websocket", "--depth", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["odd_frames"] == 1


def test_a_handshake_that_is_answered_with_another_key_is_told(programs: dict[str, Path]) -> None:
    with FaultyWebSocketServer(lambda receiver, count, m: [m], is_relay=False, salt=b"salt") as server:
        done = run_load(programs["loadgen"], server.port, "echo", "--websocket")
    assert "Sec-WebSocket-Accept is" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    "name", [name for name in FAULTS if "another's" not in name]
)  # in a room every message is for every member
def test_a_room_fails_and_says_what_when(name: str, programs: dict[str, Path]) -> None:
    fault, sentence = FAULTS[name]
    load = ("relay", "--connections", "3", "--publishers", "1", "--depth", "4")
    with FaultyServer(fault, is_relay=True) as server:
        done = run_load(programs["loadgen"], server.port, *load)
    assert sentence in done.stderr
    assert done.returncode == 1


def test_a_room_fails_when_its_members_hear_two_senders_in_different_orders(programs: dict[str, Path]) -> None:
    held: list[bytes] = []

    def fault(receiver: int, count: int, message: bytes) -> list[bytes]:
        """One member hears the first pair of neighbours with different senders the other way round."""
        if receiver != 2 or (held and held[0] == b""):
            return [message]
        if not held:
            held.append(message)
            return []
        before = held.pop()
        if message[:10] == before[:10]:
            held.append(message)
            return [before]
        held.append(b"")
        return [message, before]

    with FaultyServer(fault, is_relay=True) as server:
        done = run_load(
            programs["loadgen"], server.port, "relay", "--connections", "3", "--publishers", "2", "--depth", "2"
        )
    assert "reordered: members 0 and" in done.stderr
    assert done.returncode == 1


def test_a_message_that_never_comes_is_missed(programs: dict[str, Path]) -> None:
    with FaultyServer(lambda r, count, m: [m] if count < AT else [], is_relay=False) as server:
        done = run_load(programs["loadgen"], server.port, "echo", "--depth", "2", "--patience", "0.5")
    assert "connection 0: lost: message 20 of sender 0 did not come within 0.5 s (it got 20 messages)" in done.stderr
    assert done.returncode == 1


@contextlib.contextmanager
def running(program: Path, mode: str, *more: str) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([str(program), mode, str(port), *more], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield port, server.pid
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize(
    "load",
    [
        ("echo", "--connections", "8", "--depth", "16"),
        ("echo", "--connections", "8", "--depth", "16", "--text", "mixed"),
        ("echo", "--connections", "3", "--depth", "4", "--size", "300001", "--text", "mixed"),
        ("relay", "--connections", "40", "--publishers", "3", "--depth", "4"),
        ("relay", "--connections", "1", "--publishers", "1", "--size", "35"),
        ("churn", "--connections", "8"),
        ("policy", "--connections", "8", "--policy", str(BENCHMARKS / "policy.xml")),
        ("idle", "--connections", "300"),
        ("idle", "--connections", "300", "--silent"),
    ],
    ids=lambda load: " ".join(load[:6]),
)
def test_a_right_server_passes_and_the_result_is_one_line_of_json(
    load: tuple[str, ...], programs: dict[str, Path]
) -> None:
    mode = load[0] if load[0] in ("relay", "policy") else "echo"
    policy = (str(BENCHMARKS / "policy.xml"),) if mode == "policy" else ()
    with running(programs["server"], mode, *policy) as (port, pid):
        done = run_load(programs["loadgen"], port, *load, "--server-pids", str(pid))
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["scenario"] == load[0]
    assert result["messages"] > 0
    assert result["rate"] == pytest.approx(result["messages"] / result["seconds"], rel=0.01)
    assert result["server_cpu_seconds"] > 0
    assert result["client_cpu_seconds"] > 0


def test_a_wrong_policy_is_told(programs: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.xml"
    other.write_text("<cross-domain-policy/>")
    with running(programs["server"], "policy", str(BENCHMARKS / "policy.xml")) as (port, _):
        done = run_load(programs["loadgen"], port, "policy", "--policy", str(other))
    assert "altered: the answer is not the policy" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say a scenario"),
        (("echo",), "--port is 0"),
        (("echo", "--port", "1", "--size", "10"), "--size must be at least"),
        (("echo", "--port", "1"), "connect to port 1"),
        (("relay", "--port", "1", "--connections", "2", "--publishers", "3"), "3 publishers among 2 members"),
    ],
)
def test_what_cannot_be_done_is_no_lost_message(
    arguments: tuple[str, ...], sentence: str, programs: dict[str, Path]
) -> None:
    done = subprocess.run([str(programs["loadgen"]), *arguments], capture_output=True, text=True, timeout=20)
    assert sentence in done.stderr
    assert done.returncode == 2


def test_more_connections_than_descriptors_is_said_plainly(programs: dict[str, Path]) -> None:
    command = ["sh", "-c", f"ulimit -n 64 && exec {programs['loadgen']} echo --port 1 --connections 500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=os.environ | {"LC_ALL": "C"})
    assert "500 connections need 628 descriptors, and this process may have 64" in done.stderr
    assert done.returncode == 2
