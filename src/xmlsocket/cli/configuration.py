"""Configuration files of ``xmlsocket serve``: TOML with the tables ``[serve]`` and ``[limits]``.

The names are those of the options, with underscores. What the command line says wins.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError
from ..limits import PolicyLimits
from ..net.forwarding import trusted_networks
from ..wire import text_codec
from .operations import parse_operations
from .options import LIMITS, NO_LIMIT, choose, nearest, option_name, parse_count, parse_limit, parse_port

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
ERROR_RULES: Final = ("strict", "replace", "flash")


@dataclasses.dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``xmlsocket serve`` was asked to do; every field is an option, and a key of ``[serve]``.

    Attributes:
        app: An application's name, or ``module:handler``.
        host: Where to listen; ``*`` for every address of the machine.
        port: Of TCP; 0 lets the system choose.
        path: Of a Unix socket to listen on instead.
        policy: File with the answer to policy requests.
        policy_port: Where to answer nothing but policy requests.
        policy_served_from: The port that players ask, where it is another; it decides what the file may grant.
        tls_cert: File with the certificate chain.
        tls_key: File with its key, where that is not in the same file.
        encoding: Of text; ``"none"`` hands bytes to the handler. ``None`` means not given.
        errors: What to do with text that does not fit the encoding. ``None`` means not given.
        speaks_first: Whether the handler greets its clients.
        detect: Whether the port serves anything but XMLSocket.
        log_level: The least level that is logged.
        data_dir: Folder for the history; ``None`` for the system's usual place.
        history: Whether rooms that keep history keep it in a file.
        websocket: Whether browsers may come in.
        allowed_origins: Whose pages may; ``None`` for all.
        compression: Whether to compress for browsers that offer it.
        require_tls: Whether to refuse whoever does not use TLS.
        trusted_proxies: Addresses and networks of proxies to believe.
        proxy_protocol: Whether they send a PROXY header.
        operations: Where to show metrics and health; ``"none"`` for nowhere, ``None`` for the default.
        workers: How many processes serve.
        broker: Addresses of NATS servers that join this service with others; empty for none.
        broker_credentials: File with credentials of NATS.
        broker_ca: File with the certificates to trust a NATS server by.
        broker_cert: File with a certificate for NATS servers that ask for one.
        broker_key: File with its key.
        broker_prefix: What everything of this service begins with in NATS.
        broker_replicas: How many NATS servers keep each message.
        limits: Limits that differ from their defaults.
    """

    app: str = "chat"
    host: str = "localhost"
    port: int = 8080
    path: str | None = None
    policy: str | None = None
    policy_port: int | None = None
    policy_served_from: int | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    encoding: str | None = None
    errors: str | None = None
    speaks_first: bool = False
    detect: bool = True
    log_level: str = "warning"
    data_dir: str | None = None
    history: bool = True
    websocket: bool = True
    allowed_origins: tuple[str, ...] | None = None
    compression: bool = False
    require_tls: bool = False
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    operations: str | None = None
    workers: int = 1
    broker: tuple[str, ...] = ()
    broker_credentials: str | None = None
    broker_ca: str | None = None
    broker_cert: str | None = None
    broker_key: str | None = None
    broker_prefix: str = "xmlsocket"
    broker_replicas: int = 1
    limits: Mapping[str, float | None] = dataclasses.field(default_factory=dict)

    @property
    def listen_host(self) -> str | None:
        """The host as ``xmlsocket.serve`` takes it."""
        return None if self.host == "*" else self.host


_TYPES: Final[Mapping[str, type]] = {
    "port": int,
    "policy_port": int,
    "policy_served_from": int,
    "speaks_first": bool,
    "detect": bool,
    "history": bool,
    "websocket": bool,
    "compression": bool,
    "require_tls": bool,
    "proxy_protocol": bool,
    "workers": int,
    "broker_replicas": int,
    "broker": list,
    "allowed_origins": list,
    "trusted_proxies": list,
}
"""The type of each key that is not text."""

_FILES: Final = (
    "path",
    "policy",
    "tls_cert",
    "tls_key",
    "data_dir",
    "broker_credentials",
    "broker_ca",
    "broker_cert",
    "broker_key",
)
"""Keys that hold paths; in a file they are relative to that file."""

_KEYS: Final = tuple(field.name for field in dataclasses.fields(ServeOptions) if field.name != "limits")


def combine(given: Mapping[str, Any], limits: Mapping[str, str], config: Path | None) -> ServeOptions:
    """Put the options together: the command line's, then the file's, then the defaults.

    Args:
        given: Options of the command line, by field.
        limits: Limits of the command line, by name, as text.
        config: The configuration file, if there is one.

    Raises:
        ConfigurationError: A name or value is wrong; the sentence says where it stands.
    """
    options, named_limits = ({}, {}) if config is None else _read(config)
    if "path" in given and "port" not in given and "host" not in given:
        options = {key: value for key, value in options.items() if key not in ("host", "port")}
    elif ("port" in given or "host" in given) and "path" not in given:
        options.pop("path", None)
    options |= {key: _parse(key, value, option_name(key)) for key, value in given.items()}
    named_limits |= {
        name: parse_limit(LIMITS[name].description, value, option_name(name)) for name, value in limits.items()
    }
    _check_together(options)
    for name in named_limits:
        if LIMITS[name].owner is PolicyLimits and "policy_port" not in options:
            raise ConfigurationError(f"{name} is a limit of the policy port; it needs --policy-port PORT")
    return ServeOptions(**options, limits=named_limits)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, float | None]]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration file {file}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from error
    for name, table in tables.items():
        if name not in ("serve", "limits"):
            if name in _KEYS or name in LIMITS:
                hint = f"; it belongs below [{'serve' if name in _KEYS else 'limits'}]"
            else:
                hint = nearest(name, ("serve", "limits"), "there are [serve] and [limits]")
            raise ConfigurationError(f"{file}: there is no table {name}{hint}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{file}: {name} must be a table, written as [{name}]")
    options = {key: _read_option(file, key, value) for key, value in tables.get("serve", {}).items()}
    limits = {name: _read_limit(file, name, value) for name, value in tables.get("limits", {}).items()}
    return options, limits


_REPLICAS: Final = ("1", "3", "5")  # more servers than three or five wait longer for each other and bear no more deaths
_KINDS: Final[Mapping[type, str]] = {
    int: "a whole number",
    bool: "true or false",
    str: "text in quotes",
    list: "a list of texts in quotes",
}


def _read_option(file: Path, key: str, value: object) -> object:
    if key not in _KEYS:
        hint = "; it belongs below [limits]" if key in LIMITS else nearest(key, _KEYS)
        raise ConfigurationError(f"{file}: there is no key {key} in [serve]{hint}")
    where = f"{file}: {key} in [serve]"
    expected = _TYPES.get(key, str)
    if type(value) is not expected:
        kind = _KINDS[expected]
        raise ConfigurationError(f"{where} must be {kind}, not {value!r}")
    if key in _FILES:
        return str(file.parent / str(value))
    return _parse(key, value, where)


def _read_limit(file: Path, name: str, value: object) -> float | None:
    if name not in LIMITS:
        hint = "; it belongs below [serve]" if name in _KEYS else nearest(name, LIMITS)
        raise ConfigurationError(f"{file}: there is no limit {name} in [limits]{hint}")
    return parse_limit(LIMITS[name].description, value, f"{file}: {name} in [limits]")


def _parse(key: str, value: Any, where: str) -> Any:
    if key in ("port", "policy_port"):
        return parse_port(value, where)
    if key == "policy_served_from":
        return parse_port(value, where, lowest=1)
    if key == "operations":
        parse_operations(value, where)
    if key == "host" and not value.strip():
        raise ConfigurationError(f"{where} must be a name or an address, or * for every address of this machine")
    if key == "log_level":
        return choose(value.lower(), LOG_LEVELS, where)
    if key == "errors":
        return choose(value, ERROR_RULES, where)
    if key == "workers":
        return parse_count(value, where)
    if key == "broker_replicas":
        return int(choose(str(value), _REPLICAS, where))
    if key in ("allowed_origins", "trusted_proxies", "broker"):
        for text in value:
            if not isinstance(text, str):
                raise ConfigurationError(f"{where} must be {_KINDS[list]}, not {value!r}")
        if key == "trusted_proxies":
            trusted_networks(value)
        return tuple(value)
    if key == "encoding" and value != NO_LIMIT:
        try:
            text_codec(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from error
    return value


def _check_together(options: Mapping[str, Any]) -> None:
    if "path" in options:
        for name in ("host", "port"):
            if name in options:
                raise ConfigurationError(f"{option_name(name)} and --path exclude each other; say one")
    if options.get("policy_port") is not None and options.get("policy") is None:
        raise ConfigurationError("--policy-port needs --policy FILE, the policy to answer with there")
    if options.get("policy_served_from") is not None and options.get("policy") is None:
        raise ConfigurationError("--policy-served-from needs --policy FILE, the policy that is meant")
    if options.get("tls_key") is not None and options.get("tls_cert") is None:
        raise ConfigurationError("--tls-key needs --tls-cert FILE, the certificate that the key belongs to")
    if options.get("require_tls") and options.get("tls_cert") is None:
        raise ConfigurationError("--require-tls needs --tls-cert FILE, a certificate to serve TLS with")
    if options.get("broker"):
        for name in ("data_dir", "history"):
            if options.get(name) is not None:
                option = "--data-dir" if name == "data_dir" else "--history/--no-history"
                raise ConfigurationError(f"{option} means nothing with --broker: there NATS keeps what is said")
    for name in ("broker_credentials", "broker_ca", "broker_cert", "broker_key", "broker_prefix", "broker_replicas"):
        if options.get(name) is not None and not options.get("broker"):
            raise ConfigurationError(f"{option_name(name)} needs --broker URL, the NATS server that it is about")
    if options.get("broker_key") is not None and options.get("broker_cert") is None:
        raise ConfigurationError("--broker-key needs --broker-cert FILE, the certificate that the key belongs to")
    if options.get("proxy_protocol") and not options.get("trusted_proxies"):
        raise ConfigurationError("--proxy-protocol needs --trusted-proxy ADDRESS, who may send such a header")
