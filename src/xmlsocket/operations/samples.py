"""Measured values as plain data: they cross from a worker to its parent as JSON, and know nothing of Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        name: The metric, with ``_bucket``, ``_sum`` or ``_count`` where it is a part of one.
        value: In the unit that the name ends with.
        labels: Names and values.
    """

    name: str
    value: float
    labels: Mapping[str, str] = {}


def to_json(samples: Iterable[Sample]) -> list[list[Any]]:
    """Write samples as what ``json.dumps`` takes."""
    return [[name, value, dict(labels)] for name, value, labels in samples]


def from_json(value: object) -> list[Sample]:
    """Read what :func:`to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, list):
        raise ValueError(f"samples are a list, not {type(value).__name__}")
    return [_read(item) for item in value]


def _read(item: object) -> Sample:
    match item:
        case [str(name), int() | float() as number, dict(labels)] if math.isfinite(number):
            return Sample(name, number, {str(key): str(text) for key, text in labels.items()})
    raise ValueError(f"{item!r} is no sample")


def merge(by_worker: Mapping[str, Iterable[Sample]]) -> list[Sample]:
    """Put the samples of several processes together, each with a label ``worker`` that says whose it is."""
    return [
        Sample(name, value, {**labels, "worker": worker})
        for worker, samples in by_worker.items()
        for name, value, labels in samples
    ]
