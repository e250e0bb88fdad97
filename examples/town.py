"""A town square on several machines, which share who is there and what was said. The fourth step of the tutorial."""

import asyncio
import sys

import xmlsocket
from xmlsocket.rooms import Renderer


class Crier(Renderer):
    def kept(self, room: str, message: xmlsocket.KeptMessage) -> str:
        return f"{message.id}. {message.sender}: {message.text}"

    def arrival(self, room: str, name: str) -> str:
        return f"{name} comes"

    def departure(self, room: str, name: str) -> str:
        return f"{name} goes"

    def connection_state(self, room: str, is_connected: bool) -> str:
        return "the road to the others is open again" if is_connected else "the road to the others is closed"


rooms = xmlsocket.Rooms("nats://localhost:4222", render=Crier())


async def visit(connection: xmlsocket.Connection) -> None:
    name = await connection.receive()
    async with rooms.join("square", connection, name) as square:
        try:
            for message in await square.history(limit=20):
                await connection.send(f"earlier: {message.sender}: {message.text}")
            await connection.send(f"here: {', '.join(await square.present())}")
            async for text in connection:
                await square.keep(text, name)
        except xmlsocket.BrokerUnavailableError as error:
            await connection.send(f"come back later: {error}")


async def main(port: int) -> None:
    await rooms.start()
    try:
        async with xmlsocket.serve(visit, "localhost", port) as server:
            await server.serve_forever()
    finally:
        await rooms.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
