"""Diagrams as SVG inside the page: critical differences, and curves with bands. Knows numbers and names alone.

Colours and dashes are classes of the page's style, so that they follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..rank_rows import RankRow, joined_ranks
from .html import breakable, text_of

__all__ = ["Line", "critical_difference_diagram", "line_chart", "rank_list"]

_LINE = 18
_LETTER = 6.6
_LOOKS = 8
"""Colours, and dashes, that the style has."""
_TURN = 3
"""By how many dashes a colour that comes again is told from its first line; the scripts' charts have the same."""


@dataclass(frozen=True)
class Line:
    """A line of a chart, with the band around it where its bounds are numbers.

    ``look`` numbers the lines that are told apart by colour and dash; None for a line in the background, as of a
    control.
    """

    name: str
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    look: int | None

    @property
    def classes(self) -> str:
        """Classes of the page's style for its colour and dash; no pair comes twice among the first 64 lines."""
        if self.look is None:
            return "control"
        turn, colour = divmod(self.look, _LOOKS)
        return f"look{colour} dash{(colour + _TURN * turn) % _LOOKS}"


def critical_difference_diagram(rows: Sequence[RankRow], description: str) -> str:
    """Mean ranks on a scale; a bar joins methods that do not differ significantly (Demsar, 2006).

    Parameters
    ----------
    rows : sequence of RankRow
        Of one metric, best first.
    description : str
        For who cannot see it.
    """
    count = len(rows)
    side = max(len(row.method) for row in rows) * _LETTER + 50
    width, left, right = 2 * side + 300, side, side + 300
    bars = joined_ranks(rows)
    top, half = 80 + 9 * len(bars), math.ceil(count / 2)
    height = top + half * _LINE + 12

    def x(rank: float) -> float:
        return left + (rank - 1) / max(count - 1, 1) * (right - left)

    parts = [_text(left - 10, 46, "mean rank", "end"), _text(right + 10, 46, "1 is the best", "start")]
    parts += [_line(left, 54, right, 54)]
    for tick in range(1, count + 1):
        parts += [_line(x(tick), 48, x(tick), 54), _text(x(tick), 44, str(tick), "middle")]
    if rows[0].critical_difference < count - 1:
        end = x(1 + rows[0].critical_difference)
        parts += [_line(left, 16, end, 16, "cd"), _line(left, 11, left, 21, "cd"), _line(end, 11, end, 21, "cd")]
        parts.append(_text(end + 8, 20, f"critical difference {rows[0].critical_difference:.2f}", "start"))
    for number, (best, worst) in enumerate(bars):
        y = 66 + 9 * number
        parts.append(_line(x(best) - 4, y, x(worst) + 4, y, "group"))
    for index, row in enumerate(rows):
        at_left = index < half
        y = top + (index if at_left else count - 1 - index) * _LINE + 8
        edge = left - 8 if at_left else right + 8
        parts.append(f'<path class="leader" d="M{x(row.mean_rank):.1f} 54V{y:.1f}H{edge:.1f}"/>')
        parts.append(_text(edge - 4 if at_left else edge + 4, y + 4, row.method, "end" if at_left else "start"))
    return _svg(width, height, description, parts, "cd-diagram")


def rank_list(rows: Sequence[RankRow]) -> str:
    """The same ranks for a narrow screen: a method's name, mean rank and letters over its dot on the scale of ranks."""
    count, width, top = len(rows), 300, 7
    axis = _line(6, top, width - 6, top, "grid")
    entries = []
    for row in rows:
        x = 6 + (row.mean_rank - 1) / max(count - 1, 1) * (width - 12)
        dot = f'<circle cx="{x:.1f}" cy="{top}" r="5" fill="currentColor"/>'
        scale = f'<svg viewBox="0 0 {width} {2 * top}" width="{width}" height="{2 * top}" aria-hidden="true">'
        letters = f" <small>{text_of(row.groups)}</small>" if row.groups else ""
        entries.append(f"<li>{breakable(row.method)}: <b>{row.mean_rank:.2f}</b>{letters}{scale}{axis}{dot}</svg></li>")
    words = f"Scale: 1, the best, to {count}. Methods that share a letter do not differ significantly."
    note = f"<li><small>{words}</small></li>"
    return f'<ul class="ranks">{"".join(entries)}{note}</ul>'


def line_chart(lines: Sequence[Line], x_label: str, y_label: str, description: str) -> str:
    """Lines over equal steps from 0 to 1, each with its band; a zero line where zero is inside.

    Parameters
    ----------
    lines : sequence of Line
        With as many points each.
    x_label, y_label, description : str
    """
    width, height, left, right, top, bottom = 640, 340, 62, 12, 12, 44
    known = [v for line in lines for v in (*line.y, *line.low, *line.high) if not math.isnan(v)]
    lowest, highest = min(known, default=0.0), max(known, default=1.0)
    margin = 0.04 * ((highest - lowest) or 1.0)
    lowest, highest = lowest - margin, highest + margin

    def x(share: float) -> float:
        return left + share * (width - left - right)

    def y(value: float) -> float:
        return top + (highest - value) / (highest - lowest) * (height - top - bottom)

    parts = []
    for tick in _ticks(lowest, highest):
        look = "zero" if tick == 0 else "grid"
        parts += [_line(left, y(tick), width - right, y(tick), look), _text(left - 6, y(tick) + 4, f"{tick:g}", "end")]
    for share, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end")):
        parts.append(_text(x(share), height - bottom + 18, f"{100 * share:g} %", anchor))
    parts.append(_text((left + width - right) / 2, height - 6, x_label, "middle"))
    parts.append(
        f'<text transform="translate(14 {(top + height - bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{text_of(y_label)}</text>"
    )
    for line in sorted(lines, key=lambda line: line.look is not None):
        shares = np.linspace(0, 1, len(line.y))
        parts.append(f'<g data-line="{text_of(line.name)}">')
        if line.look is not None and not any(math.isnan(v) for v in (*line.low, *line.high)):
            edge = [*zip(shares, line.high, strict=True), *reversed([*zip(shares, line.low, strict=True)])]
            points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in edge)
            parts.append(f'<polygon class="band {line.classes}" points="{points}"/>')
        points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(shares, line.y, strict=True))
        name = f"<title>{text_of(line.name)}</title>"
        parts.append(f'<polyline class="line {line.classes}" points="{points}">{name}</polyline></g>')
    return _svg(width, height, description, parts, "chart") + _legend(lines)


def _legend(lines: Sequence[Line]) -> str:
    entries = []
    for line in lines:
        path = f'<path class="line {line.classes}" d="M1 5H33"/>'
        swatch = f'<svg width="34" height="10" aria-hidden="true">{path}</svg>'
        entries.append(f"<li>{swatch} {text_of(line.name)}</li>")
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _ticks(lowest: float, highest: float) -> list[float]:
    """Some five round numbers within a range."""
    raw = (highest - lowest) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(lowest / step)
    return [round(number * step, 12) for number in range(first, math.floor(highest / step) + 1)]


def _svg(width: float, height: float, description: str, parts: Sequence[str], look: str) -> str:
    return (
        f'<svg class="{look}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{text_of(description)}">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, look: str = "axis") -> str:
    return f'<path class="{look}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text_of(text)}</text>'
