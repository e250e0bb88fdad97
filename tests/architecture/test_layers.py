"""Layers import downwards only: the table of the design, read from the imports themselves; and any may come first."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import xmlsocket

ROOT = Path(xmlsocket.__file__).parent

LAYERS = {
    "errors": set(),
    "limits": {"errors"},
    "wire": {"errors", "limits"},
    "policy": {"errors", "limits"},
    "net": {"errors", "limits", "wire", "policy"},
    "rooms": {"errors", "limits", "wire"},
    "sync": {"errors", "limits", "wire", "net"},
    "flash": {"errors", "limits", "wire", "policy", "net"},
    "gateway": {"errors", "limits", "wire", "policy", "net", "rooms"},
    "apps": {"errors", "limits", "wire", "policy", "net", "rooms"},
    "operations": {"errors", "limits", "wire", "policy", "net", "rooms"},
}
"""Who may import whom, beside itself. ``cli`` and ``xmlsocket`` itself may import everything."""

PURE = ("errors", "limits", "wire", "policy")
IMPURE_MODULES = {"asyncio", "logging", "multiprocessing", "select", "selectors", "socket", "ssl", "threading", "time"}


def imports(path: Path) -> Iterator[str]:
    """The absolute name of everything that a module imports anywhere in it."""
    package = ["xmlsocket", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


NAMES = [
    ".".join(("xmlsocket", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__main__.py"
]
MODULES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}


def test_every_package_has_a_place_among_the_layers():
    assert {layer_of(path) for path in MODULES.values()} - {"__init__", "__main__", "cli"} == set(LAYERS)


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if layer_of(path) in LAYERS])
def test_a_module_imports_only_from_layers_below_it(name):
    path = MODULES[name]
    own = layer_of(path)
    used = {imported.split(".")[1] for imported in imports(path) if imported.startswith("xmlsocket.")}
    assert used - {own} <= LAYERS[own]


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if layer_of(path) in PURE])
def test_the_pure_core_knows_no_sockets_clocks_tasks_or_logs(name):
    assert not {imported.split(".")[0] for imported in imports(MODULES[name])} & IMPURE_MODULES


def test_importing_the_library_brings_in_nothing_beyond_the_standard_library():
    code = (
        "import sys; known = set(sys.modules); import xmlsocket, xmlsocket.flash, xmlsocket.policy, xmlsocket.sync\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - known} - {'xmlsocket'}\n"
        "print(*sorted(new - sys.stdlib_module_names))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


# Importing any module begins with the package itself, so what that loads is there first in every process.
IMPORT_ALONE = """
import importlib, sys, traceback

import xmlsocket
first = set(sys.modules)
for name in sys.argv[1:]:
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("xmlsocket.") and loaded not in first]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ImportError:
        traceback.print_exc()
        print(name)
"""


def test_every_module_can_be_the_first_that_is_imported():
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALONE, *NAMES], capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.returncode) == ("", 0), found.stderr


def test_only_the_command_line_prints():
    printing = [
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    ]
    assert printing == []
