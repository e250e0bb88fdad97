"""What the commands that connect to a server share: their options, showing what arrives, and knowing when to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import typer

from ..errors import CloseReason, ConfigurationError, ConnectionClosedError, XMLSocketError
from ..limits import LimitDescription, Limits
from ..net import Connection, Handler
from ..net import connect as open_connection
from ..wire import text_codec
from .address import DEFAULT_HOST, Address
from .configuration import ERROR_RULES
from .console import out
from .display import Style, show
from .logs import show_warnings
from .options import choose, parse_limit, with_default

_LIMITS: Final = {limit.name: limit for limit in Limits.describe()}
_WAIT: Final = LimitDescription("wait", "seconds", 1.0, "", optional=True, integral=False)

TlsOption = Annotated[bool, typer.Option("--tls", help="Speak TLS, with the certificates that the system trusts.")]
TlsCaOption = Annotated[
    str | None, typer.Option("--tls-ca", metavar="FILE", help="Speak TLS, and trust the certificates in FILE (PEM).")
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help=with_default(
            "When everything is sent, wait until nothing has arrived for so long, or the server closes; 0 waits for "
            "no answer, none waits until the server closes.",
            "1",
        ),
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Show each message as a JSON string on a line: exactly.")]
NulOption = Annotated[bool, typer.Option("--null", "-0", help="Put a NUL after each message shown: exactly.")]
EncodingOption = Annotated[str, typer.Option(metavar="NAME", help="Encoding of the text on the wire.")]
ErrorsOption = Annotated[
    str,
    typer.Option(
        metavar="RULE", help=f"What to do with received text that does not fit the encoding: {', '.join(ERROR_RULES)}."
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--max-message-size",
        metavar="BYTES",
        help=with_default("Longest message; none for no limit.", "1,048,576"),
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(
        "--open-timeout", metavar="SECONDS", help=with_default("Longest time to connect.", "20"), show_default=False
    ),
]


@dataclasses.dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to talk to a server.

    Attributes:
        address: Where it is.
        tls: The TLS context, or ``None`` to speak without.
        encoding: Of text on the wire.
        errors: What to do with received text that does not fit.
        style: How messages are shown.
        wait: Seconds of silence to wait for when all is sent; ``None`` waits until the server closes.
        limits: Limits of the connection.
    """

    address: Address
    tls: ssl.SSLContext | None
    encoding: str
    errors: str
    style: Style
    wait: float | None
    limits: dict[str, Any]

    @property
    def longest_input(self) -> int | None:
        """Bytes of UTF-8 that no message can have, in whatever encoding it is sent."""
        longest = self.limits.get("max_message_size", Limits().max_message_size)
        return None if longest is None else 4 * longest + 1


def make_options(
    address: Address,
    *,
    tls: bool,
    tls_ca: str | None,
    encoding: str,
    errors: str,
    as_json: bool,
    null: bool,
    wait: str | float,
    max_message_size: str | None,
    open_timeout: str | None,
) -> SessionOptions:
    """Read the options of a command.

    Raises:
        ConfigurationError: A value cannot work.
    """
    if as_json and null:
        raise ConfigurationError("--json and --null are two ways to show messages; say one")
    text_codec(encoding)
    named = {"max_message_size": max_message_size, "open_timeout": open_timeout}
    limits = {
        name: parse_limit(_LIMITS[name], value, "--" + name.replace("_", "-"))
        for name, value in named.items()
        if value is not None
    }
    if "max_message_size" in limits:
        limits["max_send_backlog"] = None  # what waits to be sent is bounded, as each message waits for the one before
    return SessionOptions(
        address=address,
        tls=_make_context(tls_ca) if tls or tls_ca is not None else None,
        encoding=encoding,
        errors=choose(errors, ERROR_RULES, "--errors"),
        style=Style.JSON if as_json else Style.NUL if null else Style.TERMINAL if out.is_terminal else Style.LINES,
        wait=parse_limit(_WAIT, wait, "--wait"),
        limits=limits,
    )


def _make_context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # TLS errors are among them
        raise ConfigurationError(f"cannot use the certificates in {ca}: {error.strerror or error}") from error


class Session(Handler[str]):
    """A connection whose messages are shown as they arrive."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._strict = text_codec(options.encoding) if options.errors == "replace" else None
        self._connection: Connection[str] | None = None
        self.reason: CloseReason | None = None
        self.over = asyncio.Event()

    def connected(self, connection: Connection[str]) -> None:
        self._connection = connection

    def received(self, connection: Connection[str], messages: list[str]) -> None:
        show(messages, self._options.style)
        self._heard = self._loop.time()

    def closed(self, connection: Connection[str], reason: CloseReason) -> None:
        self.reason = reason
        self.over.set()

    async def send(self, message: str) -> None:
        """Send a message, waiting while the server does not read.

        Raises:
            MessageError: It cannot be sent: a NUL, too long, or a character that the encoding lacks.
            ConnectionClosedError: The connection is over.
        """
        assert self._connection is not None
        if self._strict is not None:  # what arrives may be repaired; what is sent must be what was meant
            self._strict.encode(message)
        await self._connection.send(message)

    async def wait_for_answers(self) -> None:
        """Wait until nothing has arrived for as long as the options say, or the connection is over."""
        self._heard = self._loop.time()
        wait = self._options.wait
        while not self.over.is_set():
            timeout = None if wait is None else self._heard + wait - self._loop.time()
            if timeout is not None and timeout <= 0:
                return
            try:
                async with asyncio.timeout(timeout):
                    await self.over.wait()
            except TimeoutError:
                continue  # something may have arrived meanwhile

    def check_end(self) -> None:
        """Raise an error if it was no orderly end.

        Raises:
            ConnectionClosedError: The connection was lost, or the server broke the rules.
        """
        if self.reason is not None and not self.reason.is_orderly:
            raise ConnectionClosedError(self.reason)


@asynccontextmanager
async def open_session(options: SessionOptions) -> AsyncIterator[Session]:
    """Connect, and close at the end.

    Raises:
        OpenError: There is no connection.
        ConnectionClosedError: It was lost.
    """
    show_warnings()
    session = Session(options)
    host, port, path = options.address
    arguments: dict[str, Any] = {"host": host, "port": port, "path": path, "errors": options.errors, **options.limits}
    if options.tls is not None:
        arguments |= {"ssl": options.tls, "server_hostname": host or DEFAULT_HOST}
    connecting: open_connection[str] = open_connection(handler=session, encoding=options.encoding, **arguments)
    async with connecting:
        try:
            yield session
        except ConnectionClosedError as error:
            raise SendingStoppedError(error.reason) from error
    session.check_end()


class SendingStoppedError(XMLSocketError):
    """The connection ended before everything was sent."""

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not everything was sent: {self.reason.value}"
