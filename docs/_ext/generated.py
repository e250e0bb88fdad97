"""Parts of the reference that are written from the code, so that they cannot differ from it.

Directives: ``limits-tables``, ``error-tree``, ``error-classes``, ``close-reasons``, ``log-texts``,
``benchmark-results``, ``cluster-results``, ``command-help``.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from docutils import nodes
from sphinx.domains.python import PythonDomain
from sphinx.util.docutils import SphinxDirective

import xmlsocket
from xmlsocket import CloseReason, errors, limits
from xmlsocket.cli import program
from xmlsocket.operations import METRICS

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class LimitsTables(SphinxDirective):
    """A table of limits for every class in ``xmlsocket.limits`` that declares some, a section for each."""

    def run(self) -> list[nodes.Node]:
        parts = []
        for name, value in vars(limits).items():
            if isinstance(value, type) and limits.LimitSet in value.__bases__:
                public = f"xmlsocket.{'' if hasattr(xmlsocket, name) else 'limits.'}{name}"
                head = f"## {name}\n\n```{{eval-rst}}\n.. autoclass:: {public}()\n   :no-members:\n```\n"
                parts.append("\n".join([head, *_rows(value)]) + "\n")
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


def _rows(limit_set: type[limits.LimitSet]) -> Iterator[str]:
    yield "| limit | default | why |"
    yield "| --- | --- | --- |"
    for limit in limit_set.describe():
        side = f". *{limit.side.capitalize()}s only.*" if limit.side else ""
        yield f"| `{limit.name}` | {_default(limit)} | {_sentence(limit.why)}{side} |"


def _default(limit: limits.LimitDescription) -> str:
    if limit.default is None:
        return f"none ({limit.unit})"
    return f"{limit.default:,} {limit.unit}"


def _sentence(text: str) -> str:
    return (text[0].upper() + text[1:]).replace("|", "\\|")


class ErrorTree(SphinxDirective):
    """The drawing of the exceptions at the head of ``xmlsocket.errors``, which a test compares with the classes."""

    def run(self) -> list[nodes.Node]:
        drawing = inspect.cleandoc(str(errors.__doc__)).partition("::\n")[2].partition("\n\nA test")[0]
        return [nodes.literal_block(text=inspect.cleandoc(drawing), language="text")]


class ErrorClasses(SphinxDirective):
    """The exceptions of ``xmlsocket.errors``, each with what it says of itself."""

    def run(self) -> list[nodes.Node]:
        classes = [
            value
            for value in vars(errors).values()
            if isinstance(value, type) and issubclass(value, errors.XMLSocketError)
        ]
        lines = [
            f".. autoexception:: xmlsocket{'' if hasattr(xmlsocket, cls.__name__) else '.errors'}.{cls.__name__}"
            for cls in classes
        ]
        return self.parse_text_to_nodes("```{eval-rst}\n" + "\n".join(lines) + "\n```\n")


class CloseReasons(SphinxDirective):
    """A table of the reasons for which connections end."""

    def run(self) -> list[nodes.Node]:
        rows = ["| reason | what logs and statistics say | iteration |", "| --- | --- | --- |"]
        for reason in CloseReason:
            end = "just ends" if reason.is_orderly else "raises `ConnectionClosedError`"
            rows.append(f"| `{reason.name}` | {reason.value} | {end} |")
        return self.parse_text_to_nodes("\n".join(rows) + "\n")


class LogTexts(SphinxDirective):
    """A table of everything that the package can log: module, level, text."""

    def run(self) -> list[nodes.Node]:
        rows = ["| in | level | text |", "| --- | --- | --- |"]
        rows += [f"| `{module}` | {level} | `{text}` |" for module, level, text in sorted(set(log_texts()))]
        return self.parse_text_to_nodes("\n".join(rows) + "\n")


def log_texts() -> Iterator[tuple[str, str, str]]:
    """Find the calls of loggers in the source code."""
    package = Path(xmlsocket.__file__).parent
    for file in package.rglob("*.py"):
        module = ".".join(file.relative_to(package).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner, level = node.func.value, node.func.attr
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name == "logger" and level in _LEVELS:
                text = node.args[1 if level == "log" else 0]
                yield module, _LEVELS[level], text.value if isinstance(text, ast.Constant) else ast.unparse(text)


_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
    "log": "varies",
}


class MetricsTables(SphinxDirective):
    """A table of every metric for each section of the catalogue."""

    def run(self) -> list[nodes.Node]:
        sections = dict.fromkeys(metric.section for metric in METRICS)
        parts = []
        for section in sections:
            rows = ["| metric | kind | labels | says |", "| --- | --- | --- | --- |"]
            for metric in METRICS:
                if metric.section == section:
                    labels = ", ".join(f"`{label}`" for label in metric.labels)
                    rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
            parts.append(f"## {section}\n\n" + "\n".join(rows) + "\n")
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


class BenchmarkResults(SphinxDirective):
    """The picture and the tables that ``make bench`` has written, if it has been run."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir).parent / "benchmarks"
        results = (folder / "README.md").read_text(encoding="utf-8").partition("<!-- results -->")[2]
        results = results.partition("<!-- /results -->")[0].strip()
        if not results:
            return self.parse_text_to_nodes("There are no results yet: `make bench` writes them here.\n")
        picture = (
            "![Beside other servers](../../benchmarks/results.svg)\n\n" if (folder / "results.svg").exists() else ""
        )
        return self.parse_text_to_nodes(picture + results + "\n", allow_section_headings=True)


class ClusterResults(SphinxDirective):
    """One part of what ``python -m benchmarks.cluster`` has written, by its heading."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        text = (Path(self.env.srcdir).parent / "benchmarks" / "README.md").read_text(encoding="utf-8")
        written = text.partition("<!-- cluster -->")[2].partition("<!-- /cluster -->")[0]
        parts = dict(part.split("\n", 1) for part in written.split("\n### ")[1:])
        if written.strip() and self.arguments[0] not in parts:
            raise self.error(f"no part {self.arguments[0]!r} among {sorted(parts)}")
        part = parts.get(
            self.arguments[0], "There are no results yet: `python -m benchmarks.cluster` writes them here."
        )
        return self.parse_text_to_nodes(part.strip() + "\n")


class CommandHelp(SphinxDirective):
    """What every command answers to ``--help``, a section for each."""

    def run(self) -> list[nodes.Node]:
        group: Any = typer.main.get_command(program.app)
        paths = list(_commands(group, ("xmlsocket",)))
        parts = [
            f"## {' '.join(path)}\n\n```text\n{text}\n```\n" for path, text in zip(paths, _help_of(paths), strict=True)
        ]
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*path, name))


_PRINT_HELP = """
import json, sys
from xmlsocket.cli.program import run
for path in json.loads(sys.argv[1]):
    run([*path[1:], "--help"])
    print(end="\\0")
"""


def _help_of(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Have all commands print their help, in one process: most of the time goes into starting one."""
    environment = {**os.environ, "COLUMNS": "90", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", _PRINT_HELP, json.dumps(paths)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    texts = answer.stdout.split("\0")[:-1]
    return ["\n".join(line.rstrip() for line in text.strip().splitlines()) for text in texts]


def resolve_by_public_name(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find what an annotation calls by the module it is defined in under the name by which it is documented."""
    target = node.get("reftarget", "")
    domain = environment.domains["py"]
    if not target.startswith("xmlsocket.") or not isinstance(domain, PythonDomain):
        return None
    name = target.rpartition(".")[2]
    known = [full for full in domain.objects if full.rpartition(".")[2] == name]
    if not known or app.builder is None:
        return None
    found: Any = domain.resolve_xref(
        environment, node["refdoc"], app.builder, "obj", min(known, key=len), node, content
    )
    return found if isinstance(found, nodes.reference) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("limits-tables", LimitsTables)
    app.add_directive("error-tree", ErrorTree)
    app.add_directive("error-classes", ErrorClasses)
    app.add_directive("close-reasons", CloseReasons)
    app.add_directive("log-texts", LogTexts)
    app.add_directive("metrics-tables", MetricsTables)
    app.add_directive("benchmark-results", BenchmarkResults)
    app.add_directive("cluster-results", ClusterResults)
    app.add_directive("command-help", CommandHelp)
    app.connect("missing-reference", resolve_by_public_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
