"""Live rooms: the first message of a connection, ``room NAME``, names its room; each later one goes to everybody there.

For ``xmlsocket serve --encoding none benchmarks.servers.room_relay:RoomRelay``.
"""

from __future__ import annotations

import os

import xmlsocket
from xmlsocket.apps import AppHandler
from xmlsocket.rooms import Room, Rooms


class RoomRelay(AppHandler):
    def __init__(self) -> None:
        self.rooms = Rooms(os.environ.get("XMLSOCKET_BROKER"))
        self.room_of: dict[int, Room] = {}

    async def start(self) -> None:
        await self.rooms.start()

    async def close(self) -> None:
        await self.rooms.close()

    def received(self, connection: xmlsocket.Connection[bytes], messages: list[bytes]) -> None:
        room = self.room_of.get(connection.id)
        if room is None:
            room = self.rooms.join(messages.pop(0).decode(), connection).room
            self.room_of[connection.id] = room
            connection.send_nowait("joined")
        for message in messages:
            room.publish_nowait(message)

    def closed(self, connection: xmlsocket.Connection[bytes], reason: object) -> None:
        self.rooms.forget(connection)
        self.room_of.pop(connection.id, None)
