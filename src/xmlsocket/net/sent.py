"""What ``send`` returns when there is nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Sent(asyncio.Future[None]):
    """A future that is done: awaiting it costs a third of what making and running a coroutine does.

    One serves all messages of a server or client. It passes for a coroutine too, so that ``create_task`` and
    ``TaskGroup.create_task`` take what ``send`` returns. Therefore ``asyncio.wait`` refuses it, as it does coroutines.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.set_result(None)

    def send(self, value: None) -> Any:
        """End, as a coroutine does that returns."""
        raise StopIteration(None)

    def throw(self, *error: Any) -> Any:
        """Raise what is thrown in, as a coroutine does that does not catch it."""
        raise error[1] if len(error) > 1 and error[1] is not None else error[0]

    def close(self) -> None:
        """End, as there is nothing to clean up."""


Coroutine.register(Sent)
