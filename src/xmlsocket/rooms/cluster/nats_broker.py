"""The broker that joins nodes through NATS: live rooms, kept rooms, names, and who is where."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from ...errors import BrokerUnavailableError
from ...limits import ClusterLimits, HistoryLimits
from ..broker import BrokerState, KeptMessage, Receiver
from .live import Live
from .names import Names
from .nodes import Nodes
from .session import Session
from .stream import KeptStream

logger = logging.getLogger("xmlsocket.cluster")


class NatsBroker:
    """Rooms on many nodes, see :class:`Broker`. Every node of a service has one, with the same servers and prefix.

    Live messages pass by core NATS, kept ones are stored by JetStream. While the servers are away a node serves its own
    members and says so in its ``state``; it finds them again by itself.

    Args:
        servers: Addresses such as ``nats://host:4222`` or ``tls://user:password@host``, in a list or with commas
            between them; those of one cluster of NATS servers, which are tried in turn.
        prefix: Services with different prefixes share a NATS without noticing each other. 1 to 32 letters, digits,
            ``-`` and ``_``.
        credentials: A credentials file of NATS.
        tls_ca: Certificates to trust instead of the system's.
        tls_certificate: Our own certificate, for servers that ask for one.
        tls_key: Its key.
        replicas: On how many NATS servers what is kept is stored: 1, 3 or 5.
        keeps: False for live rooms alone, which need no JetStream: nothing is kept, and no names can be claimed.
        limits: What bounds the node.
        history_limits: What bounds what is kept.

    Raises:
        ConfigurationError: An address or the prefix cannot be one, or a file cannot be read.
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
        replicas: int = 1,
        keeps: bool = True,
        limits: ClusterLimits | None = None,
        history_limits: HistoryLimits | None = None,
    ) -> None:
        self._session = Session(
            servers,
            prefix=prefix,
            credentials=credentials,
            tls_ca=tls_ca,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            limits=limits,
        )
        self._nodes = Nodes(self._session)
        self._live = Live(self._session, self._nodes)
        self._stream = KeptStream(self._session, history_limits, replicas=replicas) if keeps else None
        self._names = Names(self._session, self._nodes, replicas=replicas) if keeps else None
        self._receiver: Receiver
        self._was_connected: bool | None = None  # what the receiver knows
        self._session.on_change(self._changed)

    @property
    def node(self) -> str:
        """What the other nodes know this one by; another one in every process."""
        return self._session.node

    def attach(self, receiver: Receiver) -> None:
        """See :class:`Broker`."""
        self._receiver = receiver
        self._live.attach(receiver)
        for part in (self._stream, self._names):
            if part is not None:
                part.attach(receiver)

    async def start(self) -> None:
        """See :class:`Broker`. If no server answers, it is served without, and they are looked for until they do.

        Raises:
            BrokerError: What trying again would not mend: the servers refuse us, or cannot keep anything.
        """
        self._nodes.start()
        self._live.start()
        try:
            try:
                await self._session.start()
            except BrokerUnavailableError as error:
                logger.warning("%s; serving without the other nodes until one answers", error)
                self._changed(False)
            for part in (self._stream, self._names):
                if part is not None:
                    await part.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See :class:`Broker`."""
        for part in (self._names, self._live, self._stream, self._nodes, self._session):
            if part is not None:
                await part.close()

    def _changed(self, is_connected: bool) -> None:
        before, self._was_connected = self._was_connected, is_connected
        if before is None and is_connected:
            return  # nobody had been told that it was away
        if before != is_connected:
            self._receiver.receive_state(is_connected)

    @property
    def state(self) -> BrokerState:
        """See :class:`Broker`."""
        session, nodes = self._session, self._nodes
        problem = None if self._stream is None else self._stream.problem
        if not session.is_connected:
            sentence = f"NATS is away ({session.why_away or 'not connected'}): members on this node hear each other"
        elif problem:
            sentence = f"connected to NATS, but nothing can be kept: {problem}"
        elif session.complaint:
            sentence = f"connected to NATS, which does not allow what is needed: {session.complaint}"
        else:
            sentence = f"connected to NATS, with {len(nodes.alive)} other nodes"
        counters: dict[str, float] = {
            "nodes": 1 + len(nodes.alive),
            "reconnects_total": session.reconnects,
            "outgoing_dropped_total": session.dropped,
            "outgoing_bytes": session.outgoing_size,
            "hops_total": nodes.hops,
            "hop_seconds_sum": nodes.hop_seconds,
            **self._live.counters,
        }
        for part in (self._stream, self._names):
            if part is not None:
                counters.update(part.counters)
        return BrokerState(session.is_connected and not (problem or session.complaint), sentence, counters)

    def subscribe(self, room: str) -> None:
        """See :class:`Broker`."""
        self._live.subscribe(room)
        if self._stream is not None:
            self._stream.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        """See :class:`Broker`."""
        self._live.unsubscribe(room)
        if self._stream is not None:
            self._stream.unsubscribe(room)

    def publish(self, room: str, message: str | bytes) -> None:
        """See :class:`Broker`."""
        self._live.publish(room, message)

    def arrive(self, room: str, name: str) -> None:
        """See :class:`Broker`."""
        self._live.arrive(room, name)

    def depart(self, room: str, name: str) -> None:
        """See :class:`Broker`."""
        self._live.depart(room, name)

    def present(self, room: str) -> Awaitable[list[str]]:
        """See :class:`Broker`."""
        return self._live.present(room)

    def rooms(self) -> Awaitable[dict[str, int]]:
        """See :class:`Broker`."""
        return self._live.rooms()

    def keep(self, room: str, sender: str, text: str, origin: object = None) -> Awaitable[KeptMessage]:
        """See :class:`Broker`."""
        return _failed() if self._stream is None else self._stream.keep(room, sender, text, origin)

    def history(self, room: str, after: int | None, limit: int) -> Awaitable[list[KeptMessage]]:
        """See :class:`Broker`."""
        return _failed() if self._stream is None else self._stream.history(room, after, limit)

    def claim(self, name: str) -> Awaitable[bool]:
        """See :class:`Broker`."""
        return _failed() if self._names is None else self._names.claim(name)

    def release(self, name: str) -> None:
        """See :class:`Broker`."""
        if self._names is not None:
            self._names.release(name)

    def tell(self, name: str, message: str) -> Awaitable[str | None]:
        """See :class:`Broker`."""
        return _failed() if self._names is None else self._names.tell(name, message)


def _failed() -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_exception(BrokerUnavailableError("this broker has live rooms alone (keeps=False)"))
    future.exception()  # whoever drops it knows
    return future
