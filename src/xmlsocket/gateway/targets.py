"""The servers that a gateway leads to, and nothing else: a list that the operator writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from ..errors import ConfigurationError
from ..net.target import Target, find_target

_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_ADDRESS = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class NamedTarget:
    """A server, and the name that its path has.

    Attributes:
        name: Of the path ``/NAME``; ``None`` where there is only ``/HOST:PORT``.
        target: Where it is.
    """

    name: str | None
    target: Target

    @property
    def path(self) -> str:
        """The path by which a WebSocket reaches it."""
        return f"/{self.name or self.target}"

    def __str__(self) -> str:
        return f"{self.name}={self.target}" if self.name else str(self.target)


def parse_target(text: str) -> NamedTarget:
    """Read ``HOST:PORT`` or ``NAME=HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        ConfigurationError: It is neither.
    """
    name, equals, address = text.strip().rpartition("=")
    if equals and not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of the target {text!r} must be letters, digits and the signs . _ ~ -, as it stands in a path"
        )
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigurationError(
            f"{text!r} is no target; write HOST:PORT or NAME=HOST:PORT, with an IPv6 address in brackets"
        )
    return NamedTarget(name or None, find_target(match[1] or match[2], int(match[3]), None, None, None))


class Targets:
    """The allow-list.

    Args:
        targets: In the order in which they are shown.
        default: Name or ``HOST:PORT`` of the one for clients that cannot say which: native players, and the path ``/``.
            With a single target it is that.

    Raises:
        ConfigurationError: There is none, two share a path, or the default is not among them.
    """

    def __init__(self, targets: Sequence[NamedTarget], default: str | None = None) -> None:
        if not targets:
            raise ConfigurationError("a gateway needs at least one target: HOST:PORT of the server behind it")
        self._targets = tuple(targets)
        self._by_name: dict[str, NamedTarget] = {}
        self._by_address: dict[str, NamedTarget] = {}
        for target in targets:
            self._by_address.setdefault(_key(str(target.target)), target)
            if target.name is not None and (other := self._by_name.setdefault(target.name, target)) is not target:
                raise ConfigurationError(f"two targets have the path /{target.name}: {other} and {target}")
        self.default: NamedTarget | None = self._targets[0] if len(self._targets) == 1 else None
        if default is not None:
            found = self._find_key(default)
            if found is None:
                known = ", ".join(map(str, self._targets))
                raise ConfigurationError(f"the default {default!r} is none of the targets: {known}")
            self.default = found

    def __iter__(self) -> Iterator[NamedTarget]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def find(self, path: str) -> NamedTarget | None:
        """Find the target of a request's path, as it was sent; ``None`` if there is none."""
        return self.default if path == "/" else self._find_key(unquote(path[1:]))

    def _find_key(self, text: str) -> NamedTarget | None:
        return self._by_name.get(text) or self._by_address.get(_key(text))


def _key(address: str) -> str:
    return address.lower()  # names of hosts have no case
