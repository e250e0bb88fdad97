"""The end of our direction of a connection, while the peer's may go on."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Any

from ..errors import CloseReason

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


def find_departure(connection: Connection[Any]) -> CloseReason | None:
    """Ask the system whether a peer has left whom nobody reads from, so that the event loop does not hear of it.

    Only an end that has arrived can be seen: it comes after all data, so not while TCP's window is closed.

    Returns:
        ``PEER_CLOSED`` if it has ended its direction (what it sent before is still to be read), ``CONNECTION_LOST`` if
        the connection is broken, ``None`` if it is there, or if the system does not say (Windows).
    """
    sock = connection._transport.get_extra_info("socket")
    if not connection.is_open or sock is None or sock.fileno() < 0 or not hasattr(select, "poll"):
        return None
    ended = getattr(select, "POLLRDHUP", 0)  # Linux only; without it a peer that is gone altogether is seen
    poll = select.poll()
    poll.register(sock.fileno(), ended)
    state = next((state for _, state in poll.poll(0)), 0)
    if state & (select.POLLERR | select.POLLHUP):
        return CloseReason.CONNECTION_LOST
    return CloseReason.PEER_CLOSED if state & ended else None
