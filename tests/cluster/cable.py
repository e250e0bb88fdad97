"""A way to a server on loopback that can be slow, cut, or lose what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Cable:
    """Carries connections to a port, as ``async with`` it.

    Attributes:
        port: Where to connect instead.
        delay: Gives the seconds that the next piece takes, in each direction; nothing overtakes.
        loses_answers: Whether what the server says is lost from now on.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay: Callable[[], float] | None = None
        self.loses_answers = False

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def end(self) -> None:
        """Cut it for good."""
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End all connections; new ones can be made."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        if not self._server.is_serving():  # cut for good meanwhile
            self.cut()
        await asyncio.gather(self._carry(reader, up_writer, False), self._carry(up_reader, writer, True))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_answer: bool) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        try:
            while data := await source.read(65_536):
                if is_answer and self.loses_answers:
                    continue
                if self.delay is None and due < loop.time():
                    sink.write(data)
                    continue
                due = max(due + 1e-5, loop.time() + (self.delay() if self.delay else 0.0))
                loop.call_at(due, _write, sink, data)
        except OSError:
            pass
        finally:
            loop.call_at(due + 1e-5, sink.transport.abort)


def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
    if not sink.is_closing():
        sink.write(data)
