"""A chat with one room, where the first message of a client is its name. The second step of the tutorial."""

import asyncio

import xmlsocket

rooms = xmlsocket.Rooms()


async def chat(connection: xmlsocket.Connection) -> None:
    name = await connection.receive()
    async with rooms.join("lobby", connection) as room:
        await room.publish(f"{name} came in")
        async for message in connection:
            await room.publish(f"{name}: {message}")
    await room.publish(f"{name} went away")


async def main() -> None:
    async with xmlsocket.serve(chat, "localhost", 8080) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
