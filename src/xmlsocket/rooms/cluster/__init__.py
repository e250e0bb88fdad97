"""Rooms on many nodes, joined by NATS.

Knows: one connection to NATS that heals itself, nodes that come and go, live and kept messages, names held by leases.
Does not know: connections of clients, XML, what a message means.
May import: errors, limits, and from rooms what a broker is. Start reading at ``nats_broker.py``, then ``live.py``.
"""

from __future__ import annotations

from .nats_broker import NatsBroker

__all__ = ["NatsBroker"]
