"""Who is asking: the content in which sockets are made, and what its sandbox lets it do."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin

from ..errors import ConfigurationError
from ..net.policy_client import PolicyClient
from ..policy import AllowNetworking, Location, Requester, Sandbox, parse_player
from .errors import numbered


class Content:
    """A movie or application, as the player sees it: the sockets that are made in it may do what it may do.

    Unless you say otherwise a program is the content of an AIR application, which may connect anywhere. To see what a
    movie from the web would be allowed::

        with Content("http://games.example.com/chat.swf"):
            socket = XMLSocket("chat.example.com", 9339)

    A content is one session of the player: each policy file is asked for once.

    Args:
        url: Where it was loaded from: ``http(s)://...``, ``file:...`` or a path, ``app:/...`` for AIR. Its host is the
            one that ``connect(None, port)`` means; for all but web content that is ``localhost``.
        sandboxType: One of the constants of :data:`Security`. By default ``application`` for ``app:``,
            ``localWithFile`` for files, else ``remote``.
        allowNetworking: The HTML parameter of the page: ``all``, ``internal`` or ``none``.
        player: Version of the player, such as ``"9.0.115"`` for the rules that Adobe's class reference describes; 10
            stands for all since 9.0.124.
        policyClient: What asks for policy files; one of its own by default.

    Raises:
        ConfigurationError: An argument has no meaning.
    """

    __slots__ = ("_entered", "exactSettings", "policyClient", "policyLocations", "requester", "url")

    def __init__(
        self,
        url: str = "app:/main.swf",
        *,
        sandboxType: str | None = None,
        allowNetworking: str = "all",
        player: str = "10",
        policyClient: PolicyClient | None = None,
    ) -> None:
        self.url = url
        self.requester = Requester.from_url(
            url,
            sandbox=None if sandboxType is None else _choose_sandbox(sandboxType),
            allow_networking=_choose_networking(allowNetworking),
            player=parse_player(player),
        )
        self.policyClient = policyClient or PolicyClient()
        self.policyLocations: list[Location] = []
        self.exactSettings = True
        self._entered: list[Token[Content]] = []

    @property
    def isTrusted(self) -> bool:
        """Whether it may connect anywhere without asking for a policy file."""
        return self.requester.sandbox in (Sandbox.APPLICATION, Sandbox.LOCAL_TRUSTED)

    @staticmethod
    def current() -> Content:
        """The content in which the running code is."""
        return _current.get()

    def __enter__(self) -> Self:
        self._entered.append(_current.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _current.reset(self._entered.pop())

    def __repr__(self) -> str:
        return f"<Content {self.url} ({self.requester.sandbox.value})>"


def _choose_sandbox(name: str) -> Sandbox:
    try:
        return Sandbox(name)
    except ValueError:
        names = ", ".join(sandbox.value for sandbox in Sandbox)
        raise ConfigurationError(f"sandboxType cannot be {name!r}; it is one of {names}") from None


def _choose_networking(name: str) -> AllowNetworking:
    try:
        return AllowNetworking(name)
    except ValueError:
        names = ", ".join(value.value for value in AllowNetworking)
        raise ConfigurationError(f"allowNetworking cannot be {name!r}; it is one of {names}") from None


_current: ContextVar[Content] = ContextVar("content", default=Content())  # noqa: B039  # the one content of a program


class SecuritySettings:
    """``flash.system.Security``, as :data:`Security`: what the running content may do. Sandboxes, not settings."""

    APPLICATION: Final = Sandbox.APPLICATION.value
    LOCAL_TRUSTED: Final = Sandbox.LOCAL_TRUSTED.value
    LOCAL_WITH_FILE: Final = Sandbox.LOCAL_WITH_FILE.value
    LOCAL_WITH_NETWORK: Final = Sandbox.LOCAL_WITH_NETWORK.value
    REMOTE: Final = Sandbox.REMOTE.value

    __slots__ = ()

    @property
    def sandboxType(self) -> str:
        """The sandbox of the running content: one of the constants."""
        return Content.current().requester.sandbox.value

    @property
    def exactSettings(self) -> bool:
        """Whether settings are looked up by exact domain. It never mattered for sockets; here it is only kept."""
        return Content.current().exactSettings

    @exactSettings.setter
    def exactSettings(self, value: bool) -> None:
        Content.current().exactSettings = bool(value)

    def loadPolicyFile(self, url: str) -> None:
        """Name a place where a policy file is, such as ``xmlsocket://chat.example.com:2525``.

        Nothing is asked until a connection to that host needs it. A relative URL begins where the content was loaded
        from.

        Raises:
            SecurityError: ``allowNetworking`` is ``none`` (number 2146).
            TypeError: There is no URL (2007).
            ArgumentError: It is no location of a policy file (2004).
        """
        content = Content.current()
        if content.requester.allow_networking is AllowNetworking.NONE:
            raise numbered(2146, content.url, "Security.loadPolicyFile()", "none")
        if url is None:
            raise numbered(2007, "url")
        try:
            content.policyLocations.append(Location.parse(urljoin(content.url, url)))
        except ValueError as error:
            raise numbered(2004) from error


Security: Final = SecuritySettings()
"""The security settings of the running content, as ActionScript's class of that name."""
