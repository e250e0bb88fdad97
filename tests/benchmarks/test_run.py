"""The runner: who is measured when, what is written, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from benchmarks.contestants import Contestant
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.trial import Trial, TrialError

from benchmarks import run


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, str, str]]:
    """Let the runner measure nothing, and write into a directory of its own; return what it asked for."""
    asked: list[tuple[int, str, str]] = []

    def run_trial(scenario: Scenario, contestant: Contestant, *, round_number: int, **_: float) -> Trial:
        asked.append((round_number, scenario.name, contestant.name))
        if (scenario.name, contestant.name) == ("policy", "node"):
            raise TrialError("loadgen: connection 1: lost: closed after 3 of 89 bytes of the policy")
        return Trial(
            scenario.name, contestant.name, round_number, 1000, 1.0, 1000.0, 1.0, 2.0, 0.5, 5.0, 2.0, others=0.0
        )

    monkeypatch.setattr(run, "run_trial", run_trial)
    monkeypatch.setattr(run, "build_programs", lambda: None)
    monkeypatch.setattr(run, "find_missing", dict)
    shutil.copy(run.HERE / "README.md", tmp_path)
    monkeypatch.setattr(run, "HERE", tmp_path)
    return asked


def test_every_round_visits_all_servers_of_a_scenario_in_turn_and_none_is_always_first(
    measured: list[tuple[int, str, str]],
) -> None:
    assert run.main(["--only", "echo-64x1", "--runs", "3"]) == 0
    rounds = [[name for number, _, name in measured if number == r] for r in range(3)]
    assert all(sorted(names) == sorted(rounds[0]) for names in rounds)
    assert len({names[0] for names in rounds}) == 3


def test_a_complete_run_writes_table_picture_and_figures(
    measured: list[tuple[int, str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--runs", "1"]) == 1
    assert len(measured) == sum(len(scenario.servers) for scenario in SCENARIOS)
    readme = (tmp_path / "README.md").read_text()
    assert "### Promised and measured" in readme
    assert "**Failed:** policy, Node.js net: loadgen: connection 1: lost" in readme
    raw = json.loads((tmp_path / "results.json").read_text())
    assert len(raw["trials"]) == len(measured) - 1
    assert (tmp_path / "results.svg").read_text().startswith("<svg")
    assert "FAILED: loadgen: connection 1: lost" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--quick"], ["--only", "relay", "--runs", "1"]])
def test_a_part_is_printed_and_not_written(
    arguments: list[str], measured: list[tuple[int, str, str]], tmp_path: Path
) -> None:
    before = (tmp_path / "README.md").read_text()
    assert run.main(arguments) == 0
    assert measured
    assert (tmp_path / "README.md").read_text() == before
    assert not (tmp_path / "results.json").exists()


def test_a_name_that_is_no_scenario_is_answered_with_those_that_are(
    measured: list[tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--only", "nonsense"]) == 2
    assert not measured
    assert "echo-64x1, " in capsys.readouterr().err


def test_who_cannot_run_here_is_named_and_left_out(
    measured: list[tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "find_missing", lambda: {"node": "node is not installed"})
    assert run.main(["--only", "churn", "--runs", "1"]) == 0
    assert {name for _, _, name in measured} == {"c", "streams", "twisted", "handler", "coroutine", "daemon"}
    assert "Node.js net is left out: node is not installed" in capsys.readouterr().out
