"""One connection to one NATS server through nats-py: addresses, TLS, and what nats-py needs to be told or kept from."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import NoRespondersError

from ...errors import BrokerUnavailableError, ConfigurationError
from ...limits import ClusterLimits
from .credentials import Credentials

logger = logging.getLogger("xmlsocket.cluster")

__all__ = [
    "Address",
    "Msg",
    "NatsClient",
    "NoRespondersError",
    "NobodyError",
    "Refused",
    "Sink",
    "Subscription",
    "abort",
    "connect",
    "parse",
]

DEFAULT_PORT = 4222
_BUFFER_SIZE = 2_097_152  # one such goes to the socket before the next is filled, and a busy loop looks seldom
_CLOSE_TIMEOUT = 0.5
_MOST_COMPLAINTS = 20  # of one connection that are logged, each once


class Refused(Exception):  # noqa: N818  # it is an answer, caught in this package
    """A server does not take us, and will not unless somebody changes something."""


class NobodyError(BrokerUnavailableError):
    """The server says that nobody listens where something was asked."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a NATS server is, and what to tell it. Its text has no secrets."""

    host: str
    port: int = DEFAULT_PORT
    is_tls: bool = False
    user: str | None = None
    password: str | None = None
    token: str | None = None

    @property
    def url(self) -> str:
        """The address as nats-py takes it, without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.is_tls else 'nats'}://{host}:{self.port}"

    @property
    def secrets(self) -> dict[str, Any]:
        """What to tell the server, as nats-py takes it."""
        return {"user": self.user, "password": self.password, "token": self.token}

    def __str__(self) -> str:
        return self.url

    def others(self, nc: Client) -> Iterator[Address]:
        """The addresses of the other servers of its cluster, which take the same secrets."""
        for found in nc.discovered_servers:
            if found.hostname:
                yield replace(self, host=found.hostname, port=found.port or DEFAULT_PORT)


def parse(servers: str | Sequence[str]) -> list[Address]:
    """Read one address, several, or several in one text with commas between them.

    Raises:
        ConfigurationError: One of them is no address of a NATS server, or there is none.
    """
    texts = servers.split(",") if isinstance(servers, str) else list(servers)
    found = [_parse_one(text.strip()) for text in texts if text.strip()]
    if not found:
        raise ConfigurationError("no address of a NATS server is given; one looks like nats://host:4222")
    return found


def _parse_one(text: str) -> Address:
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{_without_secrets(text)} is no address: {error}") from error
    if parts.scheme not in ("nats", "tls") or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{_without_secrets(text)} is no address of a NATS server; one looks like nats://host:4222 or "
            "tls://user:password@host"
        )
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    if user and password is None:
        return Address(host, port or DEFAULT_PORT, parts.scheme == "tls", token=user)
    return Address(host, port or DEFAULT_PORT, parts.scheme == "tls", user=user or None, password=password)


def _without_secrets(text: str) -> str:
    scheme, separator, rest = text.rpartition("://")
    return repr(f"{scheme}{separator}{rest.rpartition('@')[2]}")


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Make the context for servers that want TLS.

    Raises:
        ConfigurationError: A file cannot be read or is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (ca, certificate, key) if path is not None)
        raise ConfigurationError(f"cannot use {files} for TLS to NATS: {error}") from error
    return context


class Sink(asyncio.Future[Msg]):
    """Takes every message of a subscription at once, in place of nats-py's queue and task for each subscription.

    nats-py sets the "result" of a subscription's future when a message comes. So there is no queue that could overflow:
    who is too slow is not read from, and in the end the server hangs up, which is noticed.
    """

    def __init__(self, callback: Callable[[Msg], None]) -> None:
        super().__init__()
        self._deliver = callback

    def set_result(self, result: Msg, /) -> None:
        """Take a message. The callback must not raise, or nats-py stops to read."""
        self._deliver(result)


class NatsClient(Client):
    """nats-py's client, which would send secrets in the clear if a server does not ask for TLS."""

    must_be_tls = False

    def __init__(self) -> None:
        super().__init__()
        self.complaints: dict[str, None] = {}
        """What the server did not allow on this connection, in its words; the first of them."""

    @property
    def wants_certificate(self) -> bool:
        """Whether the server has asked for a certificate of ours."""
        return bool(self._server_info.get("tls_verify"))

    def complain(self, text: str) -> None:
        """Note what the server did not allow: a subject for which its user has no permission."""
        if text not in self.complaints and len(self.complaints) < _MOST_COMPLAINTS:
            self.complaints[text] = None
            logger.error("NATS does not allow what this node needs: %s", text)

    def _connect_command(self) -> bytes:
        if self.must_be_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the address says tls://, but the server does not ask for TLS")
        return super()._connect_command()


async def connect(
    address: Address,
    *,
    limits: ClusterLimits,
    tls: ssl.SSLContext,
    credentials: Credentials | None,
    name: str,
    lose: Callable[[Exception], None],
) -> NatsClient:
    """Connect to one server.

    Args:
        address: Which.
        limits: See :class:`ClusterLimits`.
        tls: Used if the server wants TLS.
        credentials: A credentials file.
        name: Shown in the server's monitoring.
        lose: Called when the connection is lost, perhaps several times, perhaps not: ask ``is_connected`` too.

    Raises:
        Refused: See there.
        OSError: It does not answer, not in time, or not as a NATS server.
    """
    try:
        secrets = address.secrets | ({} if credentials is None else credentials.for_client())
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    nc = NatsClient()
    nc.must_be_tls = address.is_tls
    last: Exception | None = None

    async def note(error: Exception) -> None:
        nonlocal last
        last = error
        if "permissions violation" in str(error).lower():
            nc.complain(_text_of(error))
        elif not nc.is_connected:
            lose(error)

    async def ended() -> None:
        lose(last or ConnectionError("the server closed it"))

    try:
        async with asyncio.timeout(limits.connect_timeout):
            await nc.connect(
                servers=[address.url],
                error_cb=note,
                disconnected_cb=ended,
                closed_cb=ended,
                name=f"xmlsocket {name}",
                tls=tls,
                **secrets,
                **_settings(limits),
            )
    except asyncio.CancelledError:
        await abort(nc)
        raise
    except Exception as error:  # of all kinds that nats-py, TLS and the signing of a nonce may raise
        await abort(nc)
        found = last if last and isinstance(error, nats.errors.NoServersError) else error
        raise _as_answer(found, is_certified=nc.wants_certificate) from error
    if nc.is_connected:
        return nc
    await abort(nc)
    raise OSError("the server did not finish the handshake")


def _settings(limits: ClusterLimits) -> dict[str, Any]:
    return {
        # Whatever ends this connection, the session makes the next one. With one "reconnect" allowed, a first connect
        # ends after two attempts; with none it would never.
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0,
        "connect_timeout": limits.connect_timeout,
        "ping_interval": limits.ping_interval,
        "max_outstanding_pings": 2,
        "no_echo": True,
        "pending_size": _BUFFER_SIZE,
    }


def _text_of(error: BaseException) -> str:
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


def _as_answer(error: BaseException, *, is_certified: bool) -> Exception:
    text = _text_of(error)
    if is_certified and (isinstance(error, ConnectionError) or "ALERT" in text):
        # In TLS 1.3 a server looks at our certificate when the handshake is over for us, and its reason may get lost.
        return Refused(f"TLS: the server asks for a certificate, and hung up on ours or the lack of one ({text})")
    if isinstance(error, ssl.SSLError):
        return Refused(f"TLS: {text}")
    if isinstance(error, TimeoutError) or "Authentication Timeout" in text:  # the server, or this node, is busy
        return OSError("it does not answer in time")
    if isinstance(error, nats.errors.Error) and any(word in text.lower() for word in ("authori", "authenti")):
        return Refused(f"{text}; look at the user and password in the address, and at the credentials file")
    if isinstance(error, nats.errors.Error) and "tls" in text.lower():
        return Refused(text)
    return error if isinstance(error, OSError) else OSError(text)


async def abort(nc: Client) -> None:
    """Close a connection, whatever state it is in, within a moment.

    nats-py's own closing waits for a server that takes nothing more, for ever; then its parts are ended one by one.
    """
    with contextlib.suppress(Exception):  # whatever is wrong with it, it is the end of it
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await nc.close()
    for name in ("_reading_task", "_ping_interval_task", "_flusher_task"):
        task = getattr(nc, name, None)
        if task is not None and not task.done():
            task.cancel()
    for name in ("_io_writer", "_bare_io_writer"):
        writer = getattr(getattr(nc, "_transport", None), name, None)
        if writer is not None:
            writer.transport.abort()
