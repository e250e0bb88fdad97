"""Modules and functions stay small, packages say what they are, and what is public is written down."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import xmlsocket
from xmlsocket import CloseReason, errors

ROOT = Path(xmlsocket.__file__).parent
MODULES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))

DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def is_overload(node):
    return any(getattr(decorator, "id", None) == "overload" for decorator in node.decorator_list)


LONGEST_MODULE = 400
LONGEST_FUNCTION = 40
LONGER_FOR_A_REASON = {
    "limits.py": "a table with a reason for each line",
    "net/connection.py": "the hot path: what a call into another module costs is measured there",
}


def code_lines(source: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body; its docstring, its signature, comments and blank lines not counted."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    lines = source.splitlines()[body[0].lineno - 1 : node.end_lineno]
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def test_modules_and_functions_stay_small():
    long = []
    for name, path in MODULES.items():
        source = path.read_text("utf-8")
        lines = source.splitlines()
        if len(lines) > LONGEST_MODULE and name not in LONGER_FOR_A_REASON:
            long.append(f"{name}: {len(lines)} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if code_lines(source, node) > LONGEST_FUNCTION:
                    long.append(f"{name}:{node.lineno} {node.name}: {code_lines(source, node)} lines")
    assert long == []


def test_no_module_is_a_place_for_everything():
    forbidden = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    assert not forbidden & {part for path in MODULES.values() for part in path.relative_to(ROOT).with_suffix("").parts}


def test_every_public_class_and_function_of_a_module_has_a_docstring():
    silent = []
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, DEFINITION) and not node.name.startswith("_") and not is_overload(node):
                if ast.get_docstring(node) is None:
                    silent.append(f"{name}: {node.name}")
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_knows_does_not_know_and_may_import(package):
    lines = (inspect.getdoc(importlib.import_module(f"xmlsocket.{package}")) or "").splitlines()
    assert lines[0].endswith(".")
    text = "\n".join(lines[1:])
    assert re.search(r"^Knows: .+^Does not know: .+^May import: .+Start reading at ``", text, re.DOTALL | re.MULTILINE)
    start = re.findall(r"``(\w+\.py)``", text)
    assert start
    assert all((ROOT / package / name).exists() for name in start)


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


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_what_a_package_exports_is_listed_once_and_has_a_docstring(package):
    module = importlib.import_module(f"xmlsocket.{package}".rstrip("."))
    assert len(set(module.__all__)) == len(module.__all__) > 0
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name} has no docstring"


def test_the_drawing_of_the_exceptions_is_their_tree():
    drawn: dict[str, tuple[str, ...]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.fullmatch(r" {4}([│├└─ ]*)(\w+)(?: \((\w+)\))?", line):
            del above[len(match[1]) // 4 :]
            drawn[match[2]] = tuple(above[-1:] + ([match[3]] if match[3] else []))
            above.append(match[2])
    classes = {
        name: tuple(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert drawn.pop("XMLSocketError") == ()
    assert classes.pop("XMLSocketError") == ("Exception",)
    assert drawn == classes


def test_every_reason_for_the_end_of_a_connection_has_a_sentence_of_its_own():
    sentences = [reason.value for reason in CloseReason]
    assert len(set(sentences)) == len(CloseReason.__members__)
    assert not [sentence for sentence in sentences if sentence.endswith(".") or sentence[0].isupper()]
