"""Nodes with kept rooms, for the tests."""

from __future__ import annotations

import asyncio
import contextlib

from tests.net.peers import until

from xmlsocket import BrokerUnavailableError
from xmlsocket.limits import ClusterLimits
from xmlsocket.rooms.cluster.session import Session
from xmlsocket.rooms.cluster.stream import KeptStream

QUICK = ClusterLimits(store_timeout=1.0, announce_interval=1.0)


class Listener:
    """Writes down the kept messages of each room, in order."""

    def __init__(self):
        self.heard = {}
        self.origins = []

    def receive_kept(self, room, message, origin=None):
        self.heard.setdefault(room, []).append(message)
        if origin is not None:
            self.origins.append((message.id, origin))

    def ids(self, room="lobby"):
        return [message.id for message in self.heard.get(room, ())]

    def texts(self, room="lobby"):
        return [message.text for message in self.heard.get(room, ())]


@contextlib.asynccontextmanager
async def node(url, prefix="xmlsocket", limits=None, cluster=QUICK, rooms=("lobby",), **options):
    session = Session(url, prefix=prefix, limits=cluster)
    stream = KeptStream(session, limits, **options)
    stream.listener = Listener()
    stream.session = session
    stream.attach(stream.listener)
    for room in rooms:
        stream.subscribe(room)
    with contextlib.suppress(BrokerUnavailableError):
        await session.start()
    try:
        await stream.start()
        yield stream
    finally:
        await stream.close()
        await session.close()


async def opened(*nodes):
    await until(lambda: all(one.is_ready and not one._follower.rooms["lobby"].opening for one in nodes))


async def outcomes(awaitables):
    async with asyncio.timeout(60):
        return await asyncio.gather(*awaitables, return_exceptions=True)
