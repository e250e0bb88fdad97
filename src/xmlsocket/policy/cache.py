"""What is known of locations already: parsed files and failures, for one session."""

from __future__ import annotations

import dataclasses

from ..limits import PolicyLimits
from .answers import Ask, Fetched, Location, Outcome

_DEFAULT_LIMITS = PolicyLimits()


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    fetched: Fetched
    timeout: float | None
    time: float


class PolicyCache:
    """Keeps what each location answered, so that it is asked once in a session.

    Keyed by address and location, never by name alone: a name that points elsewhere next time must not
    take its grants along. Decisions are not kept, for each requester has its own.
    Not tied to an event loop or thread; whoever shares one between threads must lock.

    Args:
        limits: ``negative_ttl`` and ``max_cached_policies`` count here.
    """

    def __init__(self, limits: PolicyLimits = _DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._entries: dict[tuple[str, Location], _Entry] = {}

    def find(self, ask: Ask, now: float) -> Fetched | None:
        """Look up what a location answered before.

        A failure counts until ``negative_ttl`` seconds have passed, and a time-out only for those who
        would not wait longer.
        """
        entry = self._entries.get((ask.address, ask.location))
        if entry is None or entry.fetched.policy is not None:
            return None if entry is None else entry.fetched
        ttl = self._limits.negative_ttl
        if ttl is not None and now - entry.time >= ttl:
            return None
        waits_longer = entry.timeout is not None and (ask.timeout is None or ask.timeout > entry.timeout)
        return None if entry.fetched.outcome is Outcome.TIMEOUT and waits_longer else entry.fetched

    def store(self, ask: Ask, fetched: Fetched, now: float) -> None:
        """Keep what a location answered; the oldest entry goes when ``max_cached_policies`` is passed."""
        key = (ask.address, ask.location)
        self._entries.pop(key, None)
        self._entries[key] = _Entry(fetched, ask.timeout, now)
        limit = self._limits.max_cached_policies
        if limit is not None and len(self._entries) > limit:
            del self._entries[next(iter(self._entries))]

    def clear(self) -> None:
        """Forget everything, as a new session does."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
