"""``xmlsocket history``: look after what the chat keeps, in a file or in NATS, and move it from one to the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from ..apps import find
from ..errors import ConfigurationError
from ..rooms import History, KeptMessage
from ..rooms.history import ExportedMessage
from .configuration import ServeOptions, combine
from .console import err, out, standard_output
from .loading import describe_broker, find_history_file, make_transfer
from .options import with_default

app = typer.Typer(name="history", help="Export, import and check the history of the chat.", no_args_is_help=True)

_FIELDS: Final[Mapping[str, Any]] = {"room": str, "id": int, "at": (int, float), "sender": str, "text": str}

_LARGEST: Final = 2**63 - 1
"""The largest number that SQLite holds."""
_MOST_FAULTS: Final = 10
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The times that a calendar has: the years 1 to 9999."""

_Port = Annotated[
    str | None,
    typer.Option(
        metavar="PORT", help=with_default("The port of the daemon whose history it is.", "8080"), show_default=False
    ),
]
_DataDir = Annotated[str | None, typer.Option(metavar="FOLDER", help="The folder given to the daemon as --data-dir.")]
_Config = Annotated[
    Path | None, typer.Option(metavar="FILE.toml", help="The daemon's configuration file, instead of these options.")
]
_PANEL: Final = "History in NATS"
_Broker = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL", help="The NATS server that has the history, as given to the daemon.", rich_help_panel=_PANEL
    ),
]
_Credentials = Annotated[
    str | None, typer.Option(metavar="FILE", help="Credentials file for it.", rich_help_panel=_PANEL)
]
_Ca = Annotated[
    str | None, typer.Option(metavar="FILE", help="Certificates (PEM) to trust it by.", rich_help_panel=_PANEL)
]
_Cert = Annotated[
    str | None, typer.Option(metavar="FILE", help="Certificate (PEM) to show it.", rich_help_panel=_PANEL)
]
_Key = Annotated[str | None, typer.Option(metavar="FILE", help="The key of that.", rich_help_panel=_PANEL)]
_Prefix = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=with_default("What tells the service from others there.", "xmlsocket"),
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


def _combine(config: Path | None, **given: Any) -> ServeOptions:
    """What the daemon was told, as far as it says where the history is."""
    return combine({name: value for name, value in given.items() if value not in (None, [])}, {}, config)


def _find(options: ServeOptions) -> Path:
    file = find_history_file(options, find("chat"))
    if file is None:
        raise ConfigurationError("a daemon on a free port (0) has a history only with --data-dir; name that folder")
    return file


@app.command("export")
def export_history(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")] = "-",
    room: Annotated[str | None, typer.Option(metavar="NAME", help="Only this room.")] = None,
    port: _Port = None,
    data_dir: _DataDir = None,
    config: _Config = None,
    broker: _Broker = None,
    broker_credentials: _Credentials = None,
    broker_ca: _Ca = None,
    broker_cert: _Cert = None,
    broker_key: _Key = None,
    broker_prefix: _Prefix = None,
) -> None:
    """Write all kept messages as JSON, one a line: room, id, at (seconds since 1970), sender, text.

    Works while the daemon runs.
    """
    options = _combine(
        config,
        port=port,
        data_dir=data_dir,
        broker=broker,
        broker_credentials=broker_credentials,
        broker_ca=broker_ca,
        broker_cert=broker_cert,
        broker_key=broker_key,
        broker_prefix=broker_prefix,
    )
    if options.broker:
        count = asyncio.run(_export_from_nats(options, file, room))
    else:
        count = 0
        with History(_find(options), read_only=True) as history, _writing(file) as target:
            for exported in history.export(room):
                target.write(_format(exported))
                count += 1
    err.print(f"{count:,} messages exported")


async def _export_from_nats(options: ServeOptions, file: str, room: str | None) -> int:
    count = 0
    async with make_transfer(options) as transfer, contextlib.aclosing(transfer.export(room)) as messages:
        with _writing(file) as target:
            async for exported in messages:
                target.write(_format(exported))
                count += 1
    return count


def _format(exported: ExportedMessage) -> str:
    message = exported.message
    line = {"room": exported.room, "id": message.id, "at": message.at, "sender": message.sender, "text": message.text}
    return json.dumps(line, ensure_ascii=False) + "\n"


@app.command("import")
def import_history(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote; - is standard input.")],
    port: _Port = None,
    data_dir: _DataDir = None,
    config: _Config = None,
    broker: _Broker = None,
    broker_credentials: _Credentials = None,
    broker_ca: _Ca = None,
    broker_cert: _Cert = None,
    broker_key: _Key = None,
    broker_prefix: _Prefix = None,
    broker_replicas: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help=with_default("How many servers of a NATS cluster keep each message.", "1"),
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Forget first what NATS has of the imported rooms.", rich_help_panel=_PANEL),
    ] = False,
) -> None:
    """Take over exported messages with their numbers; those that are there already are passed over.

    Stop the daemon before, on every machine. A file takes all or none. NATS looks at all of them before it takes any,
    and an import that failed in the middle goes on when it is tried again.
    """
    options = _combine(
        config,
        port=port,
        data_dir=data_dir,
        broker=broker,
        broker_credentials=broker_credentials,
        broker_ca=broker_ca,
        broker_cert=broker_cert,
        broker_key=broker_key,
        broker_prefix=broker_prefix,
        broker_replicas=broker_replicas,
    )
    if replace and not options.broker:
        raise ConfigurationError("--replace is for a history in NATS (--broker); a file can be moved away")
    with _reading(file) as source:
        messages = _parse(source, "standard input" if file == "-" else file)
        if options.broker:
            count = _import_into_nats(options, messages, replaces=replace)
        else:
            with History(_find(options)) as history:
                count = history.load(messages)
    out.print(f"{count:,} messages imported")


def _import_into_nats(options: ServeOptions, messages: Iterator[ExportedMessage], *, replaces: bool) -> int:
    async def load(history: History) -> int:
        async with make_transfer(options) as transfer:
            return await transfer.load(history, replaces=replaces)

    # A file puts them in order first, and finds what is wrong with them, however many they are.
    with tempfile.TemporaryDirectory(prefix="xmlsocket-") as folder, History(Path(folder) / "import.db") as history:
        history.load(messages)
        return asyncio.run(load(history))


@app.command("check")
def check_history(
    port: _Port = None,
    data_dir: _DataDir = None,
    config: _Config = None,
    broker: _Broker = None,
    broker_credentials: _Credentials = None,
    broker_ca: _Ca = None,
    broker_cert: _Cert = None,
    broker_key: _Key = None,
    broker_prefix: _Prefix = None,
) -> None:
    """Look for damage. Exits with 0 for none, 1 for some. Works while the daemon runs."""
    options = _combine(
        config,
        port=port,
        data_dir=data_dir,
        broker=broker,
        broker_credentials=broker_credentials,
        broker_ca=broker_ca,
        broker_cert=broker_cert,
        broker_key=broker_key,
        broker_prefix=broker_prefix,
    )
    if options.broker:
        place = f"the history in {describe_broker(options)}"
        damage, count = asyncio.run(_check_nats(options))
        advice = "export writes what can be read"
    else:
        path = _find(options)
        place, advice = str(path), "export what can be read, and start with a new file"
        with History(path, read_only=True) as history:
            damage = history.check()
            count = sum(1 for _ in history.export()) if not damage else 0
    for sentence in damage:
        out.print(sentence, markup=False)
    if damage:
        err.print(f"{place} is damaged; {advice}", markup=False)
        raise typer.Exit(1)
    out.print(f"{place}: sound, {count:,} messages", markup=False)


async def _check_nats(options: ServeOptions) -> tuple[list[str], int]:
    damage: list[str] = []
    count = 0
    async with make_transfer(options) as transfer, contextlib.aclosing(transfer.check()) as found:
        async for each in found:
            if not isinstance(each, str):
                count += 1
            elif len(damage) < _MOST_FAULTS:
                damage.append(each)
    return damage, count


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
            is_right = isinstance(value.get(name), kind) and _can_be_kept(value[name])
            if not is_right or (name == "at" and not _FIRST <= value[name] <= _LAST):
                raise ConfigurationError(f"{file}, line {number}: {name} is missing or wrong; nothing was imported")
        message = KeptMessage(value["id"], float(value["at"]), value["sender"], value["text"])
        yield ExportedMessage(value["room"], message)
