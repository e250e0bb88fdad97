"""Echo by a Handler, which gets all messages of one read at once.

python -m benchmarks.servers.echo_handler PORT [POLICY_FILE]
"""

from __future__ import annotations

import xmlsocket

from .running import run


class Echo(xmlsocket.Handler[str]):
    def received(self, connection: xmlsocket.Connection[str], messages: list[str]) -> None:
        for message in messages:
            connection.send_nowait(message)


run(Echo())
