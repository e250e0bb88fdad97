"""``xmlsocket gateway``: browsers and players in front, an XMLSocket server that exists behind."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ..errors import ConfigurationError
from ..gateway import Targets, parse_target
from .configuration import LOG_LEVELS
from .gateway_daemon import GATEWAY_LIMITS, GatewaySettings, run_gateway
from .operations import OPERATIONS_HELP, parse_operations
from .options import add_limits, choose, explicit, nearest, option_name, parse_limit, parse_port, with_default

_MODES: Final = ("messages", "stream")
_PROXY_VERSIONS: Final = ("v1", "v2")
_SECURITY: Final = "Who may connect"
_FILES: Final = ("policy", "tls_cert", "tls_key")
_LISTS: Final = ("targets", "allowed_origins", "trusted_proxies")
_SWITCHES: Final = ("speaks_first", "proxy_protocol", "compression", "require_tls")
_KEYS: Final = (
    "listen",
    *_LISTS,
    "default",
    "mode",
    "send_proxy_protocol",
    *_FILES,
    *_SWITCHES,
    "log_level",
    "operations",
)


def gateway(
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]HOST:PORT",
            help="A server to lead to, by the path /NAME or /HOST:PORT; may be repeated. Nothing else can be reached. "
            "In place of HOST:PORT also tls://HOST:PORT, or unix:/PATH for a Unix socket.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST]:PORT",
            help=with_default(
                "Where to listen; without HOST, or with *, on every address of this machine. Port 0 takes a free one.",
                "localhost:8080",
            ),
            show_default=False,
        ),
    ] = None,
    default: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The target of clients that cannot say which: native players, and the path /. "
            "Needed only where there are several.",
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help=with_default(
                "messages: each frame holds one whole message; stream: bytes as they come, for flash.net.Socket.",
                "messages",
            ),
            show_default=False,
        ),
    ] = None,
    speaks_first: Annotated[
        bool | None,
        typer.Option(
            "--speaks-first",
            help="The servers greet their clients: lead native players there that say nothing for detection_timeout. "
            "Browsers need no such thing.",
        ),
    ] = None,
    send_proxy_protocol: Annotated[
        str | None,
        typer.Option(metavar="v1|v2", help="Tell the server who a client is, by a header of the PROXY protocol."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Read options from a file: those below \\[gateway], limits below \\[limits], named as here with "
            "underscores (targets, allowed_origins and trusted_proxies are lists). What the command line says wins.",
        ),
    ] = None,
    operations: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help=OPERATIONS_HELP, show_default=False)
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help=with_default(f"Least level to log: {', '.join(LOG_LEVELS)}.", "warning"),
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Socket policy file for players that ask for one.", rich_help_panel=_SECURITY
        ),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let in only browsers on pages of this origin, such as https://example.org; may be repeated.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Believe this proxy, or network of proxies, what it says of a client's address; may be repeated.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    proxy_protocol: Annotated[
        bool | None,
        typer.Option(
            "--proxy-protocol",
            help="Trusted proxies begin with a header of the PROXY protocol.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    tls_cert: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Serve wss with this certificate chain (PEM).", rich_help_panel=_SECURITY),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The key of the certificate, if it is in a file of its own.", rich_help_panel=_SECURITY
        ),
    ] = None,
    require_tls: Annotated[
        bool | None,
        typer.Option("--require-tls", help="Refuse what does not come inside TLS.", rich_help_panel=_SECURITY),
    ] = None,
    compression: Annotated[
        bool | None,
        typer.Option("--compression", help="Compress for browsers that offer it; about 64 KiB for each of them."),
    ] = None,
    **limits: str | None,
) -> None:
    """Lead browsers to XMLSocket servers that exist, until Ctrl-C or SIGTERM. The servers are not touched.

    WebSocket and plain TCP come in by one port, one connection upstream goes out for each client. Exits with 0 when it
    was stopped, 1 when it cannot listen, and 2 when an option cannot work.
    """
    given = {
        "targets": target or None,
        "listen": listen,
        "default": default,
        "mode": mode,
        "speaks_first": speaks_first,
        "send_proxy_protocol": send_proxy_protocol,
        "log_level": log_level,
        "operations": operations,
        "policy": policy,
        "allowed_origins": allowed_origin or None,
        "trusted_proxies": trusted_proxy or None,
        "proxy_protocol": proxy_protocol,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "require_tls": require_tls,
        "compression": compression,
    }
    settings = combine(explicit(given), explicit(limits), config)
    run_gateway(settings, lambda port: describe(settings, port))


def combine(given: Mapping[str, Any], limits: Mapping[str, str], config: Path | None) -> GatewaySettings:
    """Put the options together: the command line's, then the file's, then the defaults.

    Raises:
        ConfigurationError: A name or value is wrong; the sentence says where it stands.
    """
    options, chosen = ({}, {}) if config is None else _read(config)
    options |= given
    chosen |= read_limits(limits)
    host, port = parse_listen(options.get("listen", "localhost:8080"))
    version = options.get("send_proxy_protocol")
    if options.get("tls_key") is not None and options.get("tls_cert") is None:
        raise ConfigurationError("--tls-key needs --tls-cert FILE, the certificate that the key belongs to")
    if options.get("require_tls") and options.get("tls_cert") is None:
        raise ConfigurationError("--require-tls needs --tls-cert FILE, the certificate to serve with")
    if options.get("proxy_protocol") and not options.get("trusted_proxies"):
        raise ConfigurationError("--proxy-protocol needs --trusted-proxy ADDRESS, who may send such a header")
    if options.get("operations") is not None:
        parse_operations(options["operations"], "--operations")
    if chosen.get("detection_timeout") is not None and not options.get("speaks_first"):
        raise ConfigurationError(
            "--detection-timeout is when a silent player is led to a server: it needs --speaks-first"
        )
    if not options.get("targets"):
        raise ConfigurationError("say where to lead to: --target HOST:PORT of your server")
    return GatewaySettings(
        host=host,
        port=port,
        targets=Targets([parse_target(text) for text in options["targets"]], options.get("default")),
        mode=choose(options.get("mode", "messages"), _MODES, "--mode"),
        speaks_first=options.get("speaks_first", False),
        proxy_protocol=None if version is None else int(choose(version, _PROXY_VERSIONS, "--send-proxy-protocol")[1:]),
        tls_cert=options.get("tls_cert"),
        tls_key=options.get("tls_key"),
        operations=options.get("operations"),
        log_level=choose(options.get("log_level", "warning").lower(), LOG_LEVELS, "--log-level"),
        limits=chosen,
        options={
            "policy": None if options.get("policy") is None else Path(options["policy"]),
            "allowed_origins": options.get("allowed_origins"),
            "trusted_proxies": options.get("trusted_proxies", ()),
            "proxy_protocol": options.get("proxy_protocol", False),
            "require_tls": options.get("require_tls", False),
            "compression": options.get("compression", False),
        },
    )


def read_limits(texts: Mapping[str, str]) -> dict[str, float | None]:
    """Read limits of the command line."""
    return {
        name: parse_limit(GATEWAY_LIMITS[name].description, value, option_name(name)) for name, value in texts.items()
    }


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``:PORT`` or ``PORT``; the host is ``*`` where there is none.

    Raises:
        ConfigurationError: It is none of them.
    """
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise ConfigurationError(f"--listen is HOST:PORT, with an IPv6 address in brackets, not {text!r}")
    return host.strip("[]") or "*", parse_port(port, "the port of --listen")


def _read(file: Path) -> tuple[dict[str, Any], dict[str, float | None]]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration file {file}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from error
    for name, table in tables.items():
        if name not in ("gateway", "limits"):
            hint = nearest(name, ("gateway", "limits"), "there are [gateway] and [limits]")
            raise ConfigurationError(f"{file}: there is no table {name}{hint}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{file}: {name} must be a table, written as [{name}]")
    options = {key: _read_option(file, key, value) for key, value in tables.get("gateway", {}).items()}
    limits = {}
    for name, value in tables.get("limits", {}).items():
        if name not in GATEWAY_LIMITS:
            hint = "; it belongs below [gateway]" if name in _KEYS else nearest(name, GATEWAY_LIMITS)
            raise ConfigurationError(f"{file}: there is no limit {name} in [limits]{hint}")
        limits[name] = parse_limit(GATEWAY_LIMITS[name].description, value, f"{file}: {name} in [limits]")
    return options, limits


def _read_option(file: Path, key: str, value: object) -> object:
    if key not in _KEYS:
        hint = "; it belongs below [limits]" if key in GATEWAY_LIMITS else nearest(key, _KEYS)
        raise ConfigurationError(f"{file}: there is no key {key} in [gateway]{hint}")
    where = f"{file}: {key} in [gateway]"
    if key in _LISTS:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f'{where} must be a list of texts, such as ["..."], not {value!r}')
    elif not isinstance(value, bool if key in _SWITCHES else str):
        kind = "true or false" if key in _SWITCHES else "text in quotes"
        raise ConfigurationError(f"{where} must be {kind}, not {value!r}")
    return str(file.parent / str(value)) if key in _FILES else value


def describe(settings: GatewaySettings, port: int) -> Iterator[Text]:
    """Write the lines that say where it listens and where it leads."""
    host = "localhost" if settings.host in ("*", "0.0.0.0", "::") else settings.host
    shown = f"[{host}]" if ":" in host else host
    scheme = "wss" if settings.tls_cert else "ws"
    where = "every address of this machine" if settings.host in ("*", "0.0.0.0", "::") else settings.host
    yield Text.assemble("gateway", f" on {where}, port {port}", f"; {settings.mode}")
    for target in settings.targets:
        path = "/" if target is settings.targets.default else target.path
        yield Text(f"  {scheme}://{shown}:{port}{path} leads to {target.address}")
    default = settings.targets.default
    yield Text(f"  tcp:     {'leads nowhere; --default NAME' if default is None else f'leads to {default.address}'}")
    policy = settings.options.get("policy")
    yield Text(f"  policy:  {policy or 'none, so Flash Player cannot connect to this port; --policy FILE lets it'}")
    yield Text("  stop:    Ctrl-C, or SIGTERM")


def add_to(app: typer.Typer) -> None:
    """Make it a command."""
    app.command("gateway")(add_limits(gateway, GATEWAY_LIMITS))
