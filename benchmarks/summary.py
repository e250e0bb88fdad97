"""From trials to figures: medians, and ratios of servers that ran in the same round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from .trial import Trial

QUIET = 0.10
"""Cores that others may take in a trial that still counts as undisturbed."""

SATURATED = 0.97
"""Share of its core from which on the load generator may be what limits the rate."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One server in one scenario: medians over its trials."""

    rate: float
    lowest_rate: float
    highest_rate: float
    cost_us: float
    latency_p50_us: float
    latency_p99_us: float
    client_cpu: float
    memory_kib: float | None
    trials: int
    disturbed: int
    frames: int
    odd_frames: int


class Summary:
    """All trials of a run. Where a cell has undisturbed trials, only those count."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = list(trials)
        self._by_cell: dict[tuple[str, str], list[Trial]] = {}
        for trial in trials:
            self._by_cell.setdefault((trial.scenario, trial.contestant), []).append(trial)

    def find_cell(self, scenario: str, contestant: str) -> Cell | None:
        """Return the medians, or ``None`` when this was not measured."""
        every = self._by_cell.get((scenario, contestant))
        if not every:
            return None
        used = [trial for trial in every if trial.others <= QUIET] or every
        memories = [trial.memory_kib for trial in used if trial.memory_kib is not None]
        rates = [trial.rate for trial in used]
        return Cell(
            rate=median(rates),
            lowest_rate=min(rates),
            highest_rate=max(rates),
            cost_us=median(trial.server_cost_us for trial in used),
            latency_p50_us=median(trial.latency_p50_us for trial in used),
            latency_p99_us=median(trial.latency_p99_us for trial in used),
            client_cpu=median(trial.client_cpu for trial in used),
            memory_kib=median(memories) if memories else None,
            trials=len(every),
            disturbed=sum(trial.others > QUIET for trial in every),
            frames=sum(trial.frames for trial in every),
            odd_frames=sum(trial.odd_frames for trial in every),
        )

    def find_ratio(self, scenario: str, contestant: str, other: str, *, beside: str | None = None) -> float | None:
        """Return the median over the rounds of one rate divided by the other's, or ``None`` without both.

        The other's is that of the same scenario, or of ``beside``.
        """
        return self.compare(scenario, contestant, other, lambda trial: trial.rate, beside=beside)

    def find_cost_ratio(self, scenario: str, contestant: str, other: str) -> float | None:
        """The same for the server's processor time per unit; below 1 is cheaper."""
        return self.compare(scenario, contestant, other, lambda trial: trial.server_cost_us)

    def compare(
        self,
        scenario: str,
        contestant: str,
        other: str,
        measure: Callable[[Trial], float],
        *,
        beside: str | None = None,
    ) -> float | None:
        """The same for anything that a trial shows and that is not 0."""
        theirs = {trial.round: trial for trial in self._by_cell.get((beside or scenario, other), ())}
        pairs = [
            (trial, theirs[trial.round])
            for trial in self._by_cell.get((scenario, contestant), ())
            if trial.round in theirs
        ]
        quiet = [pair for pair in pairs if max(pair[0].others, pair[1].others) <= QUIET]
        ratios = [measure(ours) / measure(peer) for ours, peer in quiet or pairs if measure(peer)]
        return median(ratios) if ratios else None
