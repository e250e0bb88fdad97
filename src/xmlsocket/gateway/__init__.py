"""Browsers and players in front, existing XMLSocket servers behind.

Knows: targets, how a client is tied to its connection upstream, who is paused and closed when, and why.
Does not know: what the messages mean, configuration files, the command line.
May import: errors, limits, net. Start reading at ``gateway.py``, then ``link.py``.
"""

from __future__ import annotations

from .gateway import Gateway, GatewayOptions, GatewayServer
from .targets import Targets, parse_target

__all__ = ["Gateway", "GatewayOptions", "GatewayServer", "Targets", "parse_target"]
