"""Relay: each message goes to everybody connected, its sender included, byte for byte and in one order for all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from ..errors import CloseReason, RoomLimitError
from ..limits import RoomLimits
from ..net import Connection
from ..rooms import Broker, Rooms
from .app import AppHandler
from .pace import Pace

_ROOM: Final = "everybody"

logger = logging.getLogger("xmlsocket.relay")


class Relay(AppHandler):
    """One room that every connection is in from the moment it is accepted.

    Who sends without reading is stopped: it is not read from until it has read what waits for it. Who does not read
    what others send is dropped at ``max_send_backlog``, and delays nobody.

    Args:
        broker: Joins several nodes, or its address; by default one in memory, for this process alone.
        room_limits: Bounds the room.
    """

    def __init__(self, broker: Broker | str | None = None, *, room_limits: RoomLimits | None = None) -> None:
        self.rooms = Rooms(broker, limits=room_limits)
        self._pace = Pace(self.rooms.limits.publish_high_water, self._go_on)
        self._waiting: deque[tuple[Connection[bytes], list[bytes]]] = deque()
        self._is_draining = False
        self._connections: set[Connection[bytes]] = set()

    async def start(self) -> None:
        await self.rooms.start()

    async def drain(self) -> None:
        self._is_draining = True
        for connection in self._connections:
            connection.pause_reading()
        while self._waiting:  # noqa: ASYNC110  # the pace moves it on, one turn of the loop after the other
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.rooms.close()

    def connected(self, connection: Connection[bytes]) -> None:
        try:
            self.rooms.join(_ROOM, connection)
        except RoomLimitError as error:
            logger.warning("%r is not let in: %s", connection, error)
            connection.close_nowait()
            return
        self._connections.add(connection)
        if self._is_draining:
            connection.pause_reading()

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        if self._waiting or self._pace.is_exhausted:
            self._waiting.append((connection, messages))
            connection.pause_reading()
        else:
            self._publish(connection, messages)

    def _publish(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        publish = self.rooms.broker.publish
        for message in messages:  # cut at their NULs, so there is nothing in them to check
            publish(_ROOM, message)
        self._pace.spend(sum(map(len, messages)) + len(messages))
        if connection.is_send_paused:
            connection.pause_reading()

    def _go_on(self) -> None:
        while self._waiting and not self._pace.is_exhausted:
            connection, messages = self._waiting.popleft()
            self._read_on(connection)
            self._publish(connection, messages)

    def _read_on(self, connection: Connection[bytes]) -> None:
        if connection.is_open and not self._is_draining:
            connection.resume_reading()

    def writable(self, connection: Connection[bytes]) -> None:
        self._read_on(connection)

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        self._connections.discard(connection)
        self.rooms.forget(connection)
