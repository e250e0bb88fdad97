"""Measure xmlsocket beside its peers: ``python -m benchmarks.run`` (or ``make bench``).

A complete run writes its figures into ``README.md``, ``results.svg`` and ``results.json`` beside this file. With
``--quick`` or ``--only`` they are printed and nothing is written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import machine, picture, processes, report
from .contestants import CONTESTANTS, MissingToolError, build_programs, find_missing
from .scenarios import SCENARIOS, Scenario
from .summary import Summary
from .trial import Trial, TrialError, run_trial

HERE = Path(__file__).parent


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of the main scenarios, under a minute")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="scenarios whose names begin so; may be repeated"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="rounds, each with every server (3)")
    parser.add_argument("--list", action="store_true", help="name the scenarios and the servers, measure nothing")
    return parser.parse_args(arguments)


def _choose(options: argparse.Namespace) -> list[Scenario]:
    chosen = [scenario for scenario in SCENARIOS if scenario.quick or not options.quick]
    if options.only:
        chosen = [scenario for scenario in SCENARIOS if scenario.name.startswith(tuple(options.only))]
    return chosen


def _plan(scenarios: list[Scenario], rounds: int, missing: dict[str, str]) -> list[tuple[int, Scenario, str]]:
    """Every server in every round, none always first."""
    plan = []
    for number in range(rounds):
        for scenario in scenarios:
            if number < scenario.most_rounds:
                servers = [name for name in scenario.servers if name not in missing]
                turn = number % len(servers)
                plan += [(number, scenario, name) for name in servers[turn:] + servers[:turn]]
    return plan


def _say(place: str, scenario: Scenario, name: str, outcome: str) -> None:
    print(f"{place}  {scenario.name:<19}{CONTESTANTS[name].title:<21}{outcome}", flush=True)


def _measure(plan: list[tuple[int, Scenario, str]], seconds: float, warm_up: float) -> tuple[list[Trial], list[str]]:
    trials: list[Trial] = []
    failures: list[str] = []
    started = time.monotonic()
    for done, (number, scenario, name) in enumerate(plan):
        left = (time.monotonic() - started) / done * (len(plan) - done) if done else 0
        place = f"[{done + 1:>{len(str(len(plan)))}}/{len(plan)}, {f'{left:.0f} s left' if done else 'begin':>10}]"
        try:
            trial = run_trial(scenario, CONTESTANTS[name], round_number=number, seconds=seconds, warm_up=warm_up)
        except TrialError as error:
            failures.append(f"{scenario.name}, {CONTESTANTS[name].title}: {error}")
            _say(place, scenario, name, f"FAILED: {error}")
        else:
            trials.append(trial)
            _say(place, scenario, name, report.describe_trial(trial, scenario))
    return trials, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report; 0 when no message was lost and every server held out."""
    options = _parse(arguments)
    missing = find_missing()
    if options.list:
        print(report.list_choices(missing))
        return 0
    scenarios = _choose(options)
    if not scenarios or options.runs < 1:
        print("nothing to measure: --only knows these names (python -m benchmarks.run --list):", file=sys.stderr)
        print(", ".join(scenario.name for scenario in SCENARIOS), file=sys.stderr)
        return 2
    try:
        build_programs()
    except MissingToolError as error:
        print(error, file=sys.stderr)
        return 2
    for name, reason in missing.items():
        print(f"{CONTESTANTS[name].title} is left out: {reason}")
    if not all(processes.choose_cores()):
        print("This machine gives one core: server and load share it, and the figures say little.")
    rounds, seconds, warm_up = (1, 0.4, 0.15) if options.quick else (options.runs, 1.0, 0.25)
    started = time.monotonic()
    trials, failures = _measure(_plan(scenarios, rounds, missing), seconds, warm_up)
    summary = Summary(trials)
    facts = {
        **machine.describe(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "rounds": f"{rounds} of {seconds:g} s, warm-up {warm_up:g} s, {time.monotonic() - started:.0f} s in all",
    }
    text = report.write_report(summary, facts, failures)
    print(f"\n{text}")
    if options.quick or options.only:
        print("\nA part of the whole: printed only. A complete run (no --quick, no --only) is what gets written down.")
    else:
        report.put_between_markers(HERE / "README.md", "results", text)
        (HERE / "results.svg").write_text(picture.draw(summary, facts))
        raw = {"facts": facts, "failures": failures, "trials": [dataclasses.asdict(trial) for trial in trials]}
        (HERE / "results.json").write_text(json.dumps(raw, indent=1) + "\n")
        print(f"\nWritten: {', '.join(f'benchmarks/{name}' for name in ('README.md', 'results.svg', 'results.json'))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
