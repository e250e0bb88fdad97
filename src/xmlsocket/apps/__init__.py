"""What the daemon can run without a line of code: chat, relay and echo.

Knows: what the messages mean, who is logged in, and how answers and errors are written.
Does not know: sockets, the command line, or how nodes are joined.
May import: errors, limits, net, rooms. Start reading at ``registry.py``, then ``chat.py``.
"""

from __future__ import annotations

from .app import App, AppHandler
from .chat import Chat
from .echo import Echo
from .registry import APPS, find
from .relay import Relay

__all__ = ["APPS", "App", "AppHandler", "Chat", "Echo", "Relay", "find"]
