"""The figures as text: a line for each trial, tables for the whole, and where they stand in the README."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .contestants import CONTESTANTS
from .scenarios import SCENARIOS, Scenario
from .summary import QUIET, SATURATED, Cell, Summary
from .targets import TARGETS, Target
from .trial import Trial

_TITLES = {scenario.name: scenario.title for scenario in SCENARIOS}
_PLACES = {"websocket": "WebSocket", "gateway": "gateway", "kept": "kept"}
# Title, scenarios whose names begin so, and the server that the others are compared with.
_GROUPS = (
    ("Echo, ASCII text, messages a second", ("echo-",), "c"),
    ("Echo, non-ASCII text (Cyrillic and ideographs among the ASCII), messages a second", ("text-",), "c"),
    ("Rooms, deliveries a second", ("relay-",), "c"),
    ("Connections a second", ("churn", "policy"), "c"),
    ("WebSocket, messages, deliveries or connections a second", ("websocket-",), "c-ws"),
    ("Gateways, messages or connections a second", ("gateway-",), "node-gateway"),
    ("Kept room, deliveries a second", ("kept-",), "room-memory"),
)
_IDLE = (("idle-",), ("websocket-idle",), ("gateway-idle",))
_FIGURES = {"rate": "", "thrift": "per CPU second", "latency": "99 % latency", "memory": "memory"}


def write_number(value: float) -> str:
    """Write three digits that mean something: 6.21M, 102k, 4,980, 12.3, 0.24."""
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    if value >= 1e4:
        return f"{value / 1e3:.0f}k"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table: the first column to the left, the others to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_trial(trial: Trial, scenario: Scenario) -> str:
    """Say in one line of progress what a trial showed."""
    parts = [
        f"{write_number(trial.rate):>6} {scenario.unit}/s",
        f"{write_number(trial.server_cost_us):>5} us of server CPU",
    ]
    if trial.memory_kib is not None:
        parts.append(f"{trial.memory_kib:.2f} KiB each")
    else:
        parts.append(f"p50 {write_number(trial.latency_p50_us)} us, p99 {write_number(trial.latency_p99_us)} us")
    parts.append(f"load at {trial.client_cpu:.0%}")
    if trial.others > QUIET:
        parts.append(f"disturbed: others took {trial.others:.2f} cores")
    return ", ".join(parts)


def list_choices(missing: Mapping[str, str]) -> str:
    """Name the scenarios and the servers."""
    lines = ["scenarios:"]
    lines += [f"  {scenario.name:<20}{scenario.title} ({', '.join(scenario.servers)})" for scenario in SCENARIOS]
    lines += ["servers:"]
    lines += [
        f"  {contestant.name:<14}{contestant.title}{f' - left out: {missing[name]}' if name in missing else ''}"
        for name, contestant in CONTESTANTS.items()
    ]
    return "\n".join(lines)


def _write_bound(target: Target, bound: float | None) -> str:
    if bound is None:
        return "-"
    sign = "<=" if target.is_ceiling else ">="
    if not target.is_ratio:
        return f"{sign} {bound:g} KiB" if target.measure == "memory" else f"{sign} {write_number(bound)}/s"
    times = f"1/{1 / bound:.0f} of" if bound < 0.01 else f"{bound:g} x"
    if target.beside:
        return f"{sign} {times} {_TITLES[target.beside]}"
    return f"{sign} {times} {CONTESTANTS[target.measure].title}"


def _write_value(target: Target, value: float | None) -> str:
    if value is None:
        return "-"
    if target.is_ratio:
        return f"1/{1 / value:,.0f}" if 0 < value < 0.01 else f"{value:.2f} x"
    return f"{value:.2f} KiB" if target.measure == "memory" else f"{write_number(value)}/s"


def _name_target(target: Target) -> str:
    place = _PLACES.get(target.scenario.partition("-")[0])
    figure = _FIGURES[target.figure]
    return f"{place + ': ' if place else ''}{_TITLES[target.scenario]}{', ' + figure if figure else ''}"


def _write_targets(summary: Summary) -> str:
    rows = []
    for target in TARGETS:
        value = target.find_value(summary)
        if value is None:
            continue
        verdict = target.judge(value)
        rows.append(
            [
                _name_target(target),
                CONTESTANTS[target.contestant].title,
                _write_bound(target, target.must),
                _write_bound(target, target.aim),
                _write_value(target, value),
                f"**{verdict}**" if "missed" in verdict else verdict,
            ]
        )
    return write_table(["scenario", "server", "must", "aim", "measured", "verdict"], rows)


def _grid(
    summary: Summary, prefixes: tuple[str, ...], write: Callable[[str, str, Cell], str], *, idle: bool = False
) -> str:
    """One row for each scenario of a group, one column for each server that was measured in any of them."""
    scenarios = [
        scenario.name for scenario in SCENARIOS if scenario.name.startswith(prefixes) and scenario.is_idle == idle
    ]
    measured = {(s, c): cell for s in scenarios for c in CONTESTANTS if (cell := summary.find_cell(s, c))}
    columns = [name for name in CONTESTANTS if any(contestant == name for _, contestant in measured)]
    rows = [
        [_TITLES[s], *(write(s, c, measured[s, c]) if (s, c) in measured else "-" for c in columns)]
        for s in scenarios
        if any(scenario == s for scenario, _ in measured)
    ]
    return write_table(["", *(CONTESTANTS[name].title for name in columns)], rows) if rows else ""


def _name_reference(name: str) -> str:
    return "the C server's" if name in ("c", "c-ws") else f"those of {CONTESTANTS[name].title}"


def _write_rates(summary: Summary) -> list[str]:
    def write_beside(reference: str) -> Callable[[str, str, Cell], str]:
        def write(scenario: str, contestant: str, cell: Cell) -> str:
            mark = "†" if cell.client_cpu >= SATURATED and scenario != "echo-1" else ""
            ratio = summary.find_ratio(scenario, contestant, reference)
            beside = f" ({ratio:.2f})" if ratio is not None and contestant != reference else ""
            return f"{write_number(cell.rate)}{mark}{beside}"

        return write

    return [
        f"**{title}** (and how many times {_name_reference(reference)})\n\n{table}"
        for title, prefixes, reference in _GROUPS
        if (table := _grid(summary, prefixes, write_beside(reference)))
    ]


def _write_costs(summary: Summary) -> list[str]:
    def write_beside(reference: str) -> Callable[[str, str, Cell], str]:
        def write(scenario: str, contestant: str, cell: Cell) -> str:
            ratio = summary.find_cost_ratio(scenario, contestant, reference)
            beside = f" ({ratio:.2f})" if ratio is not None and contestant != reference else ""
            return f"{write_number(cell.cost_us)}{beside}"

        return write

    prefixes: dict[str, tuple[str, ...]] = {}
    for _, group, reference in _GROUPS:
        prefixes[reference] = prefixes.get(reference, ()) + group
    kinds = {
        "c": "",
        "c-ws": ", WebSocket",
        "node-gateway": ", gateways and their children",
        "room-memory": ", kept room",
    }
    return [
        f"**Processor time of the server for one message, delivery or connection, in microseconds{kinds[reference]}** "
        f"(and how many times {_name_reference(reference)}: less is better)\n\n{table}"
        for reference, group in prefixes.items()
        if (table := _grid(summary, group, write_beside(reference)))
    ]


def _write_latencies(summary: Summary) -> list[str]:
    def write(scenario: str, contestant: str, cell: Cell) -> str:
        return f"{write_number(cell.latency_p50_us)} / {write_number(cell.latency_p99_us)}"

    kinds = (("echo-", "relay-", "churn"), ("websocket-",), ("gateway-",), ("kept-",))
    names = ("", ", WebSocket", ", gateways", ", kept room")
    return [
        f"**Latency, median / 99th percentile, in microseconds{name}** (full load: mostly time in queues)\n\n{table}"
        for name, prefixes in zip(names, kinds, strict=True)
        if (table := _grid(summary, prefixes, write))
    ]


def _write_idle(summary: Summary) -> list[str]:
    def write(scenario: str, contestant: str, cell: Cell) -> str:
        return f"{cell.memory_kib:.2f}" if cell.memory_kib is not None else "-"

    names = ("idle connection", "idle WebSocket connection", "idle client of a gateway, processes and all")
    memory = [
        f"**Resident memory of one {name}, in KiB** (the kernel's own not counted)\n\n{table}"
        for name, prefixes in zip(names, _IDLE, strict=True)
        if (table := _grid(summary, prefixes, write, idle=True))
    ]
    accepts = _grid(summary, ("idle-5000", "idle-10000"), lambda s, c, cell: write_number(cell.rate), idle=True)
    beside = f"**Accepted connections a second, each with a message there and back**\n\n{accepts}" if accepts else ""
    return [*memory, beside]


def _write_frames(summary: Summary) -> str:
    """Which servers sent frames that are not one whole message each, and how many of them."""
    odd: dict[str, tuple[int, int]] = {}
    for trial in summary.trials:
        frames, bad = odd.get(trial.contestant, (0, 0))
        if trial.frames:
            odd[trial.contestant] = (frames + trial.frames, bad + trial.odd_frames)
    if not odd:
        return ""
    faulty = [f"{CONTESTANTS[name].title} {bad / frames:.1%}" for name, (frames, bad) in odd.items() if bad]
    total = sum(frames for frames, _ in odd.values())
    return f"- {total:,} WebSocket frames came from servers; those that do not hold exactly one whole message: " + (
        ", ".join(faulty) + ", of all others none." if faulty else "none."
    )


def _write_notes(summary: Summary, failures: Sequence[str]) -> str:
    disturbed = sum(trial.others > QUIET for trial in summary.trials)
    count = len(summary.trials)
    lines = [
        f"- {count} runs, {sum(trial.messages for trial in summary.trials):,} messages checked: "
        + (
            "none lost, repeated, reordered or altered."
            if not failures
            else f"**{len(failures)} runs failed**, see below."
        ),
        f"- In {disturbed} of {count} runs other programs took more than {QUIET:.1f} cores; a figure with undisturbed "
        "runs rests on those alone. Ratios are medians over the rounds, so they are not always the quotient of two "
        "medians.",
        f"- † The load generator itself was busy for {SATURATED:.0%} of the time or more: the server could perhaps do "
        "more, and the cost in processor time is the better comparison.",
        _write_frames(summary),
        *(f"- **Failed:** {' '.join(failure.split())}" for failure in failures),
    ]
    return "\n".join(line for line in lines if line)


def write_report(summary: Summary, facts: Mapping[str, str], failures: Sequence[str]) -> str:
    """Write everything, in Markdown."""
    parts = [
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "### Promised and measured",
        _write_targets(summary),
        "### All figures",
        *_write_rates(summary),
        *_write_costs(summary),
        *_write_latencies(summary),
        *_write_idle(summary),
        _write_notes(summary, failures),
    ]
    return "\n\n".join(part for part in parts if part)


def put_between_markers(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        ValueError: The file has no such markers.
    """
    before, begin, rest = path.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not begin or not end:
        raise ValueError(f"{path.name} has no lines <!-- {name} --> and <!-- /{name} --> to put the figures between")
    path.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")
