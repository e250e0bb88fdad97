"""Everybody guesses one number: a protocol of XML elements. The third step of the tutorial."""

import asyncio
import random
from xml.etree import ElementTree as ET

import xmlsocket

rooms = xmlsocket.Rooms()
secret = random.randint(1, 100)


async def play(connection: xmlsocket.Connection) -> None:
    async with rooms.join("players", connection) as room:
        async for message in connection:
            try:
                number = parse_guess(message)
            except ValueError as error:
                await connection.send(element("error", text=str(error)))
                continue
            if number == secret:
                await room.publish(element("won", by=connection.id, number=number))
            else:
                verdict = "too low" if number < secret else "too high"
                await connection.send(element("answer", number=number, **{"is": verdict}))


def parse_guess(message: str) -> int:
    if "<!" in message:
        raise ValueError("document types are not for messages")
    try:
        guess = ET.fromstring(message)
    except ET.ParseError as error:
        raise ValueError(f"this is not XML: {error}") from error
    if guess.tag != "guess":
        raise ValueError(f"<{guess.tag}> is unknown here; send <guess number=…/>")
    return int(guess.get("number", ""))


def element(tag: str, *, text: str | None = None, **attributes: object) -> ET.Element:
    made = ET.Element(tag, {name: str(value) for name, value in attributes.items()})
    made.text = text
    return made


async def main() -> None:
    async with xmlsocket.serve(play, "localhost", 8080, max_message_size=200) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
