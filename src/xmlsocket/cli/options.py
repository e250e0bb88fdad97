"""Values of options and configuration keys: read them, and say which is wrong, why, and what is nearest."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import typer
from rich.markup import escape

from ..apps import APPS
from ..errors import ConfigurationError
from ..limits import LimitDescription, Limits, LimitSet, PolicyLimits, WorkerLimits

_Function = TypeVar("_Function", bound=Callable[..., None])

NO_LIMIT: Final = "none"
"""How ``None`` is written on the command line and in configuration files."""


class KnownLimit(NamedTuple):
    """A limit that ``xmlsocket serve`` can set."""

    description: LimitDescription
    owner: type[LimitSet]


def _find_limits() -> dict[str, KnownLimit]:
    owners: list[type[LimitSet]] = [Limits, WorkerLimits]
    for app in APPS:
        owners.extend(owner for owner in app.all_limits if owner not in owners)
    found = {
        limit.name: KnownLimit(limit, owner) for owner in owners for limit in owner.describe() if limit.side != "client"
    }
    asking = (limit for limit in PolicyLimits.describe() if limit.side == "server")
    return found | {limit.name: KnownLimit(limit, PolicyLimits) for limit in asking}


LIMITS: Final[Mapping[str, KnownLimit]] = _find_limits()
"""Every limit of the server and of the applications, by its name."""


def nearest(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Write the end of a sentence that says a name is wrong: which right one is nearest."""
    near = difflib.get_close_matches(name, list(names), n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; {otherwise}" if otherwise else ""


def choose(value: str, choices: Sequence[str], name: str) -> str:
    """Check a value that must be one of a few.

    Raises:
        ConfigurationError: It is none of them.
    """
    if value in choices:
        return value
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
    raise ConfigurationError(f"{name} must be {listed}, not {value!r}{nearest(value, choices)}")


def parse_port(value: object, name: str, lowest: int = 0) -> int:
    """Read the number of a TCP port; to listen on, 0 is one, and means any that is free.

    Raises:
        ConfigurationError: It is no port.
    """
    try:
        number = _parse_number(value, integral=True)
    except ValueError:
        number = -1
    if not lowest <= number <= 65_535:
        raise ConfigurationError(f"{name} must be a whole number from {lowest} to 65535, not {value!r}")
    return int(number)


def parse_count(value: object, name: str) -> int:
    """Read how many of something there shall be.

    Raises:
        ConfigurationError: It is no whole number from 1 to 1,000.
    """
    try:
        number = _parse_number(value, integral=True)
    except ValueError:
        number = 0
    if not 1 <= number <= 1000:
        raise ConfigurationError(f"{name} must be a whole number from 1 to 1000, not {value!r}")
    return int(number)


def parse_limit(limit: LimitDescription, value: object, name: str) -> float | None:
    """Read the value of a limit: a number, its text, or ``none``.

    Args:
        limit: Which limit.
        value: What was given.
        name: What to call it in an error: an option, or a key and its file.

    Raises:
        ConfigurationError: The value cannot work.
    """
    if isinstance(value, str) and value.strip().lower() == NO_LIMIT:
        if limit.optional:
            return None
        raise ConfigurationError(f"{name} cannot be {NO_LIMIT}: it must be a number of {limit.unit}")
    try:
        number = _parse_number(value, integral=limit.integral)
    except ValueError:
        kind = "a whole number" if limit.integral else "a number"
        alternative = f", or {NO_LIMIT} for no limit" if limit.optional else ""
        raise ConfigurationError(f"{name} must be {kind} of {limit.unit}{alternative}, not {value!r}") from None
    if not (math.isfinite(number) and number >= 0):
        raise ConfigurationError(f"{name} must be 0 or more {limit.unit}, not {value}")
    if limit.positive and not number:
        raise ConfigurationError(f"{name} must be more than 0 {limit.unit}")
    return number


def _parse_number(value: object, *, integral: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    if integral:
        if isinstance(value, float):
            raise ValueError(value)
        return int(value)
    return float(value)


def option_name(name: str) -> str:
    """Write the name of a field or key as an option."""
    return "--" + name.replace("_", "-")


def takes_limits(function: _Function) -> _Function:
    """Give a command that takes ``**limits`` an option for every limit, in panels of their own."""
    return add_limits(function, LIMITS)


def add_limits(function: _Function, limits: Mapping[str, KnownLimit]) -> _Function:
    """Give a command that takes ``**limits`` an option for each of these."""
    signature = inspect.signature(function, eval_str=True)
    parameters = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
    for name, (limit, owner) in limits.items():
        option = typer.Option(
            option_name(name),
            metavar=limit.unit.upper(),
            help=_limit_help(limit),
            rich_help_panel=_panel(owner),
            show_default=False,
        )
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
            )
        )
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer reads
    return function


def _panel(owner: type[LimitSet]) -> str:
    kind = owner.__name__.removesuffix("Limits").lower()
    return f"Limits of {_BOUNDED.get(kind, f'the {kind}')}"


_BOUNDED: Final = {"": "connections", "room": "rooms", "worker": "workers", "policy": "the policy port"}


def _limit_help(limit: LimitDescription) -> str:
    if limit.default is None:
        default = NO_LIMIT
    else:
        number = int(limit.default) if limit.default == int(limit.default) else limit.default
        default = f"{number:,}" + (f"; {NO_LIMIT}: no limit" if limit.optional else "")
    return with_default(limit.why[0].upper() + limit.why[1:] + ".", default)


def with_default(text: str, default: str) -> str:
    """Write the help of an option whose default is applied later, where the configuration file has been read."""
    return escape(f"{text} [default: {default}]")


def explicit(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was given on the command line."""
    return {name: value for name, value in values.items() if value is not None}
