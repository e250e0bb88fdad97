"""Run a fuzz target: with atheris if it is installed, otherwise with mutated inputs from the corpus."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable
from pathlib import Path

Target = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"
ITERATIONS = 20_000
_MAX_SIZE = 4096
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


def main(target: Target, corpus: str) -> None:
    """Fuzz until stopped (atheris) or for as many iterations as the first argument says."""
    if importlib.util.find_spec("atheris") is not None:
        _run_atheris(target, corpus)
        return
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else ITERATIONS
    run(target, corpus, iterations, seed=random.randrange(2**32))
    sys.stdout.write(f"{iterations} iterations without a finding (plain driver: atheris is not installed)\n")


def run(target: Target, corpus: str, iterations: int, seed: int) -> None:
    """Give a target the corpus and then mutations of it; a finding names the input and the seed."""
    inputs = [path.read_bytes() for path in sorted((CORPUS / corpus).iterdir())]
    chance = random.Random(seed)
    for count in range(iterations):
        data = inputs[count] if count < len(inputs) else _mutate(chance, inputs)
        try:
            target(data)
        except Exception as error:
            error.add_note(f"input {data!r}, found after {count} iterations with seed {seed}")
            raise


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
    return bytes(data[:_MAX_SIZE])


def _run_atheris(target: Target, corpus: str) -> None:
    import atheris

    atheris.instrument_all()
    arguments = (
        sys.argv if any(not word.startswith("-") for word in sys.argv[1:]) else [*sys.argv, str(CORPUS / corpus)]
    )
    atheris.Setup(arguments, target)
    atheris.Fuzz()
