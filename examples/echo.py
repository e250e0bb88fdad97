"""Send each message back. The first step of the tutorial."""

import asyncio

import xmlsocket


async def echo(connection: xmlsocket.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    async with xmlsocket.serve(echo, "localhost", 8080) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
