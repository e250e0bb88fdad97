"""Modules can be imported alone and in any order, and say what they export in one sorted list."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import xmlsocket
from xmlsocket import CloseReason

ROOT = Path(xmlsocket.__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
NAMES = sorted(
    ".".join(("xmlsocket", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name != "__main__.py"
)

DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def is_overload(node):
    return any(getattr(decorator, "id", None) == "overload" for decorator in node.decorator_list)


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


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_the_list_of_exports_is_literal_sorted_and_true(package):
    module = importlib.import_module(f"xmlsocket.{package}".rstrip("."))
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    lists = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__"
    ]
    assert lists == [module.__all__]
    # Constants, then classes, then functions and modules, as ruff sorts them.
    assert module.__all__ == sorted(
        module.__all__, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
    )
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    bound |= {
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    bound |= {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    assert set(module.__all__) <= bound


def test_only_the_command_line_prints():
    printing = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    ]
    assert printing == []


def test_no_module_is_a_place_for_everything():
    forbidden = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    assert not forbidden & {part for name in NAMES for part in name.split(".")}


def test_every_public_class_and_function_of_a_module_has_a_docstring():
    silent = []
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, DEFINITION) and not node.name.startswith("_") and not is_overload(node):
                if ast.get_docstring(node) is None:
                    silent.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert silent == []


def test_every_reason_for_the_end_of_a_connection_has_a_sentence_of_its_own():
    sentences = [reason.value for reason in CloseReason]
    assert len(set(sentences)) == len(CloseReason.__members__)
    assert not [sentence for sentence in sentences if sentence.endswith(".") or sentence[0].isupper()]
