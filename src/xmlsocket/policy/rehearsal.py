"""Runs a search with answers that are known beforehand, without network or clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .answers import Ask, Ending, Location, Reply
from .decision import Decision
from .search import PolicySearch


@dataclasses.dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What a location would answer.

    Attributes:
        reply: What comes back.
        delay: After how many seconds; ``None`` is never.
    """

    reply: Reply
    delay: float | None = 0.0


_REFUSED = KnownAnswer(Reply(Ending.REFUSED))


def rehearse(search: PolicySearch, answers: Mapping[Location, KnownAnswer]) -> Decision:
    """Find the decision that a search would come to; locations without an answer refuse the connection.

    One that never answers where there is no time limit counts as timed out.
    """
    now = 0.0
    while isinstance(step := search.next_step(now), Ask):
        answer = answers.get(step.location, _REFUSED)
        reply = answer.reply
        if answer.delay is None or (step.timeout is not None and answer.delay > step.timeout):
            reply = Reply(Ending.TIMED_OUT)
            now += step.timeout or 0.0
        else:
            now += answer.delay
        search.receive_reply(reply, now)
    return step
