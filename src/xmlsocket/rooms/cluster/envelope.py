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
"""Kinds of envelopes: entries, or one message of bytes. What is too long goes in pieces: then the kind has a second
letter, one of the following."""
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
        size: How many names are in the room on that node.
        names: These names, or a part of them.
        start: How many of the names came before this part.
        is_whole: Whether no more of them follow.
    """

    room: str
    epoch: int
    seq: int
    texts: int
    size: int
    names: list[str]
    start: int = 0
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
        yield from _pack_pieces(head, TEXT, body, limit, is_message=entries[0][0] == MESSAGE)


def pack_bytes(head: Head, message: bytes, limit: int) -> Iterator[tuple[Head, bytes]]:
    """Write one message of bytes, in pieces if it must be. Yields as :func:`pack`."""
    if len(message) <= limit - HEAD_SIZE:
        head = head._replace(kind=BYTES)
        yield head, write(head, message)
        yield head._replace(seq=head.seq + 1, texts=head.texts + 1), b""
    else:
        yield from _pack_pieces(head, BYTES, message, limit, is_message=True)


def _pack_pieces(head: Head, kind: str, body: bytes, limit: int, *, is_message: bool) -> Iterator[tuple[Head, bytes]]:
    room = limit - HEAD_SIZE
    for start in range(0, len(body), room):
        is_last = start + room >= len(body)
        head = head._replace(kind=kind + (FIRST if start == 0 else LAST if is_last else MIDDLE))
        yield head, write(head, body[start : start + room])
        head = head._replace(seq=head.seq + 1, texts=head.texts + (is_last and is_message))
    yield head, b""


def write(head: Head, body: bytes = b"") -> bytes:
    """Write one envelope as it is."""
    kind, node, epoch, seq, texts = head
    return f"{VERSION} {kind} {node} {epoch} {seq} {texts}\0".encode("ascii") + body


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


QUESTION, STANDINGS, LIST_QUESTION, LIST, DONE = "?", "=", "*", "#", "."
"""What passes between two nodes: who is in these rooms, and an answer; where do you stand in all rooms, and an answer,
without names; and that this was the whole answer, in how many notes."""


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
    room, epoch, seq, texts, size, names, *_ = standing
    start = 0
    while True:
        end, length = start, 0
        while end < len(names) and length <= limit:
            length += _size_of(names[end])
            end += 1
        is_whole = end == len(names)
        part = names[start:end]
        yield [f"{epoch} {seq} {texts} {size} {len(part)} {start} {is_whole:d}", room, *part]
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
        epoch, seq, texts, size, held, start, is_whole = map(int, fields[at].split(" "))
        if at + 2 + held > len(fields):
            raise ValueError("a standing ends too early")
        names = fields[at + 2 : at + 2 + held]
        yield Standing(fields[at + 1], epoch, seq, texts, size, names, start, bool(is_whole))
        at += 2 + held
