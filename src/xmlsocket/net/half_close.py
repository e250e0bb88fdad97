"""The end of our direction of a connection, while the peer's may go on."""

from __future__ import annotations

import asyncio


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
