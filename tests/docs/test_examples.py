"""What the documentation shows works as shown."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from tests.docs.page import PAGES, ROOT, PageRun, blocks_of

WITH_CODE = [page for page in PAGES if any(True for _ in blocks_of(page))]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_CODE, ids=_name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(PageRun(page, tmp_path).run())


@pytest.mark.parametrize("page", WITH_CODE, ids=_name)
def test_every_shell_command_of_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in blocks_of(page):
        assert block.language != "sh", f"line {block.line}: write shell commands as a console block, with $ before each"
        for command in block.commands if block.language == "console" else ():
            words = shlex.split(command, comments=True)
            if words[:1] == ["make"]:
                assert words[1] in targets, f"line {block.line}: no such target"


def test_every_block_of_code_is_found() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = sum(block.role != "hidden" for block in blocks_of(page))
        fences = len(re.findall(r"^ *```[a-z]+$", text, re.MULTILINE))
        assert found == fences, f"{_name(page)}: {found} blocks of code found, {fences} fences seen"
        markers = len(re.findall(r"^<!-- (?:program|script|file|output|start|run|hidden)\b", text, re.MULTILINE))
        used = sum(bool(block.role) for block in blocks_of(page))
        assert used == markers, f"{_name(page)}: a comment does not stand just above its block"
