"""What ``serve`` can be told beyond its limits, once: names, types and defaults."""

from __future__ import annotations

import dataclasses
import os
import socket
import ssl as tls
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..limits import Limits, ServerLimitOptions, from_options
from ..wire import ErrorRule
from ..wire.deflate import DeflateOptions
from .http import Pages, Request

if TYPE_CHECKING:
    from .policy_answer import PolicySource


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """The options of ``serve`` that are no limits, with their defaults; described there."""

    path: str | os.PathLike[str] | None = None
    sock: socket.socket | Sequence[socket.socket] | None = None
    ssl: tls.SSLContext | None = None
    require_tls: bool = False
    policy: PolicySource | None = None
    detect: bool = True
    speaks_first: bool = False
    raw: bool = False
    websocket: bool | Callable[[Request], bool] = True
    allowed_origins: Iterable[str] | None = None
    compression: bool | DeflateOptions = False
    pages: Pages = dataclasses.field(default_factory=dict)
    trusted_proxies: Iterable[str] = ()
    proxy_protocol: bool = False
    errors: ErrorRule = "strict"
    reuse_port: bool = False


class ServeOptions(ServerLimitOptions, total=False):
    """The fields of :class:`ServeSettings` and a server's ``Limits`` as keyword arguments. A test keeps them alike."""

    path: str | os.PathLike[str] | None
    sock: socket.socket | Sequence[socket.socket] | None
    ssl: tls.SSLContext | None
    require_tls: bool
    policy: PolicySource | None
    detect: bool
    speaks_first: bool
    raw: bool
    websocket: bool | Callable[[Request], bool]
    allowed_origins: Iterable[str] | None
    compression: bool | DeflateOptions
    pages: Pages
    trusted_proxies: Iterable[str]
    proxy_protocol: bool
    errors: ErrorRule
    reuse_port: bool


def split_options(options: Mapping[str, Any]) -> tuple[ServeSettings, Limits]:
    """Sort keyword arguments into settings and limits.

    Raises:
        ConfigurationError: A name is unknown (the nearest right one is named) or a client's, or a value cannot work.
    """
    names = {field.name for field in dataclasses.fields(ServeSettings)}
    settings = ServeSettings(**{name: value for name, value in options.items() if name in names})
    limits = {name: value for name, value in options.items() if name not in names}
    if isinstance(settings.allowed_origins, str) or isinstance(settings.trusted_proxies, str):
        raise ConfigurationError("allowed_origins and trusted_proxies take a list of texts, not one text")
    if settings.require_tls and settings.ssl is None:
        raise ConfigurationError("require_tls needs a certificate: pass ssl, a server's SSLContext")
    if settings.proxy_protocol and not settings.detect:
        raise ConfigurationError(
            "proxy_protocol needs detect=True: without it nothing before the first message is read"
        )
    if settings.proxy_protocol and not settings.trusted_proxies:
        raise ConfigurationError("proxy_protocol needs trusted_proxies: anybody else could invent an address")
    return settings, from_options(Limits, limits, also=names, side="server")
