"""One request for a policy file over a real connection, and whatever comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from ..policy import Ending, Location, Reply, format_host
from ..wire import NUL, POLICY_REQUESTS

Dialer: TypeAlias = "Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]"
"""Opens a connection to an address and port."""

REQUEST: Final = POLICY_REQUESTS[0]

_READ_SIZE: Final = 65_536
_MAX_HTTP_HEAD: Final = 65_536


class Exchange:
    """Asks a server for its policy file, on a connection of its own.

    Args:
        location: Whom.
        address: The address to connect to.
        port: The port to connect to.
        dial: Opens the connection.
        connect_timeout: Seconds for that; ``None`` is no limit.
        max_size: Bytes of an answer to read at most; ``None`` is no limit.
        request: What to send instead of a policy request.
    """

    def __init__(
        self,
        location: Location,
        address: str,
        port: int,
        *,
        dial: Dialer,
        connect_timeout: float | None,
        max_size: int | None,
        request: bytes | None = None,
    ) -> None:
        self._address = address
        self._port = port
        self._dial = dial
        self._connect_timeout = connect_timeout
        self._is_http = location.scheme == "http"
        self._max_size = max_size if max_size is None or not self._is_http else max_size + _MAX_HTTP_HEAD
        self._request = (_http_request(location) if self._is_http else REQUEST) if request is None else request
        self._received = bytearray()
        self.is_open = False

    async def run(self) -> Reply:
        """Ask, and read until the answer is complete, too long or over. Never raises for what the network does."""
        try:
            ending = await self._ask()
        except TimeoutError:
            return self.time_out()
        except ConnectionRefusedError:
            return Reply(Ending.REFUSED)
        except OSError as error:
            return Reply(Ending.FAILED, bytes(self._received), error.strerror or str(error))
        return _read_http(ending, bytes(self._received)) if self._is_http else Reply(ending, bytes(self._received))

    def time_out(self) -> Reply:
        """Say what came back so far, for who does not wait longer."""
        if not self.is_open:
            detail = "nothing accepts the connection and nothing refuses it, as when a firewall drops the packets"
        elif not self._received:
            detail = "it accepted the connection and sent nothing"
        else:
            detail = f"{len(self._received)} bytes came, but not the end of the answer"
        return Reply(Ending.TIMED_OUT, bytes(self._received), detail)

    async def _ask(self) -> Ending:
        async with asyncio.timeout(self._connect_timeout):
            reader, writer = await self._dial(self._address, self._port)
        self.is_open = True
        try:
            if self._request:
                writer.write(self._request)
            return await self._read(reader)
        finally:
            # At once: the player too closes as soon as it has what it wants.
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> Ending:
        while data := await reader.read(_READ_SIZE):
            self._received += data
            # Only what is new can hold the NUL that completes the answer.
            if _is_http_complete(self._received) if self._is_http else NUL in data:
                return Ending.ANSWERED
            if self._max_size is not None and len(self._received) > self._max_size:
                return Ending.OVERFLOWED
        return Ending.CLOSED


async def resolve(host: str, longest: float | None) -> list[str]:
    """Find the addresses of a host, in the order of the system.

    Args:
        host: Name or address; an IPv6 one may stand in brackets.
        longest: Seconds to wait for name servers; ``None`` is no limit.

    Raises:
        OSError: The name is unknown, or nobody answers.
    """
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        async with asyncio.timeout(longest):
            found = await asyncio.get_running_loop().getaddrinfo(inner, None, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise OSError("the name of the host could not be resolved in time") from error
    except (OSError, UnicodeError) as error:  # the latter comes of names that no name can be
        raise OSError(f"the host is unknown: {getattr(error, 'strerror', None) or error}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _http_request(location: Location) -> bytes:
    # HTTP/1.0, so that the body comes in one piece and ends with the connection.
    return f"GET {location.path} HTTP/1.0\r\nHost: {format_host(location.host)}\r\n\r\n".encode()


def _is_http_complete(data: bytearray) -> bool:
    """Whether all is there that Content-Length announces; without it the connection's end is the end."""
    head, blank, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:] if blank else ():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value[:20])
    return False


def _read_http(ending: Ending, data: bytes) -> Reply:
    head, blank, body = data.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not blank or len(status) < 2 or not status[0].startswith(b"HTTP/"):
        return Reply(Ending.FAILED, detail="it did not answer in HTTP")
    if status[1] != b"200":
        return Reply(Ending.FAILED, detail=f"HTTP status {status[1].decode('ascii', 'replace')}")
    return Reply(ending, body)
