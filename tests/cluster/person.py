"""Somebody in the chat, by TCP with nothing of ours in it, who reads all the time and writes it into the journal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol
from xml.etree import ElementTree

from tests.cluster.journal import DEADLINE, History, Journal, Stay

_MOST_UNANSWERED = 40


class Place(Protocol):
    """Where to connect."""

    label: str
    host: str
    port: int

    @property
    def is_healthy(self) -> bool:
        """Whether nothing stands between it and the others: a name that it holds is nobody else's."""


class Person:
    """A client of the chat.

    Attributes:
        name: The name, which is held by one connection.
        label: What the journal calls this connection: no other is called so.
        stays: The rooms that it is in now.
        is_in: Whether it is logged in.
        is_over: Set when the connection has ended.
        errors: The codes of all errors.
    """

    def __init__(self, journal: Journal, node: Place, name: str, label: str | None = None) -> None:
        self.journal, self.node, self.name = journal, node, name
        self.label = label or name
        self.stays: dict[str, Stay] = {}
        self.is_in = False
        self.is_over = asyncio.Event()
        self.errors: list[str] = []
        self._number = 0
        self._refs = 0
        self._answers: dict[str, asyncio.Future[ElementTree.Element]] = {}
        self._unanswered: dict[str, None] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    # What it does

    async def connect(self) -> None:
        reader, self._writer = await asyncio.open_connection(self.node.host, self.node.port, limit=2**24)
        self._reading = asyncio.create_task(self._read(reader))

    async def ask(self, request: str) -> ElementTree.Element:
        """Send a request, with ``REF`` where its ref belongs, and wait for the answer or the end."""
        assert self._writer is not None
        self._refs += 1
        ref = f"r{self._refs}"
        answer = self._answers[ref] = asyncio.get_running_loop().create_future()
        self._writer.write(request.replace("REF", f'ref="{ref}"').encode() + b"\0")
        try:
            async with asyncio.timeout(DEADLINE):
                return await answer
        finally:
            self._answers.pop(ref, None)

    async def log_in(self) -> str:
        """Try once. Returns ``welcome`` or the code of the error."""
        if self._writer is None:
            await self.connect()
        answer = await self.ask(f'<login name="{self.name}" REF/>')
        if answer.tag != "welcome":
            self.journal.write("login refused", label=self.label, code=answer.attrib["code"])
            return answer.attrib["code"]
        self.is_in = True
        self.journal.write("login", name=self.name, label=self.label)
        holder = self.journal.holders.get(self.name.casefold())
        if holder is not None and holder.is_in and holder.node.is_healthy:
            self.journal.fault(f"{self.name} is logged in twice, as {holder.label} and {self.label}")
        self.journal.holders[self.name.casefold()] = self
        return "welcome"

    async def log_in_at_last(self) -> None:
        """Try until the name is free, and the node knows that it is."""
        deadline = time.monotonic() + DEADLINE
        while (code := await self.log_in()) != "welcome":
            assert code in ("name-taken", "unavailable"), code
            assert time.monotonic() < deadline, self.journal.complain(f"{self.label} cannot log in: {code}")
            await asyncio.sleep(0.1)

    async def join(self, room: str) -> Stay:
        answer = await self.ask(f'<join room="{room}" REF/>')
        assert answer.tag == "joined", ElementTree.tostring(answer)
        return self.stays[room]

    async def leave(self, room: str) -> None:
        await self.ask(f'<leave room="{room}" REF/>')

    def say(self, room: str) -> str:
        """Say the next thing; what it was."""
        assert self._writer is not None
        text = f"{self.label} ä💬 {self._number}"
        self._number += 1
        self.journal.begin(room, self.name, text)
        self._unanswered[text] = None
        self._writer.write(f'<say room="{room}" ref="{text}">{text}</say>'.encode() + b"\0")
        return text

    async def talk(self, room: str, stop: asyncio.Event, pause: float) -> None:
        """Say something again and again, until told to stop or the connection ends."""
        while not (stop.is_set() or self.is_over.is_set()):
            if len(self._unanswered) < _MOST_UNANSWERED:
                self.say(room)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.is_over.wait(), pause)

    async def go(self) -> None:
        """Hang up, when all is answered."""
        assert self._writer is not None
        assert self._reading is not None
        self.is_in = False  # the name is free before we know it
        self._writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            await self._reading

    async def drop(self) -> None:
        """End, whatever the server does."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    # What comes

    async def _read(self, reader: asyncio.StreamReader) -> None:
        assert self._writer is not None
        try:
            while True:
                self._take(await _receive(reader))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._end()
            self._writer.close()

    def _end(self) -> None:
        self.is_in = False
        self.is_over.set()
        self.journal.write("end", label=self.label)
        for stay in self.stays.values():
            stay.is_over = True
        self.stays.clear()
        for text in self._unanswered:
            self.journal.settle(text, "unknown")
        self._unanswered.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError(f"the connection of {self.label} ended"))

    def _take(self, element: ElementTree.Element) -> None:
        ref = element.attrib.get("ref")
        room = element.attrib.get("room", "")
        stay = self.stays.get(room)
        if element.tag == "error":
            self._take_error(element.attrib["code"], element.text or "", ref)
        elif element.tag == "joined":
            names = {member.attrib["name"] for member in element.iter("member")}
            self.stays[room] = Stay(room, self.label, names - {self.name})
            self.journal.join(self.stays[room])
        elif element.tag in ("said", "entered", "left", "notice") and stay is None:
            self.journal.fault(f"{self.label} is not in {room} and got {ElementTree.tostring(element)!r}")
        elif element.tag == "said":
            assert stay is not None
            self._take_said(stay, element, ref)
        elif element.tag == "left" and ref is not None:
            self.stays.pop(room).is_over = True
        elif element.tag in ("entered", "left"):
            assert stay is not None
            self.journal.move(stay, element.tag, element.attrib["name"])
        elif element.tag == "notice":
            assert stay is not None
            stay.notices.append(element.attrib["code"])
            self.journal.write("notice", to=self.label, code=element.attrib["code"])
        answer = self._answers.get(ref or "")
        if answer is not None and not answer.done():
            answer.set_result(element)

    def _take_error(self, code: str, sentence: str, ref: str | None) -> None:
        self.errors.append(code)
        if ref is not None and ref in self._unanswered:
            del self._unanswered[ref]
            self.journal.settle(ref, "refused", code=f"{code}: {sentence}")

    def _take_said(self, stay: Stay, element: ElementTree.Element, ref: str | None) -> None:
        number = int(element.attrib["id"])
        self.journal.deliver(stay, number, element.text or "")
        if ref is None:
            return
        if ref not in self._unanswered:
            self.journal.fault(f"{self.label} was answered twice about {ref}")
            return
        del self._unanswered[ref]
        self.journal.settle(ref, "accepted", id=number, stamp=element.attrib["at"])


async def _receive(reader: asyncio.StreamReader) -> ElementTree.Element:
    return ElementTree.fromstring((await reader.readuntil(b"\0"))[:-1])


async def read_history(node: Place, room: str) -> History:
    """All that a node says was said in a room, page by page, as somebody asks for it who is not there."""
    reader, writer = await asyncio.open_connection(node.host, node.port, limit=2**24)
    found: History = []
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                after = found[-1][0] if found else 0
                writer.write(f'<history room="{room}" after="{after}" limit="200"/>'.encode() + b"\0")
                page: History = []
                while (element := await _receive(reader)).tag == "said":
                    page.append((int(element.attrib["id"]), element.text or ""))
                found += page
                if element.tag == "end" and len(page) < 200:
                    return found
                if element.tag == "error":
                    assert element.attrib["code"] == "unavailable", ElementTree.tostring(element)
                    await asyncio.sleep(0.1)
    finally:
        writer.close()
