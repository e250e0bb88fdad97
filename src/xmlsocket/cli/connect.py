"""``xmlsocket connect``: a client for the terminal and for pipes. What is typed is sent, what arrives is shown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Final

import typer

from ..errors import ConfigurationError, MessageError
from .address import DEFAULT_HOST, DEFAULT_PORT, parse_address, parse_port
from .console import complain, note
from .session import (
    EncodingOption,
    ErrorsOption,
    JsonOption,
    Session,
    SessionOptions,
    SizeOption,
    TimeoutOption,
    TlsCaOption,
    TlsOption,
    WaitOption,
    make_options,
    open_session,
)

_INPUT: Final = 0
_READ_SIZE: Final = 65_536
_READ_AHEAD: Final = 4
"""Reads of the input that may wait to be sent; then the input has to wait."""


# Longer than 40 lines, as every option is a parameter.
def connect(
    address: Annotated[
        str,
        typer.Argument(metavar="HOST:PORT", help="The server: localhost:8080, [::1]:8080, or a Unix socket's path."),
    ] = f"{DEFAULT_HOST}:{DEFAULT_PORT}",
    port: Annotated[str | None, typer.Argument(metavar="PORT", help="The port, if it is not in HOST:PORT.")] = None,
    wait: WaitOption = None,
    tls: TlsOption = False,
    tls_ca: TlsCaOption = None,
    as_json: JsonOption = False,
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            "-0",
            help="A NUL ends each message of the input rather than a line break; the same for "
            "messages shown, unless --json.",
        ),
    ] = False,
    encoding: EncodingOption = "utf-8",
    errors: ErrorsOption = "replace",
    max_message_size: SizeOption = None,
    open_timeout: TimeoutOption = None,
) -> None:
    """Send each line of the input as a message, and show what arrives.

    On a terminal, messages are shown in colours and long XML is indented; Ctrl-D ends. In a pipe each message
    is a line: control characters in it, line breaks among them, are shown as escapes. Use --json or --null to get
    messages exactly.

    Exits with 0 when all is sent and the wait is over, or the server has closed; 1 when there is no connection, it was
    lost, or it ended before all was sent; and 2 when an option or a message cannot work.
    """
    target = parse_address(address)
    if port is not None:
        if target.path is not None or ":" in address.rpartition("]")[2]:
            raise ConfigurationError(f"{address!r} says it all; what is {port!r}?")
        target = target._replace(port=parse_port(port))
    is_terminal = os.isatty(_INPUT)
    options = make_options(
        target,
        tls=tls,
        tls_ca=tls_ca,
        encoding=encoding,
        errors=errors,
        as_json=as_json,
        null=null and not as_json,
        wait=("0" if is_terminal else "1") if wait is None else wait,
        max_message_size=max_message_size,
        open_timeout=open_timeout,
    )
    asyncio.run(_converse(options, b"\0" if null else b"\n", is_terminal))


async def _converse(options: SessionOptions, separator: bytes, is_terminal: bool) -> None:
    async with open_session(options) as session:
        if is_terminal:
            note(f"connected to {options.address}; each line is a message, Ctrl-D ends")
        sending = asyncio.create_task(_send_input(session, separator, is_terminal, options.longest_input))
        over = asyncio.create_task(session.over.wait())
        try:
            await asyncio.wait((sending, over), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
                await session.wait_for_answers()
        finally:
            sending.cancel()
            over.cancel()
    if is_terminal and session.reason is not None:
        note(session.reason.value)


async def _send_input(session: Session, separator: bytes, is_terminal: bool, longest: int | None) -> None:
    async for messages in _read_messages(separator, longest):
        for message in messages:
            if is_terminal and not message:
                continue  # somebody pressed Enter to have a free line
            try:
                await session.send(message)
            except MessageError as error:
                if not is_terminal:
                    raise
                complain(str(error))


async def _read_messages(separator: bytes, longest: int | None) -> AsyncIterator[list[str]]:
    """Cut the input into messages; what is left at its end is one too, if there is anything.

    Raises:
        ConfigurationError: One is not UTF-8, or so long that it is not waited for any more.
    """
    number = size = 0
    tail: list[bytes] = []
    async for data in _read_input():
        first, *others = data.split(separator)
        tail.append(first)
        size += len(first)
        if others:
            lines = [b"".join(tail), *others[:-1]]
            tail = [others[-1]]
            size = len(others[-1])
            yield [_decode(line, number + index, separator) for index, line in enumerate(lines, 1)]
            number += len(lines)
        elif longest is not None and size > longest:
            raise ConfigurationError(f"message {number + 1} of the input is longer than --max-message-size allows")
    if rest := b"".join(tail):
        yield [_decode(rest, number + 1, separator)]


def _decode(line: bytes, number: int, separator: bytes) -> str:
    if separator == b"\n":
        line = line.removesuffix(b"\r")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"message {number} of the input is not UTF-8 at byte {error.start}") from error


async def _read_input() -> AsyncIterator[bytes]:
    """Read standard input, whatever it is: pipes, terminals and plain files differ in what an event loop can watch.

    A thread reads, by the system call itself: Python's buffered reader has a lock that a thread waiting in it would
    still hold when the interpreter ends.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    permits = threading.Semaphore(_READ_AHEAD)

    def pump() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants the input any more
            for data in _reads():
                permits.acquire()
                loop.call_soon_threadsafe(queue.put_nowait, data)

    threading.Thread(target=pump, daemon=True).start()
    while data := await queue.get():
        permits.release()
        yield data


def _reads() -> Iterator[bytes]:
    data = b"more"
    while data:
        try:
            data = os.read(_INPUT, _READ_SIZE)
        except OSError:  # closed, or a terminal that is gone
            data = b""
        yield data


def add_to(app: typer.Typer) -> None:
    """Make it a command."""
    app.command("connect")(connect)
