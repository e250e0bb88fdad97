"""Ask real servers for their socket policy files, in the order and within the times of a player."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from ..limits import PolicyLimits
from ..policy import (
    Ask,
    Decision,
    Ending,
    Location,
    Outcome,
    PolicyCache,
    PolicySearch,
    Reply,
    Requester,
    choose_host,
    format_host,
)

logger = logging.getLogger("xmlsocket.policy")

Dialer: TypeAlias = "Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]"
"""Opens a connection to an address and port."""

_DEFAULT_LIMITS: Final = PolicyLimits()
_REQUEST: Final = b"<policy-file-request/>\0"
_READ_SIZE: Final = 65_536
_MAX_HTTP_HEAD: Final = 65_536


class PolicyClient:
    """One session of a player: finds out who may connect where, and asks each location once.

    A name is resolved anew for each decision, and everything is then asked at one address, the one in the decision; a
    connection must go there too, or the permission is for another machine. Where a name has several addresses, the
    first at which there is any policy file decides.

    Args:
        limits: How long and how much; see :class:`xmlsocket.limits.PolicyLimits`.
        strict: See :class:`xmlsocket.policy.PolicySearch`.
        dial: How to open connections; for tests and for networks that need a detour.
    """

    def __init__(
        self, limits: PolicyLimits = _DEFAULT_LIMITS, *, strict: bool = False, dial: Dialer | None = None
    ) -> None:
        self._limits = limits
        self._strict = strict
        self._dial: Dialer = dial or asyncio.open_connection
        self._cache = PolicyCache(limits)
        self._asking: dict[tuple[str, Location], asyncio.Future[None]] = {}

    async def decide(
        self, requester: Requester, host: str | None, port: int, explicit: Iterable[Location] = ()
    ) -> Decision:
        """Find out whether content may connect.

        Never raises for what the network does: an unknown host, a refusal or silence is a location without a policy
        file, and the trail says so. Cancelling is safe; others that wait for the same answer ask for themselves.

        Args:
            requester: The content.
            host: The host it wants; ``None`` for its own.
            port: The port it wants.
            explicit: Locations named with ``loadPolicyFile``, in the order of the calls.
        """
        explicit = tuple(explicit)
        name = choose_host(host, requester)
        first = PolicySearch(requester, host, port, explicit=explicit, limits=self._limits, strict=self._strict)
        now = asyncio.get_running_loop().time()
        if isinstance(at_once := first.next_step(now), Decision):
            return at_once  # no policy file needed, so no need to know the address either
        try:
            addresses = await _resolve(name)
        except (OSError, UnicodeError) as error:
            return _rehearse_failure(first, f"the host {name!r} is unknown: {error}", now)
        for address in addresses:
            decision = await self._search(requester, host, port, explicit, address)
            if decision.allowed or any(step.outcome is Outcome.OK for step in decision.trail):
                break
        return decision

    async def _search(
        self, requester: Requester, host: str | None, port: int, explicit: tuple[Location, ...], address: str
    ) -> Decision:
        search = PolicySearch(
            requester,
            host,
            port,
            explicit=explicit,
            address=address,
            cache=self._cache,
            limits=self._limits,
            strict=self._strict,
        )
        clock = asyncio.get_running_loop().time
        while isinstance(step := search.next_step(clock()), Ask):
            reply = await self._ask_once(step)
            if reply is not None:
                search.receive_reply(reply, clock())
        logger.debug("%s", step.explanation)
        return step

    async def _ask_once(self, ask: Ask) -> Reply | None:
        """Ask a location, or wait for another search that is asking it: then ``None``, and the cache may know."""
        key = (ask.address, ask.location)
        if (pending := self._asking.get(key)) is not None:
            done, _ = await asyncio.wait((pending,), timeout=ask.timeout)
            return None if done else Reply(Ending.TIMED_OUT)
        finished = self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._ask(ask)
        finally:
            # After the caller has put the reply into the cache, which it does without waiting for anything.
            asyncio.get_running_loop().call_soon(self._finish, key, finished)

    def _finish(self, key: tuple[str, Location], finished: asyncio.Future[None]) -> None:
        del self._asking[key]
        finished.set_result(None)

    async def _ask(self, ask: Ask) -> Reply:
        received = bytearray()
        try:
            async with asyncio.timeout(ask.timeout):
                ending = await self._fetch(ask, received)
        except TimeoutError as error:
            # The system's own time-out of a connection comes as the same class, with a number.
            ending = Ending.TIMED_OUT if not isinstance(error, OSError) or error.errno is None else Ending.FAILED
            return Reply(ending, bytes(received), "" if ending is Ending.TIMED_OUT else str(error))
        except ConnectionRefusedError:
            return Reply(Ending.REFUSED)
        except ConnectionError:
            # Reset while it was answering; what came before counts as if it had been closed.
            return Reply(Ending.CLOSED, bytes(received))
        except OSError as error:
            return Reply(Ending.FAILED, bytes(received), error.strerror or str(error))
        if ask.location.scheme == "http":
            return _read_http(ending, bytes(received))
        return Reply(ending, bytes(received))

    async def _fetch(self, ask: Ask, received: bytearray) -> Ending:
        reader, writer = await self._dial(ask.address, ask.location.port)
        try:
            is_http = ask.location.scheme == "http"
            writer.write(_http_request(ask.location) if is_http else _REQUEST)
            limit = None if ask.max_size is None else ask.max_size + (_MAX_HTTP_HEAD if is_http else 0)
            while data := await reader.read(_READ_SIZE):
                received += data
                # Only what is new can hold the NUL that completes the answer.
                if not is_http and b"\0" in data:
                    return Ending.ANSWERED
                if limit is not None and len(received) > limit:
                    return Ending.OVERFLOWED
            return Ending.CLOSED
        finally:
            # At once: the player too closes as soon as it has what it wants.
            writer.transport.abort()


async def _resolve(host: str) -> list[str]:
    """The addresses of a host, in the order of the system."""
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    found = await asyncio.get_running_loop().getaddrinfo(inner, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _rehearse_failure(search: PolicySearch, detail: str, now: float) -> Decision:
    """Let a search run its course where nobody can be asked. Its own cache forgets that, for names come back."""
    while isinstance(step := search.next_step(now), Ask):
        search.receive_reply(Reply(Ending.FAILED, detail=detail), now)
    return step


def _http_request(location: Location) -> bytes:
    # HTTP/1.0, so that the body comes in one piece and ends with the connection.
    return f"GET {location.path} HTTP/1.0\r\nHost: {format_host(location.host)}\r\n\r\n".encode()


def _read_http(ending: Ending, data: bytes) -> Reply:
    head, blank, body = data.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not blank or len(status) < 2 or not status[0].startswith(b"HTTP/"):
        return Reply(Ending.FAILED, detail="it did not answer in HTTP")
    if status[1] != b"200":
        return Reply(Ending.FAILED, detail=f"HTTP status {status[1].decode('ascii', 'replace')}")
    return Reply(ending, body)
