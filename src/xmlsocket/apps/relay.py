"""Relay: each message goes to everybody connected, its sender included, byte for byte and in one order for all."""

from __future__ import annotations

from typing import Final

from ..errors import CloseReason
from ..limits import RoomLimits
from ..net import Connection
from ..rooms import Broker, Rooms
from .app import AppHandler

_ROOM: Final = "everybody"


class Relay(AppHandler):
    """One room that every connection is in from the moment it is accepted.

    Who sends without reading is stopped: it is not read from until it has read what waits for it. Who does not read
    what others send is dropped at ``max_send_backlog``, and delays nobody.

    Args:
        broker: Joins several nodes; by default one in memory, for this process alone.
        room_limits: Bounds the room.
    """

    def __init__(self, broker: Broker | None = None, *, room_limits: RoomLimits | None = None) -> None:
        self.rooms = Rooms(broker, limits=room_limits)

    async def start(self) -> None:
        await self.rooms.start()

    async def close(self) -> None:
        await self.rooms.close()

    def connected(self, connection: Connection[bytes]) -> None:
        self.rooms.join(_ROOM, connection)

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        publish = self.rooms.broker.publish
        for message in messages:  # cut at their NULs, so there is nothing in them to check
            publish(_ROOM, message)
        if connection.is_send_paused:
            connection.pause_reading()

    def writable(self, connection: Connection[bytes]) -> None:
        connection.resume_reading()

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        self.rooms.forget(connection)
