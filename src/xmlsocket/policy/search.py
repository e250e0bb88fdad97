"""The order in which a player looks for permission, as a machine without I/O.

The rules of each version stand in :mod:`.players`; the searching itself, in
:meth:`PolicySearch._decide`, reads like the description of the procedure.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from ..limits import PolicyLimits
from .answers import HTTP_PATH, MASTER_PORT, Ask, Fetched, Location, Outcome, Reply, read_reply
from .cache import PolicyCache
from .decision import Decision, Rule, Step
from .matching import FIRST_HIGH_PORT, MAX_PORT, parse_host, superdomain
from .model import Grant, MetaPolicy, Policy
from .players import HttpUse, rules_of
from .quoting import make_printable
from .requester import AllowNetworking, Requester, Sandbox

_DEFAULT_LIMITS = PolicyLimits()
_Plan = Generator[Ask, "_Answer", Rule]
_PlanStep = Generator[Ask, "_Answer", Step]


class _Answer:
    """What the plan learns of a location: the outcome, and how long it took."""

    __slots__ = ("elapsed", "fetched", "is_cached")

    def __init__(self, fetched: Fetched, elapsed: float, *, is_cached: bool) -> None:
        self.fetched = fetched
        self.elapsed = elapsed
        self.is_cached = is_cached


def choose_host(host: str | None, requester: Requester) -> str:
    """Say which host is meant: the given one up to a NUL in it, or if there is none, the requester's own."""
    return (host or "").partition("\0")[0] or requester.domain or "localhost"


class PolicySearch:
    """Finds out whether content may open a socket, by telling its driver whom to ask.

    Drive it like this: call :meth:`next_step`; when it returns an :class:`Ask`, do that, report with
    :meth:`receive_reply`, and call :meth:`next_step` again until it returns a :class:`Decision`. Who
    shares a cache between searches may wait for another's question to the same location instead, and call
    :meth:`next_step` again without reporting: the answer is then found in the cache.

    Args:
        requester: The content that wants the socket.
        host: The host it wants; ``None`` or an empty string is the one that the content came from, and
            ``localhost`` for local content. It is cut at a NUL, as players do.
        port: The port it wants; any integer.
        explicit: Locations named with ``loadPolicyFile``, in the order of the calls.
        address: What the host was resolved to, once; every location is asked there. The host itself by
            default.
        cache: What earlier searches of the session found.
        limits: ``policy_timeout``, ``explicit_timeout`` and ``max_policy_size`` count here.
        strict: Ask for files without anything that players are only thought to tolerate.
    """

    def __init__(
        self,
        requester: Requester,
        host: str | None,
        port: int,
        *,
        explicit: Iterable[Location] = (),
        address: str | None = None,
        cache: PolicyCache | None = None,
        limits: PolicyLimits = _DEFAULT_LIMITS,
        strict: bool = False,
    ) -> None:
        self._requester = requester
        self._host = choose_host(host, requester)
        self._target = parse_host(self._host)
        self._port = port
        self._explicit = tuple(dict.fromkeys(explicit))
        self._address = self._host if address is None else address
        self._limits = limits
        self._cache = PolicyCache(limits) if cache is None else cache
        self._strict = strict
        self._rules = rules_of(requester.player)
        self._trail: list[Step] = []
        self._plan = self._decide()
        self._pending: Ask | None = None
        self._asked_at = 0.0
        self._decision: Decision | None = None

    def next_step(self, now: float) -> Ask | Decision:
        """Say what to do next. Without a report in between, the same again, or what the cache has learnt.

        Args:
            now: The time in seconds, of any clock that never goes back.
        """
        if self._decision is None and self._pending is None:
            self._advance(None, now)
        while self._decision is None:
            assert self._pending is not None  # _advance sets one of the two
            fetched = self._cache.find(self._pending, now)
            if fetched is None:
                return self._pending
            self._advance(_Answer(fetched, now - self._asked_at, is_cached=True), now)
        return self._decision

    def receive_reply(self, reply: Reply, now: float) -> None:
        """Report what came back from the location that :meth:`next_step` said to ask.

        Args:
            reply: What came back.
            now: The time, as for :meth:`next_step`; the difference is the time spent.

        Raises:
            RuntimeError: Nothing was asked.
        """
        ask = self._pending
        if ask is None:
            raise RuntimeError("the policy search asked nothing; call next_step() first")
        is_http = ask.location.scheme == "http"
        fetched = read_reply(reply, self._limits, strict=self._strict, is_http=is_http)
        self._cache.store(ask, fetched, now)
        self._advance(_Answer(fetched, now - self._asked_at, is_cached=False), now)

    def _advance(self, answer: _Answer | None, now: float) -> None:
        try:
            self._pending = next(self._plan) if answer is None else self._plan.send(answer)
            self._asked_at = now
        except StopIteration as stop:
            self._pending = None
            self._decision = self._conclude(stop.value)

    def _conclude(self, rule: Rule) -> Decision:
        trail = tuple(self._trail)
        return Decision(rule in _PERMITTING, rule, self._requester, self._host, self._port, self._address, trail)

    def _decide(self) -> _Plan:
        if rule := self._decide_at_once():
            return rule
        if self._rules.asks_master:
            master = yield from self._ask_socket(MASTER_PORT)
            meta_policy = master.policy.effective_meta_policy if master.policy else MetaPolicy.ALL
            if meta_policy is MetaPolicy.NONE:
                return Rule.MASTER_NONE
            if master.grant is not None:
                return Rule.MASTER_GRANTS
            if meta_policy is MetaPolicy.MASTER_ONLY:
                return Rule.MASTER_ONLY
        for location in self._explicit:
            if (yield from self._ask_explicit(location)):
                return Rule.HTTP_GRANTS if location.scheme == "http" else Rule.EXPLICIT_GRANTS
        if self._rules.asks_destination and not self._is_asked_as_master(self._port):
            destination = yield from self._ask_socket(self._port)
            if destination.grant is not None:
                return Rule.DESTINATION_GRANTS
        if self._rules.http is HttpUse.DEFAULT and self._port >= FIRST_HIGH_PORT:
            if (yield from self._ask_http()).grant is not None:
                return Rule.HTTP_GRANTS
        return Rule.NOTHING_GRANTS

    def _decide_at_once(self) -> Rule | None:
        """What needs no policy file, in the player's order."""
        if self._requester.allow_networking is AllowNetworking.NONE:
            return Rule.NETWORKING_FORBIDDEN
        if self._requester.sandbox is Sandbox.LOCAL_WITH_FILE:
            return Rule.LOCAL_WITH_FILE
        if not 1 <= self._port <= MAX_PORT:
            return Rule.INVALID_PORT
        if self._requester.sandbox is Sandbox.APPLICATION:
            return Rule.APPLICATION
        if self._requester.sandbox is Sandbox.LOCAL_TRUSTED:
            return Rule.LOCAL_TRUSTED
        if self._rules.exempts_own_host and self._port >= FIRST_HIGH_PORT and self._is_own_host():
            return Rule.OWN_HOST
        return None

    def _is_own_host(self) -> bool:
        own = self._requester.host
        if own is None:
            return False
        if self._rules.compares_superdomains:
            return superdomain(own) == superdomain(self._target)
        return own == self._target

    def _is_asked_as_master(self, port: int) -> bool:
        return port == MASTER_PORT and self._rules.asks_master

    def _ask_explicit(self, location: Location) -> Generator[Ask, _Answer, bool]:
        """Ask a location named with loadPolicyFile, unless it is asked anyway or cannot count."""
        if location.host != self._target:
            return self._pass_over(location, "it is on another host than the destination")
        if location.scheme == "xmlsocket" and self._rules.asks_explicit:
            if self._is_asked_as_master(location.port) or (
                location.port == self._port and self._rules.asks_destination
            ):
                return False
            return (yield from self._ask_socket(location.port)).grant is not None
        if location.is_http_default and self._rules.http is not HttpUse.NEVER:
            if self._port < FIRST_HIGH_PORT:
                return self._pass_over(location, "HTTP policy files grant no port below 1024")
            if self._rules.http is HttpUse.DEFAULT:
                return False
            return (yield from self._ask_http()).grant is not None
        return self._pass_over(location, f"{self._rules.name} take no permission for sockets from there")

    def _pass_over(self, location: Location, reason: str) -> bool:
        self._trail.append(Step(location, Outcome.NOT_ASKED, detail=reason))
        return False

    def _ask_socket(self, port: int) -> _PlanStep:
        location = Location(self._target, port)
        timeout = self._limits.explicit_timeout if location in self._explicit else self._limits.policy_timeout
        return (yield from self._ask(location, timeout))

    def _ask_http(self) -> _PlanStep:
        return (yield from self._ask(Location(self._target, 80, "http", HTTP_PATH), self._limits.explicit_timeout))

    def _ask(self, location: Location, timeout: float | None) -> _PlanStep:
        answer = yield Ask(location, self._address, timeout, self._limits.max_policy_size)
        fetched = answer.fetched
        if fetched.policy is not None:
            grant, detail, objections = self._judge(location, fetched.policy)
        else:
            grant, detail, objections = None, make_printable(fetched.detail), ()
        step = Step(
            location,
            fetched.outcome,
            answer.elapsed,
            timeout,
            answer.is_cached,
            fetched.policy,
            detail,
            grant,
            objections,
        )
        self._trail.append(step)
        return step

    def _judge(self, location: Location, policy: Policy) -> tuple[Grant | None, str, tuple[str, ...]]:
        """Look for a grant; with it come a remark on the file and the objections against each grant."""
        counts_meta_policy = self._rules.asks_master and (location.port == MASTER_PORT or location.scheme == "http")
        if counts_meta_policy and policy.effective_meta_policy is MetaPolicy.NONE:
            return None, "its meta-policy is none, or one that sockets do not know, so its grants are void", ()
        if location.scheme == "http":
            grant = policy.grants_over_http(self._requester)
            return grant, "" if grant or not policy.entries else "no domain in it matches", ()
        grant = policy.grants(self._requester, self._port, location.port)
        if grant is not None:
            return grant, "", ()
        found = (entry.objection(self._requester, self._port, location.port) for entry in policy.entries)
        return None, "", tuple(objection for objection in found if objection is not None)


_PERMITTING = frozenset(
    {
        Rule.APPLICATION,
        Rule.LOCAL_TRUSTED,
        Rule.OWN_HOST,
        Rule.MASTER_GRANTS,
        Rule.EXPLICIT_GRANTS,
        Rule.DESTINATION_GRANTS,
        Rule.HTTP_GRANTS,
    }
)
