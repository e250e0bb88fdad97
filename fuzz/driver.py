"""Run a fuzz target with the corpus and mutations of it, by chance: needs nothing, and can be repeated by its seed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

Target = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"
MAX_SIZE = 4096
"""Bytes of the longest input."""
# Bytes that mean something to a parser of frames or of HTTP.
_TOKENS = (
    b"\r\n",
    b"\r\n\r\n",
    b": ",
    b" ",
    b"\0",
    b"\x82\x80",
    b"\x81\x85",
    b"\xc1",
    b"\x88\x82",
    b"\x7e",
    b"\xff" * 8,
)


def run(target: Target, corpus: str, iterations: int, seed: int) -> None:
    """Give a target the corpus and then mutations of it; a finding names the input and the seed."""
    _run(target, corpus, seed, lambda count: count < iterations)


def run_for(target: Target, corpus: str, seconds: float, seed: int) -> int:
    """Do the same as :func:`run` for as long; give the number of inputs."""
    end = time.monotonic() + seconds
    return _run(target, corpus, seed, lambda count: time.monotonic() < end)


def _run(target: Target, corpus: str, seed: int, goes_on: Callable[[int], bool]) -> int:
    inputs = [path.read_bytes() for path in sorted((CORPUS / corpus).iterdir())]
    chance = random.Random(seed)
    count = 0
    while goes_on(count):
        data = inputs[count] if count < len(inputs) else _mutate(chance, inputs)
        try:
            target(data)
        except Exception as error:
            error.add_note(f"input {data!r}, found after {count} iterations with seed {seed}")
            raise
        count += 1
    return count


def _mutate(chance: random.Random, inputs: list[bytes]) -> bytes:
    data = bytearray(chance.choice(inputs))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes((chance.randrange(256),))
        elif kind == 1:
            data[at : at + chance.randrange(1, 9)] = b""
        elif kind == 2:
            data[at:at] = chance.choice(_TOKENS)
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randrange(9))
        elif kind == 4 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        else:
            other = chance.choice(inputs)
            cut = chance.randrange(len(other) + 1)
            data[at:] = other[cut:]
    return bytes(data[:MAX_SIZE])
