"""``xmlsocket send``: send messages, and print the answers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .address import parse_address
from .session import (
    EncodingOption,
    ErrorsOption,
    JsonOption,
    NulOption,
    SessionOptions,
    SizeOption,
    TimeoutOption,
    TlsCaOption,
    TlsOption,
    WaitOption,
    make_options,
    open_session,
)


# Longer than 40 lines, as every option is a parameter.
def send(
    address: Annotated[
        str,
        typer.Argument(metavar="HOST:PORT", help="The server: localhost:8080, [::1]:8080, or a Unix socket's path."),
    ],
    messages: Annotated[
        list[str] | None,
        typer.Argument(metavar="MESSAGE", help="What to send, each as one message; - reads standard input as one."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", metavar="FILE", help="Send what is in FILE as one message, too; may be repeated."),
    ] = None,
    wait: WaitOption = None,
    tls: TlsOption = False,
    tls_ca: TlsCaOption = None,
    as_json: JsonOption = False,
    null: NulOption = False,
    encoding: EncodingOption = "utf-8",
    errors: ErrorsOption = "replace",
    max_message_size: SizeOption = None,
    open_timeout: TimeoutOption = None,
) -> None:
    """Send messages to a server and print the answers.

    One line break at the end of a file or of standard input is left out. Exits with 0 when everything was sent, 1 when
    there is no connection or it was lost, and 2 when an option or a message cannot work.
    """
    options = make_options(
        parse_address(address),
        tls=tls,
        tls_ca=tls_ca,
        encoding=encoding,
        errors=errors,
        as_json=as_json,
        null=null,
        wait="1" if wait is None else wait,
        max_message_size=max_message_size,
        open_timeout=open_timeout,
    )
    if not messages and not files:
        raise ConfigurationError("there is nothing to send: say a message, - for standard input, or --file FILE")
    whole = [_read_input() if message == "-" else message for message in messages or ()]
    asyncio.run(_send(options, [*whole, *map(_read_file, files or ())]))


async def _send(options: SessionOptions, messages: Sequence[str]) -> None:
    async with open_session(options) as session:
        for message in messages:
            await session.send(message)
        await session.wait_for_answers()


def _read_input() -> str:
    return _decode(sys.stdin.buffer.read(), "standard input")


def _read_file(file: Path) -> str:
    try:
        return _decode(file.read_bytes(), str(file))
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error


def _decode(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is not UTF-8 at byte {error.start}") from error
    return text.removesuffix("\n").removesuffix("\r")


def add_to(app: typer.Typer) -> None:
    """Make it a command."""
    app.command("send")(send)
