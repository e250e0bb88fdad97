"""From what stands after ``xmlsocket serve`` to a handler: an application's name, or ``module:handler``."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import platformdirs

from ..apps import APPS, App, AppHandler, find
from ..apps.pages import status_pages
from ..errors import ConfigurationError
from ..limits import HistoryLimits, Limits, PolicyLimits, WorkerLimits, from_options
from ..net import Handler
from ..rooms import Broker, History, HistoryBroker
from .configuration import ServeOptions
from .options import LIMITS, NO_LIMIT, nearest, option_name

if TYPE_CHECKING:
    from ..rooms.cluster.transfer import Transfer

_EXAMPLES: Final[Mapping[str, str]] = {"chat": "<ping/>"}


class LoadError(ConfigurationError):
    """A user's own module cannot be imported, or does not have what was asked for.

    Attributes:
        trace: What Python says of it, from the user's first line on, or empty.
    """

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__(sentence)
        self.trace = trace


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What to serve.

    Attributes:
        name: As it was asked for.
        handler: For the connections.
        options: Keyword arguments for ``xmlsocket.serve``: the encoding and the like, and the limits of connections.
        example: A message to try it with.
        history_file: Where what is said is kept, or ``None``.
    """

    name: str
    handler: Handler[Any] | Callable[..., Any]
    options: Mapping[str, Any]
    example: str
    history_file: Path | None = None

    @property
    def app_handler(self) -> AppHandler | None:
        """The handler, where it has things to start and to end."""
        return self.handler if isinstance(self.handler, AppHandler) else None


def is_own_code(name: str) -> bool:
    """Whether a name means a user's module rather than an application that comes with the package."""
    return ":" in name


def load_service(options: ServeOptions) -> Service:
    """Find what was asked for, and make its handler.

    Raises:
        LoadError: It is the user's code and cannot be used.
        ConfigurationError: There is no such application, or it does not know an option.
    """
    if is_own_code(options.app):
        target = _import_target(options.app)
        if not isinstance(target, App):
            _refuse_unknown_limits(options, options.app, ())
            fixed = {"pages": status_pages(options.app)}
            return Service(options.app, _make_own(target, options.app), _server_options(options, fixed), "hello")
        app = target
    else:
        app = _find_app(options.app)
    _refuse_unknown_limits(options, app.name, app.all_limits)
    keywords: dict[str, Any] = {keyword: owner(**_limits_of(options, owner)) for keyword, owner in app.limits.items()}
    for name in ("encoding", "errors"):
        if name in app.options and getattr(options, name) is not None:
            raise ConfigurationError(f"{option_name(name)} is for your own handlers: {app.name} decides that itself")
    file = None if options.broker else find_history_file(options, app)
    if options.broker and app.has_rooms:
        keywords["broker"] = make_broker(options, keeps=app.keeps_history)
    elif file is not None:
        bounds = from_options(HistoryLimits, _limits_of(options, HistoryLimits))
        keywords["broker"] = HistoryBroker(lambda: History(file, bounds))
    example = _EXAMPLES.get(app.name, "hello")
    return Service(app.name, app.make(**keywords), _server_options(options, app.options), example, file)


def find_history_file(options: ServeOptions, app: App) -> Path | None:
    """The file that an application keeps its history in, or ``None`` where it keeps none.

    In the system's own place each port has a file, so that two daemons do not meet in one. A port that the system
    chooses is another at every start: then there is a file only where a folder was named for it.
    """
    if not app.keeps_history or not options.history:
        return None
    if options.data_dir is not None:
        return Path(options.data_dir) / f"{app.name}.db"
    if options.path is not None or options.port == 0:
        return None
    return data_folder() / f"{app.name}-{options.port}.db"


def find_broker_folder(options: ServeOptions) -> Path | None:
    """The folder of the NATS server that several workers share, or ``None`` where it is to keep nothing.

    As :func:`find_history_file`; a handler of one's own may keep things too, and where it does is not known here.
    """
    name = options.app.replace(":", "-")
    if not options.history or not (is_own_code(options.app) or _find_app(options.app).keeps_history):
        return None
    if options.data_dir is not None:
        return Path(options.data_dir) / f"{name}-nats"
    if options.path is not None or options.port == 0:
        return None
    return data_folder() / f"{name}-{options.port}-nats"


def needs_broker(options: ServeOptions) -> bool:
    """Whether what is served has rooms, which several processes must share; a handler of one's own may have."""
    return is_own_code(options.app) or _find_app(options.app).has_rooms


def make_broker(options: ServeOptions, *, keeps: bool) -> Broker:
    """Make what joins this process with others, as the options say.

    Args:
        options: Where it is, and how it is reached.
        keeps: Whether the rooms keep messages, or people have names.

    Raises:
        ConfigurationError: An option cannot work, or the package nats-py is missing.
    """
    try:
        from ..rooms.cluster import NatsBroker  # not at the top: it needs an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "nats":
            raise
        needed = 'rooms that several processes share need the package nats-py: pip install "xmlsocket[cluster]"'
        raise ConfigurationError(needed) from error
    return NatsBroker(
        options.broker,
        prefix=options.broker_prefix,
        credentials=_path_of(options.broker_credentials),
        tls_ca=_path_of(options.broker_ca),
        tls_certificate=_path_of(options.broker_cert),
        tls_key=_path_of(options.broker_key),
        replicas=options.broker_replicas,
        keeps=keeps,
        history_limits=from_options(HistoryLimits, _limits_of(options, HistoryLimits)),
    )


def make_transfer(options: ServeOptions) -> Transfer:
    """Make what moves the history of a service out of NATS and into it.

    Raises:
        ConfigurationError: As :func:`make_broker`.
    """
    try:
        from ..rooms.cluster.session import Session  # not at the top: it needs an extra
        from ..rooms.cluster.transfer import Transfer
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "nats":
            raise
        raise ConfigurationError('--broker needs the package nats-py: pip install "xmlsocket[daemon]"') from error
    session = Session(
        options.broker,
        prefix=options.broker_prefix,
        credentials=_path_of(options.broker_credentials),
        tls_ca=_path_of(options.broker_ca),
        tls_certificate=_path_of(options.broker_cert),
        tls_key=_path_of(options.broker_key),
    )
    return Transfer(session, replicas=options.broker_replicas)


def _path_of(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def describe_broker(options: ServeOptions) -> str | None:
    """Name the NATS servers of ``--broker``, without the secrets that their addresses may have."""
    if not options.broker:
        return None
    addresses = (address for text in options.broker for address in text.split(","))
    return ", ".join(_SECRET.sub("//", address.strip()) for address in addresses)


_SECRET: Final = re.compile("//.*@")


def describe_history(options: ServeOptions, place: Path | None) -> str | None:
    """Say where what is said is kept, if it is kept."""
    if options.broker and not is_own_code(options.app) and _find_app(options.app).keeps_history:
        return "in NATS, in the streams of the broker"
    return None if place is None else str(place)


def notes_on_history(options: ServeOptions, place: Path | None) -> Iterator[str]:
    """Say where else something was kept, by one process or by several, which is not shown now."""
    if is_own_code(options.app):
        return
    alone, shared = find_history_file(options, _find_app(options.app)), find_broker_folder(options)
    if alone is not None and alone != place and alone.exists():
        yield f"what was kept by one process alone is in {alone}, and is not shown; xmlsocket history export reads it"
    if shared is not None and shared != place and shared.exists():
        yield f"what was kept with --workers is in {shared}, and is not shown"


def data_folder() -> Path:
    """The system's place for a user's data, or what systemd's ``StateDirectory=`` says."""
    state = os.environ.get("STATE_DIRECTORY")
    return Path(state.split(":")[0]) if state else platformdirs.user_data_path("xmlsocket", appauthor=False)


def _server_options(options: ServeOptions, fixed: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "detect",
        "speaks_first",
        "websocket",
        "allowed_origins",
        "compression",
        "require_tls",
        "trusted_proxies",
        "proxy_protocol",
    )
    chosen: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.encoding is not None:
        chosen["encoding"] = None if options.encoding == NO_LIMIT else options.encoding
    if options.errors is not None:
        chosen["errors"] = options.errors
    return chosen | dict(fixed) | _limits_of(options, Limits)


def _limits_of(options: ServeOptions, owner: type[Any]) -> dict[str, float | None]:
    return {name: value for name, value in options.limits.items() if LIMITS[name].owner is owner}


def _refuse_unknown_limits(options: ServeOptions, name: str, known: Collection[type[Any]]) -> None:
    for limit in options.limits:
        if LIMITS[limit].owner not in (Limits, PolicyLimits, WorkerLimits, *known):
            fitting = [app.name for app in APPS if LIMITS[limit].owner in app.all_limits]
            raise ConfigurationError(f"{limit} is a limit of {' and '.join(fitting)}; {name} has no such limit")


def _find_app(name: str) -> App:
    try:
        return find(name)
    except ConfigurationError as error:
        module = name.removesuffix(".py").replace(os.sep, ".")
        if (Path.cwd() / f"{module.replace('.', os.sep)}.py").exists():
            raise ConfigurationError(
                f"{error}; for your own code say which handler of the module, as in {module}:handler"
            ) from error
        raise ConfigurationError(f"{error}; for your own code say module:handler") from error


def _import_target(name: str) -> object:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise LoadError(f"{name!r} is half of module:handler, such as game:handler for the handler in game.py")
    if module_name.endswith(".py") or os.sep in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace(os.sep, ".")
        raise LoadError(f"say the module as Python imports it: {dotted}:{attribute}, not {name}")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    target: object = _import(module_name)
    for part in attribute.split("."):
        if not hasattr(target, part):
            names = (
                [known for known in vars(target) if not known.startswith("_")] if hasattr(target, "__dict__") else []
            )
            raise LoadError(f"{module_name} has no {part}{nearest(part, names)}")
        target = getattr(target, part)
    return target


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            modules = [file.stem for file in Path.cwd().glob("*.py")]
            raise LoadError(f"there is no module {error.name} in {os.getcwd()}{nearest(name, modules)}") from error
        raise LoadError(f"{name} cannot be imported", _own_trace(error)) from error
    except Exception as error:  # whatever a user's module raises when it is run
        raise LoadError(f"{name} cannot be imported", _own_trace(error)) from error


def _own_trace(error: BaseException) -> str:
    """Write a traceback without the frames of this package and of the import system."""
    lines = traceback.TracebackException.from_exception(error)
    machinery = (os.path.dirname(__file__), os.path.dirname(importlib.__file__), "<frozen importlib")
    lines.stack[:] = [frame for frame in lines.stack if not frame.filename.startswith(machinery)]
    return "".join(lines.format()).rstrip()


def _make_own(target: object, name: str) -> Handler[Any] | Callable[..., Any]:
    """Turn what a module holds into a handler; ``serve`` looks at the rest.

    Raises:
        LoadError: It is none.
    """
    if inspect.isclass(target):
        if not callable(getattr(target, "received", None)):
            raise LoadError(f"{name} is a class without received(connection, messages), so it is no handler")
        try:
            return cast("Handler[Any]", target())
        except TypeError as error:
            raise LoadError(f"{name} cannot be made without arguments: {error}; name an object instead") from error
    if isinstance(target, ModuleType) or not (callable(target) or callable(getattr(target, "received", None))):
        raise LoadError(
            f"{name} is a {type(target).__name__}; a handler is a coroutine function that takes a connection, or an "
            "object with received(connection, messages)"
        )
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        raise LoadError(f"{name} has a yield in it; a handler is a coroutine function, which sends by connection.send")
    if inspect.isfunction(target) and not inspect.iscoroutinefunction(inspect.unwrap(target)):
        raise LoadError(f"{name} is a plain function; write it as: async def {target.__name__}(connection)")
    return cast("Handler[Any] | Callable[..., Any]", target)
