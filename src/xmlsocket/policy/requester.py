"""Who asks: the content that wants a socket, and what the player knows of it."""

from __future__ import annotations

import dataclasses
import enum
import re
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .matching import Host, format_host, parse_host
from .players import CURRENT_PLAYER


class Sandbox(enum.Enum):
    """Where the player puts content. The values are those of ``Security.sandboxType``."""

    REMOTE = "remote"
    LOCAL_WITH_FILE = "localWithFile"
    LOCAL_WITH_NETWORK = "localWithNetwork"
    LOCAL_TRUSTED = "localTrusted"
    APPLICATION = "application"


class AllowNetworking(enum.Enum):
    """The HTML parameter ``allowNetworking``."""

    ALL = "all"
    INTERNAL = "internal"
    NONE = "none"


_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclasses.dataclass(frozen=True, slots=True)
class Requester:
    """Content that wants to open a socket.

    Attributes:
        domain: Host part of the URL that the SWF was finally loaded from; ``None`` for a local file.
        scheme: Scheme of that URL; only ``https`` satisfies a grant with ``secure="true"``.
        sandbox: Where the player put it.
        allow_networking: The HTML parameter of the page.
        player: Version of the player. AIR counts as :data:`CURRENT_PLAYER`.
        host: The domain in the form in which hosts are compared, or ``None``.
    """

    domain: str | None
    scheme: str = "http"
    sandbox: Sandbox = Sandbox.REMOTE
    allow_networking: AllowNetworking = AllowNetworking.ALL
    player: tuple[int, ...] = CURRENT_PLAYER
    host: Host | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", parse_host(self.domain) if self.domain else None)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        sandbox: Sandbox | None = None,
        allow_networking: AllowNetworking = AllowNetworking.ALL,
        player: tuple[int, ...] = CURRENT_PLAYER,
    ) -> Requester:
        """Describe content by its URL: ``http(s)://…``, ``file:…``, ``app:/…``, or a path on a disk or share.

        Args:
            url: Where the SWF was finally loaded from.
            sandbox: Its sandbox. By default ``application`` for ``app:``, ``localWithFile`` for
                files, as for any file that is neither trusted nor published for network use, else ``remote``.
            allow_networking: The HTML parameter of the page.
            player: Version of the player.

        Raises:
            ConfigurationError: The URL has no host, or no scheme.
        """
        scheme, domain = _split_url(url)
        if sandbox is None:
            by_scheme = {"app": Sandbox.APPLICATION, "file": Sandbox.LOCAL_WITH_FILE}
            sandbox = by_scheme.get(scheme, Sandbox.REMOTE)
        return cls(domain, scheme, sandbox, allow_networking, player)

    @property
    def is_secure(self) -> bool:
        """Whether it came over HTTPS. A local file did not."""
        return self.host is not None and self.scheme.lower() == "https"

    def __str__(self) -> str:
        if self.host is None:
            return "AIR application content" if self.sandbox is Sandbox.APPLICATION else "a local file"
        return format_host(self.host)


def _split_url(url: str) -> tuple[str, str | None]:
    if _DRIVE.match(url) or url.startswith(("\\\\", "/")):
        return "file", None
    try:
        parts = urlsplit(url)
        domain = parts.hostname
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is no URL: {error}") from error
    scheme = parts.scheme.lower()
    if scheme in ("file", "app", "app-storage"):
        return scheme, None
    if not domain or "://" not in url:
        raise ConfigurationError(
            f"{url!r} does not say where the content comes from; write a URL such as http://www.example.com/movie.swf"
        )
    return scheme, domain
