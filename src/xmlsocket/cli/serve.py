"""``xmlsocket serve``: run the chat, another application, or your own handler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..apps import APPS
from ..errors import ConfigurationError
from .configuration import ERROR_RULES, LOG_LEVELS, combine
from .daemon import run_daemon
from .inherited import take_inherited_sockets
from .loading import LoadError
from .operations import OPERATIONS_HELP
from .options import explicit, takes_limits, with_default
from .reloading import run_reloading, show_load_error
from .slots import check_system

_TEXT = "Text"
_SECURITY = "Who may connect"
_BROWSERS = "Browsers"
_HISTORY = "History"
_CLUSTER = "Many processes and machines"
_APPS = ", ".join(f"{app.name} ({app.summary})" for app in APPS)


_NO_FIELDS = ("config", "reload", "limits", "names")


# Longer than 40 lines, as every option is a parameter, named as its field of ServeOptions.
@takes_limits
def serve(
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            help=with_default(
                f"One of {_APPS}; or module:handler, your own coroutine function, Handler object or class in a module "
                "of the current directory.",
                "chat",
            ),
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help=with_default("Name or address to listen on; * for every one of this machine.", "localhost"),
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT",
            help=with_default("TCP port; 0 takes a free one and says which.", "8080"),
            show_default=False,
        ),
    ] = None,
    path: Annotated[str | None, typer.Option(metavar="FILE", help="Listen on a Unix socket instead.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help=escape(
                "Read options from a file: those below [serve], limits below [limits], named as here with underscores. "
                "What the command line says wins."
            ),
        ),
    ] = None,
    operations: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help=OPERATIONS_HELP, show_default=False)
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a Python file below the current directory changes.")
    ] = False,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help=with_default(f"Least level to log: {', '.join(LOG_LEVELS)}.", "warning"),
            show_default=False,
            case_sensitive=False,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Socket policy file for players that ask for one.", rich_help_panel=_SECURITY
        ),
    ] = None,
    policy_port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT",
            help="Answer policy requests on this port too, and nothing else there; players ask 843 first.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    policy_served_from: Annotated[
        str | None,
        typer.Option(
            metavar="PORT",
            help="The port that players ask for the policy, where it is another, as behind a port redirect.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    tls_cert: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Serve TLS with this certificate chain (PEM).", rich_help_panel=_SECURITY),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The key of the certificate, if it is in a file of its own.", rich_help_panel=_SECURITY
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=with_default(
                "Encoding of the text that your handler gets: utf-8, or the code page of an old movie such as "
                "shift_jis; none hands on bytes.",
                "utf-8",
            ),
            show_default=False,
            rich_help_panel=_TEXT,
        ),
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help=with_default(f"What to do with text that does not fit: {', '.join(ERROR_RULES)}.", "strict"),
            show_default=False,
            rich_help_panel=_TEXT,
        ),
    ] = None,
    speaks_first: Annotated[
        bool | None,
        typer.Option(
            "--speaks-first", help="Your handler greets its clients before they say anything.", rich_help_panel=_TEXT
        ),
    ] = None,
    detect: Annotated[
        bool | None,
        typer.Option(
            "--detect/--no-detect",
            help=with_default("Tell policy requests and HTTP from messages by the first bytes of a client.", "detect"),
            show_default=False,
            rich_help_panel=_TEXT,
        ),
    ] = None,
    require_tls: Annotated[
        bool | None,
        typer.Option(
            "--require-tls",
            help="Refuse whoever does not begin with TLS; policy requests are always plain.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    websocket: Annotated[
        bool | None,
        typer.Option(
            "--websocket/--no-websocket",
            help=with_default("Let browsers in by WebSocket, and show them a page.", "websocket"),
            show_default=False,
            rich_help_panel=_BROWSERS,
        ),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help=with_default("Whose pages may connect, such as https://example.org; may be repeated.", "all"),
            show_default=False,
            rich_help_panel=_BROWSERS,
        ),
    ] = None,
    compression: Annotated[
        bool | None,
        typer.Option(
            "--compression",
            help="Compress for browsers that offer it; about 64 KiB of memory for each.",
            rich_help_panel=_BROWSERS,
        ),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Believe this proxy, or network of proxies, whom it connects for (X-Forwarded-For); may be repeated.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    proxy_protocol: Annotated[
        bool | None,
        typer.Option(
            "--proxy-protocol",
            help="The trusted proxies begin with a PROXY header, version 1 or 2.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help=with_default("Where the chat keeps its history.", "the system's place for a user's data"),
            show_default=False,
            rich_help_panel=_HISTORY,
        ),
    ] = None,
    history: Annotated[
        bool | None,
        typer.Option(
            "--history/--no-history",
            help=with_default("Keep history in a file, or only in memory.", "history"),
            show_default=False,
            rich_help_panel=_HISTORY,
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help=with_default("How many processes serve the port together; one for each core is a good number.", "1"),
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    broker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Share rooms, names and history through this NATS server, such as nats://host:4222; may be repeated.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    broker_credentials: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Credentials file for the NATS server.", rich_help_panel=_CLUSTER),
    ] = None,
    broker_ca: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Certificates (PEM) to trust the NATS server by.", rich_help_panel=_CLUSTER),
    ] = None,
    broker_cert: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Certificate (PEM) for a NATS server that asks for one.", rich_help_panel=_CLUSTER
        ),
    ] = None,
    broker_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="The key of that certificate.", rich_help_panel=_CLUSTER)
    ] = None,
    broker_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=with_default("What tells this service from others on the same NATS server.", "xmlsocket"),
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    broker_replicas: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help=with_default("How many servers of a NATS cluster keep each message.", "1"),
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    **limits: str | None,
) -> None:
    """Serve an application, or your own handler, until Ctrl-C or SIGTERM.

    Every option but --config and --reload may stand in the configuration file. Where systemd passes listening sockets,
    those count instead of --host, --port and --path; one that it names policy is for policy requests alone.

    Exits with 0 when it was stopped, 1 when it cannot listen, and 2 when an option cannot work.
    """
    names = {"allowed_origin": "allowed_origins", "trusted_proxy": "trusted_proxies"}
    given = {names.get(name, name): value for name, value in locals().items() if name not in _NO_FIELDS}
    options = combine(
        explicit({name: None if value == [] else value for name, value in given.items()}),
        explicit(limits),
        config,
    )
    if reload and options.workers > 1:
        raise ConfigurationError("--reload is for writing a handler, with one process; leave --workers out")
    if reload:
        raise typer.Exit(run_reloading(options))
    if options.workers > 1:
        if take_inherited_sockets():
            raise ConfigurationError("workers need sockets of their own, and systemd passed some; leave --workers out")
        check_system()
        from .workers import run_workers  # not at the top: it imports what other systems than Linux lack

        raise typer.Exit(run_workers(options))
    try:
        run_daemon(options)
    except LoadError as error:
        if error.trace:
            show_load_error(error)
            raise typer.Exit(2) from error
        raise


def add_to(app: typer.Typer) -> None:
    """Make it a command."""
    app.command("serve")(serve)
