"""Every metric there is, once: name, kind, what it says, labels. Rendering, the reference page and tests follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram", "summary"]
_SUFFIXES: Final[dict[Kind, tuple[str, ...]]] = {
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: As Prometheus shows it; a counter's ends with ``_total``, a unit stands at the end before that.
        kind: What may be done with it: counters only grow, until the process starts anew.
        help: One sentence without a full stop.
        labels: Names of its labels; with several workers ``worker`` besides.
        section: Under which heading the reference has it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    section: str = ""

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names of its samples."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


def _section(title: str, *metrics: Metric) -> tuple[Metric, ...]:
    return tuple(Metric(item.name, item.kind, item.help, item.labels, title) for item in metrics)


_CONNECTIONS: Final = _section(
    "Connections",
    Metric("xmlsocket_connections", "gauge", "Connections open now", ("transport",)),
    Metric(
        "xmlsocket_connections_limit",
        "gauge",
        "How many there may be: max_connections, or what the descriptors allow; absent where there is no limit",
    ),
    Metric(
        "xmlsocket_openings",
        "gauge",
        "Clients whose protocol is not known yet, or that have their answer and are leaving",
    ),
    Metric("xmlsocket_clients_total", "counter", "Clients that came: connections, and those that never became one"),
    Metric(
        "xmlsocket_other_clients_total",
        "counter",
        "Clients that did not stay: policy or http was answered, refused by a limit or a rule, or failed to say who "
        "they are in time",
        ("outcome",),
    ),
    Metric("xmlsocket_closes_total", "counter", "Connections and clients that ended, by reason", ("reason",)),
)

_TRAFFIC: Final = _section(
    "Messages and bytes",
    Metric("xmlsocket_messages_received_total", "counter", "Messages from clients"),
    Metric("xmlsocket_messages_sent_total", "counter", "Messages to clients; a broadcast counts once for each member"),
    Metric("xmlsocket_received_bytes_total", "counter", "Bytes from clients, without TCP, TLS and handshakes"),
    Metric("xmlsocket_sent_bytes_total", "counter", "Bytes to clients, without TCP, TLS and handshakes"),
    Metric("xmlsocket_send_backlog_bytes", "gauge", "Bytes that wait in this process for all clients to read"),
    Metric("xmlsocket_send_backlog_max_bytes", "gauge", "Bytes that wait for the client that reads worst"),
    Metric("xmlsocket_send_paused", "gauge", "Connections for which more than send_high_water bytes wait"),
    Metric("xmlsocket_receive_paused", "gauge", "Connections that are not read from now, so that they slow down"),
)

_ROOMS: Final = _section(
    "Rooms",
    Metric("xmlsocket_rooms", "gauge", "Rooms with members here"),
    Metric("xmlsocket_members", "gauge", "Members in all rooms here; one that is in two rooms counts twice"),
)

_HISTORY: Final = _section(
    "History",
    Metric("xmlsocket_history_file_bytes", "gauge", "Size of the history on the disk, its write-ahead log included"),
    Metric("xmlsocket_history_bytes", "gauge", "Memory that the history takes where it is in no file"),
    Metric("xmlsocket_history_pending", "gauge", "Messages that wait for the disk; nobody has seen them yet"),
    Metric("xmlsocket_history_kept_total", "counter", "Messages that are on the disk"),
    Metric(
        "xmlsocket_history_refused_total",
        "counter",
        "Messages that were refused because the disk could not take them, or not as fast as they came",
    ),
    Metric(
        "xmlsocket_history_commit_seconds",
        "summary",
        "Commits, each of all messages that had come together, and their time",
    ),
)

_BROKER: Final = _section(
    "Broker",
    Metric(
        "xmlsocket_broker_ready",
        "gauge",
        "1 while messages can be kept and carried to other nodes, 0 while the broker or the disk refuses",
    ),
    Metric("xmlsocket_broker_nodes", "gauge", "Nodes that are alive, as this one sees them, itself among them"),
    Metric("xmlsocket_broker_reconnects_total", "counter", "Times that the connection to NATS was lost and came back"),
    Metric("xmlsocket_broker_outgoing_bytes", "gauge", "Bytes that wait to be sent to NATS"),
    Metric("xmlsocket_broker_outgoing_dropped_total", "counter", "Envelopes that did not fit into that queue any more"),
    Metric("xmlsocket_broker_hop_seconds", "summary", "Round trips to the NATS server; one at each heartbeat"),
    Metric("xmlsocket_broker_live_envelopes_sent_total", "counter", "Envelopes with live messages and presence, sent"),
    Metric("xmlsocket_broker_live_envelopes_received_total", "counter", "The same, received from other nodes"),
    Metric(
        "xmlsocket_broker_live_gaps_total", "counter", "Times that something live of another node was lost on the way"
    ),
    Metric(
        "xmlsocket_broker_live_missed_messages_total",
        "counter",
        "Messages lost so; who came and went meanwhile is not among them, and is put right by the node itself",
    ),
    Metric("xmlsocket_broker_live_rooms_heard", "gauge", "Rooms that this node listens to"),
    Metric("xmlsocket_broker_live_rooms_spoken", "gauge", "Rooms in which this node has said something lately"),
    Metric(
        "xmlsocket_broker_kept_commit_seconds",
        "summary",
        "Batches of kept messages, and the time from sending one to knowing that it is stored",
    ),
    Metric("xmlsocket_broker_kept_messages_total", "counter", "Messages that this node has had stored"),
    Metric("xmlsocket_broker_kept_pending", "gauge", "Messages that wait to be stored; nobody has seen them yet"),
    Metric(
        "xmlsocket_broker_kept_refused_total", "counter", "Messages that could not be stored; their senders were told"
    ),
    Metric(
        "xmlsocket_broker_kept_conflicts_total",
        "counter",
        "Batches that were numbered anew, as another node was faster",
    ),
    Metric(
        "xmlsocket_broker_kept_lookups_total", "counter", "Times that it had to be found out whether a batch is stored"
    ),
    Metric(
        "xmlsocket_broker_kept_catch_ups_total", "counter", "Times that missing messages were fetched from the stream"
    ),
    Metric("xmlsocket_broker_kept_unreadable_total", "counter", "Stored batches that are none of ours, passed over"),
    Metric("xmlsocket_broker_kept_lost_total", "counter", "Stored messages that were forgotten before they were read"),
    Metric("xmlsocket_broker_kept_rooms", "gauge", "Kept rooms with members here"),
    Metric("xmlsocket_broker_names_held", "gauge", "Names that clients of this node hold in the whole cluster"),
    Metric("xmlsocket_broker_names_lost_total", "counter", "Names that another node took while this one was cut off"),
    Metric("xmlsocket_broker_names_taken_over_total", "counter", "Names taken from nodes that were dead"),
    Metric(
        "xmlsocket_broker_names_unsettled", "gauge", "Names that are to be given back, or are looked at after a cut"
    ),
)

_GATEWAY: Final = _section(
    "Gateway",
    Metric("xmlsocket_gateway_links", "gauge", "Clients that are led to a server, or wait for it to be reached"),
    Metric("xmlsocket_upstream_connections", "gauge", "Connections open now to the servers behind"),
    Metric("xmlsocket_upstream_connects_total", "counter", "Connections that were opened to the servers behind"),
    Metric(
        "xmlsocket_upstream_failures_total",
        "counter",
        "Clients that ended because of the server behind: it could not be reached, or the connection to it was lost",
        ("reason",),
    ),
    Metric("xmlsocket_upstream_messages_received_total", "counter", "Messages from the servers behind"),
    Metric("xmlsocket_upstream_messages_sent_total", "counter", "Messages to the servers behind"),
    Metric("xmlsocket_upstream_received_bytes_total", "counter", "Bytes from the servers behind"),
    Metric("xmlsocket_upstream_sent_bytes_total", "counter", "Bytes to the servers behind"),
    Metric("xmlsocket_upstream_send_backlog_bytes", "gauge", "Bytes that wait in this process for the servers to read"),
)

_LOOP: Final = _section(
    "Event loop",
    Metric("xmlsocket_loop_lag_seconds", "histogram", "How late the event loop was, looked at twice a second", ("le",)),
    Metric("xmlsocket_loop_lag_max_seconds", "gauge", "The latest it was in the last half minute to minute"),
)

_PROCESS: Final = _section(
    "Process",
    Metric("xmlsocket_build_info", "gauge", "Always 1; its labels say what runs", ("version", "python", "loop")),
    Metric("xmlsocket_uptime_seconds", "gauge", "Since the start"),
    Metric(
        "xmlsocket_workers", "gauge", "Worker processes by whether they answer; only with several workers", ("state",)
    ),
    Metric(
        "xmlsocket_worker_restarts_total", "counter", "Workers that had to be replaced unasked, by reason", ("reason",)
    ),
    Metric("xmlsocket_worker_renewals_total", "counter", "Workers that were replaced because of SIGHUP"),
    Metric(
        "xmlsocket_private_broker_restarts_total",
        "counter",
        "Times that the NATS server between the workers had to be started again",
    ),
    Metric("process_cpu_seconds_total", "counter", "Processor time, user and system"),
    Metric("process_resident_memory_bytes", "gauge", "Memory in use"),
    Metric("process_virtual_memory_bytes", "gauge", "Address space"),
    Metric("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970"),
    Metric("process_open_fds", "gauge", "Descriptors in use: files and sockets"),
    Metric("process_max_fds", "gauge", "Descriptors that the system allows"),
)

METRICS: Final = (*_CONNECTIONS, *_TRAFFIC, *_ROOMS, *_HISTORY, *_BROKER, *_GATEWAY, *_LOOP, *_PROCESS)
"""Every metric, in the order of the reference."""

_FAMILIES: Final = {name: metric for metric in METRICS for name in metric.sample_names}
_PREFIX: Final = "xmlsocket_"


def metric_of(name: str) -> Metric | None:
    """Find the metric of a sample by its name.

    A broker that is not ours has counters that are not in the catalogue; their names say what they are.
    """
    if name in _FAMILIES or not name.startswith(_PREFIX):
        return _FAMILIES.get(name)
    words = name.removeprefix(_PREFIX).removesuffix("_total").replace("_", " ")
    return Metric(name, "counter" if name.endswith("_total") else "gauge", words.capitalize())
