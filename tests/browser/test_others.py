"""Clients without a browser, against the daemon as it is started from a shell: ws, websockets, and a native player."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser.studio import FOLDER, NPM, npm
from tests.cli.processes import DEADLINE, Client, Daemon, serving
from websockets.asyncio.client import connect

REQUEST = b"<policy-file-request/>\0"
POLICY = (
    '<?xml version="1.0"?>\n<cross-domain-policy>\n'
    '  <allow-access-from domain="games.example.com" to-ports="*"/>\n</cross-domain-policy>\n'
)


@pytest.fixture(scope="module")
def echo() -> Iterator[Daemon]:
    with serving("echo") as daemon:
        yield daemon


def test_ws_of_node_gets_every_message_in_a_binary_frame_of_its_own(echo: Daemon) -> None:
    npm("ws")
    node = shutil.which("node")
    if node is None:
        pytest.skip("NOT TESTED WITH ws: there is no Node.js here; on Debian: apt install nodejs")
    ended = subprocess.run(
        [node, str(FOLDER / "ws_client.cjs"), f"ws://localhost:{echo.port}/any/path?x=1", "300"],
        env={**os.environ, "NODE_PATH": str(NPM)},
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    assert json.loads(ended.stdout) == {
        "messages": [f"message {number} é😀" for number in range(300)],
        "isBinary": True,
        "isWhole": True,
        "subprotocol": "",
        "code": 1000,
    }, ended.stderr


def test_websockets_of_python_gets_binary_frames_with_their_nul(echo: Daemon) -> None:
    async def scene() -> None:
        async with connect(f"ws://localhost:{echo.port}/") as client:
            await client.send(b"one\0two\0th")
            await client.send([b"r", b"", b"ee\0"])  # fragments
            await client.send("four")
            assert [await client.recv() for _ in range(4)] == [b"one\0", b"two\0", b"three\0", b"four\0"]
            assert client.subprotocol is None

    asyncio.run(scene())


def test_who_offers_the_text_subprotocol_gets_text_without_nul(echo: Daemon) -> None:
    async def scene() -> None:
        async with connect(f"ws://localhost:{echo.port}/", subprotocols=["other", "xmlsocket.text"]) as client:
            await client.send("one é😀")
            await client.send("")
            assert [await client.recv(), await client.recv()] == ["one é😀", ""]
            assert client.subprotocol == "xmlsocket.text"

    asyncio.run(scene())


def ask_policy(port: int) -> bytes:
    """Ask as a player does, on a connection of its own, and read to its end."""
    with socket.create_connection(("localhost", port), DEADLINE) as sock:
        sock.sendall(REQUEST)
        answer = b""
        while data := sock.recv(4096):
            answer += data
    return answer


def play_as_native(master: int | None, port: int) -> list[str]:
    """Ask the master port, then the port itself, and connect; the names of what granted, and an echo."""
    steps = []
    for name, asked in (("master", master), ("inline", port)):
        try:
            answer = ask_policy(asked) if asked is not None else b""
        except ConnectionRefusedError:
            steps.append(f"{name} refused")
            continue
        if answer:
            assert answer.endswith(b"\0")
            assert answer.count(b"\0") == 1
            assert b'domain="games.example.com"' in answer
            steps.append(f"{name} grants")
    with Client(port) as client:
        client.send("<hello/>", "<policy-file-request/>", "é")
        return [*steps, *(client.receive() for _ in range(3))]


def test_a_native_player_is_granted_by_the_policy_port_and_by_the_port_itself(tmp_path: Path) -> None:
    policy = tmp_path / "policy.xml"
    policy.write_text(POLICY)
    with serving("echo", "--policy", str(policy), "--policy-port", "0") as daemon:
        shown = daemon.port  # by then the lines before are there
        master = int(re.search(r"policy: .*port (\d+)", daemon.stdout)[1])
        # Once a client has begun to talk, the request is a message like any other.
        talk = ["<hello/>", "<policy-file-request/>", "é"]
        assert play_as_native(master, shown) == ["master grants", "inline grants", *talk]


def test_a_native_player_is_granted_inline_where_there_is_no_policy_port(tmp_path: Path) -> None:
    policy = tmp_path / "policy.xml"
    policy.write_text(POLICY)
    with serving("echo", "--policy", str(policy)) as daemon, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        talk = ["<hello/>", "<policy-file-request/>", "é"]
        nowhere = closed.getsockname()[1]
        assert play_as_native(nowhere, daemon.port) == ["master refused", "inline grants", *talk]
