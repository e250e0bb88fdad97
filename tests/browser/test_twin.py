"""The same program, played by Ruffle and by ``xmlsocket.flash``, against the same server: what is told is compared."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.browser.setting import Settings
from tests.browser.studio import Player
from tests.browser.venue import Peer, Venue

from xmlsocket import flash

DEVIATIONS = Path(__file__).parents[2] / "docs" / "reference" / "flash-deviations.md"
HERE, NOWHERE = object(), object()
"""Ports: of the server, and one where nothing listens."""


@dataclass(frozen=True)
class Until:
    """Wait until a line has been told."""

    line: str


@dataclass(frozen=True)
class Program:
    """What a movie does: lists of commands that it carries out in one call, and what it waits for between them.

    The first connection of a program that meets the server belongs to ``serve``. Of those whose traces differ, the
    documentation says how; they end when all is told that is expected.
    """

    title: str
    steps: list[Any]
    serve: Callable[[Peer], Awaitable[None]] | None = None
    doors: tuple[str, ...] = field(default=("direct", "gateway"))


async def _echo(peer: Peer) -> None:
    while (message := await peer.receive()) is not None:
        await peer.send(message)


async def _echo_one(peer: Peer) -> None:
    await peer.send(await peer.receive() or b"")
    await peer.close()


def _sending(*messages: bytes, then: str = "close") -> Callable[[Peer], Awaitable[None]]:
    async def serve(peer: Peer) -> None:
        await peer.receive()
        await peer.send(*messages)
        await getattr(peer, then)()

    return serve


CONNECT = [["connect", "127.0.0.1", HERE]]
SAME = [
    Program(
        "is closed by the server after an exchange",
        [
            [["connected"]],
            CONNECT,
            Until("connect"),
            [["connected"], ["send", "hello"]],
            Until("close"),
            [["connected"], ["send", "x"], ["close"]],
        ],
        _echo_one,
    ),
    Program(
        "receives texts of every kind",
        [CONNECT, Until("connect"), [["send", "hello"]], Until("close")],
        _sending(b"", b"", "é€😀ß".encode(), b"a\r\nb\tc\x01", "\ufeffmarked".encode(), b"a\xffb\xc3", b"last"),
    ),
    Program(
        "receives what looks like markup, and half a message",
        [CONNECT, Until("connect"), [["send", "hello"]], Until("close")],
        _sending(b"<a>", b"</a", b"&amp;", b"<policy-file-request/>"),
    ),
    Program(
        "sends texts of every kind",
        [
            CONNECT,
            Until("connect"),
            [["send", ""], ["send", "é€😀ß"], ["send", " \r\n\t"], ["send", "two\0at once"], ["send", "end"]],
            Until("data end"),
        ],
        _echo,
    ),
    Program("sends and closes what was never connected", [[["send", "x"], ["close"], ["send", ""]], [["close"]]]),
    Program("sends null", [[["send", None]], CONNECT, Until("connect"), [["send", None], ["connected"]]], _echo),
    Program(
        "sends in the same call as it connects",
        [[*CONNECT, ["send", "too early"], ["connected"]], Until("connect"), [["send", "now"]], Until("data now")],
        _echo,
    ),
    Program("connects to port 70000", [[["connect", "127.0.0.1", 70_000], ["connected"]]]),
    Program("sets timeouts", [[["timeout", 5000], ["timeout", 250], ["timeout", 249], ["timeout", 0]]]),
    Program(
        "closes when it hears the first of two messages",
        [CONNECT, Until("connect"), [["on", "dataone", [["close"], ["connected"]]], ["send", "hello"]],
         Until("connected false")],
        _sending(b"one", b"two", then="receive"),
    ),
    Program(
        "answers from a listener",
        [CONNECT, Until("connect"), [["on", "dataping", [["send", "pong"]]],
         ["send", "ping"]], Until("data pong")],
        _echo,
    ),
    Program(
        "closes, and connects again",
        [CONNECT, Until("connect"), [["send", "one"]], Until("data one"),
         [["close"], ["close"], ["connected"]], [*CONNECT, ["connected"]]],
        _echo,
    ),
    Program(
        "connects while it is connected",
        [CONNECT, Until("connect"), [["send", "one"]], Until("data one"), [*CONNECT, ["connected"]]],
        _echo,
    ),
]  # fmt: skip
DIFFERENT = [
    Program("connects to a port where nothing listens", [[["connect", "127.0.0.1", NOWHERE]]], doors=("direct",)),
    Program(
        "is connected when the server breaks off",
        [CONNECT, Until("connect"), [["send", "hello"]]],
        _sending(then="abort"),
        ("direct",),
    ),
    Program("calls `connect` and then `close`, at once", [[*CONNECT, ["close"]]]),
    Program("sets `timeout` to -1, and reads it", [[["timeout", -1]]]),
    Program("calls `connect(null, port)` from a page of this machine", [[["connect", None, HERE]]]),
]


class Twin:
    """Plays a program with ``xmlsocket.flash``."""

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.reactions: dict[str, list[list[Any]]] = {}
        self.socket = socket = flash.XMLSocket()
        for event in ("connect", "data", "close", "ioError", "securityError"):
            socket.addEventListener(event, self._heard)

    def _heard(self, event: Any) -> None:
        text = event.data if event.type == "data" else ""
        self._tell(event.type, text)
        self._run(self.reactions.get(event.type + text, []))

    def _tell(self, event: str, text: object) -> None:
        self.trace.append(f"{event} {text}".rstrip(" ") if event != "data" else f"data {text}")

    async def run(self, commands: list[list[Any]]) -> None:
        self._run(commands)

    def _run(self, commands: list[list[Any]]) -> None:
        for kind, *arguments in commands:
            try:
                self._carry_out(kind, *arguments)
            except flash.errors.Error as error:
                self._tell("throws", error.errorID)

    def _carry_out(self, kind: str, *arguments: Any) -> None:
        match kind:
            case "timeout":
                self.socket.timeout = arguments[0]
                self._tell("timeout", self.socket.timeout)
            case "connected":
                self._tell("connected", str(self.socket.connected).lower())
            case "on":
                self.reactions[arguments[0]] = arguments[1]
            case _:
                getattr(self.socket, kind)(*arguments)

    async def told(self) -> list[str]:
        return list(self.trace)

    async def leave(self) -> None:
        if self.socket.connected:
            self.socket.close()


class Original:
    """Plays a program with Ruffle."""

    def __init__(self, player: Player) -> None:
        self.socket = player.socket()

    async def run(self, commands: list[list[Any]]) -> None:
        await self.socket.player.run(self._named(commands))

    def _named(self, commands: list[list[Any]]) -> list[list[Any]]:
        named = []
        for kind, *arguments in commands:
            if kind == "on":
                arguments = [arguments[0], self._named(arguments[1])]
            named.append([kind, self.socket.name, *arguments])
        return named

    async def told(self) -> list[str]:
        return [
            f"data {text}" if event == "data" else f"{event} {text}".rstrip(" ")
            for event, text in await self.socket.told()
        ]

    async def leave(self) -> None:
        await self.run([["connected"]])
        if (await self.told())[-1] == "connected true":
            await self.run([["close"]])


async def play(
    program: Program, player: Twin | Original, venue: Venue, door: str, count: int | None = None
) -> list[str]:
    """Play a program, and give its trace, or as much of it as is expected.

    Where nothing says how much that is, an exchange over a second socket gives late events the time to be told.
    """
    ports = {HERE: venue.ports[door], NOWHERE: venue.ports["nowhere"]}

    def with_ports(value: Any) -> Any:
        if isinstance(value, list):
            return [with_ports(part) for part in value]
        return ports.get(value, value) if isinstance(value, object) and value in (HERE, NOWHERE) else value

    serving = asyncio.create_task(_serve(program, venue))
    try:
        for step in program.steps:
            if isinstance(step, Until):
                await until(player, lambda trace, line=step.line: line in trace)
            else:
                await player.run(with_ports(step))
        await until(player, lambda trace: len(trace) >= (count or 0))
        other = type(player)(player.socket.player) if isinstance(player, Original) else Twin()
        await _exchange(other, ports[HERE])
        await other.leave()
        trace = await player.told()
        await player.leave()
        return trace
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await venue.clear()


async def until(player: Twin | Original, condition: Callable[[list[str]], bool]) -> None:
    """Wait until what was told fulfils a condition."""
    while not condition(await player.told()):  # noqa: ASYNC110  # the trace grows in another process
        await asyncio.sleep(0.005)


async def _serve(program: Program, venue: Venue) -> None:
    serve = program.serve or _echo
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(serve(await venue.accept()))
            serve = _echo


async def _exchange(player: Twin | Original, port: int) -> None:
    await player.run([["connect", "127.0.0.1", port]])
    await until(player, lambda trace: "connect" in trace)
    await player.run([["send", "there and back"]])
    await until(player, lambda trace: "data there and back" in trace)


def documented() -> dict[str, tuple[list[str], list[str]]]:
    """The differences that the documentation lists: what Ruffle tells, and what we do."""
    section = DEVIATIONS.read_text(encoding="utf-8").partition("## Ruffle in a browser\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)[2:]
    return {title: (re.findall("`([^`]+)`", ruffle), re.findall("`([^`]+)`", ours)) for title, ruffle, ours in rows}


async def _play_both(
    settings: Settings, program: Program, door: str, counts: tuple[int | None, int | None]
) -> tuple[list[str], list[str]]:
    player = await settings.player("avm2")
    ruffle = await play(program, Original(player), settings.venue, door, counts[0])
    return ruffle, await play(program, Twin(), settings.venue, door, counts[1])


CASES = [
    pytest.param(program, door, id=f"{program.title}-{door}".replace("`", ""))
    for program in (*SAME, *DIFFERENT)
    for door in program.doors
]


@pytest.mark.parametrize(("program", "door"), CASES)
def test_the_traces_differ_only_where_the_documentation_says_so(
    settings: Settings, program: Program, door: str
) -> None:
    expected = documented().get(program.title)
    counts = (None, None) if expected is None else (len(expected[0]), len(expected[1]))
    ruffle, twin = settings.studio.run(_play_both(settings, program, door, counts))
    if expected is None:
        assert ruffle
        assert twin == ruffle
    else:
        assert (ruffle, twin) == expected


def test_every_difference_that_is_documented_is_played() -> None:
    assert sorted(documented()) == sorted(program.title for program in DIFFERENT)
