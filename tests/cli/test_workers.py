"""``serve --workers N``: processes on one port, supervised; each test runs the real thing."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import DEADLINE, SCRIPT, Client, Daemon, ask, environment, run, serving, until

if sys.platform != "linux":
    pytest.skip("workers need Linux", allow_module_level=True)

from xmlsocket.cli import workers
from xmlsocket.cli.configuration import ServeOptions
from xmlsocket.cli.daemon import Stopper
from xmlsocket.cli.worker_process import WorkerProcess, watch_process
from xmlsocket.cli.workers import Supervisor

QUIET = ("--max-connections", "500")
POLICY = '<cross-domain-policy><allow-access-from domain="*.example.com" to-ports="8080"/></cross-domain-policy>'
PIDS = """
import os
async def handler(connection):
    async for message in connection:
        await connection.send(f"{os.getpid()} {message}")
"""


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def workers_of(daemon: Daemon) -> set[int]:
    """The processes that work now."""
    return {pid for pid in children(daemon.process.pid) if b"xmlsocket.cli.worker" in command_of(pid)}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def write(folder: Path, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code)


class Storm:
    """Clients that connect, say something and wait for the echo, for as long as they are told; and what came of it.

    A client whose connection ends before the echo says it again on a new one, as it was not answered.
    """

    def __init__(self, port: int, count: int = 4, in_a_row: int = 20) -> None:
        self.port = port
        self.in_a_row = in_a_row
        self.is_over = threading.Event()
        self.journal: Counter[str] = Counter()
        self.faults: list[str] = []
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        said = 0
        while not self.is_over.is_set():
            try:
                client = Client(self.port)
            except OSError as error:
                self.faults.append(f"connecting: {error!r}")
                return
            with client:
                for place in range(self.in_a_row):
                    message = f"{number}-{said}"
                    self.journal["sent"] += 1
                    try:
                        client.send(message)
                        answer = client.receive()
                    except (AssertionError, OSError) as error:
                        self.journal["not answered"] += 1
                        if place == 0:
                            self.faults.append(f"the first message of a connection was lost: {error!r}")
                        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                            self.faults.append(f"an end that is no end of the stream: {error!r}")
                        break
                    self.journal["answered"] += 1
                    if answer != message:
                        self.faults.append(f"{message!r} was answered by {answer!r}")
                    said += 1

    def end(self) -> Counter[str]:
        self.is_over.set()
        for thread in self.threads:
            thread.join(DEADLINE)
        assert self.journal["sent"] == self.journal["answered"] + self.journal["not answered"]
        return self.journal


# What a user sees


def test_several_processes_serve_one_port_and_the_last_line_counts_for_all(tmp_path):
    write(tmp_path, "game", PIDS)
    with serving("game:handler", "--workers", "2", *QUIET, cwd=tmp_path) as daemon:
        port = daemon.port
        assert f"serving game:handler on localhost, port {port}, by 2 workers\n" in daemon.stdout
        seen = {ask(port, "x")[0].split()[0] for _ in range(40)}
        assert {int(pid) for pid in seen} == workers_of(daemon)
        assert daemon.stop() == 0
        assert daemon.stdout.rstrip().endswith("40 connections, 40 messages received, 40 sent")
        assert daemon.stderr == ""


def test_an_application_without_rooms_needs_no_broker():
    with serving("echo", "--workers", "2", *QUIET) as daemon:
        assert ask(daemon.port, "hello") == ["hello"]
        assert len(children(daemon.process.pid)) == 2


def test_a_unix_socket_is_shared_too_and_removed_at_the_end(tmp_path):
    path = tmp_path / "echo.sock"
    with serving("echo", "--workers", "2", *QUIET, listen=("--path", str(path))) as daemon:
        daemon.wait_for("^  stop:")
        assert run("send", str(path), "hello", "--wait", "0.2").stdout == b"hello\n"
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("workers are new")
        assert run("send", str(path), "hello", "--wait", "0.2").stdout == b"hello\n"
        assert daemon.stop() == 0
        assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("echo", "--workers", "0"), "--workers must be a whole number from 1 to 1000, not '0'"),
        (("echo", "--workers", "two"), "--workers must be a whole number"),
        (("game:handler", "--workers", "2", "--reload"), "--reload is for writing a handler"),
        (("gone:handler", "--workers", "2"), "there is no module gone"),
        (("--workers", "2", "--broker-ca", "x.pem"), "--broker-ca needs --broker URL"),
        (("--broker", "nats://x", "--broker-replicas", "2"), "--broker-replicas must be 1, 3 or 5, not '2'"),
        (("--broker", "nats://localhost", "--no-history"), "means nothing with --broker"),
        (("--broker", "http://localhost"), "is no address of a NATS server"),
    ],
)
def test_what_cannot_work_is_said_once_and_ends_it_with_2(arguments, complaint, tmp_path):
    result = run("serve", *arguments, "--port", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.decode().count(complaint) == 1


def test_a_port_that_another_daemon_shares_among_its_workers_is_taken():
    with serving("echo", "--workers", "2", *QUIET) as daemon:
        port = daemon.port
        for more in ((), ("--workers", "2")):
            result = run("serve", "echo", *more, "--port", str(port))
            assert result.returncode == 1
            assert b"is taken already" in result.stderr


# Workers that die


def test_a_worker_that_is_killed_disturbs_nobody_else_and_is_replaced(tmp_path):
    write(tmp_path, "game", PIDS)
    with serving("game:handler", "--workers", "2", *QUIET, cwd=tmp_path) as daemon:
        port = daemon.port
        before = workers_of(daemon)
        clients: dict[int, list[Client]] = {pid: [] for pid in before}
        while not all(clients.values()):
            client = Client(port)
            client.send("hello")
            clients[int(client.receive().split()[0])].append(client)
        victim, other = before
        os.kill(victim, signal.SIGKILL)
        for number in range(200):  # the other's clients go on, and newcomers are let in meanwhile, whoever serves them
            client = clients[other][0]
            client.send(f"{number}")
            assert client.receive() == f"{other} {number}"
            assert len(ask(port, "new")) == 1
        until(lambda: len(workers_of(daemon) - {victim}) == 2, "a new worker")
        new = (workers_of(daemon) - before).pop()
        until(lambda: ask(port, "x")[0].startswith(f"{new} "), "the new one serves")
        daemon.wait_for(r"process \d+\) was ended by SIGKILL: replacing it", "stderr")
        for client in (client for row in clients.values() for client in row):
            client.close()
        assert daemon.stop() == 0


def test_while_a_worker_cannot_be_replaced_another_serves_its_clients(tmp_path):
    code = f"import os, time\nif os.path.exists('broken'): os._exit(7)\n{PIDS}"
    write(tmp_path, "game", code)
    with serving("game:handler", "--workers", "2", "--max-worker-starts", "2", *QUIET, cwd=tmp_path) as daemon:
        port = daemon.port
        (tmp_path / "broken").touch()
        victim, other = workers_of(daemon)
        os.kill(victim, signal.SIGKILL)
        daemon.wait_for("exit code 7 before it served", "stderr", count=3)
        assert {ask(port, "x")[0] for _ in range(30)} == {f"{other} x"}
        (tmp_path / "broken").unlink()
        until(lambda: len({ask(port, "x")[0] for _ in range(10)}) == 2, "both serve again")
        assert daemon.stop() == 0


def test_workers_that_die_whenever_they_start_end_the_daemon_with_a_sentence(tmp_path):
    write(tmp_path, "game", "import os\nos._exit(7)\n")
    result = run("serve", "game:handler", "--workers", "2", "--port", "0", "--max-worker-starts", "3", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.decode().count("exit code 7 before it served") == 3
    assert b"no worker serves, and 3 starts were in vain: giving up" in result.stderr


# The end


def test_when_the_supervisor_is_killed_everything_ends(tmp_path):
    code = "import time\nasync def handler(connection):\n    async for _ in connection:\n        time.sleep(600)\n"
    write(tmp_path, "game", code)
    arguments = ("game:handler", "--workers", "2", "--close-timeout", "0.1", *QUIET)
    with serving(*arguments, cwd=tmp_path) as daemon, Client(daemon.port) as client:
        port = daemon.port
        client.send("block")  # one worker can hear nothing any more
        family = children(daemon.process.pid)
        daemon.process.kill()
        until(lambda: all(is_gone(pid) for pid in family), "no process is left over")
        with pytest.raises(ConnectionRefusedError):
            Client(port)


def test_on_sigterm_what_was_received_is_answered_by_all_workers(tmp_path):
    code = """
import asyncio
async def handler(connection):
    async for message in connection:
        await asyncio.sleep(0.5)
        await connection.send(message)
"""
    write(tmp_path, "game", code)
    with serving("game:handler", "--workers", "2", *QUIET, cwd=tmp_path) as daemon:
        clients = [Client(daemon.port) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(str(number))
        threading.Event().wait(0.2)  # for all to be received; none is answered before half a second
        daemon.send_signal(signal.SIGTERM)
        for number, client in enumerate(clients):
            assert client.read_all() == [str(number)]
            client.close()
        assert daemon.wait() == 0


def test_a_second_signal_ends_all_at_once(tmp_path):
    code = """
import asyncio
async def handler(connection):
    async for message in connection:
        await connection.send(message)
        await asyncio.sleep(600)
"""
    write(tmp_path, "game", code)
    arguments = ("game:handler", "--workers", "2", "--close-timeout", "600", *QUIET)
    with serving(*arguments, cwd=tmp_path) as daemon, Client(daemon.port) as client:
        client.send("x")
        client.receive()
        family = children(daemon.process.pid)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_for("^stopping")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 128 + signal.SIGTERM
        until(lambda: all(is_gone(pid) for pid in family), "no process is left over")


# SIGHUP


def test_sighup_replaces_all_workers_under_a_storm_and_nobody_is_refused_and_no_message_is_lost():
    with serving("echo", "--workers", "2", *QUIET) as daemon:
        storm = Storm(daemon.port)
        for count in (1, 2):
            before = workers_of(daemon)
            daemon.send_signal(signal.SIGHUP)
            daemon.wait_for("all 2 workers are new", count=count)
            assert before.isdisjoint(workers_of(daemon))
        journal = storm.end()
        assert storm.faults == []
        assert journal["answered"] > 100
        assert journal["not answered"] <= 4 * 4  # of each client at most the message under way when a worker went
        assert daemon.stop() == 0
        assert daemon.stderr == ""


def test_sighup_reads_the_policy_anew_and_one_with_an_error_leaves_the_old_workers(tmp_path):
    file = tmp_path / "policy.xml"
    file.write_text(POLICY)
    policy = ("--policy", str(file), "--policy-port", "0")
    with serving("echo", "--workers", "2", *policy, *QUIET) as daemon:
        ports = daemon.port, int(daemon.wait_for(r"and on port (\d+)")[1])
        file.write_text(POLICY.replace("*.example.com", "*.example.org"))
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("all 2 workers are new")
        for _ in range(8):
            assert [ask(port, "<policy-file-request/>") for port in ports] == [[file.read_text()]] * 2
        before = workers_of(daemon)
        file.write_text("<cross-domain-policy><allow-access-from")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("the old one stays", "stderr")
        assert workers_of(daemon) == before
        for port in ports:
            assert "example.org" in ask(port, "<policy-file-request/>")[0]
        assert daemon.stop() == 0


# What a worker is


def test_a_module_of_the_user_that_has_the_name_of_one_of_pythons_harms_nothing(tmp_path):
    write(tmp_path, "queue", "raise RuntimeError('this is the user\\'s queue')\n")
    write(tmp_path, "game", PIDS)
    with serving("echo", "--workers", "2", *QUIET, cwd=tmp_path) as daemon:
        assert ask(daemon.port, "x") == ["x"]


def test_a_program_that_a_handler_starts_does_not_hold_the_port(tmp_path):
    code = """
import subprocess, sys
async def handler(connection):
    async for message in connection:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await connection.send(str(child.pid))
"""
    write(tmp_path, "game", code)
    with serving("game:handler", "--workers", "2", *QUIET, cwd=tmp_path) as daemon:
        port = daemon.port
        (pid,) = ask(port, "x")
        try:
            assert daemon.stop() == 0
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", port))
        finally:
            os.kill(int(pid), signal.SIGKILL)


def test_ctrl_c_at_the_terminal_stops_all_gracefully():
    process = Daemon([SCRIPT, "serve", "echo", "--workers", "2", "--port", "0"], env=environment(), process_group=0)
    assert process.port
    os.killpg(process.process.pid, signal.SIGINT)  # as a terminal does: to all that it knows
    assert process.wait() == 0
    assert "stopped after" in process.stdout
    process.process.stdout.close()
    process.process.stderr.close()


# Workers that hang, leave, or cannot be started

BLOCK = """
import os, time
async def handler(connection):
    async for message in connection:
        if message == "block":
            time.sleep(600)
        await connection.send(f"{os.getpid()} {message}")
"""
HANG = ("--worker-hang-timeout", "1.5", "--worker-stable-time", "0")


def stop_it(daemon: Daemon, port: int) -> int:
    victim = workers_of(daemon).pop()
    os.kill(victim, signal.SIGSTOP)
    return victim


def block_it(daemon: Daemon, port: int) -> int:
    with Client(port) as client:
        client.send("who")
        victim = int(client.receive().split()[0])
        client.send("block")
    return victim


@pytest.mark.parametrize("hang", [stop_it, block_it])
def test_a_worker_that_hangs_is_replaced_and_the_log_says_why(hang, tmp_path):
    write(tmp_path, "game", BLOCK)
    with serving("game:handler", "--workers", "2", "--operations", "0", *HANG, *QUIET, cwd=tmp_path) as daemon:
        port = daemon.port
        before = workers_of(daemon)
        victim = hang(daemon, port)
        said = daemon.wait_for(r"worker (\d) \(process (\d+)\) has not answered for 1.5 s \(worker_hang_time", "stderr")
        assert int(said[2]) == victim
        until(lambda: is_gone(victim), "it is killed")
        until(lambda: len(workers_of(daemon)) == 2, "it is replaced")
        until(lambda: {int(ask(port, "x")[0].split()[0]) for _ in range(20)} == workers_of(daemon), "both serve")
        assert len(workers_of(daemon) & before) == 1
        if hang is block_it:
            daemon.wait_for(r"game\.py\", line 6 in handler", "stderr")  # where it hung
        watched = int(daemon.wait_for(r"http://localhost:(\d+)/metrics")[1])
        shown = urllib.request.urlopen(f"http://localhost:{watched}/metrics", timeout=DEADLINE).read().decode()
        assert 'xmlsocket_worker_restarts_total{reason="hung",worker="supervisor"} 1.0' in shown
        assert 'xmlsocket_worker_restarts_total{reason="died",worker="supervisor"} 0.0' in shown
        assert 'xmlsocket_workers{state="missing"} 0.0' in shown
        assert daemon.stop() == 0


def test_with_worker_hang_timeout_none_a_worker_may_block_as_long_as_it_likes(tmp_path):
    code = BLOCK.replace("600", "2")
    write(tmp_path, "game", code)
    arguments = ("game:handler", "--workers", "2", "--worker-hang-timeout", "none", *QUIET)
    with serving(*arguments, cwd=tmp_path) as daemon:
        port = daemon.port
        before = workers_of(daemon)
        with Client(port) as client:
            client.send("block")
            assert client.receive().endswith(" block")
        assert workers_of(daemon) == before
        assert daemon.stop() == 0
        assert daemon.stderr == ""


def test_a_supervisor_that_stood_still_itself_replaces_nobody(tmp_path):
    with serving("echo", "--workers", "2", *HANG, *QUIET) as daemon:
        port = daemon.port
        family = [daemon.process.pid, *children(daemon.process.pid)]
        before = workers_of(daemon)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(3)
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        assert ask(port, "x") == ["x"]
        threading.Event().wait(1)  # in which it would be noticed
        assert workers_of(daemon) == before
        assert daemon.stop() == 0
        assert daemon.stderr == ""


def test_while_a_worker_ends_because_somebody_else_said_so_its_clients_do_not_wait(tmp_path):
    code = """
import asyncio, os
async def handler(connection):
    async for message in connection:
        await connection.send(f"{os.getpid()}")
        if message == "slow":
            await asyncio.sleep(600)
"""
    write(tmp_path, "game", code)
    arguments = ("game:handler", "--workers", "2", "--close-timeout", "20", *QUIET)
    with serving(*arguments, cwd=tmp_path) as daemon, Client(daemon.port) as client:
        client.send("slow", "never read")
        victim = int(client.receive())
        os.kill(victim, signal.SIGTERM)
        daemon.wait_for("was told to end, and not by the supervising process", "stderr")
        assert {int(ask(daemon.port, "x")[0]) for _ in range(20)} <= workers_of(daemon) - {victim}
        until(lambda: len(workers_of(daemon)) == 3, "its successor is there before it has ended")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_for("^stopping")
        daemon.send_signal(signal.SIGTERM)


def test_once_the_daemon_stops_clients_are_refused_and_not_left_waiting(tmp_path):
    code = """
import asyncio
async def handler(connection):
    async for message in connection:
        await connection.send(message)
        await asyncio.sleep(600)
"""
    write(tmp_path, "game", code)
    arguments = ("game:handler", "--workers", "2", "--close-timeout", "600", *QUIET)
    with serving(*arguments, cwd=tmp_path) as daemon, Client(daemon.port) as client:
        port = daemon.port
        client.send("x", "y")
        client.receive()
        daemon.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                Client(port).close()
            except ConnectionRefusedError:
                return True
            return False

        until(is_refused, "it is refused")
        assert daemon.process.poll() is None
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()


def test_a_new_worker_that_dies_while_the_old_one_still_ends_is_replaced_at_once(tmp_path):
    code = """
import asyncio, os
async def handler(connection):
    async for message in connection:
        await connection.send(f"{os.getpid()}")
        if message == "slow":
            await asyncio.sleep(600)
"""
    write(tmp_path, "game", code)
    arguments = ("game:handler", "--workers", "2", "--close-timeout", "600", *QUIET)
    with serving(*arguments, cwd=tmp_path) as daemon:
        port = daemon.port
        before = workers_of(daemon)
        clients = {}
        while clients.keys() != before:  # each old worker has one that it waits for
            client = Client(port)
            client.send("slow", "never read")
            pid = int(client.receive())
            if clients.setdefault(pid, client) is not client:
                client.close()
        daemon.send_signal(signal.SIGHUP)
        new = until(lambda: workers_of(daemon) - before, "the first new worker").pop()
        until(lambda: any(int(ask(port, "x")[0]) == new for _ in range(5)), "it serves")
        os.kill(new, signal.SIGKILL)
        daemon.wait_for("was ended by SIGKILL: replacing it", "stderr")
        until(lambda: workers_of(daemon) - before - {new}, "another one")
        assert before <= workers_of(daemon)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_for("^stopping")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        for client in clients.values():
            client.close()


def test_a_system_that_gives_no_further_process_is_asked_again_and_the_daemon_goes_on(monkeypatch, caplog):
    refused: list[int] = []

    class Scarce(WorkerProcess):
        def __init__(self, task: Any, *more: Any) -> None:
            if len(started) >= 2 and len(refused) < 3:
                refused.append(task.slot)
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            super().__init__(task, *more)
            started.append(self)

    started: list[WorkerProcess] = []
    monkeypatch.setattr(workers, "WorkerProcess", Scarce)

    async def main() -> int:
        options = ServeOptions(app="echo", port=0, workers=2, limits={"worker_backoff_initial": 0.01})
        supervisor = Supervisor(options)
        stopper = Stopper()
        running = asyncio.create_task(supervisor.run(stopper, None))
        async with asyncio.timeout(DEADLINE):
            while len(supervisor.find_workers()) < 2:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.02)
            os.kill(started[0].pid, signal.SIGKILL)
            while len(started) < 3 or len(supervisor.find_workers()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        return await running

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    try:
        assert asyncio.run(main()) == 0
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)
    assert refused == [started[0].slot] * 3
    assert caplog.text.count("cannot be started: Resource temporarily unavailable") == 3


def test_where_the_kernel_knows_no_pidfd_the_end_of_a_process_is_noticed_too(monkeypatch):
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)

    async def main() -> int:
        async with asyncio.timeout(DEADLINE):
            process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])  # noqa: ASYNC220
            return await watch_process(process)

    assert asyncio.run(main()) == 7
