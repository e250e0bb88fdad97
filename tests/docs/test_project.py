"""The files around the code fit together."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.docs.page import ROOT, blocks_of

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_one_exact_version_for_each_system_and_no_address(lock: Path) -> None:
    for line in lock.read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][^\s/]*( ; .+)?", line), line


def test_the_locks_agree_with_each_other() -> None:
    everything = set((ROOT / "requirements" / "all.txt").read_text().splitlines())
    for lock in LOCKS:
        versions = {line.partition(" ;")[0] for line in lock.read_text().splitlines()}
        assert versions <= {line.partition(" ;")[0] for line in everything}, lock.name


def test_the_locks_have_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = {re.split("[ =]", line)[0] for line in (ROOT / "requirements" / "all.txt").read_text().splitlines()}
    wanted = [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    names = {re.split(r"[\[<>=; ]", item)[0] for group in wanted for item in group if isinstance(item, str)}
    assert {name.lower().replace("_", "-") for name in names} - {"xmlsocket"} <= locked


def test_make_names_its_targets() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split()) - {"help"}
    told = set(re.findall(r"make (\w+)", text.partition("help:\n")[2].partition("\n\n")[0]))
    assert phony == told


def test_the_library_needs_nothing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == []


_SKIPPING = """
import pytest

def test_that_is_skipped():
    pytest.skip("no browser here")

@pytest.mark.skipif(True, reason="not on this system")
def test_that_is_marked():
    pass

@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False
"""


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_in_ci_a_skipped_test_is_a_failure(ci: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "test_skipping.py").write_text(_SKIPPING)
    monkeypatch.setenv("CI", ci)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_skipping.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == code, ran.stdout
    if ci:
        assert "skipped, which CI does not allow: no browser here" in ran.stdout


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "tutorial").glob("*.md")), ids=lambda page: page.name)
def test_the_programs_of_the_tutorial_are_examples(page: Path) -> None:
    for block in blocks_of(page):
        if block.role == "program":
            _, code = (ROOT / "examples" / block.name).read_text(encoding="utf-8").split("\n\n", 1)
            assert code == block.code, f"examples/{block.name} and {page.name} differ"
