"""The commands put together, and how anything that goes wrong ends: one sentence and an exit code."""

from __future__ import annotations

import difflib
import errno
import importlib.metadata
import inspect
import platform
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from ..errors import ConfigurationError, MessageError, PolicyError, XMLSocketError
from . import connect, doctor, gateway, history, policy, ruffle, send, serve, top
from .console import complain, end_output, err, out, printable, tolerate_any_text

FAILED: Final = 1
"""Exit code when what was asked for did not work out."""
MISUSED: Final = 2
"""Exit code when it could not be tried: a wrong option, argument, configuration or message."""
INTERRUPTED: Final = 130
"""Exit code when somebody pressed Ctrl-C."""

app = typer.Typer(
    name="xmlsocket",
    help="Text messages, each ended by one zero byte, over a connection that stays open: Adobe's XMLSocket.",
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"xmlsocket {importlib.metadata.version('xmlsocket')} (Python {platform.python_version()})")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help())


serve.add_to(app)
connect.add_to(app)
send.add_to(app)
gateway.add_to(app)
doctor.add_to(app)
top.add_to(app)
app.add_typer(policy.app)
app.add_typer(history.app)
app.add_typer(ruffle.app)


def _flow(program: typer.Typer) -> None:
    """Let the terminal break the lines of the help, not the source code's."""
    for command in program.registered_commands:
        paragraphs = inspect.cleandoc(command.callback.__doc__ or "").split("\n\n") if command.callback else []
        command.help = "\n\n".join(escape(" ".join(paragraph.split())) for paragraph in paragraphs)


_flow(app)
_flow(policy.app)
_flow(history.app)
_flow(ruffle.app)

# The parent of all exceptions for wrong usage. Where it lives depends on typer's version; where its child is does not.
_UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        The exit code: 0, :data:`FAILED`, :data:`MISUSED`, :data:`INTERRUPTED`, or what the command documents.
    """
    tolerate_any_text()
    try:
        return int(app(list(arguments), prog_name="xmlsocket", standalone_mode=False) or 0)
    except _UsageError as error:
        return _explain_usage(error)
    except (ConfigurationError, MessageError, PolicyError) as error:
        complain(str(error))
        return MISUSED
    except XMLSocketError as error:
        complain(str(error))
        return FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise  # a fault of ours; but where the disk is full, so it is for our output
        end_output(error)
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


def _explain_usage(error: Any) -> int:
    message = error.format_message()
    name = getattr(error, "option_name", None)
    command = error.ctx.command if error.ctx else None
    if name and command and "No such option" in message:
        options = [option for parameter in command.get_params(error.ctx) for option in parameter.opts]
        near = difflib.get_close_matches(name, options, n=1)
        message = f"there is no option {name}" + (f"; did you mean {near[0]}?" if near else "")
    if message:  # there is none where the help was the answer
        complain(message)
        if error.ctx:
            err.print(printable(f"See {error.ctx.command_path} --help"))
    return MISUSED
