"""The command line: one command per file.

Knows: options, configuration files, terminals, signals, exit codes.
Does not know: anything that a program using the library could need.
May import: everything. Start reading at ``program.py``, then ``serve.py``.
"""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script ``xmlsocket``. Ends the process with the exit code."""
    if missing := [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]:
        sys.stderr.write(
            f"The command line needs {' and '.join(missing)}, which the library alone does not bring: "
            'pip install "xmlsocket[daemon]"\n'
        )
        sys.exit(2)
    from .program import run  # not at the top: what it imports is looked for above

    sys.exit(run(sys.argv[1:]))
