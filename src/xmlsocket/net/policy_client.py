"""Ask real servers for their socket policy files, in the order and within the times of a player."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final

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
    make_printable,
)
from .policy_exchange import Dialer, Exchange, resolve

logger = logging.getLogger("xmlsocket.policy")

_DEFAULT_LIMITS: Final = PolicyLimits()


class PolicyClient:
    """One session of a player: finds out who may connect where, and asks each location once.

    A name is resolved anew for each decision, and everything is then asked at one address, the one in the decision; a
    connection must go there too, or the permission is for another machine. Where a name has several addresses, the
    first at which there is any policy file decides.

    It belongs to one event loop at a time.

    Args:
        limits: How long and how much. Where the player would wait for ever, ``connect_timeout`` and ``answer_timeout``
            apply.
        strict: See :class:`xmlsocket.policy.PolicySearch`.
        ports: Ports to ask on instead of others, as ``{843: 10843}`` where nothing redirects 843 yet. What is served
            there still counts as coming from 843.
        dial: How to open connections, for networks that need a detour.
    """

    def __init__(
        self,
        limits: PolicyLimits = _DEFAULT_LIMITS,
        *,
        strict: bool = False,
        ports: Mapping[int, int] | None = None,
        dial: Dialer = asyncio.open_connection,
    ) -> None:
        self._limits = limits
        self._strict = strict
        self._ports = dict(ports or {})
        self._dial = dial
        self._cache = PolicyCache(limits)
        self._fetches: dict[tuple[str, Location], _Fetch] = {}

    async def decide(
        self, requester: Requester, host: str | None, port: int, explicit: Iterable[Location] = ()
    ) -> Decision:
        """Find out whether content may connect.

        Never raises for what the network does: an unknown host, a refusal or silence is a location without a policy
        file, and the trail says so. Cancelling is safe: others that wait for the same answer go on waiting for it.

        Args:
            requester: The content.
            host: The host it wants; ``None`` for its own.
            port: The port it wants.
            explicit: Locations named with ``loadPolicyFile``, in the order of the calls.
        """
        return (await self.try_addresses(requester, host, port, explicit))[-1]

    async def try_addresses(
        self, requester: Requester, host: str | None, port: int, explicit: Iterable[Location] = ()
    ) -> tuple[Decision, ...]:
        """Do what :meth:`decide` does, and tell what came of each address of the host that was tried.

        Returns:
            One decision for each address, at least one; the last is the one that counts.
        """
        explicit = tuple(explicit)
        first = PolicySearch(requester, host, port, explicit=explicit, limits=self._limits, strict=self._strict)
        now = asyncio.get_running_loop().time()
        if isinstance(at_once := first.next_step(now), Decision):
            return (at_once,)  # no policy file needed, so no need to know the address either
        try:
            addresses = await resolve(choose_host(host, requester), self._limits.connect_timeout)
        except OSError as error:
            return (_rehearse_failure(first, str(error), now),)
        decisions: list[Decision] = []
        for address in addresses[: self._limits.max_addresses] or addresses[:1]:
            decision = await self._search(requester, host, port, explicit, address)
            decisions.append(decision)
            if decision.allowed or any(step.outcome is Outcome.OK for step in decision.trail):
                break
        return tuple(decisions)

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
        step = search.next_step(clock())
        while isinstance(step, Ask):
            reply = await self._ask(step)
            following = search.next_step(clock())
            if following is step:  # nobody who waited for the same answer has put it into the cache yet
                search.receive_reply(reply, clock())
                following = search.next_step(clock())
            step = following
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s", make_printable(step.explanation.replace("\n", " ")))
        return step

    async def _ask(self, ask: Ask) -> Reply:
        """Ask a location, or wait for the answer that somebody else is waiting for already."""
        key = (ask.address, ask.location)
        fetch = self._fetches.get(key)
        loop = asyncio.get_running_loop()
        if fetch is None or fetch.task.get_loop() is not loop:  # one of another loop was left behind when that ended
            port = ask.location.port
            exchange = Exchange(
                ask.location,
                ask.address,
                self._ports.get(port, port),
                dial=self._dial,
                connect_timeout=self._limits.connect_timeout,
                max_size=ask.max_size,
            )
            fetch = self._fetches[key] = _Fetch(exchange)
        timeout = self._limits.answer_timeout if ask.timeout is None else ask.timeout
        try:
            return await fetch.wait(timeout)
        finally:
            if fetch.is_over and self._fetches.get(key) is fetch:
                del self._fetches[key]


class _Fetch:
    """One location that is being asked, for all who wait for the answer; the last to give up ends it.

    Time counts from when the first of them asked, for each with the limit of its own.
    """

    __slots__ = ("_exchange", "_started", "_waiting", "task")

    def __init__(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._started = loop.time()
        self._waiting = 0
        self.task = loop.create_task(exchange.run())

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to because nobody waits any more."""
        return self.task.done() or not self._waiting

    async def wait(self, longest: float | None) -> Reply:
        """Wait for the answer, at most until so many seconds after the question was first asked."""
        remaining = None if longest is None else self._started + longest - asyncio.get_running_loop().time()
        self._waiting += 1
        try:
            await asyncio.wait((self.task,), timeout=remaining)
            return self.task.result() if self.task.done() else self._exchange.time_out()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.task.cancel()


def _rehearse_failure(search: PolicySearch, detail: str, now: float) -> Decision:
    """Let a search run its course where nobody can be asked. Its own cache forgets that, for names come back."""
    while isinstance(step := search.next_step(now), Ask):
        search.receive_reply(Reply(Ending.FAILED, detail=detail), now)
    return step
