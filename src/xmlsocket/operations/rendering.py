"""Samples in the text format that Prometheus reads, by prometheus-client."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ..net.http import Page
from .catalogue import Metric, metric_of
from .samples import Sample

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

_MISSING: Final = b'metrics need the package prometheus-client: pip install "xmlsocket[metrics]"\n'


def can_render() -> bool:
    """Whether prometheus-client is installed."""
    return importlib.util.find_spec("prometheus_client") is not None


def prepare() -> None:
    """Load prometheus-client, which takes too long for an event loop: call it in a thread, before the first page."""
    if can_render():
        importlib.import_module("prometheus_client.exposition")


def render(samples: Iterable[Sample], accept: str = "") -> Page:
    """Write the page; OpenMetrics where the request accepts it, else the older text format.

    Args:
        samples: In any order. Those whose metric is not in the catalogue are left out.
        accept: The header ``Accept`` of the request.
    """
    if not can_render():
        return Page(_MISSING, "text/plain; charset=utf-8", status=501)
    from prometheus_client.exposition import choose_encoder  # not at the top: it is an extra

    encode, content_type = choose_encoder(accept)
    return Page(encode(_Families(samples)), content_type)


class _Families:
    """What prometheus-client calls a collector: the samples of each metric together."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_metric: dict[Metric, list[Sample]] = {}
        for sample in samples:
            metric = metric_of(sample.name)
            if metric is not None:
                self._by_metric.setdefault(metric, []).append(sample)

    def collect(self) -> Iterator[Family]:
        for metric, samples in self._by_metric.items():
            yield _family(metric, samples)


def _family(metric: Metric, samples: list[Sample]) -> Family:
    from prometheus_client import Metric as Family  # not at the top: it is an extra

    family = Family(metric.name.removesuffix("_total"), f"{metric.help}.", metric.kind)
    # OpenMetrics wants the parts of a histogram together, process by process; sorting is stable.
    for sample in sorted(samples, key=lambda sample: sample.labels.get("worker", "")):
        family.add_sample(sample.name, dict(sample.labels), sample.value)
    return family
