from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_promises_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "explanation" / "promises.md").read_text()))
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        found |= set(re.findall(r"def (test_\w+)\(", path.read_text("utf-8")))
    assert len(named) > 20
    assert named - found == set()


def test_every_promise_names_a_test() -> None:
    text = (ROOT / "docs" / "explanation" / "promises.md").read_text()
    table = text[text.index("| order |") : text.index("A node is a process")].strip().splitlines()
    cells = [cell.strip() for row in table for cell in row.strip("|").split("|")[1:]]
    notes = dict(re.findall(r"^\[\^([\w-]+)\]: (.*)$", text, re.MULTILINE))
    for cell in cells:
        assert cell in ("none", "same") or notes[re.search(r"\[\^([\w-]+)\]$", cell)[1]].startswith("`test_"), cell
