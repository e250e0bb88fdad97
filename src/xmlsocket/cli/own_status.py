"""The supervising process as the operations address shows it: it serves nobody itself, and counts who had to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from ..operations import Health, ProcessStatus, Sample
from .private_broker import PrivateBroker

REASONS: Final = ("died", "hung", "left")
"""Why a worker had to be replaced unasked: it ended, did not answer any more, or was told to end by somebody else."""


class Supervised(Protocol):
    """What is looked at. See ``Supervisor``."""

    broker: PrivateBroker | None
    restarts: Counter[str]
    renewals: int

    def find_unserved(self) -> list[int]:
        """The numbers of the slots, from 1, whose clients wait."""
        ...


class OwnStatus(ProcessStatus):
    """The status of the supervising process."""

    def __init__(self, supervisor: Supervised) -> None:
        super().__init__()
        self._supervisor = supervisor

    async def samples(self) -> list[Sample]:
        """See :class:`ProcessStatus`."""
        watched = self._supervisor
        found = await super().samples()
        found += (
            Sample("xmlsocket_worker_restarts_total", watched.restarts[reason], {"reason": reason})
            for reason in REASONS
        )
        found.append(Sample("xmlsocket_worker_renewals_total", watched.renewals))
        if watched.broker is not None:
            found.append(Sample("xmlsocket_private_broker_restarts_total", watched.broker.restarts))
        return found

    async def health(self) -> Health:
        """See :class:`ProcessStatus`."""
        return Health(obstacles=tuple(self._find_obstacles()))

    def _find_obstacles(self) -> Iterator[str]:
        if self.is_draining():
            yield "it is stopping"
        if self._supervisor.broker is not None and not self._supervisor.broker.is_running:
            yield "the workers' NATS server is not running"
        for number in self._supervisor.find_unserved():
            yield f"worker {number} is not running, and nobody serves its clients"
