"""What must be reached, what is aimed at, and whether it was: each line is one promise of the project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .summary import Summary


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for one server in one scenario.

    ``measure`` is ``rate`` (per second), ``memory`` (KiB a connection, where less is better) or the name of a peer: the
    rate divided by that peer's in the same round.
    """

    scenario: str
    contestant: str
    measure: str
    must: float | None
    aim: float | None

    def find_value(self, summary: Summary) -> float | None:
        """Return what was measured, or ``None``."""
        cell = summary.find_cell(self.scenario, self.contestant)
        if self.measure == "rate":
            return cell.rate if cell else None
        if self.measure == "memory":
            return cell.memory_kib if cell else None
        return summary.find_ratio(self.scenario, self.contestant, self.measure)

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
        return value <= bound if self.measure == "memory" else value >= bound


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
)
