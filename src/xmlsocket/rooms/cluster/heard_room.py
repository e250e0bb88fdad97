"""A room as one node hears it from the others: nothing told twice, every hole noticed. Pure, but for whom it tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ..broker import Receiver
from .envelope import ARRIVAL, BYTES, DEPARTURE, FIRST, LAST, MESSAGE, TEXT, Head, Standing, decode, entries_of

logger = logging.getLogger("xmlsocket.cluster")


class Peer:
    """What is known of another node in one room.

    Attributes:
        epoch: In which epoch of it we are; -1 if it does not speak there.
        seq: How many messages, arrivals and departures of that epoch we have had, or know to be lost.
        texts: How many messages among them.
        names: Who is in the room there, in the order of arrival.
        is_known: Whether ``names`` is right.
        asked: When the node was last asked, on some clock.
    """

    __slots__ = ("asked", "epoch", "is_known", "names", "parts", "pieces", "seq", "texts")

    def __init__(self, epoch: int = -1, seq: int = 0, texts: int = 0) -> None:
        self.epoch = epoch
        self.seq = seq
        self.texts = texts
        self.names: dict[str, None] = {}
        self.is_known = seq == 0
        self.asked = float("-inf")
        self.pieces: list[bytes] = []
        self.parts: list[str] = []


class HeardRoom:
    """A room that this node listens to.

    Attributes:
        name: Its name.
        peers: The other nodes that speak in it, or did.
        present: Who is in it, and on how many nodes, this one included.

    Args:
        name: Its name.
        receiver: Who is told.
        own: The names that are in it on this node.
    """

    __slots__ = ("_receiver", "name", "peers", "present")

    def __init__(self, name: str, receiver: Receiver, own: Iterable[str] = ()) -> None:
        self.name = name
        self.peers: dict[str, Peer] = {}
        self.present: dict[str, int] = dict.fromkeys(own, 1)
        self._receiver = receiver

    def add(self, name: str, *, is_told: bool = True) -> None:
        """A name is in the room on one more node."""
        count = self.present.get(name, 0)
        self.present[name] = count + 1
        if not count and is_told:
            self._tell(self._receiver.receive_arrival, name)

    def remove(self, name: str) -> None:
        """A name is in the room on one node less."""
        count = self.present.get(name, 0)
        if count > 1:
            self.present[name] = count - 1
        elif count:
            del self.present[name]
            self._tell(self._receiver.receive_departure, name)

    def _tell(self, receive: Callable[[str, str], None], name: str) -> None:
        try:
            receive(self.name, name)
        except Exception:
            # Whoever is told must not stop what follows: the other names of a dead node, and the other rooms.
            logger.exception("who came or left in room %r could not be handed on", self.name)

    def names(self, own: Iterable[str]) -> list[str]:
        """Who is in the room: those on this node, then those of the others, each once."""
        found = dict.fromkeys(own)
        for peer in self.peers.values():
            found.update(peer.names)
        return list(found)

    def hear(self, head: Head, body: bytes, *, is_baseline: bool, is_alive: bool) -> int:
        """Take an envelope of another node.

        Args:
            head: Its head.
            body: Its body; empty for an announcement.
            is_baseline: Whether that node, if it is not among the peers, may have spoken before we listened.
            is_alive: Whether that node is alive; the names of one that is not are not believed.

        Returns:
            How many messages were found to be lost. If ``peers[node].is_known`` is false afterwards, ask the node.
        """
        peer = self.peers.get(head.node)
        if peer is not None and head.epoch < peer.epoch:
            return 0
        missed = 0
        if peer is None or head.epoch != peer.epoch:
            missed = 0 if peer is None and is_baseline else head.texts
            peer = self._renew(peer, head)
        skipped = peer.seq - head.seq
        if skipped < 0:
            missed = max(0, head.texts - peer.texts)
            peer.seq, peer.texts, peer.is_known = head.seq, head.texts, False
            peer.pieces.clear()
            skipped = 0
        if missed:
            self._receiver.receive_gap(self.name, missed)
        if not is_alive:
            peer.is_known = False
        if body or head.kind != TEXT:
            missed += self._take(peer, head, body, skipped, is_alive)
        return missed

    def _renew(self, peer: Peer | None, head: Head) -> Peer:
        new = Peer(head.epoch, head.seq, head.texts)
        if peer is not None and not new.is_known:
            new.names = peer.names  # until the node has said who is there now
        elif peer is not None:
            for name in peer.names:
                self.remove(name)
        self.peers[head.node] = new
        return new

    def _take(self, peer: Peer, head: Head, body: bytes, skipped: int, is_alive: bool) -> int:
        if head.kind == TEXT:
            entries = entries_of(body)
            for entry in entries[skipped:]:
                self._enter(peer, entry, is_alive)
            peer.seq += max(0, len(entries) - skipped)  # all of it may be older than what the node has said of itself
        elif not skipped:
            peer.seq += 1
            if head.kind == BYTES:
                self._deliver(peer, body)
            else:
                return self._take_piece(peer, head.kind, body, is_alive)
        return 0

    def _take_piece(self, peer: Peer, kind: str, body: bytes, is_alive: bool) -> int:
        if kind[1] == FIRST:
            peer.pieces = [body]
        elif peer.pieces:
            peer.pieces.append(body)
        if kind[1] != LAST:
            return 0
        whole, peer.pieces = b"".join(peer.pieces), []
        if not whole:  # its beginning was lost
            peer.texts += 1
            self._receiver.receive_gap(self.name, 1)
            return 1
        if kind[0] == BYTES:
            self._deliver(peer, whole)
        else:
            self._enter(peer, decode(whole), is_alive)
        return 0

    def _enter(self, peer: Peer, entry: str, is_alive: bool) -> None:
        letter = entry[0]
        if letter == MESSAGE:
            self._deliver(peer, entry[1:])
        elif not is_alive:
            pass
        elif letter == ARRIVAL:
            name = entry[1:]
            if name not in peer.names:
                peer.names[name] = None
                self.add(name)
        elif letter == DEPARTURE:
            name = entry[1:]
            if name in peer.names:
                del peer.names[name]
                self.remove(name)

    def _deliver(self, peer: Peer, message: str | bytes) -> None:
        peer.texts += 1
        try:
            self._receiver.receive(self.name, message)
        except Exception:
            logger.exception("a message of room %r could not be handed on", self.name)

    def learn(self, node: str, standing: Standing, *, is_told: bool, is_baseline: bool = True) -> int:
        """Take what a node says of itself when it was asked: where it stands, and all its names.

        Args:
            node: Which.
            standing: What it says; parts come in order.
            is_told: Whether names that are new are told as arrivals.
            is_baseline: See :meth:`hear`.

        Returns:
            How many messages were found to be lost.
        """
        head = Head(TEXT, node, standing.epoch, standing.seq, standing.texts)
        missed = self.hear(head, b"", is_baseline=is_baseline, is_alive=True)
        peer = self.peers[node]
        if standing.epoch != peer.epoch or standing.seq != peer.seq:
            return missed  # older than what it has said since; it is asked again if need be
        if standing.start == 0:
            peer.parts = []
        elif standing.start != len(peer.parts):
            return missed  # a part was lost on the way
        peer.parts += standing.names
        if standing.is_whole:
            names, peer.parts = dict.fromkeys(peer.parts), []
            gone = [name for name in peer.names if name not in names]
            new = [name for name in names if name not in peer.names]
            peer.names, peer.is_known = names, True
            for name in gone:
                self.remove(name)
            for name in new:
                self.add(name, is_told=is_told)
        return missed

    def forget(self, node: str) -> None:
        """A node that has been cleared will not come back."""
        peer = self.peers.get(node)
        if peer is not None and not peer.names:
            del self.peers[node]

    def clear(self, node: str, *, is_known: bool) -> None:
        """A node is dead, or has said that nobody is here any more: its names leave."""
        peer = self.peers.get(node)
        if peer is not None:
            names, peer.names = peer.names, {}
            peer.is_known = is_known
            peer.parts.clear()
            for name in names:
                self.remove(name)
