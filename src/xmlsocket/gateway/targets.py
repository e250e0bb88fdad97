"""The servers that a gateway leads to, and nothing else: a list that the operator writes."""

from __future__ import annotations

import re
import socket
import ssl as tls
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from ..errors import ConfigurationError
from ..net.target import Target, find_target

_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_TLS = "tls://"
_UNIX = "unix:"
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
    def path(self) -> str | None:
        """The path by which a WebSocket reaches it; ``None`` where that is only ``/``: a Unix socket without a name."""
        if self.name is None and self.target.path is not None:
            return None
        return f"/{self.name or self.target}"

    @property
    def address(self) -> str:
        """Where it is, as :func:`parse_target` reads it."""
        if self.target.path is not None:
            return _UNIX + self.target.path
        return f"{_TLS if self.target.tls_context is not None else ''}{self.target}"

    def __str__(self) -> str:
        return f"{self.name}={self.address}" if self.name else self.address


def parse_target(text: str, *, ssl: tls.SSLContext | None = None) -> NamedTarget:
    """Read ``HOST:PORT``, ``tls://HOST:PORT`` or ``unix:PATH``, and ``NAME=`` before any of them.

    Args:
        text: What to read; an IPv6 address stands in brackets.
        ssl: How to speak TLS; unless given, with the certificates that the system trusts.

    Raises:
        ConfigurationError: It is none of them.
    """
    name, address = _split_name(text.strip())
    if address.startswith(_UNIX):
        if not hasattr(socket, "AF_UNIX"):
            raise ConfigurationError(f"{text!r}: this system has no Unix sockets")
        return NamedTarget(name, find_target(None, None, address.removeprefix(_UNIX), None, None))
    match = _ADDRESS.fullmatch(address.removeprefix(_TLS))
    if match is None:
        raise ConfigurationError(
            f"{text!r} is no target; write HOST:PORT, tls://HOST:PORT or unix:/PATH, with an IPv6 address in brackets; "
            "NAME= may stand before it"
        )
    context = (ssl or tls.create_default_context()) if address.startswith(_TLS) else None
    return NamedTarget(name, find_target(match[1] or match[2], int(match[3]), None, context, None))


def _split_name(text: str) -> tuple[str | None, str]:
    """Take the name off; the path of a Unix socket may have an equals sign in it."""
    name, equals, address = text.partition("=")
    if not equals or text.startswith(_UNIX):
        return None, text
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of the target {text!r} must be letters, digits and the signs . _ ~ -, as it stands in a path"
        )
    return name, address


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
        self.default: NamedTarget | None = self._targets[0] if len(self._targets) == 1 else None
        if default is not None:
            self.default = self._find_default(default)
        for target in targets:
            if target.name is not None:
                _add(self._by_name, target.name, target)
            elif target.path is not None:
                _add(self._by_address, _key(target), target)
            elif target is not self.default:
                raise ConfigurationError(f"no path leads to {target}; give it a name: NAME={target}")
        for target in targets:
            if target.target.path is None:
                self._by_address.setdefault(_key(target), target)  # a name does not hide the address

    def _find_default(self, default: str) -> NamedTarget:
        for target in self._targets:
            if target.name == default or default.lower() in (_key(target), target.address.lower()):
                return target
        known = ", ".join(map(str, self._targets))
        raise ConfigurationError(f"the default {default!r} is none of the targets: {known}")

    def __iter__(self) -> Iterator[NamedTarget]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def find(self, path: str) -> NamedTarget | None:
        """Find the target of a request's path, as it was sent; ``None`` if there is none."""
        if path == "/":
            return self.default
        place = unquote(path[1:])
        return self._by_name.get(place) or self._by_address.get(place.lower())


def _add(known: dict[str, NamedTarget], key: str, target: NamedTarget) -> None:
    other = known.setdefault(key, target)
    if other.target != target.target:
        raise ConfigurationError(f"two targets have the path {target.path}: {other} and {target}")


def _key(target: NamedTarget) -> str:
    return str(target.target).lower()  # names of hosts have no case
