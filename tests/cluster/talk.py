"""An application with live rooms, for ``xmlsocket serve talk:talk``: its members are told what was lost on the way."""

from __future__ import annotations

from typing import Final

from xmlsocket import CloseReason, Connection, Rooms
from xmlsocket.apps import App, AppHandler
from xmlsocket.rooms import Broker, Renderer

_ROOM: Final = "everybody"


class _Notices(Renderer):
    def gap(self, room: str, missed: int) -> str:
        return f"missed {missed}"


class Talk(AppHandler):
    """One room for all, as the relay has it."""

    def __init__(self, broker: Broker | None = None) -> None:
        self._rooms = Rooms(broker, render=_Notices())

    async def start(self) -> None:
        await self._rooms.start()

    async def close(self) -> None:
        await self._rooms.close()

    def connected(self, connection: Connection[bytes]) -> None:
        self._rooms.join(_ROOM, connection)

    def received(self, connection: Connection[bytes], messages: list[bytes]) -> None:
        for message in messages:
            self._rooms.broker.publish(_ROOM, message)

    def closed(self, connection: Connection[bytes], reason: CloseReason) -> None:
        self._rooms.forget(connection)


talk = App(
    name="talk",
    summary="live rooms",
    make=Talk,
    options={"encoding": None, "speaks_first": True},
    has_rooms=True,
)
