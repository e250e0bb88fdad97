"""Files as pages: the part that a request asks for, and its way out in pieces, as fast as the client reads.

Longer than a page in memory needs because a movie's videos and sounds are large, and browsers ask for parts of them.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from .half_close import end_output
from .http import FilePart, Page, Request

_PIECE: Final = 262_144
"""Bytes read from the disk at one go."""
_BUFFER: Final = 131_072
"""Bytes that the system may take ahead of the client: with the megabytes that it grows to for a fast connection one
could not tell a slow client from one that reads nothing."""
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def show_file(file: Path, content_type: str, request: Request) -> Page | None:
    """Make the page of a file: all of it, or the range that is asked for (RFC 9110, section 14).

    Several ranges in one request are answered with all of it, as the RFC allows.

    Returns:
        The page; ``None`` if there is no such file, or it is none that one can read.
    """
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None  # not there, or a name that no file can have
    if not stat.S_ISREG(status.st_mode) or not os.access(file, os.R_OK):
        return None
    size, modified = status.st_size, email.utils.formatdate(status.st_mtime, usegmt=True)
    headers = (("Accept-Ranges", "bytes"), ("Last-Modified", modified))
    wanted = _RANGE.fullmatch((request.header("Range") or "").strip())
    is_other = request.header("If-Range") not in (None, modified)  # what it has a part of was a former file
    if request.method != "GET" or wanted is None or is_other or wanted[0] == "bytes=-":
        return Page(FilePart(file, 0, size), content_type, headers)
    start, end = _place(wanted[1], wanted[2], size)
    if start >= end:
        if wanted[1] and wanted[2] and int(wanted[1]) > int(wanted[2]):  # no range at all
            return Page(FilePart(file, 0, size), content_type, headers)
        return Page(b"", content_type, (*headers, ("Content-Range", f"bytes */{size}")), 416)
    place = ("Content-Range", f"bytes {start}-{end - 1}/{size}")
    return Page(FilePart(file, start, end - start), content_type, (*headers, place), 206)


def _place(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


class FileSender:
    """Writes a part of a file to a connection and ends it. It is to be told when to pause.

    Args:
        transport: Where to.
        part: Of which file what.
        progressed: Called whenever the client has taken something.

    Raises:
        OSError: The file cannot be read any more.
    """

    def __init__(self, transport: asyncio.Transport, part: FilePart, progressed: Callable[[], None]) -> None:
        self._transport = transport
        self._progressed = progressed
        self._left = part.size
        self._is_paused = False
        self._loop = asyncio.get_running_loop()
        sock = transport.get_extra_info("socket")
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._file: IO[bytes] | None = part.path.open("rb")
        self._file.seek(part.start)

    def send(self) -> None:
        """Begin, or go on: one piece in each turn of the event loop, so that others have theirs."""
        if self._file is None or self._is_paused:
            return
        data = self._file.read(min(_PIECE, self._left))
        self._left -= len(data)
        self._transport.write(data)
        self._progressed()
        if not self._left:
            self.close()
            end_output(self._transport)
        elif not data:  # the file has shrunk; what was promised cannot be kept, and a reset says so
            self.close()
            self._transport.abort()
        else:
            self._loop.call_soon(self.send)

    @property
    def is_sending(self) -> bool:
        """Whether something is still to be read from the file."""
        return self._file is not None

    def pause(self) -> None:
        """The client does not read."""
        self._is_paused = True

    def resume(self) -> None:
        """It does."""
        self._is_paused = False
        self.send()

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()
            self._file = None
