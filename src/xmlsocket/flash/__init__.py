"""Adobe's classes under Adobe's names, with the same events, texts and errors.

Knows: ActionScript's events, errors, values and sockets, and which content may connect where.
Does not know: rooms, gateways, the command line.
May import: errors, limits, wire, policy, net. Start reading at ``net.py``, then ``link.py`` and ``dispatcher.py``.
"""

from __future__ import annotations

from . import avm1, errors, events, net, system
from .net import XMLSocket
from .player import run
from .system import Content, Security
from .uncaught import setUncaughtErrorHandler
from .xml import XML, XMLList

__all__ = [
    "XML",
    "Content",
    "Security",
    "XMLList",
    "XMLSocket",
    "avm1",
    "errors",
    "events",
    "net",
    "run",
    "setUncaughtErrorHandler",
    "system",
]
