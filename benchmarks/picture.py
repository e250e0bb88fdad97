"""The main figures as one SVG picture that suits light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from .contestants import CONTESTANTS
from .report import write_number
from .summary import Summary

_STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #3d4752; }
  .page { fill: #ffffff; stroke: #d9dee4; }
  .headline { font-size: 17px; font-weight: 600; fill: #14181d; }
  .title { font-size: 13px; font-weight: 600; fill: #14181d; }
  .name { text-anchor: end; }
  .ours { font-weight: 600; fill: #14181d; }
  .quiet { fill: #77818c; font-size: 11px; }
  .bar { fill: #b4bdc7; }
  .bar.ours { fill: #1769d2; }
  .bar.second { fill: #6aa5ec; }
  .track { fill: #f1f4f7; }
  .limit { stroke: #14181d; stroke-width: 1; stroke-dasharray: 2 3; opacity: .55; }
  @media (prefers-color-scheme: dark) {
    text { fill: #b5bfca; }
    .page { fill: #10151b; stroke: #2a323c; }
    .headline, .title, .ours { fill: #f0f4f8; }
    .quiet { fill: #86919d; }
    .bar { fill: #56616d; }
    .bar.ours { fill: #4c9bff; }
    .bar.second { fill: #2f68ad; }
    .track { fill: #1a212a; }
    .limit { stroke: #f0f4f8; }
  }
"""

_MARGIN = 28
_COLUMN = 440
_GAP = 36
_NAMES = 142
_TRACK = 190
_ROW = 21
_HEAD = 88
_WIDEST = 1.25
"""The track of a panel of ratios ends here; a longer bar is cut, its figure says how long it is."""


@dataclass(frozen=True, slots=True)
class _Panel:
    scenario: str
    title: str
    contestants: tuple[str, ...]
    is_memory: bool = False


_NAME_OF = {name: contestant.title for name, contestant in CONTESTANTS.items()} | {
    "handler": "xmlsocket Handler",
    "coroutine": "xmlsocket coroutine",
}
_ECHO = ("c", "handler", "coroutine", "node", "streams", "twisted")
_ROOM = ("c", "daemon", "node", "streams", "twisted")
_PANELS = (
    _Panel("echo-64x1", "Echo of 64 B: 64 connections, one message at a time", _ECHO),
    _Panel("echo-64x64", "Echo of 64 B: 64 connections, 64 messages under way", _ECHO),
    _Panel("echo-4k", "Echo of 4 KiB", _ECHO),
    _Panel("echo-256k", "Echo of 256 KiB", _ECHO),
    _Panel("relay-1000", "Room of 1,000 members: deliveries", _ROOM),
    _Panel("relay-5000", "Room of 5,000 members: deliveries", _ROOM),
    _Panel("churn", "Connect, echo, close", _ECHO),
    _Panel("idle-10000", "Memory of an idle connection (less is better)", _ECHO, is_memory=True),
)


def _draw_bar(x: float, y: float, name: str, part: float, figure: str) -> str:
    contestant = CONTESTANTS[name]
    kind = "" if not contestant.ours else " second" if name == "coroutine" else " ours"
    left = x + _NAMES + 10
    width = max(1.5, min(1.0, part) * _TRACK)
    weight = " ours" if contestant.ours else ""
    label = left + _TRACK + 8
    return (
        f'<text class="name{weight}" x="{x + _NAMES:.0f}" y="{y + 12:.0f}">{escape(_NAME_OF[name])}</text>'
        f'<rect class="track" x="{left:.0f}" y="{y:.0f}" width="{_TRACK}" height="15" rx="2"/>'
        f'<rect class="bar{kind}" x="{left:.0f}" y="{y:.0f}" width="{width:.1f}" height="15" rx="2"/>'
        f'<text class="{weight.strip() or "figure"}" x="{label:.0f}" y="{y + 12:.0f}">{escape(figure)}</text>'
    )


def _measure(panel: _Panel, summary: Summary) -> list[tuple[str, float, str]]:
    """Return who, how long the bar is (1 is the whole track), and the figure beside it."""
    cells = {name: cell for name in panel.contestants if (cell := summary.find_cell(panel.scenario, name))}
    if panel.is_memory:
        most = max((cell.memory_kib or 0.0 for cell in cells.values()), default=1.0) or 1.0
        return [(n, (c.memory_kib or 0.0) / most, f"{c.memory_kib or 0.0:.1f} KiB") for n, c in cells.items()]
    bars = []
    for name, cell in cells.items():
        ratio = summary.find_ratio(panel.scenario, name, "c") or 0.0
        bars.append((name, ratio / _WIDEST, f"{write_number(cell.rate)}/s"))
    return bars


def _draw_panel(x: float, y: float, panel: _Panel, summary: Summary) -> str:
    bars = _measure(panel, summary)
    parts = [f'<text class="title" x="{x:.0f}" y="{y + 12:.0f}">{escape(panel.title)}</text>']
    top = y + 24
    parts += [_draw_bar(x, top + i * _ROW, name, part, figure) for i, (name, part, figure) in enumerate(bars)]
    if not panel.is_memory and bars:
        line = x + _NAMES + 10 + _TRACK / _WIDEST
        parts.append(f'<path class="limit" d="M{line:.1f} {top - 4:.0f}V{top + len(bars) * _ROW - 2:.0f}"/>')
    return "\n".join(parts)


def draw(summary: Summary, facts: Mapping[str, str]) -> str:
    """Return the SVG document."""
    panels = [panel for panel in _PANELS if any(summary.find_cell(panel.scenario, name) for name in panel.contestants)]
    height_of = 24 + max((len(panel.contestants) for panel in panels), default=1) * _ROW + 22
    rows = (len(panels) + 1) // 2
    width = 2 * _MARGIN + 2 * _COLUMN + _GAP
    height = _HEAD + rows * height_of + 30
    body = [
        _draw_panel(_MARGIN + (i % 2) * (_COLUMN + _GAP), _HEAD + i // 2 * height_of, panel, summary)
        for i, panel in enumerate(panels)
    ]
    subtitle = "One core for each server. The dashed line is a server in C with epoll, in the same rounds."
    source = f"{facts.get('processor', '')} · {facts.get('python', '')} · uvloop {facts.get('uvloop', '')}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-labelledby="headline">',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
            f'<text class="headline" id="headline" x="{_MARGIN}" y="38">xmlsocket beside its peers</text>',
            f'<text x="{_MARGIN}" y="58">{escape(subtitle)}</text>',
            *body,
            f'<text class="quiet" x="{_MARGIN}" y="{height - 16}">{escape(source)}</text>',
            "</svg>",
            "",
        ]
    )
