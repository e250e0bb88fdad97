"""Echo: each message goes back to its sender, byte for byte."""

from __future__ import annotations

from ..net import Connection
from .app import AppHandler


class Echo(AppHandler):
    """Send each message back. A client that does not read is not read from either: it is stopped, never dropped."""

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        send = connection.send_nowait
        for message in messages:
            send(message)
        if connection.is_send_paused:
            connection.pause_reading()

    def writable(self, connection: Connection[bytes]) -> None:
        connection.resume_reading()
