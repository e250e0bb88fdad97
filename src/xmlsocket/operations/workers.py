"""Several worker processes shown as one: their parent asks each of them, and puts the answers together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from ..limits import OperationsLimits
from .samples import Sample, from_json, merge, to_json
from .status import Health, Status

logger = logging.getLogger("xmlsocket.operations")

Ask: TypeAlias = Callable[[str], Awaitable[Any]]
"""Asks one worker one of :func:`answerers`, by name; raises if it is gone."""

PARENT: Final = "supervisor"
"""What the label ``worker`` says of the parent's own samples."""


def answerers(status: Status) -> dict[str, Callable[[], Awaitable[Any]]]:
    """What a worker answers its parent, by name; the answers are what JSON can say."""

    async def samples() -> list[list[Any]]:
        return to_json(await status.samples())

    async def health() -> dict[str, Any]:
        found = await status.health()
        return {"faults": list(found.faults), "obstacles": list(found.obstacles)}

    return {"samples": samples, "health": health}


class WorkersStatus:
    """The status of a parent and its workers. See :class:`Status`.

    Args:
        own: The parent's.
        workers: Gives the workers that clients may come to now, by name; each with a way to ask it.
        limits: How long they may take.
        expected: How many there should be; those that are not there are counted as missing.
    """

    def __init__(
        self,
        own: Status,
        workers: Callable[[], Mapping[str, Ask]],
        limits: OperationsLimits | None = None,
        *,
        expected: int = 0,
    ) -> None:
        self._own = own
        self._workers = workers
        self._expected = expected
        self._timeout = (limits or OperationsLimits()).worker_timeout

    def start(self) -> None:
        """See :class:`Status`."""
        self._own.start()

    def stop(self) -> None:
        """See :class:`Status`."""
        self._own.stop()

    async def samples(self) -> list[Sample]:
        """Gather those of every worker that answers in time, and the parent's own."""
        own, answers = await asyncio.gather(self._own.samples(), self._ask_all("samples", from_json))
        answered = {name: samples for name, samples in answers.items() if samples is not None}
        counts = {
            "answering": len(answered),
            "silent": len(answers) - len(answered),
            "missing": max(0, self._expected - len(answers)),
        }
        return [
            *(Sample("xmlsocket_workers", count, {"state": state}) for state, count in counts.items()),
            *merge({**answered, PARENT: own}),
        ]

    async def health(self) -> Health:
        """Alive while any worker answers; ready while all do and are."""
        own, answers = await asyncio.gather(self._own.health(), self._ask_all("health", _read_health))
        silent = [name for name, health in answers.items() if health is None]
        if not answers:
            return Health(own.faults, (*own.obstacles, "no worker runs"))
        faults, obstacles = list(own.faults), list(own.obstacles)
        if silent:
            verb = "does" if len(silent) == 1 else "do"
            sentence = f"{_show(silent)} {verb} not answer within {self._timeout:g} s"
            (faults if len(silent) == len(answers) else obstacles).append(sentence)
        by_sentence: dict[str, list[str]] = {}
        for name, health in answers.items():
            for sentence in () if health is None else (*health.faults, *health.obstacles):
                by_sentence.setdefault(sentence, []).append(name)
        obstacles += [f"{_show(names)}: {sentence}" for sentence, names in by_sentence.items()]
        return Health(tuple(faults), tuple(obstacles))

    async def _ask_all(self, question: str, read: Callable[[object], Any]) -> dict[str, Any]:
        """Ask all at once; ``None`` for a worker that does not answer in time."""
        workers = dict(self._workers())
        answers = await asyncio.gather(*(self._ask(name, ask, question, read) for name, ask in workers.items()))
        return dict(zip(workers, answers, strict=True))

    async def _ask(self, name: str, ask: Ask, question: str, read: Callable[[object], Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return read(await ask(question))
        except Exception as error:  # one worker that is broken must not hide the others
            logger.warning("worker %s does not tell its %s: %r", name, question, error)
            return None


def _read_health(value: object) -> Health:
    match value:
        case {"faults": list(faults), "obstacles": list(obstacles)}:
            return Health(tuple(map(str, faults)), tuple(map(str, obstacles)))
    raise ValueError(f"{value!r} tells nothing of health")


def _show(names: list[str]) -> str:
    return f"worker{'s' if len(names) > 1 else ''} {', '.join(names)}"
