"""What must be reached, what is aimed at, and whether it was: each line is one promise of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .summary import Summary
from .trial import Trial

_FIGURES: dict[str, Callable[[Trial], float]] = {
    "rate": lambda trial: trial.rate,
    "thrift": lambda trial: 1 / trial.server_cost_us if trial.server_cost_us else 0.0,
    "latency": lambda trial: trial.latency_p99_us,
    "memory": lambda trial: trial.memory_kib or 0.0,
}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for one server in one scenario.

    ``measure`` is ``rate`` (per second), ``memory`` (KiB a connection, where less is better) or the name of a peer: the
    figure divided by that peer's in the same round, in the same scenario or in ``beside``. Figures are ``rate``,
    ``thrift`` (units per second of the server's processor time), and ``latency`` (99th percentile) and ``memory``, of
    which less is better.
    """

    scenario: str
    contestant: str
    measure: str
    must: float | None
    aim: float | None
    figure: str = "rate"
    beside: str | None = None

    @property
    def is_ratio(self) -> bool:
        """The bound is a multiple of what a peer showed."""
        return self.measure not in ("rate", "memory")

    @property
    def is_ceiling(self) -> bool:
        """Less is better."""
        return self.measure == "memory" or self.figure in ("latency", "memory")

    def find_value(self, summary: Summary) -> float | None:
        """Return what was measured, or ``None``."""
        cell = summary.find_cell(self.scenario, self.contestant)
        if self.measure == "rate":
            return cell.rate if cell else None
        if self.measure == "memory":
            return cell.memory_kib if cell else None
        return summary.compare(self.scenario, self.contestant, self.measure, _FIGURES[self.figure], beside=self.beside)

    def judge(self, value: float | None) -> str:
        """Say it: ``aim met``, ``met``, ``missed``, ``aim missed`` (where nothing must be) or ``not measured``."""
        if value is None:
            return "not measured"
        if self._reaches(value, self.aim):
            return "aim met"
        if self.must is None:
            return "aim missed"
        return "met" if self._reaches(value, self.must) else "missed"

    def _reaches(self, value: float, bound: float | None) -> bool:
        if bound is None:
            return False
        return value <= bound if self.is_ceiling else value >= bound


def _same(
    scenarios: Iterable[str], contestants: Iterable[str], measure: str, must: float | None, aim: float | None
) -> list[Target]:
    return [Target(scenario, contestant, measure, must, aim) for scenario in scenarios for contestant in contestants]


_HOT = ("handler", "daemon")
_OURS = ("handler", "coroutine", "daemon")

TARGETS = (
    Target("echo-64x1", "coroutine", "c", 0.50, 0.70),
    Target("echo-64x1", "coroutine", "node", 1.0, None),
    Target("echo-64x1", "coroutine", "streams", 1.0, None),
    *_same(["echo-64x1"], _HOT, "c", 0.60, 0.70),
    Target("echo-64x64", "coroutine", "c", 0.30, 0.45),
    Target("echo-64x64", "coroutine", "node", 0.9, None),
    Target("echo-64x64", "coroutine", "streams", 12.0, None),
    *_same(["echo-64x64"], _HOT, "c", 0.50, 0.65),
    *_same(["echo-4k", "echo-256k"], _HOT, "c", 0.50, 0.70),
    *_same(["relay-100", "relay-1000", "relay-5000"], ["daemon"], "c", 0.80, 1.0),
    *_same(["churn"], _HOT, "c", 0.50, 0.65),
    *_same(["churn"], _HOT, "node", 1.3, None),
    *_same(["idle-5000", "idle-10000"], _HOT, "memory", 3.0, 2.0),
    *_same(["idle-5000", "idle-10000"], ["coroutine"], "memory", 5.0, 3.5),
    *_same(["idle-10000"], _OURS, "rate", 10_000, None),
    *_same(["idle-10000"], _OURS, "c", None, 1.0),
    *_same(["websocket-64x1"], _HOT, "node-ws", 1.0, 1.4),
    *_same(["websocket-64x1"], _HOT, "c-ws", 0.42, 0.55),
    *_same(["websocket-64x16"], _HOT, "node-cork", 1.0, 1.5),
    *_same(["websocket-64x16"], _HOT, "c-ws", 0.20, 0.30),
    *_same(["websocket-4k"], _HOT, "node-ws", 1.2, 2.0),
    *_same(["websocket-4k"], _HOT, "c-ws", 0.20, 0.32),
    *_same(["websocket-256k"], _HOT, "node-ws", 0.5, 0.8),
    Target("websocket-256k", "handler", "node-ws", 5.0, 2.0, "latency"),
    Target("websocket-256k", "daemon", "node-ws", 5.0, 2.0, "latency"),
    Target("websocket-room", "daemon", "c-ws", 0.75, 0.95),
    Target("websocket-room", "daemon", "daemon", 0.8, 1.0, beside="websocket-tcp-room"),
    *_same(["websocket-churn"], _HOT, "node-ws", 1.3, 2.0),
    *_same(["websocket-idle"], _HOT, "memory", 5.0, 3.0),
    Target("gateway-64x1", "gateway", "node-gateway", 1.0, 1.4, "thrift"),
    Target("gateway-64x1", "gateway", "websockify", 7.0, 10.0, "thrift"),
    Target("gateway-64x16", "gateway", "node-gateway", 1.3, 2.0, "thrift"),
    Target("gateway-64x16", "gateway", "websockify", 11.0, 16.0, "thrift"),
    Target("gateway-churn", "gateway", "node-gateway", 1.3, 2.0),
    Target("gateway-churn", "gateway", "websockify", 15.0, 23.0),
    Target("gateway-idle", "gateway", "websockify", 1 / 400, 1 / 1000, "memory"),
    Target("kept-100", "room-sqlite", "room-memory", 0.7, None),
)
