"""Where to connect, as it is typed: ``localhost:8080``, ``[::1]:8080``, ``/run/chat.sock``."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from ..errors import ConfigurationError

DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = 8080


class Address(NamedTuple):
    """A TCP address, or the path of a Unix socket."""

    host: str | None
    port: int | None
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if self.host and ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read an address; the host may be left out (``:9000``), and so may the port (``example.com``).

    Args:
        text: As it was typed.
        default_port: The port where it names none.

    Raises:
        ConfigurationError: It is none.
    """
    if "/" in text or os.sep in text:
        if "://" in text:
            raise ConfigurationError(f"say HOST:PORT, not the URL {text!r}")
        return Address(None, None, text)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise ConfigurationError(f"{text!r} is no address; an IPv6 one is written as [::1]:{default_port}")
        colon, port = rest[:1], rest[1:]
    elif text.count(":") > 1:
        raise ConfigurationError(f"put an IPv6 address into brackets: [{text}]:{default_port}, not {text!r}")
    else:
        host, colon, port = text.partition(":")
    return Address(host or DEFAULT_HOST, parse_port(port) if colon else default_port)


def parse_port(text: str) -> int:
    """Read the number of a port to connect to.

    Raises:
        ConfigurationError: It is none.
    """
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535):
        raise ConfigurationError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)
