"""Echo by a coroutine for each connection, as the first page of the documentation shows it.

python -m benchmarks.servers.echo_coroutine PORT [POLICY_FILE]
"""

from __future__ import annotations

import xmlsocket

from .running import run


async def echo(connection: xmlsocket.Connection[str]) -> None:
    async for message in connection:
        await connection.send(message)


run(echo)
