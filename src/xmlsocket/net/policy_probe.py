"""Look at a live policy server as players do, and as they do not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Final, cast

from ..limits import PolicyLimits
from ..policy import MASTER_PORT, Ending, Fetched, Location, ProbeFacts, Reply, grants_differ, parse_host
from ..policy.answers import read_reply
from .policy_exchange import Dialer, Exchange, resolve

_DEFAULT_LIMITS: Final = PolicyLimits()
_SILENCE: Final = 1.0  # seconds in which who speaks unasked has spoken; one that waits is not bothered any longer
_PATIENCE: Final = 3  # times policy_timeout, so that a server is seen to answer late rather than not at all
_NO_REQUEST: Final = b"<no-policy-file-request/>\0"
_ROOT: Final = b"<cross-domain-policy"


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """What was seen of a policy server.

    Attributes:
        location: Whom.
        address: The address that was asked, or an empty string where the host is unknown.
        reply: What came back to a proper request.
        fetched: What that means to a player that waits long enough.
        facts: How the server behaves, for the linter.
    """

    location: Location
    address: str
    reply: Reply
    fetched: Fetched
    facts: ProbeFacts


async def probe_policy(
    host: str,
    port: int = MASTER_PORT,
    *,
    limits: PolicyLimits = _DEFAULT_LIMITS,
    ports: Mapping[int, int] | None = None,
    dial: Dialer = asyncio.open_connection,
) -> Probe:
    """Ask a server for its policy file, and watch how it behaves.

    It is asked four times at most, one after the other, as some servers serve only one at a time: as a player asks;
    with something that is no request; with nothing for a second; and where it is not 843 itself, on 843 as well.
    Takes three times ``policy_timeout`` and that once more at most, for each address of the host at which nothing
    answers. Never raises for what the network does.

    Args:
        host: Name or address.
        port: Which of its ports.
        limits: ``policy_timeout``, ``connect_timeout``, ``max_policy_size`` and ``max_addresses`` count here.
        ports: See :class:`PolicyClient`.
        dial: See :class:`PolicyClient`.
    """
    location = Location(parse_host(host), port)
    try:
        addresses = await resolve(host, limits.connect_timeout)
    except OSError as error:
        reply = Reply(Ending.FAILED, detail=str(error))
        return Probe(location, "", reply, read_reply(reply, limits), ProbeFacts())
    for address in addresses[: limits.max_addresses] or addresses[:1]:
        probe = await _Prober(address, limits, ports or {}, dial).probe(location)
        if probe.reply.data:
            break
    return probe


class _Prober:
    """Asks at one address."""

    def __init__(self, address: str, limits: PolicyLimits, ports: Mapping[int, int], dial: Dialer) -> None:
        self._address = address
        self._limits = limits
        self._ports = ports
        self._dial = dial
        # Without a limit for players nothing would be late; a probe has to end all the same.
        longest = _DEFAULT_LIMITS.policy_timeout if limits.policy_timeout is None else limits.policy_timeout
        self._timeout = cast("float", longest)

    async def probe(self, location: Location) -> Probe:
        clock = asyncio.get_running_loop().time
        began = clock()
        reply, is_open = await self._ask(location, _PATIENCE * self._timeout)
        seconds = clock() - began
        fetched = read_reply(reply, self._limits)
        is_master = location.port == MASTER_PORT
        facts = ProbeFacts(
            seconds=seconds if reply.data and reply.ending is not Ending.TIMED_OUT else None,
            is_master_filtered=is_master and reply.ending is Ending.TIMED_OUT and not is_open,
        )
        if is_open:
            facts = await self._watch(location, facts)
        if not is_master:
            facts = await self._compare(location, fetched, facts)
        return Probe(location, self._address, reply, fetched, facts)

    async def _watch(self, location: Location, facts: ProbeFacts) -> ProbeFacts:
        """See what it says to those who ask for something else, and for nothing."""
        wrong, _ = await self._ask(location, self._timeout, _NO_REQUEST)
        silent, _ = await self._ask(location, min(_SILENCE, self._timeout), b"")
        return dataclasses.replace(
            facts,
            answers_unasked=_ROOT in silent.data,
            answers_anything=_ROOT in wrong.data and not silent.data,
            speaks_first=bool(silent.data) and _ROOT not in silent.data,
        )

    async def _compare(self, location: Location, fetched: Fetched, facts: ProbeFacts) -> ProbeFacts:
        """See what port 843 does, and whether it grants the same."""
        reply, is_open = await self._ask(Location(location.host, MASTER_PORT), self._timeout)
        master = read_reply(reply, self._limits).policy
        return dataclasses.replace(
            facts,
            is_master_filtered=reply.ending is Ending.TIMED_OUT and not is_open,
            grants_differ=master is not None
            and fetched.policy is not None
            and grants_differ(master, fetched.policy, location.port),
        )

    async def _ask(self, location: Location, longest: float, request: bytes | None = None) -> tuple[Reply, bool]:
        exchange = Exchange(
            location,
            self._address,
            self._ports.get(location.port, location.port),
            dial=self._dial,
            connect_timeout=self._timeout,
            max_size=self._limits.max_policy_size,
            request=request,
        )
        try:
            async with asyncio.timeout(longest):
                reply = await exchange.run()
        except TimeoutError:
            reply = exchange.time_out()
        return reply, exchange.is_open
