"""What the system knows of this process, and what it is made of."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterable
from typing import Any

from .samples import Sample


def build_info(loop: asyncio.AbstractEventLoop) -> Sample:
    """Name the versions, and the event loop."""
    labels = {
        "version": importlib.metadata.version("xmlsocket"),
        "python": platform.python_version(),
        "loop": type(loop).__module__.partition(".")[0],
    }
    return Sample("xmlsocket_build_info", 1, labels)


def process_samples() -> list[Sample]:
    """Ask the system for processor time, memory and descriptors; blocks for as long as it takes to list those.

    Empty where prometheus-client is not installed, or the system has no ``/proc``.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        return []
    from prometheus_client import ProcessCollector  # not at the top: it is an extra

    collector: Any = ProcessCollector(registry=None)
    families: Iterable[Any] = collector.collect()
    return [Sample(sample.name, sample.value) for family in families for sample in family.samples]
