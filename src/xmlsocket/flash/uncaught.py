"""Where errors go that nobody catches: exceptions of listeners, and error events without a listener.

In the player they reach the ``uncaughtErrorEvents`` of the content, or the window of a debug player; they never stop
the player or the other listeners. Here one function for the whole program gets them; unless you set another, it
writes to the log ``xmlsocket.flash``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .event import Event

logger = logging.getLogger("xmlsocket.flash")

UncaughtErrorHandler: TypeAlias = "Callable[[Exception, Event | None], object]"
"""Takes the error, and the event during which it came up (``None`` where there was no event)."""


def logUncaughtError(error: Exception, event: Event | None) -> None:
    """Write an uncaught error to the log; what happens unless :func:`setUncaughtErrorHandler` was called."""
    is_raised = error.__traceback__ is not None  # an error event without a listener was never raised
    where = f" (in a listener of {event})" if is_raised and event is not None else ""
    logger.error("%s%s", error, where, exc_info=error if is_raised else None)


_handler: UncaughtErrorHandler = logUncaughtError


def setUncaughtErrorHandler(handler: UncaughtErrorHandler | None) -> UncaughtErrorHandler:
    """Say who gets the errors that nobody catches.

    Args:
        handler: Called with the error and the event. An :class:`~xmlsocket.flash.events.ErrorEvent` without a listener
            arrives as an ``Error`` with number 2044, whose text contains that of the event. ``None`` restores the log.

    Returns:
        The handler that was in force, to restore it.
    """
    global _handler  # one for the program, as there is one player
    previous, _handler = _handler, handler or logUncaughtError
    return previous


def report(error: Exception, event: Event | None) -> None:
    """Hand an error to whoever wants the uncaught ones; whatever that one raises is logged."""
    try:
        _handler(error, event)
    except Exception:
        logger.exception("the handler of uncaught errors failed on %r", error)
