"""One target under atheris, in a process of its own: ``python -m fuzz.guided NAME``, and then options of libFuzzer.

The code under test is imported in here, where atheris sees it come: to instrument what is loaded already takes half a
minute, as that is thousands of functions which no input reaches.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import atheris

INSTRUMENTED = ["xmlsocket", "websockets", "fuzz"]


def main() -> None:
    """Fuzz until stopped, or as the options say."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = importlib.import_module(f"fuzz.fuzz_{name}")
    # To merge corpora, libFuzzer starts the program again by its first argument.
    launcher = Path("build", "fuzz", f"{name}.sh")
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fuzz.guided {name} "$@"\n')
    os.chmod(launcher, 0o755)
    atheris.Setup([str(launcher), *sys.argv[1:]], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
