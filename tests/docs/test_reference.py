"""The reference is complete, and builds without a warning."""

from __future__ import annotations

import html
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.page import ROOT

import xmlsocket
from xmlsocket import limits

DOCS = ROOT / "docs"
LIMIT_SETS = [cls for cls in vars(limits).values() if isinstance(cls, type) and limits.LimitSet in cls.__bases__]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The documentation, built, and the warnings."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--nitpicky",
        "--quiet",
        "-d",
        str(folder / ".doctrees"),
        str(DOCS),
        str(folder),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder, ran.stderr


@pytest.fixture(scope="module")
def site(built: tuple[Path, str]) -> Path:
    """The documentation, built."""
    return built[0]


def test_the_documentation_builds_without_a_warning(built: tuple[Path, str]) -> None:
    assert built[1] == ""


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """The names that the reference describes."""
    lines = subprocess.run(
        [sys.executable, "-m", "sphinx.ext.intersphinx", str(site / "objects.inv")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return {line.split()[0] for line in lines if line.startswith("    xmlsocket")}


@pytest.mark.parametrize("module", ["xmlsocket", "xmlsocket.net", "xmlsocket.rooms", "xmlsocket.wire"])
def test_every_public_name_is_in_the_reference(module: str, documented: set[str]) -> None:
    names = importlib.import_module(module).__all__
    missing = [name for name in names if not documented & {f"{module}.{name}", f"xmlsocket.{name}"}]
    assert [name for name in missing if not _is_value(module, name)] == []


def _is_value(module: str, name: str) -> bool:
    """Whether it is a constant or an alias of types; what those mean is said where they are used."""
    value = getattr(importlib.import_module(module), name)
    return not (inspect.isclass(value) or inspect.isroutine(value))


@pytest.mark.parametrize(
    "cls", [xmlsocket.Connection, xmlsocket.Server, xmlsocket.Handler, xmlsocket.Room, xmlsocket.Rooms]
)
def test_every_public_member_is_in_the_reference(cls: type, documented: set[str]) -> None:
    protocol = {
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    }
    names = {name for name in vars(cls) if not name.startswith("_")} - protocol
    assert {name for name in names if f"xmlsocket.{cls.__name__}.{name}" not in documented} == set()


@pytest.mark.parametrize("limit_set", LIMIT_SETS)
def test_every_limit_is_in_the_reference(limit_set: type[limits.LimitSet], site: Path) -> None:
    page = (site / "reference" / "limits.html").read_text(encoding="utf-8")
    assert [limit.name for limit in limit_set.describe() if f">{limit.name}<" not in page] == []


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    for command in ("serve", "connect", "send", "policy lint"):
        assert f"xmlsocket {command}" in page


def test_what_the_reference_says_of_log_events_is_logged(site: Path) -> None:
    described = set(
        re.findall(r"^\| [A-Z]+ \| `(.*?)` \|", (DOCS / "reference" / "logging.md").read_text(), re.MULTILINE)
    )
    everything = html.unescape((site / "reference" / "logging.html").read_text(encoding="utf-8")).partition(
        "All of them"
    )
    shown = re.sub(r"<[^>]+>", "", everything[2])
    assert [text for text in described if text not in shown] == []
