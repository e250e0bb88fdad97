"""What the benchmarks say of their figures: the bounds, the words, the table and the picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.contestants import CONTESTANTS
from benchmarks.scenarios import SCENARIOS
from benchmarks.summary import Summary
from benchmarks.targets import TARGETS, Target
from benchmarks.trial import Trial

from benchmarks import picture, report

README = Path(report.__file__).with_name("README.md")


def make_trial(
    scenario: str,
    contestant: str,
    *,
    rate: float = 1000.0,
    number: int = 0,
    others: float = 0.0,
    memory: float | None = None,
) -> Trial:
    return Trial(
        scenario=scenario,
        contestant=contestant,
        round=number,
        messages=1000,
        seconds=1.0,
        rate=rate,
        latency_p50_us=100.0,
        latency_p99_us=200.0,
        client_cpu=0.5,
        server_cost_us=5.0,
        memory_kib=memory,
        others=others,
    )


def make_everything() -> Summary:
    return Summary(
        [
            make_trial(scenario.name, name, memory=1.5 if scenario.is_idle else None)
            for scenario in SCENARIOS
            for name in scenario.servers
        ]
    )


def test_scenarios_and_targets_name_only_what_exists() -> None:
    measured = {(scenario.name, name) for scenario in SCENARIOS for name in scenario.servers}
    assert {name for _, name in measured} == set(CONTESTANTS)
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    for target in TARGETS:
        assert (target.scenario, target.contestant) in measured
        if target.measure not in ("rate", "memory"):
            assert (target.scenario, target.measure) in measured


@pytest.mark.parametrize(
    ("must", "aim", "value", "verdict"),
    [
        (0.5, 0.7, 0.70, "aim met"),
        (0.5, 0.7, 0.69, "met"),
        (0.5, 0.7, 0.50, "met"),
        (0.5, 0.7, 0.49, "missed"),
        (0.5, None, 0.60, "met"),
        (None, 1.0, 0.99, "aim missed"),
        (0.5, 0.7, None, "not measured"),
    ],
)
def test_a_rate_is_judged_by_its_bounds(
    must: float | None, aim: float | None, value: float | None, verdict: str
) -> None:
    assert Target("echo-64x1", "handler", "c", must, aim).judge(value) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(2.0, "aim met"), (2.5, "met"), (3.0, "met"), (3.01, "missed")])
def test_of_memory_less_is_better(value: float, verdict: str) -> None:
    assert Target("idle-5000", "handler", "memory", 3.0, 2.0).judge(value) == verdict


def test_a_ratio_compares_servers_of_the_same_round() -> None:
    rates = {"c": [100.0, 1000.0, 10.0], "handler": [50.0, 600.0, 9.0]}
    summary = Summary(
        [
            make_trial("echo-64x1", name, rate=rate, number=number)
            for name, every in rates.items()
            for number, rate in enumerate(every)
        ]
    )
    assert summary.find_ratio("echo-64x1", "handler", "c") == pytest.approx(0.6)
    assert summary.find_ratio("echo-64x1", "handler", "node") is None


def test_disturbed_trials_count_only_where_there_are_no_others() -> None:
    summary = Summary(
        [
            make_trial("echo-64x1", "c", rate=100.0),
            make_trial("echo-64x1", "c", rate=10.0, number=1, others=0.8),
            make_trial("echo-64x1", "node", rate=10.0, others=0.8),
        ]
    )
    undisturbed, disturbed = summary.find_cell("echo-64x1", "c"), summary.find_cell("echo-64x1", "node")
    assert undisturbed is not None
    assert disturbed is not None
    assert (undisturbed.rate, undisturbed.disturbed) == (100.0, 1)
    assert (disturbed.rate, disturbed.disturbed) == (10.0, 1)


def test_the_report_names_what_was_missed_and_what_failed() -> None:
    summary = Summary([make_trial("echo-64x1", "c"), make_trial("echo-64x1", "handler", rate=400.0)])
    text = report.write_report(summary, {"python": "3.11"}, ["echo-64x1, Twisted: lost: message 7"])
    assert "| 0.40 x | **missed** |" in text
    assert "**1 runs failed**" in text
    assert "- **Failed:** echo-64x1, Twisted: lost: message 7" in text
    assert "none lost" not in text


def test_the_report_shows_every_scenario_that_was_measured() -> None:
    text = report.write_report(make_everything(), {"python": "3.11"}, [])
    for scenario in SCENARIOS:
        assert f"| {scenario.title} |" in text
    assert "none lost, repeated, reordered or altered" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(6_214_000, "6.21M"), (101_935, "102k"), (4980.4, "4,980"), (12.34, "12.3"), (0.2449, "0.24"), (0, "0.00")],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert report.write_number(value) == text


def test_the_picture_is_well_formed_for_all_and_for_nothing() -> None:
    for summary in (make_everything(), Summary([])):
        root = ElementTree.fromstring(picture.draw(summary, {"processor": "A & B <fast>"}))
        assert root.tag.endswith("svg")
    text = picture.draw(make_everything(), {})
    assert "prefers-color-scheme: dark" in text
    assert text.count('class="title"') == 8


def test_figures_go_between_their_markers_only(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("above\n<!-- results -->\nold\n<!-- /results -->\nbelow\n")
    report.put_between_markers(path, "results", "new")
    report.put_between_markers(path, "results", "newer")
    assert path.read_text() == "above\n<!-- results -->\n\nnewer\n\n<!-- /results -->\nbelow\n"
    with pytest.raises(ValueError, match="has no lines <!-- other -->"):
        report.put_between_markers(path, "other", "new")


def test_the_readme_has_a_place_for_both_tables() -> None:
    text = README.read_text()
    for name in ("results", "why-a-socket"):
        assert f"<!-- {name} -->\n" in text
        assert f"<!-- /{name} -->" in text
