"""What nodes write to each other about live rooms: pure functions between values and bytes.

An envelope is a head and a body with a NUL between them; no message, name or room can hold a NUL. The head begins with
the version, the kind and the node that wrote it, separated by spaces.

Each node numbers what it says in a room. ``epoch`` is new each time that it begins to speak there, ``seq`` counts
messages, arrivals and departures before this envelope, ``texts`` the messages among them: so who hears it knows whether
something, and how many messages, were lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

VERSION = "1"
MESSAGE, ARRIVAL, DEPARTURE = "m", "+", "-"
"""How the text of an entry begins."""

TEXT, BYTES = "t", "b"
"""Kinds of envelopes: entries, or one message of bytes. A message that is too long goes in pieces: kinds of two letters,
these with one of the following."""
FIRST, MIDDLE, LAST = "f", "p", "e"

HEAD_SIZE = 160  # no head is longer: an epoch, numbers of up to 20 digits, a node's name


class Head(NamedTuple):
    """The head of a live envelope."""

    kind: str
    node: str
    epoch: int
    seq: int
    texts: int


class Standing(NamedTuple):
    """Where a node stands in a room, and if it was asked for, who is in the room there.

    Attributes:
        room: Which room.
        epoch: See above.
        seq: See above.
        texts: See above.
        count: How many names are in the room on that node.
        names: These names, or a part of them.
        is_whole: Whether no more of them follow.
    """

    room: str
    epoch: int
    seq: int
    texts: int
    count: int
    names: list[str]
    is_whole: bool = True


def encode(text: str) -> bytes:
    """Encode any ``str``, lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def decode(raw: bytes) -> str:
    """Undo :func:`encode`."""
    return raw.decode("utf-8", "surrogatepass")


def pack(head: Head, entries: list[str], limit: int) -> Iterator[tuple[Head, bytes]]:
    """Write entries as envelopes that are at most ``limit`` bytes long; with each its head, and at last what follows.

    Args:
        head: Of the first envelope; its kind does not matter.
        entries: What is said, each with its first letter.
        limit: More than twice ``HEAD_SIZE``.

    Yields:
        Heads and envelopes; at the end a head with the next numbers, and no bytes.
    """
    room = limit - HEAD_SIZE
    body = encode("\0".join(entries))
    if len(body) <= room:
        texts = sum(entry[0] == MESSAGE for entry in entries)
        head = head._replace(kind=TEXT)
        yield head, write(head, body)
        yield head._replace(seq=head.seq + len(entries), texts=head.texts + texts), b""
    elif len(entries) > 1:
        half = len(entries) // 2
        for part in (entries[:half], entries[half:]):
            for now, envelope in pack(head, part, limit):
                if envelope:
                    yield now, envelope
                else:
                    head = now
        yield head, b""
    else:
        yield from pack_one(head, TEXT, body[1:], limit)


def pack_one(head: Head, kind: str, message: bytes, limit: int) -> Iterator[tuple[Head, bytes]]:
    """Write one message, text or bytes, in pieces if it must be. Yields as :func:`pack`."""
    room = limit - HEAD_SIZE
    if kind == BYTES and len(message) <= room:
        head = head._replace(kind=BYTES)
        yield head, write(head, message)
        yield head._replace(seq=head.seq + 1, texts=head.texts + 1), b""
        return
    for start in range(0, len(message), room):
        is_last = start + room >= len(message)
        head = head._replace(kind=kind + (FIRST if start == 0 else LAST if is_last else MIDDLE))
        yield head, write(head, message[start : start + room])
        head = head._replace(seq=head.seq + 1, texts=head.texts + is_last)
    yield head, b""


def write(head: Head, body: bytes = b"") -> bytes:
    """Write one envelope as it is."""
    kind, node, epoch, seq, texts = head
    return b"%s %s %s %d %d %d\0%s" % (VERSION.encode(), kind.encode(), node.encode(), epoch, seq, texts, body)


def read(envelope: bytes) -> tuple[Head, bytes]:
    """Read a live envelope: its head and its body.

    Raises:
        ValueError: It is none, or of another version.
    """
    raw, _, body = envelope.partition(b"\0")
    version, kind, node, epoch, seq, texts = raw.decode("ascii").split(" ")
    if version != VERSION:
        raise ValueError(f"version {version!r} of a node that is newer or older than this one")
    return Head(kind, node, int(epoch), int(seq), int(texts)), body


def entries_of(body: bytes) -> list[str]:
    """The entries in the body of an envelope of kind ``TEXT``."""
    return decode(body).split("\0") if body else []


QUESTION, LISTING_QUESTION, STANDINGS, DONE = "?", "*", "=", "."
"""What passes between two nodes: who is in these rooms; where do you stand in all; an answer; the answer's end."""


class Note(NamedTuple):
    """A question or an answer.

    Attributes:
        kind: ``QUESTION`` and so on.
        node: Who writes.
        number: The question's, as whoever asks counts them.
        fields: What it says.
    """

    kind: str
    node: str
    number: int
    fields: list[str]


def write_note(note: Note) -> bytes:
    """Write a question or an answer."""
    return encode("\0".join([f"{VERSION} {note.kind} {note.node} {note.number}", *note.fields]))


def read_note(raw: bytes) -> Note:
    """Read a question or an answer.

    Raises:
        ValueError: It is none, or of another version.
    """
    head, *fields = decode(raw).split("\0")
    version, kind, node, number = head.split(" ")
    if version != VERSION:
        raise ValueError(f"version {version!r} of a node that is newer or older than this one")
    return Note(kind, node, int(number), fields)


def write_standings(standings: Iterable[Standing], limit: int) -> Iterator[list[str]]:
    """Divide standings among the fields of as many notes as are needed so that none is longer than ``limit`` bytes."""
    fields: list[str] = []
    size = 0
    for standing in standings:
        for part in _divide(standing, max(1, (limit - HEAD_SIZE) // 4)):
            length = sum(map(_size_of, part))
            if fields and size + length > limit - HEAD_SIZE:
                yield fields
                fields, size = [], 0
            fields += part
            size += length
    if fields:
        yield fields


def _divide(standing: Standing, limit: int) -> Iterator[list[str]]:
    room, epoch, seq, texts, count, names, _ = standing
    start = 0
    while True:
        end, size = start, 0
        while end < len(names) and size <= limit:
            size += _size_of(names[end])
            end += 1
        is_whole = end == len(names)
        part = names[start:end]
        yield [f"{epoch} {seq} {texts} {count} {len(part)} {is_whole:d}", room, *part]
        if is_whole:
            return
        start = end


def _size_of(field: str) -> int:
    return 4 * len(field) + 1  # at most, in UTF-8


def read_standings(fields: list[str]) -> Iterator[Standing]:
    """Undo :func:`write_standings`, for one note.

    Raises:
        ValueError: These are no standings.
    """
    at = 0
    while at < len(fields):
        epoch, seq, texts, count, held, is_whole = map(int, fields[at].split(" "))
        if at + 2 + held > len(fields):
            raise ValueError("a standing ends too early")
        names = fields[at + 2 : at + 2 + held]
        yield Standing(fields[at + 1], epoch, seq, texts, count, names, bool(is_whole))
        at += 2 + held
