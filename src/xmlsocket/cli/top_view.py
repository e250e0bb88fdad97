"""What ``xmlsocket top`` shows: looks at an operations address turned into panels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import ROUNDED
from rich.console import Group, JustifyMethod, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .address import Address
from .console import printable
from .scraping import Look

_BARS: Final = "▁▂▃▄▅▆▇█"
_REMEMBERED: Final = 120
_MOST_REASONS: Final = 6
_WIDE: Final = 76
_SIDES: Final[tuple[JustifyMethod, ...]] = ("left", "center", "right")
_LATE: Final = 0.1
"""Seconds of lag from which people notice."""

# Ends that nobody need look into.
_ORDERLY: Final = frozenset(
    {"closed", "peer_closed", "shutdown", "policy_answered", "http_answered", "upstream_closed"}
)
# The others of a broker are shown when there is something to be seen.
_ALWAYS: Final = frozenset({"history_pending", "history_file_bytes", "broker_kept_pending", "broker_live_gaps_total"})
_TRAFFIC: Final = (
    ("messages in", "xmlsocket_messages_received_total", False),
    ("messages out", "xmlsocket_messages_sent_total", False),
    ("bytes in", "xmlsocket_received_bytes_total", True),
    ("bytes out", "xmlsocket_sent_bytes_total", True),
)


class View:
    """Looks that come one after the other, and the picture of them.

    Args:
        address: Where they come from.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._looks: deque[Look] = deque(maxlen=2)
        self._rates: dict[str, deque[float]] = {}
        self._trouble: str | None = None

    def add(self, look: Look) -> None:
        """Take the next look."""
        self._looks.append(look)
        self._trouble = None
        if len(self._looks) == 2:
            for _, name, _ in _TRAFFIC:
                self._rates.setdefault(name, deque(maxlen=_REMEMBERED)).append(self.rate(name) or 0.0)

    def lose(self, sentence: str) -> None:
        """Note that a look failed; what was seen last stays in the picture."""
        self._trouble = sentence

    def rate(self, name: str, **labels: str) -> float | None:
        """How fast a counter grows, per second; ``None`` before the second look.

        A process that has started anew counts from 0 again: then what it has counted since. What was not seen before,
        as of a worker that did not answer, has not grown.
        """
        if len(self._looks) < 2:
            return None
        before, now = self._looks
        values = {frozenset(sample.labels.items()): sample.value for sample in before.matching(name, **labels)}
        grown = 0.0
        for sample in now.matching(name, **labels):
            value = values.get(frozenset(sample.labels.items()), sample.value)
            grown += sample.value - value if sample.value >= value else sample.value
        return grown / max(now.at - before.at, 1e-3)

    def render(self, width: int) -> RenderableType:
        """Draw it for so many columns."""
        if not self._looks:
            return Text(printable(self._trouble or "looking ..."))
        look = self._looks[-1]
        left = [
            self._connections(look),
            self._rooms(look),
            self._gateway(look),
            self._ends(look),
            self._broker(look),
        ]
        right = [self._traffic(look), self._process(look), self._workers(look)]
        if self._trouble is None and look.is_ready:
            trouble = []
        else:
            sentences = [self._trouble] if self._trouble is not None else look.obstacles
            trouble = [Text(f" {printable(sentence)}", style="bold red") for sentence in sentences]
        return Group(self._head(look, width), *trouble, _arrange(_present(left), _present(right), width))

    def _head(self, look: Look, width: int) -> RenderableType:
        info = next(look.matching("xmlsocket_build_info")).labels
        if self._trouble is not None:
            state = Text("● not answering", style="bold red")
        elif look.is_ready:
            state = Text("● ready", style="bold green")
        else:
            state = Text("● not ready", style="bold red")
        name = Text.assemble((" xmlsocket ", "bold"), printable(info.get("version", "")), f"  {self._address}")
        runs = f"Python {printable(info.get('python', ''))}, {printable(info.get('loop', ''))}   "
        uptime = f"up {_duration(look.largest('xmlsocket_uptime_seconds'))} "
        if width < _WIDE:
            return Group(Text.assemble(" ", state, "   ", (uptime, "dim")), name)
        line = Table.grid(expand=True, padding=(0, 1))
        for justify in _SIDES:
            line.add_column(justify=justify, no_wrap=True)
        line.add_row(name, state, Text((runs if width >= 90 else "") + uptime, style="dim"))
        return line

    def _connections(self, look: Look) -> Panel:
        table = _figures()
        opened = look.total("xmlsocket_connections")
        table.add_row("open", Text(_count(opened), style="bold"), _share(opened, look))
        for transport, number in look.by("xmlsocket_connections", "transport").items():
            if number or transport == "tcp":
                table.add_row(Text(f"  {printable(transport)}", style="dim"), _count(number), "")
        table.add_row(
            "so far", _count(look.total("xmlsocket_clients_total")), _per_second(self.rate("xmlsocket_clients_total"))
        )
        table.add_row("opening", _count(look.total("xmlsocket_openings")), "")
        backlog = look.total("xmlsocket_send_backlog_bytes")
        worst = look.largest("xmlsocket_send_backlog_max_bytes")
        table.add_row("wait to send", _bytes(backlog), Text(f"worst {_bytes(worst)}", style="dim"))
        paused = look.total("xmlsocket_send_paused")
        table.add_row("slow readers", Text(_count(paused), style="yellow" if paused else ""), "")
        return _panel("Connections", table)

    def _traffic(self, look: Look) -> Panel:
        table = _figures()
        table.add_row("", Text("in all", style="dim"), Text("per second", style="dim"))
        for title, name, is_bytes in _TRAFFIC:
            show = _bytes if is_bytes else _count
            rate = self.rate(name)
            table.add_row(title, show(look.total(name)), "–" if rate is None else Text(show(rate), style="bold"))
        spark = Table.grid(padding=(0, 1))
        for title, name in (("in", "xmlsocket_messages_received_total"), ("out", "xmlsocket_messages_sent_total")):
            if len(rates := self._rates.get(name, ())) > 1:
                spark.add_row(Text(title, style="dim"), Text(_sparkline(rates), style="cyan"))
        return _panel("Traffic", Group(table, spark) if spark.row_count else table)

    def _ends(self, look: Look) -> Panel:
        table = _figures()
        ends = look.by("xmlsocket_closes_total", "reason")
        shown = sorted((reason for reason in ends if ends[reason]), key=lambda reason: -ends[reason])
        if not shown:
            table.add_row(Text("nobody has left yet", style="dim"), "", "")
        for reason in shown[:_MOST_REASONS]:
            name = Text(printable(reason).replace("_", " "), style="" if reason in _ORDERLY else "yellow")
            table.add_row(name, _count(ends[reason]), _per_second(self.rate("xmlsocket_closes_total", reason=reason)))
        if rest := sum(ends[reason] for reason in shown[_MOST_REASONS:]):
            table.add_row(Text(f"{len(shown) - _MOST_REASONS} other reasons", style="dim"), _count(rest), "")
        return _panel("Ends", table)

    def _process(self, look: Look) -> Panel:
        table = _figures()
        cpu = self.rate("process_cpu_seconds_total")
        table.add_row("processor", "–" if cpu is None else f"{cpu:.0%}", "")
        table.add_row("memory", _bytes(look.total("process_resident_memory_bytes")), "")
        fds, most = look.largest("process_open_fds"), look.largest("process_max_fds")
        table.add_row("descriptors", _count(fds), Text(f"of {_count(most)}" if most else "", style="dim"))
        lag = look.largest("xmlsocket_loop_lag_max_seconds")
        table.add_row("loop lag, worst", Text(_seconds(lag), style="red" if lag >= _LATE else ""), "")
        mean = self._mean("xmlsocket_loop_lag_seconds")
        table.add_row("loop lag, mean", "–" if mean is None else _seconds(mean), "")
        return _panel("Process", table)

    def _mean(self, name: str) -> float | None:
        """The mean of what a histogram or summary counted since the look before, or in all."""
        count, total = self.rate(f"{name}_count"), self.rate(f"{name}_sum")
        if not count or total is None:
            count, total = self._looks[-1].total(f"{name}_count"), self._looks[-1].total(f"{name}_sum")
        return total / count if count else None

    def _rooms(self, look: Look) -> Panel | None:
        if not look.has("xmlsocket_rooms"):
            return None
        table = _figures()
        is_sum = len(list(look.matching("xmlsocket_rooms"))) > 1  # a room that two workers have counts twice
        remark = Text("each worker" if is_sum else "", style="dim")
        table.add_row("rooms", Text(_count(look.total("xmlsocket_rooms")), style="bold"), remark)
        table.add_row("members", _count(look.total("xmlsocket_members")), "")
        if look.has("xmlsocket_broker_ready"):
            is_ready = all(sample.value for sample in look.matching("xmlsocket_broker_ready"))
            table.add_row(
                "broker", Text("ready" if is_ready else "away", style="green" if is_ready else "bold red"), ""
            )
        for title, value, counter in _broker_figures(look, "history_"):
            table.add_row(title, value, _per_second(self.rate(counter)) if counter else "")
        return _panel("Rooms", table)

    def _broker(self, look: Look) -> Panel | None:
        table = _figures()
        for title, value, counter in _broker_figures(look, "broker_"):
            table.add_row(title, value, _per_second(self.rate(counter)) if counter else "")
        return _panel("Broker", table) if table.row_count else None

    def _gateway(self, look: Look) -> Panel | None:
        if not look.has("xmlsocket_upstream_connections"):
            return None
        table = _figures()
        name = "xmlsocket_upstream_connects_total"
        table.add_row("links", Text(_count(look.total("xmlsocket_gateway_links")), style="bold"), "")
        table.add_row("to servers", _count(look.total("xmlsocket_upstream_connections")), "")
        table.add_row("opened", _count(look.total(name)), _per_second(self.rate(name)))
        for reason, count in look.by("xmlsocket_upstream_failures_total", "reason").items():
            rate = self.rate("xmlsocket_upstream_failures_total", reason=reason)
            table.add_row(Text(printable(reason), style="yellow" if count else ""), _count(count), _per_second(rate))
        table.add_row("from servers", _bytes(look.total("xmlsocket_upstream_received_bytes_total")), "")
        table.add_row("to servers", _bytes(look.total("xmlsocket_upstream_sent_bytes_total")), "")
        return _panel("Gateway", table)

    def _workers(self, look: Look) -> Panel | None:
        names = [name for name in look.by("process_cpu_seconds_total", "worker") if name]
        if not names:
            return None
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column(no_wrap=True)
        for _ in range(4):
            table.add_column(justify="right", no_wrap=True)
        table.add_row(*(Text(title, style="dim") for title in ("", "open", "out/s", "cpu", "lag")))
        for name in names:
            cpu = self.rate("process_cpu_seconds_total", worker=name)
            sent = self.rate("xmlsocket_messages_sent_total", worker=name)
            table.add_row(
                printable(name),
                _count(look.total("xmlsocket_connections", worker=name)),
                "–" if sent is None else _count(sent),
                "–" if cpu is None else f"{cpu:.0%}",
                _seconds(look.largest("xmlsocket_loop_lag_max_seconds", worker=name)),
            )
        if silent := look.total("xmlsocket_workers", state="silent"):
            table.add_row(Text(f"{silent:.0f} silent", style="bold red"), "", "", "", "")
        return _panel("Workers", table)


def _broker_figures(look: Look, prefix: str) -> Iterable[tuple[str, str, str | None]]:
    """What else a broker tells: title, value, and the name of a counter. Sums of seconds are shown as means."""
    seen = set()
    for sample in look.samples:
        name = sample.name.removeprefix("xmlsocket_")
        title = name.removeprefix("broker_").removesuffix("_total").replace("_", " ")
        is_meant = name.startswith(prefix) and name != "broker_ready"
        if not is_meant or name in seen or name.endswith(("_bucket", "_seconds_count")):
            continue
        seen.add(name)
        value = look.largest(sample.name) if name == "broker_nodes" else look.total(sample.name)
        if not value and name not in _ALWAYS:
            continue
        if name.endswith("_seconds_sum"):
            count = look.total(sample.name.removesuffix("sum") + "count")
            yield title.removesuffix(" seconds sum"), _seconds(value / count) if count else "–", None
        elif name.endswith("_bytes"):
            yield title.removesuffix(" bytes"), _bytes(value), None
        elif name.endswith("_seconds"):
            yield title.removesuffix(" seconds"), _seconds(value), None
        else:
            yield title, _count(value), sample.name if name.endswith("_total") else None


def _present(panels: Iterable[Panel | None]) -> list[Panel]:
    return [panel for panel in panels if panel is not None]


def _arrange(left: Sequence[Panel], right: Sequence[Panel], width: int) -> RenderableType:
    if width < _WIDE:
        return Group(*left, *right)
    columns = Table.grid(expand=True)
    columns.add_column(ratio=1)
    columns.add_column(ratio=1)
    columns.add_row(Group(*left), Group(*right))
    return columns


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", box=ROUNDED, border_style="blue", padding=(0, 1))


def _figures() -> Table:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=11)
    return table


def _share(value: float, look: Look) -> Text:
    limits = [sample.value for sample in look.matching("xmlsocket_connections_limit")]
    if not limits or not sum(limits):
        return Text("")
    share = value / sum(limits)
    return Text(f"{share:.0%} of {_count(sum(limits))}", style="red" if share >= 0.9 else "dim")


def _per_second(rate: float | None) -> Text:
    if rate is None:
        return Text("")
    return Text(f"{rate:.1f}/s" if 0 < rate < 10 else f"{_count(rate)}/s", style="" if rate else "dim")


def _count(value: float) -> str:
    if value >= 1e9:
        return f"{value / 1e9:.2f} G"
    if value >= 1e7:
        return f"{value / 1e6:.1f} M"
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _seconds(value: float) -> str:
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}"
    return f"{days} d {clock}" if days else clock


def _sparkline(values: Iterable[float]) -> str:
    """Draw the latest values, the highest as a full bar; what is not 0 is never drawn as nothing."""
    latest = list(values)[-28:]
    top = max(latest, default=0.0)
    if not top:
        return _BARS[0] * len(latest)
    return "".join(_BARS[min(int(value / top * 7.99), 7)] for value in latest)
