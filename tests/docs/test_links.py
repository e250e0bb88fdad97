"""Links between the files of the repository lead somewhere. Those within ``docs`` are Sphinx's business as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.page import PAGES, ROOT

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"there is no {target}"
        # Some headings are made when the documentation is built, and Sphinx looks at links to them.
        is_generated = "-tables}" in file.read_text(encoding="utf-8") if anchor else False
        assert not anchor or is_generated or anchor in _anchors(file), f"there is no heading {anchor} in {file.name}"


def test_no_page_names_a_place_that_is_only_here() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|root|Users)/", text), f"{page}: a path of somebody's machine"
