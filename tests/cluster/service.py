"""A service for fault runs: nodes that are processes of ``xmlsocket serve --broker``, people in the chat, a journal."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cli.processes import SCRIPT, Daemon, environment
from tests.cluster.journal import TOLD_WITHIN, Journal
from tests.cluster.person import Person, read_history

ROOM = "lobby"
_PAUSE = 0.12


class Node:
    """A process of ``xmlsocket serve``.

    Attributes:
        label: What the journal calls it.
        is_healthy: Whether nothing was done to it that keeps it from the others.

    Args:
        label: See there.
        urls: Of the brokers.
        prefix: Of everything in the broker.
        arguments: What is served, and further options.
        host: Where it listens.
        launcher: A command that the command is given to.
        variables: Further environment.
        cwd: Where it runs.
    """

    def __init__(
        self,
        label: str,
        urls: Iterable[str],
        *arguments: str,
        prefix: str = "xmlsocket",
        host: str = "127.0.0.1",
        launcher: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.label, self.host = label, host
        self.is_healthy = True
        brokers = [argument for url in urls for argument in ("--broker", url)]
        self._daemon = Daemon(
            [
                *(*launcher, SCRIPT, "serve", *arguments, "--host", host, "--port", "0", "--operations", "none"),
                *("--log-level", "info", "--broker-prefix", prefix, *brokers),
            ],
            env=environment(**(variables or {})),
            cwd=cwd,
        )
        self.port = 0

    async def serve(self) -> Node:
        """Wait until it serves."""
        self.port = await asyncio.to_thread(lambda: self._daemon.port)
        return self

    @property
    def log(self) -> str:
        return self._daemon.stderr

    def kill(self) -> None:
        """End it as a machine does that dies."""
        self.is_healthy = False
        self._daemon.process.kill()
        self._daemon.process.wait(20)

    def stand_still(self) -> None:
        self.is_healthy = False
        os.kill(self._daemon.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._daemon.process.pid, signal.SIGCONT)

    def end(self) -> str:
        """End it, whatever its state is; what it has logged."""
        self.kill()
        self._daemon.wait()
        for stream in (self._daemon.process.stdout, self._daemon.process.stderr):
            if stream is not None:
                stream.close()
        return self.log


class Service:
    """Nodes and people; ``async with`` it.

    Attributes:
        journal: What happens.
        nodes: Those that are, or were.
        people: All that there were.

    Args:
        folder: For the journal.
        urls: Of the brokers.
        options: Of ``xmlsocket serve``, for all nodes.
    """

    def __init__(self, folder: Path, *urls: str, options: Sequence[str] = ()) -> None:
        self.journal = Journal(folder / "journal.jsonl")
        self.nodes: list[Node] = []
        self.people: list[Person] = []
        self._urls = urls
        self._options = options
        self._stop = asyncio.Event()
        self._talking: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)
        for person in self.people:
            await person.drop()
        logs = {node.label: node.end() for node in self.nodes}
        self.journal.close()
        if error is not None:
            error.add_note("\n".join(f"== {label}\n{log[-3000:]}" for label, log in logs.items()))
            return
        for label, log in logs.items():
            assert "Traceback" not in log, f"{label} logged:\n{log}"

    # The nodes

    def begin(self, label: str, *urls: str, **where: Any) -> Node:
        """Begin to start a node, with other brokers perhaps, and options of :class:`Node`."""
        node = Node(label, urls or self._urls, "chat", *self._options, **where)
        self.nodes.append(node)
        self.journal.write("node", label=label)
        return node

    async def start(self, *labels: str) -> list[Node]:
        """Start nodes."""
        return await asyncio.gather(*(node.serve() for node in [self.begin(label) for label in labels]))

    def note(self, what: str) -> None:
        """Write a fault that the test makes into the journal."""
        self.journal.write("fault made", what=what)

    def kill(self, node: Node) -> None:
        self.note(f"kill {node.label}")
        node.kill()
        self.nodes.remove(node)
        assert "Traceback" not in node.end()

    # The people

    async def enter(self, node: Node, *names: str, room: str = ROOM) -> list[Person]:
        """Have people log in at a node, if need be as soon as the names are free, join the room and talk."""
        return [await self.enter_as(node, name, room=room) for name in names]

    async def enter_as(self, node: Node, name: str, label: str | None = None, *, room: str = ROOM) -> Person:
        person = Person(self.journal, node, name, label)
        self.people.append(person)
        await person.log_in_at_last()
        await person.join(room)
        self._talking.append(asyncio.create_task(person.talk(room, self._stop, _PAUSE)))
        return person

    def those_in(self, room: str = ROOM) -> list[Person]:
        """Whose connections are in a room now."""
        return [person for person in self.people if room in person.stays]

    async def flow(self, count: int = 40) -> None:
        """Wait until so many more messages have been accepted, and all to whom nothing was done see each other."""
        wanted = self.journal.count("accepted") + count
        await self.journal.until(lambda: self.journal.count("accepted") >= wanted, f"{count} more are accepted")
        await self.see_each_other()

    async def see_each_other(self, room: str = ROOM) -> None:
        def do() -> bool:
            people = [person for person in self.those_in(room) if person.node.is_healthy]
            names = {person.name for person in people}
            return all(person.stays[room].present == names - {person.name} for person in people)

        await self.journal.until(do, "they see each other")

    async def leave_everywhere(self, watchers: Iterable[Person], *names: str, room: str = ROOM) -> None:
        """Wait until people were told, within the promised time, that others have left; once, says the journal."""
        watchers = list(watchers)
        began = time.monotonic()
        await self.journal.until(
            lambda: all(watcher.stays[room].count("left", name) == 1 for watcher in watchers for name in names),
            f"{names} left for {[watcher.label for watcher in watchers]}",
            TOLD_WITHIN,
        )
        self.journal.write("told", names=names, seconds=round(time.monotonic() - began, 2))

    async def be_replaced(self, person: Person) -> None:
        """Wait until a connection was closed whose name another node has given to somebody else."""
        await self.journal.until(person.is_over.is_set, f"{person.label} is let go")
        assert person.errors[-1] == "name-taken", self.journal.complain(f"{person.label}: {person.errors}")

    # The end

    async def finish(self) -> dict[str, int]:
        """Let everybody finish, and check the journal. Returns its sums."""
        self._stop.set()
        await asyncio.gather(*self._talking)
        self._talking.clear()
        await self._settle("everybody knows what became of the last words")
        # When the last word of a node is accepted, all before it is too, or never will be.
        people = self.those_in()
        for person in people:
            outcome = ""
            while outcome != "accepted":
                text = person.say(ROOM)
                await self._settle(f"{person.label} says goodbye")
                outcome = self.journal.messages[text].outcome
                await asyncio.sleep(0.0 if outcome == "accepted" else 0.2)
        await self.see_each_other()
        names = Counter(person.name.casefold() for person in self.people if person.is_in)
        assert set(names.values()) <= {1}, self.journal.complain(f"names are held twice: {names}")
        last = max(self.journal.messages[text].id or 0 for text in self.journal.messages)
        await self.journal.until(
            lambda: all(person.stays[ROOM].said[-1][0] >= last for person in people), f"everybody is given {last}"
        )
        return self.journal.check({node.label: {ROOM: await read_history(node, ROOM)} for node in self.nodes})

    async def _settle(self, what: str) -> None:
        await self.journal.until(lambda: self.journal.count("sent") == 0, what)
