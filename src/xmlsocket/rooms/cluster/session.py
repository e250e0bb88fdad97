"""A connection to NATS that heals itself: one node's way to all others.

``nats-py`` speaks the protocol. Each connection gets a client object of its own, and finding the next server is done
here: so nothing of a lost connection lives on, no error makes the client give up for good, and what waits for an answer
learns at once that none will come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...errors import BrokerError, BrokerUnavailableError
from ...limits import ClusterLimits
from .connecting import Msg, NatsClient, NobodyError, NoRespondersError, Refused, abort, connect, parse, tls_context
from .credentials import Credentials
from .outgoing import Heard, Outgoing, OutgoingQueue
from .subjects import Subjects

logger = logging.getLogger("xmlsocket.cluster")

Unsubscribe = Callable[[], None]

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_POLL: Final = 0.25  # seconds between looks at whether nats-py still holds itself for connected


class Session:
    """One connection to NATS, and what heals it. All calls come from one event loop.

    Attributes:
        node: Random, new at every start: 12 of ``0-9a-z``.
        subjects: The subjects of this service.
        limits: What bounds it.
        prefix: See :class:`Subjects`.
        is_connected: Whether the server has answered and all subscriptions are in place.
        connected_since: When that began, on the loop's clock; ``None`` while away.
        reconnects: How many times the connection was made again.
        dropped: How many messages were not taken since the queue was full or the server away.

    Args:
        servers: Addresses such as ``nats://host:4222`` or ``tls://user:password@host``; several are tried in turn.
        prefix: See :class:`Subjects`.
        credentials: A credentials file of NATS, with a JWT and a seed.
        tls_ca: Certificates to trust instead of the system's.
        tls_certificate: Our own certificate, for servers that ask for one.
        tls_key: Its key.
        limits: See :class:`ClusterLimits`.

    Raises:
        ConfigurationError: An address cannot be one, or a file cannot be read.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        prefix: str = "xmlsocket",
        credentials: Path | None = None,
        tls_ca: Path | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
        limits: ClusterLimits | None = None,
    ) -> None:
        self.node = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        self.subjects = Subjects(prefix)
        self.prefix = prefix
        self.limits = limits or ClusterLimits()
        self.is_connected = False
        self.connected_since: float | None = None
        self.reconnects = 0
        self.dropped = 0
        self._addresses = parse(servers)
        self._credentials = None if credentials is None else Credentials(credentials)
        self._tls = tls_context(tls_ca, tls_certificate, tls_key)
        self._nc: NatsClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None  # the outcome that start() waits for
        self._last_error = ""
        self._has_logged = False
        self._subscriptions: dict[int, Heard] = {}
        self._next_id = 0
        self._listeners: list[Callable[[bool], None]] = []
        self._queue = OutgoingQueue()
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._parts: dict[str, list[Msg]] = {}  # of answers that come in several messages
        self.listen(f"{self._inbox}.*", self._answered)

    @property
    def server_version(self) -> tuple[int, int, int] | None:
        """The version of the server that we are connected to, or were last."""
        if self._nc is None:
            return None
        version = self._nc.connected_server_version
        return (version.major, version.minor, version.patch)

    @property
    def max_payload(self) -> int:
        """The longest payload that the server takes, in bytes. 1 MiB unless it is configured otherwise."""
        return 1_048_576 if self._nc is None else self._nc.max_payload

    @property
    def outgoing_size(self) -> int:
        """What waits for NATS to take it, in bytes."""
        return self._queue.size

    @property
    def why_away(self) -> str:
        """What the last attempt to connect met, for people; empty while connected."""
        return "" if self.is_connected else self._last_error

    @property
    def complaint(self) -> str | None:
        """What the server does not allow this node, though it needs it; ``None`` if nothing is known."""
        return next(iter(self._nc.complaints), None) if self._nc is not None else None

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Have a listener called with ``True`` when connected (again), subscriptions included, and ``False`` when lost.

        It must not raise. Listeners are called in the order in which they came.
        """
        self._listeners.append(listener)

    async def start(self) -> None:
        """Connect. Once begun, it goes on trying until :meth:`close`, also when this fails with the first error.

        Raises:
            BrokerUnavailableError: None of the servers has answered within ``connect_timeout``; attempts go on.
            BrokerError: A server refused for a reason that trying again does not mend: password, certificate.
        """
        if self.is_connected:
            return
        first = self._first = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._stay_connected(), name="NATS session")
        try:
            async with asyncio.timeout(self.limits.connect_timeout):
                await first
        except TimeoutError:
            where = ", ".join(map(str, self._addresses))
            why = self._last_error or "no answer"
            raise BrokerUnavailableError(f"no NATS server can be reached at {where}: {why}") from None

    async def close(self) -> None:
        """Send what is queued, if that is quick, and disconnect. Harmless if closed."""
        if self._task is None:
            return
        if self.is_connected:
            with contextlib.suppress(BrokerUnavailableError):
                await self.flush()
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None

    def publish(self, subject: str, payload: bytes, *, is_urgent: bool = False) -> bool:
        """Publish without waiting.

        Args:
            subject: Where.
            payload: At most ``max_payload`` bytes.
            is_urgent: Goes before what is queued, and may exceed ``max_outgoing_size`` by a quarter: signs of life.

        Returns:
            False if the queue is full or the server away: the message was dropped, and counted.
        """
        limit = self.limits.max_outgoing_size
        if not self.is_connected or self._queue.size > (limit * 5 // 4 if is_urgent else limit):
            self.dropped += 1
            return False
        self._queue.put(Outgoing(subject, payload), is_urgent=is_urgent)
        return True

    def listen(self, subject: str, callback: Callable[[Msg], None]) -> Unsubscribe:
        """Subscribe without waiting, connected or not. Publishing afterwards comes after it at the server.

        The callback is synchronous: messages of all subscriptions reach their callbacks in the order in which the
        server sent them. What is published on this connection is not delivered to it.
        """
        self._next_id += 1
        key, subscription = self._next_id, Heard(subject, callback)
        self._subscriptions[key] = subscription
        if self._nc is not None and self.is_connected:
            self._queue.put(Outgoing(act=subscription.begin))

        def unsubscribe() -> None:
            subscription.stop()
            if self._subscriptions.pop(key, None) is not None and self.is_connected:
                self._queue.put(Outgoing(act=subscription.end))

        return unsubscribe

    async def subscribe(self, subject: str, callback: Callable[[Msg], None]) -> Unsubscribe:
        """Subscribe as :meth:`listen`, and wait until the server has it.

        While the server is away it returns at once, and the subscription begins with the connection.
        """
        unsubscribe = self.listen(subject, callback)
        if self.is_connected:
            with contextlib.suppress(BrokerUnavailableError):
                await self.flush()
        return unsubscribe

    async def flush(self, *, is_urgent: bool = False) -> None:
        """Wait until the server has everything that was published and subscribed before, or all of it that is urgent.

        Raises:
            BrokerUnavailableError: It is away, or takes longer than ``connect_timeout``.
        """
        # Nobody listens there, which the server itself answers, in its place behind everything before it. A ping would
        # not do: nats-py sends those past what is waiting.
        with contextlib.suppress(NobodyError):
            item = Outgoing(f"{self.prefix}.nobody.{self.node}")
            await self._request(secrets.token_hex(8), item, self.limits.connect_timeout, is_urgent=is_urgent)

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float,  # noqa: ASYNC109  # part of what is asked for: the error says it
    ) -> Msg:
        """Publish and wait for an answer.

        If the session ``is_connected`` when this is called and it fails, the request may have arrived or not.

        Raises:
            BrokerUnavailableError: The server is away, was lost, or nothing answered within ``timeout`` seconds. If the
                server says that nobody listens there (as of a JetStream that is disabled), its cause is nats-py's
                ``NoRespondersError``; then nobody has got the request.
        """
        item = Outgoing(subject, payload, headers=dict(headers) if headers else None)
        return await self._request(secrets.token_hex(8), item, timeout)

    async def request_many(self, subject: str, payload: bytes, *, timeout: float) -> list[Msg]:  # noqa: ASYNC109  # as above
        """Publish and wait for all messages of an answer that ends with one that has a status.

        Raises:
            BrokerUnavailableError: As :meth:`request`; also if the end of the answer does not come.
        """
        token = secrets.token_hex(8)
        parts = self._parts[token] = []
        try:
            await self._request(token, Outgoing(subject, payload), timeout)
        finally:
            del self._parts[token]
        return parts

    async def _request(self, token: str, item: Outgoing, timeout: float, *, is_urgent: bool = False) -> Msg:  # noqa: ASYNC109  # as above
        if not self.is_connected:
            raise BrokerUnavailableError(f"NATS is away: {self._last_error or 'not connected'}")
        if self._queue.size > self.limits.max_outgoing_size * 5 // 4:
            self.dropped += 1
            raise BrokerUnavailableError("too much waits for NATS to take it")
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        item.reply = f"{self._inbox}.{token}"
        self._queue.put(item, is_urgent=is_urgent)
        try:
            async with asyncio.timeout(timeout):
                message = await answer
        except TimeoutError:
            raise BrokerUnavailableError(f"NATS did not answer within {timeout:g} s") from None
        finally:
            self._answers.pop(token, None)
        if message.headers and message.headers.get("Status") == "503":
            raise NobodyError("nobody answers there") from NoRespondersError()
        return message

    def _answered(self, message: Msg) -> None:
        token = message.subject.rpartition(".")[2]
        if token in self._parts and "Status" not in (message.headers or ()):
            self._parts[token].append(message)
            return
        answer = self._answers.get(token)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _write(self, nc: NatsClient, lost: asyncio.Future[None]) -> None:
        try:
            await self._queue.write(nc)
        except Exception as error:  # of all kinds that nats-py may raise: they all end this connection
            self._lose(lost, error)

    def _lose(self, lost: asyncio.Future[None], error: Exception) -> None:
        self._last_error = str(error) or type(error).__name__
        if not lost.done():
            lost.set_result(None)

    async def _stay_connected(self) -> None:
        while True:
            try:
                nc, lost = await self._connect_to_any()
            except Refused as refusal:
                if self._first is not None and not self._first.done():
                    self._first.set_exception(BrokerError(f"NATS refuses us: {refusal}"))
                    return
                self._log_failure(f"it refuses us: {refusal}")
            except Exception as error:  # of all kinds that nats-py may raise: nothing may end this
                self._log_failure(str(error) or type(error).__name__)
            else:
                await self._use(nc, lost)
            await asyncio.sleep(self.limits.reconnect_wait * random.uniform(0.5, 1.5))

    async def _use(self, nc: NatsClient, lost: asyncio.Future[None]) -> None:
        try:
            await self._serve(nc, lost)
        except Exception as error:  # of all kinds that nats-py may raise: they all end this connection, and no more
            self._lose(lost, error)
            self._log_failure(self._last_error)
        finally:
            await abort(nc)

    def _log_failure(self, error: str) -> None:
        # Once for each outage: four attempts a second would fill the log.
        logger.log(logging.DEBUG if self._has_logged else logging.WARNING, "no connection to NATS: %s", error)
        self._has_logged = True

    async def _connect_to_any(self) -> tuple[NatsClient, asyncio.Future[None]]:
        addresses = list(self._addresses)
        if self._nc is not None:
            known = {address.url for address in addresses}
            addresses += [one for one in addresses[0].others(self._nc) if one.url not in known]
        random.shuffle(addresses)
        refusal: Refused | None = None
        for address in addresses:
            lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def lose(error: Exception, lost: asyncio.Future[None] = lost) -> None:
                self._lose(lost, error)

            try:
                nc = await connect(
                    address, limits=self.limits, tls=self._tls, credentials=self._credentials, name=self.node, lose=lose
                )
            except (Refused, OSError) as error:
                self._last_error = f"{address}: {error}"
                if isinstance(error, Refused):
                    refusal = Refused(self._last_error)
            else:
                return nc, lost
        if refusal is not None:
            raise refusal
        raise OSError(self._last_error)

    async def _serve(self, nc: NatsClient, lost: asyncio.Future[None]) -> None:
        was_first = self._nc is None
        self._nc = nc
        await self._subscribe_again(nc)
        writer = asyncio.create_task(self._write(nc, lost), name="NATS writer")
        self.is_connected = True
        self.connected_since = asyncio.get_running_loop().time()
        self.reconnects += not was_first
        self._has_logged = False
        logger.info("connected to NATS%s", "" if was_first else " again")
        try:
            self._tell(True)
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
            while not lost.done() and nc.is_connected:
                await asyncio.wait({lost}, timeout=_POLL)
        finally:
            writer.cancel()
            self.is_connected = False
            self.connected_since = None
            self.dropped += self._queue.clear()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(BrokerUnavailableError("the connection to NATS was lost"))
            self._tell(False)
        logger.warning("lost the connection to NATS: %s", self._last_error or "it ended")

    async def _subscribe_again(self, nc: NatsClient) -> None:
        begun: dict[int, Heard] = {}
        # Others come and go meanwhile.
        while new := {key: heard for key, heard in self._subscriptions.items() if key not in begun}:
            for heard in new.values():
                await heard.begin(nc)
            begun |= new
        for key, heard in begun.items():
            if key not in self._subscriptions:
                self._queue.put(Outgoing(act=heard.end))

    def _tell(self, is_connected: bool) -> None:
        for listener in list(self._listeners):
            try:
                listener(is_connected)
            except Exception:
                logger.exception("a listener of the NATS session failed")
