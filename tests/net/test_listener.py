"""What a server does by itself, beside its connections."""

from __future__ import annotations

import asyncio

import xmlsocket
from xmlsocket.net.listener import Listener


def test_an_interval_of_0_between_pings_does_not_keep_the_processor_busy(runner, monkeypatch):
    rounds = []
    ping = Listener._ping
    monkeypatch.setattr(Listener, "_ping", lambda self: (rounds.append(1), ping(self)))

    async def main():
        async with xmlsocket.serve(xmlsocket.Handler(), "127.0.0.1", 0, websocket_ping_interval=0):
            for _ in range(1000):  # turns of the loop, each of which pinged
                await asyncio.sleep(0)

    runner(main())
    assert len(rounds) < 100
