"""A running service seen from outside: whether it is alive and ready, and everything that it counts.

Knows: metrics and their names, health, and the HTTP address that shows them.
Does not know: options, terminals, how workers are started, or who reads what is shown.
May import: errors, limits, wire, policy, net, rooms. Start reading at ``status.py``, then ``server.py``.
"""

from __future__ import annotations

from .catalogue import METRICS, Metric
from .samples import Sample, merge
from .server import OperationsServer, serve_operations
from .status import Health, ProcessStatus, Status

__all__ = [
    "METRICS",
    "Health",
    "Metric",
    "OperationsServer",
    "ProcessStatus",
    "Sample",
    "Status",
    "merge",
    "serve_operations",
]
