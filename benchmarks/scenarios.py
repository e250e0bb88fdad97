"""What is measured: for each scenario the load, the servers that take part, and what one unit of the result is."""

from __future__ import annotations

from dataclasses import dataclass

ALL_ECHO = ("c", "node", "streams", "twisted", "handler", "coroutine", "daemon")
TEXT_ECHO = ("c", "node", "handler", "coroutine", "daemon")
ROOM = ("c", "node", "streams", "twisted", "daemon")
WEBSOCKET = ("c-ws", "node-ws", "node-cork", "websockets", "handler", "daemon")
WEBSOCKET_ROOM = ("c-ws", "node-ws", "node-cork", "websockets", "daemon")
GATEWAY = ("node-gateway", "websockify", "gateway")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load, put on several servers in turn.

    ``mode`` is what the servers are told to do, ``load`` are the arguments of the load generator, ``unit`` names
    what is counted, ``most_rounds`` bounds the repeats of what is slow and steady, ``quick`` says whether ``--quick``
    keeps it.
    """

    name: str
    title: str
    mode: str
    load: tuple[str, ...]
    servers: tuple[str, ...]
    unit: str
    quick: bool = False
    most_rounds: int = 99

    @property
    def is_idle(self) -> bool:
        """Its connections are opened, counted and held; nothing is measured over a stretch of time."""
        return self.load[0] == "idle"

    @property
    def has_upstream(self) -> bool:
        """The servers are gateways, and need a server behind them."""
        return self.mode == "gateway"


def _echo(connections: int, depth: int, size: int, *more: str) -> tuple[str, ...]:
    return ("echo", "--connections", str(connections), "--depth", str(depth), "--size", str(size), *more)


def _room(members: int, publishers: int, depth: int) -> tuple[str, ...]:
    return ("relay", "--connections", str(members), "--publishers", str(publishers), "--depth", str(depth))


_MIXED = ("--text", "mixed")
_FRAMES = ("--websocket",)


def _websocket(
    name: str, title: str, mode: str, load: tuple[str, ...], unit: str, *, quick: bool = False, most_rounds: int = 99
) -> Scenario:
    servers = {"relay": WEBSOCKET_ROOM, "gateway": GATEWAY}.get(mode, WEBSOCKET)
    return Scenario(name, title, mode, (*load, *_FRAMES), servers, unit, quick, most_rounds)


_CHURN = ("churn", "--connections", "64")

SCENARIOS = (
    Scenario("echo-1", "64 B, 1 connection, depth 1", "echo", _echo(1, 1, 64, "--spin"), ALL_ECHO, "messages"),
    Scenario("echo-64x1", "64 B, 64 connections, depth 1", "echo", _echo(64, 1, 64), ALL_ECHO, "messages", quick=True),
    Scenario(
        "echo-64x64",
        "64 B, 64 connections, depth 64",
        "echo",
        _echo(64, 64, 64),
        (*ALL_ECHO, "bytes"),
        "messages",
        quick=True,
    ),
    Scenario(
        "echo-4k", "4 KiB, 64 connections, depth 64", "echo", _echo(64, 64, 4096), ALL_ECHO, "messages", quick=True
    ),
    Scenario(
        "echo-256k", "256 KiB, 8 connections, depth 4", "echo", _echo(8, 4, 262_144), ALL_ECHO, "messages", quick=True
    ),
    Scenario("text-64x1", "64 B, 64 connections, depth 1", "echo", _echo(64, 1, 64, *_MIXED), TEXT_ECHO, "messages"),
    Scenario(
        "text-64x64",
        "64 B, 64 connections, depth 64",
        "echo",
        _echo(64, 64, 64, *_MIXED),
        (*TEXT_ECHO, "bytes"),
        "messages",
    ),
    Scenario("text-4k", "4 KiB, 64 connections, depth 64", "echo", _echo(64, 64, 4096, *_MIXED), TEXT_ECHO, "messages"),
    Scenario(
        "text-256k", "256 KiB, 8 connections, depth 4", "echo", _echo(8, 4, 262_144, *_MIXED), TEXT_ECHO, "messages"
    ),
    Scenario("relay-100", "room of 100", "relay", _room(100, 4, 8), ROOM, "deliveries", quick=True),
    Scenario("relay-1000", "room of 1,000", "relay", _room(1000, 4, 8), ROOM, "deliveries", quick=True),
    Scenario("relay-5000", "room of 5,000", "relay", _room(5000, 4, 8), ROOM, "deliveries"),
    Scenario("relay-single", "room of 1,000, one message at a time", "relay", _room(1000, 1, 1), ROOM, "deliveries"),
    Scenario(
        "churn",
        "connect, echo, close; 64 at a time",
        "echo",
        ("churn", "--connections", "64"),
        ALL_ECHO,
        "connections",
        quick=True,
    ),
    Scenario(
        "policy",
        "policy request; 64 at a time",
        "policy",
        ("policy", "--connections", "64"),
        ("c", "node", "streams", "twisted", "handler", "daemon"),
        "connections",
    ),
    Scenario(
        "idle-5000",
        "5,000 connections, a message each",
        "echo",
        ("idle", "--connections", "5000"),
        ALL_ECHO,
        "connections",
        most_rounds=2,
    ),
    Scenario(
        "idle-10000",
        "10,000 connections, a message each",
        "echo",
        ("idle", "--connections", "10000"),
        ALL_ECHO,
        "connections",
        quick=True,
        most_rounds=2,
    ),
    Scenario(
        "idle-silent",
        "5,000 connections that never spoke",
        "echo",
        ("idle", "--connections", "5000", "--silent"),
        ("handler", "coroutine", "daemon"),
        "connections",
        most_rounds=1,
    ),
    _websocket("websocket-64x1", "64 B, 64 connections, depth 1", "echo", _echo(64, 1, 64), "messages", quick=True),
    _websocket("websocket-64x16", "64 B, 64 connections, depth 16", "echo", _echo(64, 16, 64), "messages", quick=True),
    _websocket("websocket-4k", "4 KiB, 64 connections, depth 16", "echo", _echo(64, 16, 4096), "messages"),
    _websocket("websocket-256k", "256 KiB, 8 connections, depth 4", "echo", _echo(8, 4, 262_144), "messages"),
    _websocket("websocket-room", "room of 1,000", "relay", _room(1000, 4, 8), "deliveries", quick=True),
    Scenario(
        "websocket-tcp-room",
        "the same room, TCP members",
        "relay",
        _room(1000, 4, 8),
        ("daemon",),
        "deliveries",
        quick=True,
    ),
    _websocket("websocket-churn", "connect, echo, close; 64 at a time", "echo", _CHURN, "connections"),
    _websocket(
        "websocket-idle",
        "5,000 connections, a message each",
        "echo",
        ("idle", "--connections", "5000"),
        "connections",
        most_rounds=2,
    ),
    _websocket("gateway-64x1", "64 B, 64 connections, depth 1", "gateway", _echo(64, 1, 64), "messages"),
    _websocket("gateway-64x16", "64 B, 64 connections, depth 16", "gateway", _echo(64, 16, 64), "messages", quick=True),
    _websocket("gateway-4k", "4 KiB, 64 connections, depth 16", "gateway", _echo(64, 16, 4096), "messages"),
    _websocket("gateway-churn", "connect, echo, close; 64 at a time", "gateway", _CHURN, "connections"),
    _websocket(
        "gateway-idle",
        "100 clients, a message each",
        "gateway",
        ("idle", "--connections", "100"),
        "connections",
        most_rounds=2,
    ),
    Scenario(
        "kept-100",
        "room of 100, 8 messages under way",
        "relay",
        _room(100, 4, 2),
        ("room-memory", "room-sqlite"),
        "deliveries",
        quick=True,
    ),
    Scenario(
        "kept-100x64",
        "room of 100, 64 messages under way",
        "relay",
        _room(100, 8, 8),
        ("room-memory", "room-sqlite"),
        "deliveries",
    ),
)
