"""Where wire meets asyncio: servers, clients and connections.

Knows: sockets, the event loop, timeouts, back-pressure, and which protocol a client speaks.
Does not know: rooms, chat, the command line, or what the messages mean.
May import: errors, limits, wire, policy. Start reading at ``connection.py``, then ``server.py``.
"""

from __future__ import annotations

from .client import connect
from .connection import Connection
from .endpoint import Traffic
from .handler import ConnectionHandler, Handler
from .policy_answer import PolicyAnswer, load_policy
from .policy_client import PolicyClient
from .policy_probe import Probe, probe_policy
from .policy_server import PolicyServer, PolicyStatistics, serve_policy
from .server import Server, serve

__all__ = [
    "Connection",
    "ConnectionHandler",
    "Handler",
    "PolicyAnswer",
    "PolicyClient",
    "PolicyServer",
    "PolicyStatistics",
    "Probe",
    "Server",
    "Traffic",
    "connect",
    "load_policy",
    "probe_policy",
    "serve",
    "serve_policy",
]
