"""Which rules a version of the player follows before it lets content open a socket."""

from __future__ import annotations

import dataclasses
import enum
import re

from ..errors import ConfigurationError


class HttpUse(enum.Enum):
    """Whether the HTTP file ``/crossdomain.xml`` of the target host may grant sockets (ports from 1024 up)."""

    NEVER = "no HTTP policy file grants sockets"
    EXPLICIT = "when it was named with loadPolicyFile"
    DEFAULT = "always"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlayerRules:
    """What players from one version on do.

    Attributes:
        since: The first version with these rules.
        name: What to call these players.
        exempts_own_host: The host that served the SWF needs no policy for ports from 1024 up.
        compares_superdomains: "Own host" means any host with the same superdomain.
        asks_master: Port 843 is asked first, and its meta-policy counts.
        asks_explicit: Locations named with loadPolicyFile are asked.
        asks_destination: The destination port is asked last.
        http: The part that the HTTP policy file plays.
    """

    since: tuple[int, ...]
    name: str
    exempts_own_host: bool = True
    compares_superdomains: bool = False
    asks_master: bool = False
    asks_explicit: bool = False
    asks_destination: bool = False
    http: HttpUse = HttpUse.NEVER


_RULES = (
    PlayerRules(
        since=(9, 0, 124),
        name="players since 9.0.124",
        exempts_own_host=False,
        asks_master=True,
        asks_explicit=True,
        asks_destination=True,
    ),
    PlayerRules(
        since=(9, 0, 115),
        name="players from 9.0.115 to before 9.0.124",
        asks_master=True,
        asks_explicit=True,
        asks_destination=True,
        http=HttpUse.EXPLICIT,
    ),
    PlayerRules(
        since=(9,),
        name="players from 9 to before 9.0.115",
        asks_explicit=True,
        asks_destination=True,
        http=HttpUse.EXPLICIT,
    ),
    PlayerRules(since=(7, 0, 19), name="players from 7.0.19 to 8", asks_explicit=True, http=HttpUse.DEFAULT),
    PlayerRules(since=(7,), name="players from 7 to before 7.0.19", http=HttpUse.DEFAULT),
    PlayerRules(since=(6,), name="player 6", compares_superdomains=True),
    PlayerRules(since=(), name="players before 6"),
)

CURRENT_PLAYER = (10,)
"""Stands for every player since 9.0.124, and for AIR content outside the application sandbox."""

_VERSION = re.compile(r"(?:[A-Za-z]+ )?([0-9]{1,9}(?:[.,r][0-9]{1,9}){0,5})")


def parse_player(text: str) -> tuple[int, ...]:
    """Read a version: ``9.0.115``, ``7.0r19``, or as ``Capabilities.version`` says it, ``WIN 9,0,115,0``.

    Raises:
        ConfigurationError: It is no version.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} is no player version; write one such as 9.0.115 or 10")
    return tuple(int(part) for part in re.split("[.,r]", match[1]))


def rules_of(player: tuple[int, ...]) -> PlayerRules:
    """Find the rules that a version of the player follows."""
    return next(rules for rules in _RULES if player >= rules.since)
