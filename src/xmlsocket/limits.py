"""Every limit and timeout of the package, once: name, unit, default and the reason for it.

Signatures, command-line options, the configuration file and the reference page all follow from the
classes here. ``None`` always means "no limit"; ``0`` is a number like any other. ``*_timeout`` are
seconds, ``max_*`` are hard, ``*_high_water`` pause and never fail.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, cast

from .errors import ConfigurationError

_T = TypeVar("_T")

Side: TypeAlias = Literal["server", "client"]


def limit(default: _T, *, unit: str, why: str, side: Side | None = None, positive: bool = False) -> _T:
    """Declare a field of a limits class.

    Args:
        default: Its default.
        unit: What it counts.
        why: The reason for the default.
        side: Who it bounds, where that is not both.
        positive: Whether 0 cannot work.
    """
    metadata = {"unit": unit, "why": why, "side": side, "positive": positive}
    field: _T = dataclasses.field(default=default, metadata=metadata)
    return field


@dataclasses.dataclass(frozen=True, slots=True)
class LimitDescription:
    """What the documentation, ``--help`` and error messages say of one limit."""

    name: str
    unit: str
    default: float | None
    why: str
    optional: bool
    integral: bool
    side: Side | None = None
    positive: bool = False


class LimitSet:
    """What all limits classes share: they describe themselves and refuse values that cannot work."""

    __slots__ = ()

    @classmethod
    def describe(cls) -> list[LimitDescription]:
        """List the limits in the order of their declaration."""
        hints = typing.get_type_hints(cls)
        return [
            LimitDescription(
                name=field.name,
                unit=field.metadata["unit"],
                default=cast("float | None", field.default),
                why=field.metadata["why"],
                optional=type(None) in typing.get_args(hints[field.name]),
                integral=float not in (hints[field.name], *typing.get_args(hints[field.name])),
                side=field.metadata["side"],
                positive=field.metadata["positive"],
            )
            for field in dataclasses.fields(cast("Any", cls))
        ]

    def __post_init__(self) -> None:
        for description in self.describe():
            _check(description, getattr(self, description.name))


_Limits = TypeVar("_Limits", bound=LimitSet)


def from_options(
    cls: type[_Limits],
    options: typing.Mapping[str, object],
    *,
    also: typing.Iterable[str] = (),
    side: Side | None = None,
) -> _Limits:
    """Make a limits object from loose options.

    Args:
        cls: The class of the limits.
        options: Names and values.
        also: Other names that could have been meant.
        side: For whom they are, where not for both.

    Raises:
        ConfigurationError: A name is unknown (the nearest right one is named), it is a limit of the other side, or a
            value cannot work.
    """
    limits = {description.name: description for description in cls.describe()}
    for name in options:
        if name not in limits:
            near = difflib.get_close_matches(name, [*limits, *also], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"unknown option {name}{hint}")
        owner = limits[name].side
        if side is not None and owner is not None and owner != side:
            raise ConfigurationError(f"{name} bounds a {owner}, not a {side}: {_TAKERS[owner]} takes it")
    return cls(**options)


_TAKERS: typing.Final[dict[Side, str]] = {"server": "serve()", "client": "connect()"}


def _check(limit: LimitDescription, value: object) -> None:
    if value is None:
        if limit.optional:
            return
        raise ConfigurationError(f"{limit.name} cannot be None: it must be a number of {limit.unit}")
    if isinstance(value, bool) or not isinstance(value, int if limit.integral else (int, float)):
        kind = "a whole number" if limit.integral else "a number"
        raise ConfigurationError(f"{limit.name} must be {kind} of {limit.unit}, not {value!r}")
    if not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(f"{limit.name} must be 0 or more {limit.unit}, not {value!r}")
    if limit.positive and not value:
        raise ConfigurationError(f"{limit.name} must be more than 0 {limit.unit}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits(LimitSet):
    """What bounds a server or a client and each of its connections."""

    max_message_size: int | None = limit(
        1_048_576,
        unit="bytes",
        why="one message, its NUL not counted; movies parse a message at one go, and players get slow far below 1 MiB",
    )
    max_connections: int | None = limit(
        50_000,
        unit="connections",
        why="about 150 MiB at 3 KiB each; the descriptor limit of the system usually speaks first",
        side="server",
    )
    max_connections_per_address: int | None = limit(
        None,
        unit="connections",
        why="off, because a school, a museum or a reverse proxy puts hundreds of players behind one address",
        side="server",
    )
    open_timeout: float | None = limit(
        20.0,
        unit="seconds",
        why="to connect, TLS included; XMLSocket.timeout is 20,000 ms in Adobe's player",
        side="client",
    )
    detection_timeout: float | None = limit(
        0.5,
        unit="seconds",
        why="how long a silent client may still turn out to speak HTTP or to ask for a policy; both speak at once, "
        "so half a second covers any usual round trip. none: a handler meets nobody who has not spoken",
        side="server",
    )
    first_byte_timeout: float | None = limit(
        60.0,
        unit="seconds",
        why="for a client to send anything; lets nobody hold connections for nothing, and is long for any real client. "
        "Not applied where the server speaks first, for there a client may only listen",
        side="server",
    )
    idle_timeout: float | None = limit(
        None,
        unit="seconds",
        why="off, because XMLSocket has no ping: a kiosk may be silent for days. TCP keepalive finds dead peers, when "
        "the system is set to ask: by default Linux begins to ask after two hours of silence",
    )
    close_timeout: float = limit(
        5.0,
        unit="seconds",
        why="for handlers to end and buffers to drain when closing; then the connection is aborted",
    )
    receive_high_water: int = limit(
        262_144,
        unit="bytes",
        why="as they came over the network, NULs included, and not yet taken by the handler; at it reading pauses. One "
        "read is at most that. In memory many short messages take several times as much",
    )
    send_high_water: int = limit(
        65_536,
        unit="bytes",
        why="waiting to be sent; above it send() waits. asyncio's own default",
    )
    send_low_water: int = limit(
        16_384,
        unit="bytes",
        why="waiting to be sent; at or below it a waiting send() goes on. A quarter of send_high_water, as in asyncio",
    )
    max_send_backlog: int | None = limit(
        8_388_608,
        unit="bytes",
        why="waiting for a peer that does not read; beyond it the peer is dropped. Eight of the longest messages",
    )
    max_handshake_size: int = limit(
        16_384,
        unit="bytes",
        why="the head of an HTTP request: a browser's are below 1 KiB, and cookies of the same host may add a few more",
        side="server",
    )
    handshake_timeout: float | None = limit(
        10.0,
        unit="seconds",
        why="for a browser's request, or the handshake of TLS, to be complete once it has begun",
        side="server",
    )
    websocket_ping_interval: float | None = limit(
        30.0,
        unit="seconds",
        why="between pings to browsers, which answer by themselves; proxies in between cut what is silent for a minute",
        side="server",
    )
    accept_backlog: int = limit(
        4096,
        unit="connections",
        why="waiting to be accepted; asyncio's 100 overflows when a game restarts and costs a second each",
        side="server",
    )
    descriptor_reserve: int = limit(
        64,
        unit="descriptors",
        why="kept free for files, logs and brokers: a server takes no more connections than the process has "
        "descriptors for beyond them, so that it can always accept a client and turn it away",
        side="server",
    )
    backoff_initial: float = limit(
        0.5,
        unit="seconds",
        why="longest first pause of a reconnecting client; the real one is drawn at random below it",
        side="client",
        positive=True,
    )
    backoff_max: float = limit(
        30.0,
        unit="seconds",
        why="longest pause between attempts of a reconnecting client; a server that is back is found within it",
        side="client",
        positive=True,
    )
    backoff_factor: float = limit(
        2.0,
        unit="times",
        why="growth of the pause from one failed attempt to the next; at least 1",
        side="client",
    )

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, and the zero-argument form would look at the first.
        LimitSet.__post_init__(self)
        if self.send_low_water > self.send_high_water:
            raise ConfigurationError(
                f"send_low_water ({self.send_low_water}) must not exceed send_high_water ({self.send_high_water})"
            )
        if self.backoff_factor < 1:
            raise ConfigurationError(
                f"backoff_factor must be 1 or more times, not {self.backoff_factor!r}: pauses grow, or a server that "
                "is down would be asked ever faster"
            )
        if self.max_message_size is not None and self.max_send_backlog is not None:
            if self.max_send_backlog <= self.max_message_size:
                raise ConfigurationError(
                    f"max_send_backlog ({self.max_send_backlog} bytes) must exceed max_message_size "
                    f"({self.max_message_size} bytes), or one long message would drop its receiver"
                )


class LimitOptions(TypedDict, total=False):
    """The fields of :class:`Limits` that bound servers and clients, as keyword arguments."""

    max_message_size: int | None
    idle_timeout: float | None
    close_timeout: float
    receive_high_water: int
    send_high_water: int
    send_low_water: int
    max_send_backlog: int | None


class BlockingLimitOptions(TypedDict, total=False):
    """The fields of :class:`Limits` that bound the blocking client, as keyword arguments."""

    max_message_size: int | None
    open_timeout: float | None
    idle_timeout: float | None
    close_timeout: float
    receive_high_water: int
    max_send_backlog: int | None


class ServerLimitOptions(LimitOptions, total=False):
    """The fields of :class:`Limits` that bound a server. A test keeps them alike."""

    max_connections: int | None
    max_connections_per_address: int | None
    detection_timeout: float | None
    first_byte_timeout: float | None
    max_handshake_size: int
    handshake_timeout: float | None
    websocket_ping_interval: float | None
    accept_backlog: int
    descriptor_reserve: int


class ClientLimitOptions(LimitOptions, total=False):
    """The fields of :class:`Limits` that bound a client. A test keeps them alike."""

    open_timeout: float | None
    backoff_initial: float
    backoff_max: float
    backoff_factor: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLimits(LimitSet):
    """What bounds asking for a socket policy file, and serving one."""

    max_policy_size: int | None = limit(
        20_480,
        unit="bytes",
        why="a policy file, its NUL not counted; Adobe documents no limit, its sample servers refuse above 10,000",
    )
    policy_timeout: float | None = limit(
        3.0,
        unit="seconds",
        why="for port 843 and the destination port to answer, connecting included; the player waits 3 seconds",
        side="client",
    )
    explicit_timeout: float | None = limit(
        None,
        unit="seconds",
        why="for a location named with loadPolicyFile to answer; the player has no limit there",
        side="client",
    )
    answer_timeout: float | None = limit(
        60.0,
        unit="seconds",
        why="for an answer where the player has no limit; nobody shall wait for ever, and an honest server is faster",
        side="client",
    )
    connect_timeout: float | None = limit(
        20.0,
        unit="seconds",
        why="of that, for the connection to a location; as long as XMLSocket.timeout and most systems wait",
        side="client",
    )
    max_addresses: int | None = limit(
        4,
        unit="addresses",
        why="of one host, asked in turn until one has a policy file; each may cost policy_timeout twice",
        side="client",
    )
    negative_ttl: float | None = limit(
        None,
        unit="seconds",
        why="how long a location that gave no policy file is not asked again; off means for the whole session, "
        "and 0 asks on each connect",
        side="client",
    )
    max_cached_policies: int | None = limit(
        1000,
        unit="locations",
        why="policy files kept for a session, 20 KiB each at most; the oldest is forgotten first",
        side="client",
    )
    request_timeout: float = limit(
        5.0,
        unit="seconds",
        why="from accepting to the end of the request; servers in the field wait 1.5 to 15 seconds",
        side="server",
    )
    max_request_size: int = limit(
        64,
        unit="bytes",
        why="read while waiting for the end of the request, which is 23 bytes long",
        side="server",
    )
    drain_timeout: float = limit(
        2.0,
        unit="seconds",
        why="for the asker to close after the answer; closing first may reset the connection and lose the answer",
        side="server",
    )
    max_askers: int | None = limit(
        10_000,
        unit="connections",
        why="to a policy server at one time, about 2 KiB each; an honest asker is gone within a round trip or two",
        side="server",
    )
    max_askers_per_address: int | None = limit(
        None,
        unit="connections",
        why="off, because a school puts hundreds of players behind one address, and they all ask in the same second",
        side="server",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RoomLimits(LimitSet):
    """What bounds rooms, their members and their history."""

    max_rooms: int | None = limit(
        10_000,
        unit="rooms",
        why="with members on one node; a room costs about 1 KiB, so this is for the reader of the list",
    )
    max_members_per_room: int | None = limit(
        None,
        unit="members",
        why="off, as max_connections bounds it; a broadcast costs the same whether one room holds all or many do",
    )
    max_rooms_per_member: int | None = limit(
        100,
        unit="rooms",
        why="so that one client cannot make all the rooms there may be",
    )
    publish_high_water: int = limit(
        1_048_576,
        unit="bytes",
        why="published in one turn of the event loop; the rest waits for the next, so that a burst of many publishers "
        "does not pass the max_send_backlog of members that read well. An eighth of that",
    )
    history_size: int = limit(
        500,
        unit="messages",
        why="held in memory for each room; as many as one history request may ask for",
    )
    max_history_bytes: int = limit(
        67_108_864,
        unit="bytes",
        why="text held in memory for all rooms together; beyond it the room spoken in least recently forgets",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits(LimitSet):
    """What bounds the history in a file."""

    max_kept_messages: int | None = limit(
        10_000,
        unit="messages",
        why="kept in the file for each room; more than anybody scrolls back",
    )
    max_kept_age: float | None = limit(
        None,
        unit="seconds",
        why="off, as only the operator knows how long people's words may be kept; 2592000 are 30 days",
    )
    max_history_file_size: int | None = limit(
        1_073_741_824,
        unit="bytes",
        why="of the file; beyond it a tenth of all messages is forgotten, the oldest. Some five million chat messages",
    )
    max_pending_messages: int = limit(
        10_000,
        unit="messages",
        why="waiting for the disk; beyond it messages are refused. A second's worth on a slow disk",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLimits(LimitSet):
    """What bounds a node that shares its rooms with others through NATS."""

    connect_timeout: float = limit(
        2.0,
        unit="seconds",
        why="for a NATS server to accept a connection and answer; it is in the same network",
    )
    reconnect_wait: float = limit(
        0.25,
        unit="seconds",
        why="between two rounds of attempts to connect, more or less at random by half, so that nodes do not come at "
        "once; a broker that is back is found within it",
    )
    ping_interval: float = limit(
        2.0,
        unit="seconds",
        why="between pings to the NATS server; one that leaves two unanswered is given up, after 6 seconds at most",
    )
    max_outgoing_size: int = limit(
        16_777_216,
        unit="bytes",
        why="waiting for NATS to take them; beyond it live messages to other nodes are dropped, which those nodes "
        "notice. Some seconds of a busy node",
    )
    heartbeat_interval: float = limit(
        2.0,
        unit="seconds",
        why="between signs of life of a node",
    )
    node_timeout: float = limit(
        6.0,
        unit="seconds",
        why="without a sign of life until a node is held for dead and its members leave; three heartbeats, and short "
        "enough for 10 seconds in all",
    )
    announce_interval: float = limit(
        5.0,
        unit="seconds",
        why="between two announcements of where a room stands, by which the others notice that its last messages were "
        "lost; longer where max_announcements is reached",
    )
    max_announcements: int = limit(
        200,
        unit="rooms a second",
        why="announced by a node; so 1,000 rooms are round once in announce_interval, and it costs next to nothing",
    )
    unsubscribe_delay: float = limit(
        1.0,
        unit="seconds",
        why="from the last member of a room leaving until the node hears it no more; coming back soon costs nothing",
    )
    presence_timeout: float = limit(
        1.0,
        unit="seconds",
        why="for the other nodes to say who is in a room; a node that is busy longer is left out until it has said it",
    )
    store_timeout: float = limit(
        3.0,
        unit="seconds",
        why="for NATS to say that it has stored messages of a kept room; then the node looks up what became of them, "
        "and the senders wait until that is known",
    )

    def __post_init__(self) -> None:
        LimitSet.__post_init__(self)
        if self.node_timeout <= 2 * self.heartbeat_interval:
            raise ConfigurationError(
                f"node_timeout ({self.node_timeout} s) must exceed two times heartbeat_interval "
                f"({self.heartbeat_interval} s), or a single lost heartbeat would end a node"
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits(LimitSet):
    """What bounds the processes of a daemon with several workers."""

    worker_start_timeout: float = limit(
        60.0,
        unit="seconds",
        why="for a new worker, or the NATS server between them, to serve; a machine that boots is slow",
    )
    max_worker_starts: int = limit(
        6,
        unit="starts",
        why="in vain, one after another, while no other worker serves; then the daemon ends, as nothing gets better",
        positive=True,
    )
    worker_backoff_initial: float = limit(
        0.1,
        unit="seconds",
        why="before a process that died young is started again; each further time in a row twice as long",
    )
    worker_backoff_max: float = limit(
        10.0,
        unit="seconds",
        why="the longest such pause",
    )
    worker_stable_time: float = limit(
        30.0,
        unit="seconds",
        why="a process that served so long did not die young: the next one is started at once",
    )
    worker_hang_timeout: float | None = limit(
        30.0,
        unit="seconds",
        why="without an answer, after which a worker is killed and replaced: a handler that blocks its event loop "
        "keeps all its clients waiting, and few things that are meant take so long",
        positive=True,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits(LimitSet):
    """What bounds a gateway beyond the limits of its connections."""

    half_close_timeout: float | None = limit(
        60.0,
        unit="seconds",
        why="for one side to end when the other has ended its direction; many servers never notice that a client left",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OperationsLimits(LimitSet):
    """What bounds those who ask at the operations address."""

    max_requests: int = limit(
        32,
        unit="requests",
        why="at one time; further ones are cut off. Two Prometheus servers, a load balancer and some people fit well",
    )
    request_timeout: float = limit(
        10.0,
        unit="seconds",
        why="from accepting to the last byte of the answer; as long as Prometheus waits unless told otherwise",
    )
    max_request_size: int = limit(
        16_384,
        unit="bytes",
        why="the head of a request; a browser's are below 1 KiB, and cookies of the same host may add a few more",
    )
    worker_timeout: float = limit(
        2.0,
        unit="seconds",
        why="for a worker to answer its parent; its event loop should turn within milliseconds, and who asks waits",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlashLimits(LimitSet):
    """What bounds the twin of Adobe's classes."""

    max_xml_depth: int = limit(
        512,
        unit="elements",
        why="elements inside each other in a flash.XML value; real ones are a dozen deep, and every level costs memory",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatLimits(LimitSet):
    """What bounds the requests of the chat."""

    max_name_length: int = limit(
        32,
        unit="characters",
        why="of who logs in; names stand in lists and in front of every line",
    )
    max_room_length: int = limit(
        64,
        unit="characters",
        why="of a room's name; room for a short title",
    )
    max_text_length: int = limit(
        65_536,
        unit="characters",
        why="said at once; escaped and in UTF-8 it stays below a max_message_size of 1 MiB, whatever it is",
    )
    max_ref_length: int = limit(
        256,
        unit="characters",
        why="of the ref that an answer carries back; longer than any counter or UUID",
    )
    max_attributes: int = limit(
        32,
        unit="attributes",
        why="of one request; the longest has four, and those that are not known are ignored",
    )
    max_history: int = limit(
        500,
        unit="messages",
        why="in the answer to one history request; who wants more asks again with after",
    )
    default_history: int = limit(
        50,
        unit="messages",
        why="in the answer to a history request that has no limit; fills a screen",
    )
    max_pending: int = limit(
        64,
        unit="messages",
        why="of one client on their way into the history; then the client is not read from until one is kept",
    )
