"""Live rooms in processes of ``xmlsocket serve`` while the broker fails, and a journal of the run that adds up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from pathlib import Path

from tests.cluster.journal import Record
from tests.cluster.service import Node


class Speaker:
    """A client of ``talk``, by TCP with nothing of ours in it, who reads all the time.

    Attributes:
        said: How many messages.
        heard: The numbers that were heard of each speaker, itself included.
        missed: How many messages of the other node it was told to have missed.
    """

    def __init__(self, journal, node, label):
        self.journal, self.node, self.label = journal, node, label
        self.begin()

    def begin(self):
        """Count from here."""
        self.said = self.missed = 0
        self.heard = defaultdict(list)

    async def connect(self):
        reader, self.writer = await asyncio.open_connection(self.node.host, self.node.port)
        self.reading = asyncio.create_task(self.read(reader))

    def say(self):
        self.journal.write("sent", label=self.label, number=self.said)
        self.writer.write(f"{self.label} {self.said}".encode() + b"\0")
        self.said += 1

    async def read(self, reader):
        while True:
            word, number = (await reader.readuntil(b"\0"))[:-1].decode().split()
            if word == "missed":
                self.missed += int(number)
                self.journal.write("missed", to=self.label, count=int(number))
            else:
                self.heard[word].append(int(number))
                self.journal.write("delivered", to=self.label, sender=word, number=int(number))

    def has_heard_all(self, others):
        """Whether all that others have said was heard, or told to be missed."""
        elsewhere = [other for other in others if other.node is not self.node]
        here = [other for other in others if other.node is self.node]
        heard = sum(len(self.heard[other.label]) for other in elsewhere)
        return heard + self.missed == sum(other.said for other in elsewhere) and all(
            len(self.heard[other.label]) == other.said for other in here
        )

    async def end(self):
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        self.writer.close()


async def talk(speakers, seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for speaker in speakers:
            speaker.say()
        await asyncio.sleep(0.02)


async def find_each_other(journal, speakers):
    """Talk until every node listens to the other. What was said before is nobody's."""
    while not all(len(speaker.heard) == len(speakers) for speaker in speakers):
        await talk(speakers, 0.1)
    for speaker in speakers:
        speaker.say()
    last = {speaker.label: speaker.said - 1 for speaker in speakers}
    await journal.until(
        lambda: all(speaker.heard[label][-1:] == [last[label]] for speaker in speakers for label in last),
        "they hear each other",
    )
    journal.write("they hear each other")
    for speaker in speakers:
        speaker.begin()


async def lose_the_broker(journal, server, speakers):
    await talk(speakers, 0.5)
    journal.write("fault made", what="the broker is killed")
    await asyncio.gather(talk(speakers, 1.5), asyncio.to_thread(server.kill))
    journal.write("fault made", what="the broker is started")
    await asyncio.gather(talk(speakers, 1.5), asyncio.to_thread(server.start))
    await journal.until(
        lambda: all(speaker.has_heard_all(speakers) for speaker in speakers), "what is not heard is told to be missed"
    )


def check(journal, speakers):
    for speaker in speakers:
        assert speaker.missed > 0, journal.complain(f"{speaker.label} missed nothing")
        for other in speakers:
            numbers = speaker.heard[other.label]
            in_order = list(range(other.said)) if other.node is speaker.node else sorted(set(numbers))
            assert numbers == in_order, journal.complain(f"what {speaker.label} heard of {other.label}")
    sums = Counter({"sent": 0, "delivered": 0, "missed": 0})
    for line in journal.read():
        if line["event"] == "they hear each other":
            sums.clear()
        sums[line["event"]] += line.get("count", 1)
    # Of all that was said everybody here has heard it, and everybody there has heard it or knows to have missed it.
    assert sums["delivered"] + sums["missed"] == len(speakers) * sums["sent"] > 0, journal.complain(str(sums))
    journal.write("sums", **sums)


def test_live_rooms_go_on_without_a_broker_and_what_is_missed_is_counted_and_the_journal_adds_up(nats_server, tmp_path):
    async def main():
        journal = Record(tmp_path / "journal.jsonl")
        nodes = [Node(label, [nats_server.url], "talk:talk", cwd=Path(__file__).parent) for label in ("one", "two")]
        speakers = []
        try:
            for node in nodes:
                await node.serve()
            for node in nodes:
                for name in ("ann", "bob"):
                    speakers.append(Speaker(journal, node, f"{name}-{node.label}"))
                    await speakers[-1].connect()
            await find_each_other(journal, speakers)
            await lose_the_broker(journal, nats_server, speakers)
            check(journal, speakers)
        finally:
            for speaker in speakers:
                await speaker.end()
            logs = [node.end() for node in nodes]
            journal.close()
        assert not [log for log in logs if "Traceback" in log]

    asyncio.run(main())
