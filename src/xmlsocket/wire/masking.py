"""Masking of WebSocket payloads (RFC 6455, section 5.3): by a compiled function where there is one.

Every frame of a browser is masked, so this and cutting the frames is what a WebSocket costs. Besides the functions for
one payload there is one for each way to take a whole run of frames at once: a loop without an object for a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

try:
    from websockets.speedups import apply_mask as _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]  # the fallback below

Mask = Callable[[bytes | memoryview, bytes], bytes]
"""Applies (or takes off) a masking key of 4 bytes."""

Take = Callable[[bytes, int, int, int, list[bytes]], int]
"""Takes frames from an offset of the data on, while they are whole, not fragmented, of one opcode, below 64 KiB and
within a limit; appends their payloads; returns the offset of the first byte that it did not take."""

COMPILED_MASK: Final = _compiled is not None
"""Whether the compiled function of ``websockets`` is there. Without it frames of 4 KiB cost ten times as much."""

# The first two bytes of a final frame of opcode 0 without payload, not masked and masked.
_EMPTY: Final = 0x8000
_MASKED_EMPTY: Final = 0x8080
_two_bytes_and_key = struct.Struct("!H4s").unpack_from
VIEW_SIZE: Final = 8192
"""Bytes below which a copy is cheaper than a view."""


def mask_portable(data: bytes | memoryview, key: bytes) -> bytes:
    """Apply a masking key with nothing but integers of any length."""
    size = len(data)
    keys = key * (size // 4) + key[: size % 4]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


mask: Final[Mask] = mask_portable if _compiled is None else _compiled


def rotate(key: bytes, count: int) -> bytes:
    """Turn a key so that it fits the payload from its byte ``count`` on."""
    count &= 3
    return key[count:] + key[:count]


def take_masked(data: bytes, at: int, opcode: int, limit: int, payloads: list[bytes]) -> int:
    """Take frames of a client, see :data:`Take`."""
    end = len(data)
    last = end - 6
    append = payloads.append
    unpack, unmask = _two_bytes_and_key, mask
    empty = _MASKED_EMPTY | opcode << 8
    while at <= last:
        size, key = unpack(data, at)
        size -= empty
        start = at + 6
        if size == 126:
            start = at + 8
            if start > end:
                break
            size, key = unpack(data, at + 2)
        elif not 0 <= size < 126:
            break
        stop = start + size
        if stop > end or size > limit:
            break
        append(unmask(data[start:stop] if size < VIEW_SIZE else memoryview(data)[start:stop], key))
        at = stop
    return at


def take_one(data: bytes, opcode: int, limit: int) -> bytes | None:
    """Take the payload where the data are one short frame of a client and nothing else: most reads of a busy server.

    Returns:
        ``None`` where they are anything else, or the payload is over the limit.
    """
    size = len(data) - 6
    if not 0 <= size < 126 or size > limit:
        return None
    start, key = _two_bytes_and_key(data)
    # Equal only if it is final, of this opcode, masked, without reserved bits, and as long as what is there.
    return mask(data[6:], key) if start == (_MASKED_EMPTY | opcode << 8) + size else None


def take_masked_portable(data: bytes, at: int, opcode: int, limit: int, payloads: list[bytes]) -> int:
    """Take frames of a client, with one integer for all of them instead of one for each."""
    end = len(data)
    last = end - 6
    sizes, parts, keys = [], [], []
    unpack = _two_bytes_and_key
    empty = _MASKED_EMPTY | opcode << 8
    while at <= last:
        size, key = unpack(data, at)
        size -= empty
        start = at + 6
        if size == 126:
            start = at + 8
            if start > end:
                break
            size, key = unpack(data, at + 2)
        elif not 0 <= size < 126:
            break
        stop = start + size
        if stop > end or size > limit:
            break
        sizes.append(size)
        parts.append(data[start:stop])
        keys.append(key * (size >> 2) + key[: size & 3] if size & 3 else key * (size >> 2))
        at = stop
    _unmask_together(sizes, parts, keys, payloads)
    return at


def _unmask_together(sizes: list[int], parts: list[bytes], keys: list[bytes], payloads: list[bytes]) -> None:
    masked = b"".join(parts)
    size = len(masked)
    plain = (int.from_bytes(masked, "little") ^ int.from_bytes(b"".join(keys), "little")).to_bytes(size, "little")
    start = 0
    for size in sizes:
        payloads.append(plain[start : start + size])
        start += size


def take_plain(data: bytes, at: int, opcode: int, limit: int, payloads: list[bytes]) -> int:
    """Take frames of a server, which are not masked, see :data:`Take`."""
    end = len(data)
    last = end - 2
    append = payloads.append
    empty = _EMPTY | opcode << 8
    while at <= last:
        size = (data[at] << 8 | data[at + 1]) - empty
        start = at + 2
        if size == 126:
            start = at + 4
            if start > end:
                break
            size = data[at + 2] << 8 | data[at + 3]
        elif not 0 <= size < 126:
            break
        stop = start + size
        if stop > end or size > limit:
            break
        append(data[start:stop])
        at = stop
    return at
