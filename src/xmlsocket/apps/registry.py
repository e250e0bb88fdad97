"""The applications by name."""

from __future__ import annotations

import difflib
from typing import Final

from ..errors import ConfigurationError
from ..limits import ChatLimits, RoomLimits
from .app import App
from .chat import Chat
from .echo import Echo
from .pages import chat_pages, status_pages
from .relay import Relay

_RELAY = "send each message to everybody connected, its sender included"
_ECHO = "send each message back to its sender"

APPS: Final[tuple[App, ...]] = (
    App(
        name="chat",
        summary="people with names, rooms, private messages and history, in a small XML protocol",
        make=Chat,
        options={"encoding": None, "pages": chat_pages},
        limits={"limits": ChatLimits, "room_limits": RoomLimits},
        has_rooms=True,
        keeps_history=True,
    ),
    App(
        name="relay",
        summary=_RELAY,
        make=Relay,
        # Verbatim whatever the encoding; and a member that says nothing is a member all the same.
        options={"encoding": None, "speaks_first": True, "pages": status_pages("relay", _RELAY)},
        limits={"room_limits": RoomLimits},
        has_rooms=True,
    ),
    App(
        name="echo",
        summary=_ECHO,
        make=Echo,
        options={"encoding": None, "pages": status_pages("echo", _ECHO)},
    ),
)


def find(name: str) -> App:
    """Find an application by its name.

    Raises:
        ConfigurationError: There is none of that name; the nearest one is named.
    """
    for app in APPS:
        if app.name == name:
            return app
    names = [app.name for app in APPS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise ConfigurationError(f"there is no application called {name!r}; {hint}")
