"""The end of our direction of a connection, while the peer's may go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import Connection


def end_output(transport: asyncio.Transport) -> None:
    """End our direction once everything is sent; the peer ends its own.

    Closing a socket with unread input makes the kernel send a reset, which can destroy what the peer has not read yet.
    So the caller reads on until the peer is done, and throws it away. TLS can only end both directions at once.
    """
    if transport.can_write_eof():
        try:
            transport.write_eof()
        except OSError:
            pass  # the peer has reset the connection, and we learn it here before the event loop does
        else:
            return
    transport.close()


def half_close(connection: Connection[Any]) -> None:
    """Send what is queued and end our direction of a connection over plain TCP; receiving goes on.

    Nothing may be sent to it afterwards. Neither a WebSocket nor TLS can stay half open: those are closed.
    """
    if connection._websocket is not None or not connection._transport.can_write_eof():
        connection.close_nowait()
    elif connection.is_open:
        connection._flush()
        end_output(connection._transport)
