"""The table of the linter's rules in the reference is complete and says the same as the linter."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from xmlsocket.policy import RULES, Severity, grant_rules, linting, site_rules

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
ROW = re.compile(r"^\| (SP\d{3}) \| ([a-z, ]+) \| (.+?) \| (.+) \|$", re.MULTILINE)
# Their rules come with the error that the parser raised, and are in the table of causes there.
RAISED = {"SP001", "SP002", "SP005", "SP006", "SP007", "SP010", "SP011", "SP013", "SP014"}


def rows() -> dict[str, tuple[set[str], str]]:
    return {
        rule: (set(severities.split(", ")), why.replace("\\", ""))
        for rule, severities, _, why in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }


def severities_in_the_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {rule: {"error"} for rule in RAISED}
    for module in (grant_rules, linting, site_rules):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Call):
                continue
            names = [part.value for part in node.args if isinstance(part, ast.Constant) and part.value in RULES]
            levels = [
                Severity[part.attr].value
                for part in node.args
                if isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "Severity"
            ]
            for name in names if levels else ():
                found.setdefault(name, set()).update(levels)
    return found


def test_every_rule_is_in_the_table_with_the_reason_that_the_linter_gives() -> None:
    assert {rule: why for rule, (_, why) in rows().items()} == dict(RULES)


def test_every_rule_is_in_the_table_with_its_severities() -> None:
    assert {rule: severities for rule, (severities, _) in rows().items()} == severities_in_the_code()
