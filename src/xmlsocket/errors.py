"""Every exception of the package, in one tree that says whose fault it is and what still works.

::

    XMLSocketError
    ├── ConfigurationError (ValueError)
    ├── MessageError (ValueError)
    │   ├── EmbeddedNulError
    │   ├── OversizedMessageError
    │   └── UnencodableMessageError
    ├── RemoteProtocolError
    │   ├── MessageTooLargeError
    │   ├── InvalidTextError
    │   ├── FrameError
    │   └── ProxyHeaderError
    ├── OpenError (ConnectionError)
    │   └── OpenTimeoutError (TimeoutError)
    ├── ListenError (OSError)
    ├── ConnectionClosedError (ConnectionError)
    ├── ConcurrencyError (RuntimeError)
    ├── PolicyError (ValueError)
    └── RoomError
        ├── RoomLimitError
        └── BrokerError
            ├── BrokerUnavailableError
            └── HistoryError

A test compares this drawing with the classes.
"""

from __future__ import annotations

import enum


class XMLSocketError(Exception):
    """Root of everything this package raises on purpose."""


class ConfigurationError(XMLSocketError, ValueError):
    """An argument, option or configuration file cannot work. Raised before any I/O."""


class MessageError(XMLSocketError, ValueError):
    """You tried to send what cannot be sent. Nothing was sent; the connection is unharmed."""


class EmbeddedNulError(MessageError):
    """The message contains the zero byte that ends a message, so it would arrive as two.

    Attributes:
        offset: Index of the first zero in the message as it was passed.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset

    def __str__(self) -> str:
        return (
            f"the message has a NUL at index {self.offset}; a NUL ends a message on the wire, "
            "so send the parts as separate messages or remove it"
        )


class OversizedMessageError(MessageError):
    """The message to send is longer than ``max_message_size``.

    Attributes:
        size: Bytes of the encoded message, NUL not counted.
        limit: The ``max_message_size`` in force, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"the message of {self.size} bytes exceeds max_message_size ({self.limit} bytes); "
            "raise the limit on both sides or send less at once"
        )


class UnencodableMessageError(MessageError):
    """The message has a character that the connection's encoding cannot express.

    Attributes:
        encoding: Name of the encoding.
        offset: Index of the first such character in the message.
        character: That character.
    """

    def __init__(self, encoding: str, offset: int, character: str) -> None:
        super().__init__(encoding, offset, character)
        self.encoding = encoding
        self.offset = offset
        self.character = character

    def __str__(self) -> str:
        return f"the character {self.character!a} at index {self.offset} does not exist in {self.encoding}"


class RemoteProtocolError(XMLSocketError):
    """The peer broke the rules. Messages before the fault were delivered; the connection closes."""


class MessageTooLargeError(RemoteProtocolError):
    """A received message is longer than ``max_message_size``.

    Attributes:
        seen: Bytes of the message received so far, NUL not counted.
        limit: The ``max_message_size`` in force, in bytes.
    """

    def __init__(self, seen: int, limit: int) -> None:
        super().__init__(seen, limit)
        self.seen = seen
        self.limit = limit

    def __str__(self) -> str:
        return f"a message of at least {self.seen} bytes exceeds max_message_size ({self.limit} bytes)"


class InvalidTextError(RemoteProtocolError):
    """A received message is not valid in the connection's encoding.

    Attributes:
        encoding: Name of the encoding.
        offset: Index of the first invalid byte in the message.
    """

    def __init__(self, encoding: str, offset: int) -> None:
        super().__init__(encoding, offset)
        self.encoding = encoding
        self.offset = offset

    def __str__(self) -> str:
        return (
            f"a message is not valid {self.encoding} at byte {self.offset}; for clients that are known to do this "
            'use errors="replace", errors="flash" (as the player does) or their real encoding'
        )


class FrameError(RemoteProtocolError):
    """The peer sent a WebSocket frame that RFC 6455 or our limits forbid.

    Attributes:
        close_code: The code to close the WebSocket with (RFC 6455, section 7.4).
        detail: What was wrong.
    """

    def __init__(self, close_code: int, detail: str) -> None:
        super().__init__(close_code, detail)
        self.close_code = close_code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} (WebSocket close code {self.close_code})"


class ProxyHeaderError(RemoteProtocolError):
    """A proxy that is to begin with a PROXY protocol header did not.

    Attributes:
        detail: What was wrong.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail}; does the proxy send the PROXY protocol, and only once?"


class OpenError(XMLSocketError, ConnectionError):
    """No connection came to be: unknown host, refused, unreachable, or a TLS failure (see ``__cause__``)."""


class OpenTimeoutError(OpenError, TimeoutError):
    """No connection came to be within ``open_timeout``."""


class ListenError(XMLSocketError, OSError):
    """The server cannot listen where it was told to: the port is taken, needs privilege, or the host is not ours."""


class CloseReason(enum.Enum):
    """Why a connection ended. The value is the sentence that logs and statistics show."""

    CLOSED = "closed by this side"
    PEER_CLOSED = "closed by the peer"
    CONNECTION_LOST = "the connection was lost"
    ABORTED = "aborted by this side"
    SHUTDOWN = "the server is shutting down"
    POLICY_ANSWERED = "a policy request was answered"
    POLICY_REFUSED = "a policy was asked for and this server has none"
    PROTOCOL_REFUSED = "the first bytes belong to a protocol that is not served here"
    MESSAGE_TOO_LARGE = "the peer sent a message over max_message_size"
    INVALID_TEXT = "the peer sent text that is not valid in the encoding"
    FRAME_ERROR = "the peer broke the WebSocket protocol"
    HANDSHAKE_FAILED = "the TLS handshake failed"
    HTTP_ANSWERED = "an HTTP request was answered"
    UPSTREAM_REFUSED = "the server behind the gateway cannot be reached"
    UPSTREAM_LOST = "the connection to the server behind the gateway was lost"
    UPSTREAM_CLOSED = "the server behind the gateway closed the connection"
    PING_TIMEOUT = "the peer answered no ping within websocket_ping_interval"
    HANDSHAKE_TIMEOUT = "the handshake was not finished within handshake_timeout"
    SLOW_READER = "the peer reads too slowly: its backlog passed max_send_backlog"
    FIRST_BYTE_TIMEOUT = "the peer sent nothing within first_byte_timeout"
    IDLE_TIMEOUT = "nothing was received for idle_timeout"
    HANDLER_FAILED = "the handler raised an exception"
    TOO_MANY_CONNECTIONS = "max_connections was reached"
    TOO_MANY_FROM_ADDRESS = "max_connections_per_address was reached"

    @property
    def is_orderly(self) -> bool:
        """Whether nobody is at fault, so that iteration over the messages just ends."""
        return self in _ORDERLY


_ORDERLY = frozenset(
    {
        CloseReason.CLOSED,
        CloseReason.PEER_CLOSED,
        CloseReason.SHUTDOWN,
        CloseReason.POLICY_ANSWERED,
        CloseReason.HTTP_ANSWERED,
        CloseReason.UPSTREAM_CLOSED,
    }
)


class ConnectionClosedError(XMLSocketError, ConnectionError):
    """There was a connection, and it is over. Everything received before was delivered first.

    Attributes:
        reason: Why it ended.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection is closed: {self.reason.value}"


class ConcurrencyError(XMLSocketError, RuntimeError):
    """Two tasks wait in ``receive()`` of one connection; the second would steal messages from the first."""


class PolicyError(XMLSocketError, ValueError):
    """A socket policy file cannot be used.

    Attributes:
        detail: What is wrong.
        line: Line of the fault, from 1, or ``None`` where there is no position.
        column: Column of the fault in characters, from 1, or ``None``.
        rule: The linter's rule that it breaks, such as ``"SP001"``, or ``None``.
    """

    def __init__(
        self, detail: str, line: int | None = None, column: int | None = None, rule: str | None = None
    ) -> None:
        super().__init__(detail, line, column, rule)
        self.detail = detail
        self.line = line
        self.column = column
        self.rule = rule

    def __str__(self) -> str:
        if self.line is None:
            return self.detail
        return f"line {self.line}, column {self.column}: {self.detail}"


class RoomError(XMLSocketError):
    """A room refused an operation."""


class RoomLimitError(RoomError):
    """Joining or publishing would pass a limit on rooms, members or history.

    Attributes:
        limit: Name of the limit.
        value: Its value in force.
    """

    def __init__(self, limit: str, value: int) -> None:
        super().__init__(limit, value)
        self.limit = limit
        self.value = value

    def __str__(self) -> str:
        return f"{self.limit} ({self.value}) is reached"


class BrokerError(RoomError):
    """The broker that carries messages between nodes, or keeps them, failed."""


class HistoryError(BrokerError):
    """The history file cannot be used: it is damaged, locked, of another program, or not to be written."""


class BrokerUnavailableError(BrokerError):
    """The message cannot be kept or carried now. It was not accepted; try again later."""
