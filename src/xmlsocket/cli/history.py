"""``xmlsocket history``: look after the file in which the chat keeps what was said."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from ..apps import find
from ..errors import ConfigurationError
from ..rooms import History, KeptMessage
from ..rooms.history import ExportedMessage
from .configuration import ServeOptions
from .console import err, out, standard_output
from .loading import find_history_file

app = typer.Typer(name="history", help="Export, import and check the history of the chat.", no_args_is_help=True)

_FIELDS: Final[Mapping[str, Any]] = {"room": str, "id": int, "at": (int, float), "sender": str, "text": str}

_LARGEST: Final = 2**63 - 1
"""The largest number that SQLite holds."""
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

_Port = Annotated[int, typer.Option(metavar="PORT", help="The port of the daemon whose history it is.")]
_DataDir = Annotated[str | None, typer.Option(metavar="FOLDER", help="The folder given to the daemon as --data-dir.")]


def _find(port: int, data_dir: str | None) -> Path:
    file = find_history_file(ServeOptions(port=port, data_dir=data_dir), find("chat"))
    if file is None:
        raise ConfigurationError("a daemon on a free port (0) has a history only with --data-dir; name that folder")
    return file


@app.command("export")
def export_history(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")] = "-",
    room: Annotated[str | None, typer.Option(metavar="NAME", help="Only this room.")] = None,
    port: _Port = 8080,
    data_dir: _DataDir = None,
) -> None:
    """Write all kept messages as JSON, one a line: room, id, at (seconds since 1970), sender, text.

    Works while the daemon runs.
    """
    count = 0
    with History(_find(port, data_dir), read_only=True) as history, _writing(file) as target:
        for name, message in history.export(room):
            line = {"room": name, "id": message.id, "at": message.at, "sender": message.sender}
            target.write(json.dumps(line | {"text": message.text}, ensure_ascii=False) + "\n")
            count += 1
    err.print(f"{count:,} messages exported")


@app.command("import")
def import_history(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote; - is standard input.")],
    port: _Port = 8080,
    data_dir: _DataDir = None,
) -> None:
    """Take over exported messages with their numbers, all or none; those that are there already are passed over.

    Stop the daemon before.
    """
    with _reading(file) as source, History(_find(port, data_dir)) as history:
        count = history.load(_parse(source, "standard input" if file == "-" else file))
    out.print(f"{count:,} messages imported")


@app.command("check")
def check_history(port: _Port = 8080, data_dir: _DataDir = None) -> None:
    """Look for damage. Exits with 0 for none, 1 for some. Works while the daemon runs."""
    path = _find(port, data_dir)
    with History(path, read_only=True) as history:
        damage = history.check()
        count = sum(1 for _ in history.export()) if not damage else 0
    for sentence in damage:
        out.print(sentence, markup=False)
    if damage:
        err.print(f"{path} is damaged; export what can be read, and start with a new file", markup=False)
        raise typer.Exit(1)
    out.print(f"{path}: sound, {count:,} messages", markup=False)


@contextlib.contextmanager
def _writing(file: str) -> Iterator[IO[str]]:
    if file == "-":
        with standard_output() as target:
            yield target
        return
    with _naming(file), Path(file).open("w", encoding="utf-8", newline="\n") as target:
        yield target


@contextlib.contextmanager
def _reading(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdin
        return
    with _naming(file), Path(file).open(encoding="utf-8") as source:
        yield source


@contextlib.contextmanager
def _naming(file: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot use {file}: {getattr(error, 'strerror', None) or error}") from error


def _can_be_kept(value: str | float) -> bool:
    """Whether the file takes the value, and a connection the text."""
    if isinstance(value, str):
        return "\0" not in value and not _SURROGATES.search(value)
    return not isinstance(value, bool) and abs(value) <= _LARGEST  # a number that is none is not


def _parse(lines: Iterable[str], file: str) -> Iterator[ExportedMessage]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{file}, line {number}: not JSON: {error}; nothing was imported") from error
        if not isinstance(value, dict):
            raise ConfigurationError(f"{file}, line {number}: not an object; nothing was imported")
        for name, kind in _FIELDS.items():
            if not isinstance(value.get(name), kind) or not _can_be_kept(value[name]):
                raise ConfigurationError(f"{file}, line {number}: {name} is missing or wrong; nothing was imported")
        message = KeptMessage(value["id"], float(value["at"]), value["sender"], value["text"])
        yield ExportedMessage(value["room"], message)
