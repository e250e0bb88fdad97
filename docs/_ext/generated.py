"""Parts of the reference that are written from the code, so that they cannot differ from it.

Directives: ``limits-table CLASS``, ``error-tree``, ``error-classes``, ``close-reasons``, ``command-help COMMAND...``.
"""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.domains.python import PythonDomain
from sphinx.util.docutils import SphinxDirective

import xmlsocket
from xmlsocket import CloseReason, errors, limits

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class LimitsTable(SphinxDirective):
    """A table of the limits that one class of ``xmlsocket.limits`` declares."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        limit_set: type[limits.LimitSet] = getattr(limits, self.arguments[0])
        rows = ["| limit | default | why |", "| --- | --- | --- |"]
        for limit in limit_set.describe():
            rows.append(f"| `{limit.name}` | {_default(limit)} | {_sentence(limit.why)} |")
        return self.parse_text_to_nodes("\n".join(rows) + "\n")


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
            f".. autoexception:: {'xmlsocket' if hasattr(xmlsocket, cls.__name__) else 'xmlsocket.errors'}.{cls.__name__}"
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


class CommandHelp(SphinxDirective):
    """What a command answers to ``--help``."""

    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        beside_python = os.path.dirname(sys.executable)
        program = shutil.which("xmlsocket", path=beside_python) or "xmlsocket"
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
        answer = subprocess.run(
            [program, *self.arguments, "--help"], capture_output=True, text=True, check=True, env=environment
        )
        text = "\n".join(line.rstrip() for line in answer.stdout.strip().splitlines())
        return [nodes.literal_block(text=text, language="text")]


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
    app.add_directive("limits-table", LimitsTable)
    app.add_directive("error-tree", ErrorTree)
    app.add_directive("error-classes", ErrorClasses)
    app.add_directive("close-reasons", CloseReasons)
    app.add_directive("command-help", CommandHelp)
    app.connect("missing-reference", resolve_by_public_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
