"""Echo by a Handler that takes the messages as bytes: no text is decoded, as none is by the peers.

python -m benchmarks.servers.echo_bytes PORT [POLICY_FILE]
"""

from __future__ import annotations

import xmlsocket

from .running import run


class Echo(xmlsocket.Handler[bytes]):
    def received(self, connection: xmlsocket.Connection[bytes], messages: list[bytes]) -> None:
        for message in messages:
            connection.send_nowait(message)


run(Echo(), encoding=None)
