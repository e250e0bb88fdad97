"""The two ways to handle messages: a coroutine per connection, or one object with callbacks for the hot path."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, cast

from ..errors import CloseReason, ConfigurationError, ConnectionClosedError
from ..wire import MessageT

if TYPE_CHECKING:
    from .connection import Connection


class Handler(Generic[MessageT]):
    """Callbacks for all connections of a server, or for one client; called from the event loop.

    They must not block. One that raises closes its own connection (reason ``HANDLER_FAILED``) with a traceback in the
    log; the others go on. For each connection the order is: ``connected`` once, any number of ``received`` and
    ``writable``, at most one ``ended``, ``closed`` once.
    """

    def connected(self, connection: Connection[MessageT]) -> None:
        """A connection is open."""

    def received(self, connection: Connection[MessageT], messages: list[MessageT]) -> None:
        """Messages arrived: all that one read completed, oldest first, never none.

        What is sent from here leaves in one write when the call returns.
        """

    def writable(self, connection: Connection[MessageT]) -> None:
        """The backlog has drained to ``send_low_water`` after ``connection.is_send_paused`` was true."""

    def ended(self, connection: Connection[MessageT]) -> None:
        """The peer sends no more but may still read. Unless overridden, what was sent is flushed and that is all."""
        connection.close_nowait()

    def closed(self, connection: Connection[MessageT], reason: CloseReason) -> None:
        """The connection is over."""


ConnectionHandler: TypeAlias = "Callable[[Connection[MessageT]], Awaitable[None]]"
"""A coroutine function that is run once for each connection; when it returns, the connection is closed."""


class Mailbox(Handler[MessageT]):  # its methods are described in Handler
    """Keep what arrives until ``connection.receive()`` takes it. Reading pauses when too much waits."""

    def connected(self, connection: Connection[MessageT]) -> None:
        connection._inbox = deque()

    def received(self, connection: Connection[MessageT], messages: list[MessageT]) -> None:
        inbox = cast("deque[MessageT]", connection._inbox)
        inbox.extend(messages)
        connection._wake_receiver()
        if connection._bytes_received - connection._bytes_taken >= connection._endpoint.limits.receive_high_water:
            connection.pause_reading()

    def ended(self, connection: Connection[MessageT]) -> None:
        connection._wake_receiver()
        if connection._closed_waiters:
            connection.close_nowait()

    def closed(self, connection: Connection[MessageT], reason: CloseReason) -> None:
        connection._wake_receiver()


class CoroutineHandler(Mailbox[MessageT]):
    """Run a coroutine for each connection, in a task of its own."""

    def __init__(self, coroutine: ConnectionHandler[MessageT]) -> None:
        self._coroutine = coroutine
        self.tasks: set[asyncio.Task[None]] = set()

    def connected(self, connection: Connection[MessageT]) -> None:
        super().connected(connection)
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, connection: Connection[MessageT]) -> None:
        try:
            await self._coroutine(connection)
        except ConnectionClosedError as error:
            # The usual way for a handler to learn that its peer has gone; another connection's end is its own fault.
            if connection.close_reason is None and not connection._is_ended:
                connection._handler_failed(error)
            else:
                connection.close_nowait()
        except Exception as error:  # whatever a user's code raises ends its own connection only
            connection._handler_failed(error)
        except asyncio.CancelledError:
            connection.abort()
            raise
        else:
            connection.close_nowait()


class _Adapted(Handler[Any]):
    """Somebody's own object with some of the callbacks."""

    def __init__(self, handler: object) -> None:
        for name in ("connected", "received", "writable", "ended", "closed"):
            if callable(method := getattr(handler, name, None)):
                setattr(self, name, method)


def make_handler(handler: Handler[MessageT] | ConnectionHandler[MessageT] | object) -> Handler[MessageT]:
    """Accept a :class:`Handler`, an object with its callbacks, or a coroutine function.

    Raises:
        ConfigurationError: It is none of them.
    """
    if isinstance(handler, type):
        raise ConfigurationError(f"pass an object, not the class: {handler.__name__}()")
    if isinstance(handler, Handler):
        return handler
    if callable(getattr(handler, "received", None)):
        return _Adapted(handler)
    if callable(handler) and not (inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler)):
        return CoroutineHandler(cast("ConnectionHandler[MessageT]", handler))
    raise ConfigurationError(
        f"a handler is a coroutine function that takes a connection, or an object with received(connection, messages); "
        f"{handler!r} is neither"
    )
