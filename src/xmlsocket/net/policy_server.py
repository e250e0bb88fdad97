"""A port that answers policy requests and nothing else: 843, or one named with ``loadPolicyFile``."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast

from ..errors import ConfigurationError
from ..limits import Limits, PolicyLimits
from ..policy import MASTER_PORT, quote
from ..wire import NUL, POLICY_REQUESTS
from .deadlines import DeadlineQueue
from .descriptors import free_descriptors
from .half_close import end_output
from .policy_answer import PolicyAnswer, PolicySource, load_policy, port_of
from .ports import (
    ACCEPTS_IN_A_TURN,
    listen_error,
    listen_on_one_port,
    listen_on_socket,
    set_backlog,
    show_hosts,
    sockets_of,
    stop_listening,
)
from .refusals import RefusalLog
from .target import check_hosts, check_port

logger = logging.getLogger("xmlsocket.policy")

_LOOK_INTERVAL = 0.02  # seconds between two looks whether all who were accepted have asked

_DEFAULT_LIMITS: Final = PolicyLimits()


class PolicyStatistics(NamedTuple):
    """What a policy server has done since its start."""

    served: int
    """Requests answered."""
    bogus: int
    """Connections that sent something else than a request."""
    timeouts: int
    """Connections that sent no whole request within ``request_timeout``."""
    left: int
    """Connections that were closed by the other side before they asked, as by those who only look who listens."""
    refused: int
    """Connections turned away because of ``max_askers`` or ``max_askers_per_address``."""
    active: int
    """Connections open now."""


class PolicyServer:
    """A listening policy server, as ``serve_policy`` gives it."""

    def __init__(
        self, answer: PolicyAnswer, load: Callable[[PolicySource | None], PolicyAnswer], limits: PolicyLimits
    ) -> None:
        loop = asyncio.get_running_loop()
        self._answer = answer
        self._load = load
        self._limits = limits
        self._servers: list[asyncio.Server] = []
        self._max_askers = _fit_into_descriptors(limits.max_askers)
        self._askers: set[_Asker] = set()
        self._silent: dict[_Asker, None] = {}  # those that have not asked yet, the longest waiting first
        self._by_address: Counter[str] = Counter()
        self._refusals = RefusalLog(loop, logger)
        self._is_closing = False
        self._closed: asyncio.Future[None] = loop.create_future()
        self._count = Counter[str]()
        self._asking = DeadlineQueue[_Asker](loop, limits.request_timeout, _Asker.waited_for_request)
        self._draining = DeadlineQueue[_Asker](loop, limits.drain_timeout, _Asker.abort)

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets it listens on."""
        return [sock for server in self._servers for sock in server.sockets]

    @property
    def port(self) -> int:
        """The TCP port it listens on.

        Raises:
            ConfigurationError: It listens on Unix sockets only.
        """
        for sock in self.sockets:
            if (port := port_of(sock)) is not None:
                return port
        raise ConfigurationError("this policy server listens on no TCP port")

    @property
    def answer(self) -> PolicyAnswer:
        """What it answers now."""
        return self._answer

    @property
    def statistics(self) -> PolicyStatistics:
        """What it has done since its start."""
        count = self._count
        return PolicyStatistics(
            count["served"], count["bogus"], count["timeouts"], count["left"], count["refused"], len(self._askers)
        )

    def reload(self, policy: PolicySource | None = None) -> None:
        """Answer with another policy from now on, or with the same file read anew.

        Raises:
            ConfigurationError: It cannot be read or has an error. The old answer stays.
        """
        self._answer = self._load(policy)

    async def serve_forever(self) -> None:
        """Wait until the server is closed. When cancelled, it closes the server first."""
        try:
            await asyncio.shield(self._closed)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def stop_accepting(self) -> None:
        """Accept nobody more; returns when those who were accepted have asked, or had ``request_timeout`` to."""
        servers, self._servers = self._servers, []
        await stop_listening(asyncio.get_running_loop(), servers)
        while self._silent:  # noqa: ASYNC110  # rare; no cost for each who asks
            await asyncio.sleep(_LOOK_INTERVAL)

    async def close(self) -> None:
        """Stop accepting, and wait until those who were answered have their answer: at most ``drain_timeout``."""
        if not self._is_closing:
            self._is_closing = True
            for server in self._servers:
                server.close()
            for asker in list(self._silent):
                asker.abort()
            self._close_if_done()
        await asyncio.shield(self._closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _close_if_done(self) -> None:
        if self._is_closing and not self._askers and not self._closed.done():
            self._asking.clear()
            self._draining.clear()
            self._refusals.stop()
            self._closed.set_result(None)

    def _admit(self, asker: _Asker) -> bool:
        """Let a connection in, unless a limit is reached or the server closes."""
        if self._is_closing:
            return False
        limit = self._limits.max_askers_per_address
        if limit is not None and self._by_address[asker.host] >= limit:
            self._refuse(asker, "max_askers_per_address")
            return False
        if self._max_askers is not None and len(self._askers) >= self._max_askers:
            if not self._silent:
                self._refuse(asker, "max_askers")
                return False
            # Who has said nothing for the longest time makes room: those who really ask do so at once.
            oldest = next(iter(self._silent))
            self._refuse(oldest, "max_askers")
            oldest.abort()
        self._askers.add(asker)
        self._silent[asker] = None
        if limit is not None:
            self._by_address[asker.host] += 1
        self._asking.add(asker)
        return True

    def _refuse(self, asker: _Asker, limit: str) -> None:
        self._count["refused"] += 1
        self._refusals.add(asker.host, f"{limit} was reached")
        self._settle(asker)

    def _settle(self, asker: _Asker) -> None:
        """Wait for its request no longer."""
        self._silent.pop(asker, None)
        self._asking.discard(asker)

    def _conclude(self, asker: _Asker, outcome: str) -> None:
        self._settle(asker)
        self._count[outcome] += 1
        if outcome == "served":
            self._draining.add(asker)

    def _dismiss(self, asker: _Asker) -> None:
        """Forget a connection that is closed."""
        if asker not in self._askers:
            return
        if asker in self._silent:
            self._conclude(asker, "left")
        self._draining.discard(asker)
        self._askers.discard(asker)
        if self._limits.max_askers_per_address is not None:
            self._by_address[asker.host] -= 1
            if not self._by_address[asker.host]:
                del self._by_address[asker.host]
        self._close_if_done()


class _Asker(asyncio.Protocol):
    """A connection to the policy port: what it has sent, until that is a request or cannot become one."""

    __slots__ = ("_is_done", "_received", "_server", "_transport", "host")

    def __init__(self, server: PolicyServer) -> None:
        self._server = server
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._received = b""
        self._is_done = False
        self.host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.host = str(address[0]) if isinstance(address, tuple) else "unix"
        if not self._server._admit(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_done:
            return  # read and thrown away, so that closing causes no reset that destroys the answer
        self._received += data
        request, nul, _ = self._received.partition(NUL)
        if nul:
            self._end(is_request=request + nul in POLICY_REQUESTS)
        elif len(self._received) >= self._server._limits.max_request_size:
            self._end(is_request=False)

    def eof_received(self) -> bool:
        if not self._is_done and self._received:
            self._end(is_request=self._is_typed_request)
        return False

    def waited_for_request(self) -> None:
        """The time for the request is over."""
        if self._received and (self._is_typed_request or not self._is_beginning):
            self._end(is_request=self._is_typed_request)
        else:
            self._server._conclude(self, "timeouts")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._dismiss(self)

    def abort(self) -> None:
        """Close it at once."""
        self._is_done = True
        self._transport.abort()

    @property
    def _is_typed_request(self) -> bool:
        """Whether somebody has typed the request: without NUL, which no keyboard has, and perhaps with a line end."""
        return self._received.rstrip(b"\r\n") + NUL in POLICY_REQUESTS

    @property
    def _is_beginning(self) -> bool:
        return any(request.startswith(self._received) for request in POLICY_REQUESTS)

    def _end(self, *, is_request: bool) -> None:
        self._is_done = True
        if is_request:
            self._server._conclude(self, "served")
            self._transport.write(self._server._answer.data)
            end_output(self._transport)
            return
        self._server._conclude(self, "bogus")
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s sent no policy request: %s", self.host, _show(self._received))
        self._transport.close()


class serve_policy:  # noqa: N801  # used like a function, as serve is
    """Listen for policy requests, and answer nothing else.

    Use it as ``async with serve_policy(...) as server`` or ``server = await serve_policy(...)``. A connection has
    ``request_timeout`` from when it is accepted to send ``<policy-file-request/>`` and a NUL, with or without a blank
    before the slash; without the NUL too when its time is over or it ends its direction, so that the request can be
    typed. It gets the file and a NUL in one write, and ``drain_timeout`` to close. Anything else is closed without an
    answer.

    Where there are ``max_askers``, or the process has no more descriptors, the one that has said nothing for the
    longest time makes room for the next.

    Args:
        policy: As for :func:`load_policy`.
        host: Name or address to listen on, a sequence of them, or ``None`` for all, IPv4 and IPv6.
        port: TCP port; players ask 843 first.
        sock: Listen on this bound socket, or these, instead, as inherited from systemd.
        served_from: The port that players see, where it is not ``port``, as behind a port redirect.
        allow_everybody: It is meant that everybody may reach every port; without that such a policy is an error.
        reuse_port: Let several processes listen on the port (``SO_REUSEPORT``).
        limits: ``request_timeout``, ``max_request_size``, ``drain_timeout``, ``max_askers`` and
            ``max_askers_per_address`` count here.

    Raises:
        ConfigurationError: The policy cannot be read or has an error, or the port is none.
        ListenError: The port is taken or needs privilege, or the host is not ours.
    """

    def __init__(
        self,
        policy: PolicySource,
        host: str | Sequence[str] | None = None,
        port: int = MASTER_PORT,
        *,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        served_from: int | None = None,
        allow_everybody: bool = False,
        reuse_port: bool = False,
        limits: PolicyLimits = _DEFAULT_LIMITS,
    ) -> None:
        check_port(port, lowest=0)
        check_hosts(host)
        self._host = host
        self._port = port
        self._socks = () if sock is None else sockets_of(sock)
        self._reuse_port = reuse_port
        self._limits = limits
        seen = served_from
        if seen is None:
            seen = port_of(self._socks[0]) if self._socks else port

        def load(given: PolicySource | None) -> PolicyAnswer:
            return load_policy(policy if given is None else given, served_from=seen, allow_everybody=allow_everybody)

        self._load = load
        self._answer = load(None)

    async def _start(self) -> PolicyServer:
        server = PolicyServer(self._answer, self._load, self._limits)
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"backlog": ACCEPTS_IN_A_TURN}

        def make() -> _Asker:
            return _Asker(server)

        where = show_hosts(self._host, self._port)
        try:
            for sock in self._socks:
                where = str(sock.getsockname())
                server._servers.append(await listen_on_socket(loop, make, sock, options))
            if not self._socks:
                options["reuse_port"] = self._reuse_port or None
                server._servers.append(await listen_on_one_port(loop, make, self._host, self._port, options))
        except OSError as error:
            await server.close()
            raise listen_error(error, where) from error
        for sock in server.sockets:
            set_backlog(sock, Limits().accept_backlog)
        self._server = server
        return server

    def __await__(self) -> Generator[Any, None, PolicyServer]:
        return self._start().__await__()

    async def __aenter__(self) -> PolicyServer:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.close()


def _fit_into_descriptors(wanted: int | None) -> int | None:
    """Stay below what the process may have open, for who has no descriptor left can turn nobody away either."""
    free = free_descriptors()
    if free is None:
        return wanted
    room = max(free - Limits().descriptor_reserve, 1)
    return room if wanted is None else min(wanted, room)


def _show(data: bytes) -> str:
    return quote(data.decode("ascii", "backslashreplace"))
