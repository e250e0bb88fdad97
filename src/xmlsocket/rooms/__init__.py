"""Who hears what: rooms, their members, and the brokers that join nodes and keep messages.

Knows: members with an id that take messages without waiting, orders, numbers, history.
Does not know: connections, XML, names of people, or what a message means.
May import: errors, limits, wire. Start reading at ``rooms.py``, then ``broker.py``, then ``kept.py``.
"""

from __future__ import annotations

from .broker import Broker, BrokerState, Done, KeptMessage, Receiver
from .history import History
from .kept import HistoryBroker
from .memory import MemoryBroker
from .renderer import Renderer
from .room import Member, OwnCopy, Room
from .rooms import Hold, Membership, NameHolders, Rooms

__all__ = [
    "Broker",
    "BrokerState",
    "Done",
    "History",
    "HistoryBroker",
    "Hold",
    "KeptMessage",
    "Member",
    "Membership",
    "MemoryBroker",
    "NameHolders",
    "OwnCopy",
    "Receiver",
    "Renderer",
    "Room",
    "Rooms",
]
