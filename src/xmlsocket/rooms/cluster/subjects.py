"""The subjects that a cluster uses, and how names become parts of them."""

from __future__ import annotations

import base64
import hashlib
import re

from ...errors import ConfigurationError

# In NATS a dot separates tokens, * and > are wildcards, blanks end a subject; streams and buckets allow still less.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LONGEST_ENCODED = 96


def token_of(name: str) -> str:
    """Encode any text as one token of a subject, or as a key: letters, digits, ``-`` and ``_``, 130 at most.

    Equal tokens mean equal names: what fits is encoded reversibly, and longer names become their SHA-256. Case counts.
    """
    if _PLAIN.fullmatch(name):
        return f"n-{name}"
    # A lone surrogate is no text, but it may be in a str; it must not be able to raise here.
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) <= _LONGEST_ENCODED:
        return f"b-{_base64(raw)}"
    return f"h-{_base64(hashlib.sha256(raw).digest())}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


class Subjects:
    """The subjects of one service. Several services share a NATS by having different prefixes.

    Args:
        prefix: First token of every subject, and first part of the names of streams and buckets.

    Raises:
        ConfigurationError: The prefix is not 1 to 32 letters, digits, ``-`` and ``_``.
    """

    __slots__ = ("ask", "nodes", "prefix", "turns")

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(f"a prefix is 1 to 32 letters, digits, - and _, not {prefix!r}")
        self.prefix = prefix
        self.nodes = f"{prefix}.nodes"
        """Signs of life of all nodes."""
        self.ask = f"{prefix}.ask"
        """Questions to all nodes about who is where."""
        self.turns = f"{prefix}.turns"
        """Of nodes that come too late again and again in a kept room."""

    def live(self, room: str) -> str:
        """Live messages, arrivals and departures of a room."""
        return f"{self.prefix}.live.{token_of(room)}"

    def node(self, node: str) -> str:
        """Questions to one node, and answers to its own."""
        return f"{self.prefix}.node.{node}"

    def greeting(self, node: str) -> str:
        """Signs of life for a node that has just come."""
        return f"{self.nodes}.{node}"

    def lease(self, node: str) -> str:
        """Where a node renews its lease: its key in the bucket ``PREFIX_nodes``."""
        return f"$KV.{self.prefix}_nodes.{node}"

    def names(self, node: str) -> str:
        """Messages for the holders of names on a node."""
        return f"{self.prefix}.names.{node}"

    def kept(self, room: str) -> str:
        """Where a room's kept messages are stored."""
        return f"{self.prefix}.kept.{token_of(room)}"

    @property
    def nobody_kept(self) -> str:
        """Like :meth:`kept`, of no room."""
        return f"{self.prefix}.kept.nobody"

    def shown(self, room: str) -> str:
        """Where the server publishes again what it has stored of a room."""
        return f"{self.prefix}.shown.{token_of(room)}"
