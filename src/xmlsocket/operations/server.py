"""The operations address: ``/healthz``, ``/readyz`` and ``/metrics`` over HTTP, away from the clients' port."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from ..errors import ConfigurationError
from ..limits import OperationsLimits
from ..net.http import Answer, Page, Request
from ..net.ports import listen_error, listen_on_one_port, show_hosts
from ..net.target import check_host, check_port
from .rendering import prepare, render
from .samples import Sample
from .status import Status

logger = logging.getLogger("xmlsocket.operations")

PATHS: Final = ("/healthz", "/readyz", "/metrics")
_TEXT: Final = "text/plain; charset=utf-8"
_EMPTY: Final = Page(b"")


class OperationsServer:
    """Answers one request a connection. Made by :func:`serve_operations`.

    Attributes:
        port: Where it listens.
    """

    port: int

    def __init__(self, status: Status, limits: OperationsLimits) -> None:
        self._status = status
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()
        self._gathering: asyncio.Task[list[Sample]] | None = None
        self._is_prepared = False

    async def listen(self, host: str | None, port: int) -> None:
        """Begin. The arguments are those of :func:`serve_operations`."""
        loop = asyncio.get_running_loop()

        def make() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=self._limits.max_request_size), self._accept)

        try:
            self._server = await listen_on_one_port(loop, make, host, port, {})
        except OSError as error:
            raise listen_error(error, show_hosts(host, port)) from error
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop at once; nobody loses anything by an answer that does not come."""
        self._server.close()
        tasks = [*self._tasks, *([self._gathering] if self._gathering is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._limits.max_requests:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limits.request_timeout):
                response = await self._respond(reader)
                if response is not None:
                    # With the mark at 0 drain() waits until the system has everything, so that the timeout bounds it.
                    writer.transport.set_write_buffer_limits(high=0)
                    writer.write(response)
                    await writer.drain()
                    writer.write_eof()
                    # Closing with unread input would make the system reset the connection and lose the answer.
                    while await reader.read(self._limits.max_request_size):
                        pass
        except (OSError, TimeoutError) as error:
            logger.debug("a request was not answered: %r", error)
        finally:
            writer.transport.abort()

    async def _respond(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read a request and make the answer; ``None`` if the client ends before the request does."""
        head, asked = await self._read_head(reader)
        if asked is None or head is None:
            return head
        try:
            page = await self._make_page(asked)
        except Exception:  # the service must not end because of who watches it
            logger.exception("the answer for %s could not be made", asked.path)
            page = Page(b"The answer could not be made; the log says why.\n", _TEXT, status=500)
        return _judge(head, {asked.path: page}, self._limits.max_request_size)

    async def _read_head(self, reader: asyncio.StreamReader) -> tuple[bytes | None, Request | None]:
        """Read to the end of the request's head.

        Returns:
            The head and what it asks for; or an answer, if there is nothing to ask for; or twice ``None``.
        """
        from ..net.handshake import Handshake, HandshakeOptions  # not at the top: it needs an extra

        asked: list[Request] = []

        def find(request: Request) -> Page | None:
            if request.path not in PATHS:
                return None
            asked.append(request)
            return _EMPTY

        handshake = Handshake(
            HandshakeOptions(pages=find, accepts=lambda _: False, max_size=self._limits.max_request_size)
        )
        head = b""
        while data := await reader.read(self._limits.max_request_size):
            head += data
            outcome = handshake.feed(data)
            if isinstance(outcome, Answer):
                return (head, asked[0]) if asked else (outcome.response, None)
        return None, None

    async def _make_page(self, request: Request) -> Page:
        if request.path == "/metrics":
            if not self._is_prepared:
                await asyncio.to_thread(prepare)
                self._is_prepared = True
            return render(await self._gather(), request.header("Accept") or "")
        health = await self._status.health()
        if request.path == "/healthz":
            return _show("alive", health.faults)
        return _show("ready", (*health.faults, *health.obstacles))

    async def _gather(self) -> list[Sample]:
        """Gather once for all who ask meanwhile."""
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.get_running_loop().create_task(self._status.samples())
        return await asyncio.shield(self._gathering)


def _show(state: str, faults: tuple[str, ...]) -> Page:
    if not faults:
        return Page(f"{state}\n".encode(), _TEXT)
    lines = "".join(f"not {state}: {sentence}\n" for sentence in faults)
    return Page(lines.encode(), _TEXT, status=HTTPStatus.SERVICE_UNAVAILABLE)


def _judge(head: bytes, pages: dict[str, Page], max_size: int) -> bytes:
    """Answer a request whose head is complete and has been looked at before."""
    from ..net.handshake import Handshake, HandshakeOptions  # not at the top: it needs an extra

    answer = Handshake(HandshakeOptions(pages=pages, accepts=lambda _: False, max_size=max_size)).feed(head)
    assert isinstance(answer, Answer)
    return answer.response


@asynccontextmanager
async def serve_operations(
    status: Status, host: str | None, port: int, limits: OperationsLimits | None = None
) -> AsyncIterator[OperationsServer]:
    """Show the status of a process or of several until the end of the ``async with`` block.

    Args:
        status: What to show.
        host: Name or address to listen on; ``None`` for every one of this machine.
        port: TCP port; 0 takes a free one.
        limits: What bounds who asks.

    Raises:
        ConfigurationError: There can be no such address, or the package websockets, which reads requests, is missing.
        ListenError: The port is taken or needs privilege, or the host is not ours.
    """
    if importlib.util.find_spec("websockets") is None:
        raise ConfigurationError('the operations address needs the package websockets: pip install "xmlsocket[daemon]"')
    check_port(port, lowest=0)
    if host is not None:
        check_host(host)
    server = OperationsServer(status, limits or OperationsLimits())
    await server.listen(host, port)
    status.start()
    try:
        yield server
    finally:
        status.stop()
        await server.close()
