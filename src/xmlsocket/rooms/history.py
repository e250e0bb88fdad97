"""History in a file: SQLite, one writer, and a commit for as many messages as have come together meanwhile.

Everything here blocks and is called from one thread at a time; ``kept.py`` puts it behind a broker.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from ..errors import HistoryError
from ..limits import HistoryLimits
from .broker import KeptMessage

_APPLICATION_ID: Final = 0x584D4C53  # "XMLS", so that tools and we know the file
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE rooms (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_id INTEGER NOT NULL);
CREATE TABLE messages (
    room INTEGER NOT NULL, id INTEGER NOT NULL, at REAL NOT NULL, sender TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (room, id)
) WITHOUT ROWID;
CREATE INDEX messages_at ON messages (at);
"""
# Of this connection alone, so no part of the file: what is inserted is counted by the same statement.
_COUNT: Final = """
CREATE TEMP TRIGGER IF NOT EXISTS count_messages AFTER INSERT ON main.messages
BEGIN UPDATE rooms SET last_id = max(last_id, NEW.id) WHERE number = NEW.room; END
"""
# Rows of one statement: five values each, and SQLite takes 32,766.
_MAX_ROWS: Final = 500
# A room may exceed its number of messages by this share before the oldest go, so that not every message deletes one.
_SLACK: Final = 1.1
# After so many commits, or rows, the write-ahead log goes into the file: it has about a thousand pages then, which is
# when SQLite would do it by itself, but within the commit that somebody waits for.
_CHECKPOINT_COMMITS: Final = 300
_CHECKPOINT_ROWS: Final = 10_000
# So many rooms are remembered with where they stand; others are looked up.
_MAX_ROOMS: Final = 10_000
_FIND_ROOM: Final = """
SELECT number, coalesce((SELECT min(id) FROM messages WHERE room = number), last_id + 1), last_id
FROM rooms WHERE name = ?
"""
# How often age and size are looked at, in seconds.
_PRUNE_INTERVAL: Final = 60.0


class NewMessage(NamedTuple):
    """A message to keep, before it has a number."""

    room: str
    sender: str
    text: str


class _Room(NamedTuple):
    """A room in the file: its oldest message is the first, or a later one."""

    number: int
    first: int
    last: int


class ExportedMessage(NamedTuple):
    """A kept message with its room, as ``export`` writes and ``load`` reads it."""

    room: str
    message: KeptMessage


class History:
    """The kept messages of all rooms in one file.

    What :meth:`append` has returned is on the disk: neither a crash of the process nor of the machine loses it.

    Args:
        path: The file; it is made if it is not there, as is its folder.
        limits: How much is kept.
        clock: Seconds since 1970; for tests.
        read_only: Only look; works beside the process that writes.

    Raises:
        HistoryError: The file cannot be opened, belongs to another program, is damaged, or another process has it.
    """

    def __init__(
        self,
        path: Path,
        limits: HistoryLimits | None = None,
        clock: Callable[[], float] = time.time,
        *,
        read_only: bool = False,
    ) -> None:
        self.path = path
        self.limits = self._limits = limits or HistoryLimits()
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._crowded: set[str] = set()
        self._pruned_at = clock()
        self._commits = self._rows = 0  # since the last checkpoint
        self._open: list[sqlite3.Connection] = []
        if read_only and not path.exists():
            raise HistoryError(f"there is no history file {path}")
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._open.append(_take_lock(path))
            self._db = _connect(path, read_only=read_only)
            self._open.append(self._db)
            self._prepare(read_only=read_only)
        except OSError as error:
            self.close()
            raise HistoryError(f"the history file {path} cannot be opened: {error.strerror}") from error
        except sqlite3.Error as error:
            self.close()
            raise HistoryError(f"the history file {path} cannot be used: {error}; {_ADVICE}") from error
        except HistoryError:
            self.close()
            raise

    def _prepare(self, *, read_only: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables == 0 and not read_only:
            # Before the first table, or SQLite does not give pages back.
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION}; COMMIT"
            )
        elif application != _APPLICATION_ID:
            raise HistoryError(f"{self.path} is a database of another program; choose another file")
        elif version != _VERSION:
            raise HistoryError(
                f"the history file {self.path} is of version {version}, and this xmlsocket reads version {_VERSION}; "
                "export it with the version that wrote it"
            )
        damage = self.check(thorough=False)
        if damage:
            raise HistoryError(f"the history file {self.path} is damaged: {damage[0]}; {_ADVICE}")
        if not read_only:
            self._db.execute("PRAGMA wal_autocheckpoint = 0")  # prune does it
            self._db.execute(_COUNT)

    def _find_room(self, name: str) -> _Room | None:
        """What is known of a room; from the file if it was not asked for lately."""
        room = self._rooms.get(name)
        if room is None:
            row = self._db.execute(_FIND_ROOM, (name,)).fetchone()
            if row is None:
                return None
            if len(self._rooms) >= _MAX_ROOMS:
                self._rooms.clear()
            room = self._rooms[name] = _Room(*row)
        return room

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything that was appended is in it."""
        for connection in self._open:
            connection.close()

    def append(self, messages: Sequence[NewMessage]) -> list[KeptMessage]:
        """Number messages, each in its room, and keep them all with one commit.

        Raises:
            sqlite3.Error: They could not be kept, none of them (the disk is full, say). The numbers are still free.
        """
        try:
            return self._append(messages)
        except UnicodeEncodeError:  # a lone surrogate; what is sent to a connection has none either
            return self._append([NewMessage(*map(without_surrogates, message)) for message in messages])

    def _append(self, messages: Sequence[NewMessage]) -> list[KeptMessage]:
        at = self._clock()
        kept: list[KeptMessage] = []
        rows: list[tuple[int, int, float, str, str]] = []
        found = {name: self._find_room(name) for name in {message.room for message in messages}}
        rooms = {name: room for name, room in found.items() if room is not None}
        # An insert of one statement is a commit by itself. Between statements the thread lets the others run, and to
        # get its turn back takes longer than the statement.
        is_plain = len(messages) <= _MAX_ROWS and len(rooms) == len(found)
        try:
            if not is_plain:
                self._db.execute("BEGIN IMMEDIATE")
            for name, sender, text in messages:
                room = rooms.get(name) or self._add_room(name)
                rooms[name] = room = room._replace(last=room.last + 1)
                kept.append(KeptMessage(room.last, at, sender, text))
                rows.append((room.number, room.last, at, sender, text))
            self._insert(rows)
            if not is_plain:
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        if len(self._rooms) + len(rooms) > _MAX_ROOMS:
            self._rooms.clear()
        self._rooms.update(rooms)
        self._commits += 1
        self._rows += len(rows)
        self._crowded |= {name for name, room in rooms.items() if self._is_crowded(room)}
        return kept

    def _add_room(self, name: str) -> _Room:
        number = self._db.execute("INSERT INTO rooms (name, last_id) VALUES (?, 0)", (name,)).lastrowid
        assert number is not None
        return _Room(number, 1, 0)

    def _insert(self, rows: list[tuple[int, int, float, str, str]]) -> None:
        # One statement for many rows: SQLite lets other threads run once a statement, and getting the turn back costs.
        for start in range(0, len(rows), _MAX_ROWS):
            part = rows[start : start + _MAX_ROWS]
            values = ",".join(["(?,?,?,?,?)"] * len(part))
            self._db.execute(f"INSERT INTO messages VALUES {values}", [value for row in part for value in row])

    def _is_crowded(self, room: _Room) -> bool:
        limit = self._limits.max_kept_messages
        return limit is not None and room.last - room.first + 1 > limit * _SLACK

    def _forget_oldest(self, name: str) -> None:
        room, limit = self._find_room(name), self._limits.max_kept_messages
        assert room is not None
        assert limit is not None
        oldest = room.last - limit + 1
        self._db.execute("DELETE FROM messages WHERE room = ? AND id < ?", (room.number, oldest))
        self._rooms[name] = room._replace(first=oldest)

    def find(self, room: str, after: int | None, limit: int) -> list[KeptMessage]:
        """Find messages numbered above ``after``, oldest first, or the latest ``limit``.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        found = self._find_room(without_surrogates(room))
        if found is None:
            return []
        most = self._limits.max_kept_messages
        oldest = 1 if most is None else found.last - most + 1
        start = max(oldest, found.last - limit + 1 if after is None else after + 1)
        if start > found.last or limit < 1:
            return []
        rows = self._db.execute(
            "SELECT id, at, sender, text FROM messages WHERE room = ? AND id >= ? ORDER BY id LIMIT ?",
            (found.number, start, min(limit, found.last)),
        )
        return [KeptMessage(*row) for row in rows]

    def prune(self) -> None:
        """Forget the oldest of rooms with too many, what is too old, and the oldest of a file that is too large.

        Call it after each :meth:`append`, when nobody waits; mostly it returns at once. It also moves the
        write-ahead log into the file now and then.

        Raises:
            sqlite3.Error: The file cannot be written.
        """
        while self._crowded:
            name = next(iter(self._crowded))
            self._forget_oldest(name)
            self._crowded.discard(name)
        if self._commits >= _CHECKPOINT_COMMITS or self._rows >= _CHECKPOINT_ROWS:
            self._commits = self._rows = 0
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        now = self._clock()
        if 0 <= now - self._pruned_at < _PRUNE_INTERVAL:
            return
        self._pruned_at = now
        if self._limits.max_kept_age is not None:
            self._forget_before(now - self._limits.max_kept_age)
        if self._limits.max_history_file_size is not None and self._size() > self._limits.max_history_file_size:
            # A tenth at a time: the size is looked at again soon.
            count = self._db.execute("SELECT count(*) FROM messages").fetchone()[0]
            row = self._db.execute("SELECT at FROM messages ORDER BY at LIMIT 1 OFFSET ?", (count // 10,)).fetchone()
            if row is not None:
                self._forget_before(row[0])

    def _forget_before(self, at: float) -> None:
        self._db.execute("DELETE FROM messages WHERE at < ?", (at,))
        self._db.execute("PRAGMA incremental_vacuum").fetchall()

    def _size(self) -> int:
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def check(self, *, thorough: bool = True) -> list[str]:
        """Look for damage; returns a sentence for each. ``thorough`` also compares indexes and reads every message."""
        try:
            pragma = "integrity_check" if thorough else "quick_check"
            found = [str(row[0]) for row in self._db.execute(f"PRAGMA {pragma}(10)") if row[0] != "ok"]
            if thorough and not found:
                found += [
                    f"room {name!r} counts to {last_id} but has a message {highest}"
                    for name, last_id, highest in self._db.execute(
                        "SELECT name, last_id, max(id) FROM rooms JOIN messages ON room = number GROUP BY number "
                        "HAVING max(id) > last_id"
                    )
                ]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
        return found

    def export(self, room: str | None = None) -> Iterator[ExportedMessage]:
        """Read all messages, or those of a room, room by room and oldest first."""
        query = (
            "SELECT name, id, at, sender, text FROM messages JOIN rooms ON room = number "
            "WHERE :room IS NULL OR name = :room ORDER BY room, id"
        )
        for name, *row in self._db.execute(query, {"room": room}):
            yield ExportedMessage(name, KeptMessage(*row))

    def load(self, messages: Iterable[ExportedMessage]) -> int:
        """Take over exported messages with their numbers; returns how many are new. All or none.

        Raises:
            HistoryError: A number is taken by a different message, or is not above 0.
        """
        count = 0
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for name, message in messages:
                count += self._load_one(name, message)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._rooms.clear()
        return count

    def _load_one(self, name: str, message: KeptMessage) -> int:
        if message.id < 1:
            raise HistoryError(f"a message of room {name!r} has the number {message.id}; they begin at 1")
        row = self._db.execute("SELECT number FROM rooms WHERE name = ?", (name,)).fetchone()
        number = row[0] if row else self._add_room(name).number
        values = (message.at, message.sender, message.text)
        there = self._db.execute(
            "SELECT at, sender, text FROM messages WHERE room = ? AND id = ?", (number, message.id)
        ).fetchone()
        if there is not None:
            if there != values:
                raise HistoryError(f"room {name!r} has a different message {message.id} already; nothing was imported")
            return 0
        self._insert([(number, message.id, *values)])
        return 1


_ADVICE: Final = "see `xmlsocket history check`, or move it away and start with a new one"


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    try:
        db.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns, also if the power fails
    except BaseException:
        db.close()
        raise
    return db


def _take_lock(path: Path) -> sqlite3.Connection:
    """Keep other processes from writing the same history, in a way that works on every system and ends with ours."""
    lock = sqlite3.connect(
        path.with_name(path.name + ".lock"), isolation_level=None, check_same_thread=False, timeout=0.2
    )
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise HistoryError(
            f"the history file {path} is in use by another process; stop that, or choose another --data-dir"
        ) from None
    return lock


def without_surrogates(text: str) -> str:
    """Replace lone halves of surrogate pairs, which no file can hold."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
