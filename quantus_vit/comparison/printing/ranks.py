"""Critical differences for print: mean ranks on a line, with bars over methods that do not differ significantly.

References
----------
Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...pictures import elided, width_of
from ..findings import ALPHA
from ..rank_rows import RankRow, joined_ranks
from ..report.answer import deciding_metric
from .base import TALLEST, FigureSpec, PrintRequest

__all__ = ["SPECS", "draw_printed_ranks"]

_FONT = 6.5
_GAP = 0.12
"""Inches around panels."""
_NAMES = 0.36
"""Most of a panel's width that the names of one side take."""
_LINE, _BAR = 0.12, 0.055
"""Inches from one line of text, and from one bar, to the next."""
_AXIS = 0.55
"""Inches from a panel's upper edge to its axis: title, critical difference and ranks stand above it."""
_NOTE = "Bars join methods that do not differ significantly (Nemenyi, {level}).", "Grey: controls. 1 is the best rank."


def draw_printed_ranks(request: PrintRequest) -> Figure | None:
    """Draw a critical-difference diagram for each metric that has ranks, the deciding one first, as many as fit a page.

    All methods and controls are in it, for ranks are among all of them. Two metrics stand side by side where there is
    room. A bar joins methods that lie less than Nemenyi's critical difference apart, whose length stands above the
    axis; the p value is Friedman's.
    """
    first = deciding_metric(request.run)
    groups: dict[str, list[RankRow]] = {} if first is None else {first.row: []}
    for row in sorted(request.run.ranks, key=lambda row: row.mean_rank):
        if row.n:
            groups.setdefault(row.metric, []).append(row)
    ranked = [rows for rows in groups.values() if len(rows) > 1]
    if not ranked:
        return None
    columns = 1 if request.is_narrow or len(ranked) == 1 else 2
    width = (request.width - _GAP) / columns - _GAP
    panels = [_Panel(rows, width) for rows in ranked]
    tallest = max(panel.height for panel in panels) + _GAP
    notes = len(_NOTE) if request.is_narrow else 1
    foot = notes * _LINE + _GAP
    panels = panels[: columns * max(1, int((TALLEST - foot) / tallest))]
    height = math.ceil(len(panels) / columns) * tallest + foot
    figure = Figure(figsize=(request.width, height))
    for number, panel in enumerate(panels):
        line, column = divmod(number, columns)
        left, top = _GAP + column * (width + _GAP), _GAP + line * tallest
        place = left / request.width, 1 - (top + panel.height) / height, width / request.width, panel.height / height
        panel.draw(figure.add_axes(place))
    note = ("\n" if request.is_narrow else " ").join(_NOTE).format(level=ALPHA)
    figure.text(_GAP / request.width, 0.06 / height, note, fontsize=6, color="0.3", va="bottom")
    return figure


@dataclass(frozen=True)
class _Panel:
    """Ranks of one metric, best first, in so many inches; places are inches from the left upper corner."""

    rows: Sequence[RankRow]
    width: float

    @property
    def names(self) -> list[list[str]]:
        """Lines of each method's name: options on a line of their own where they do not fit."""
        room = _NAMES * self.width * 72
        return [
            [elided(part, _FONT, room) for part in (_broken(row.method) if width_of(row.method, _FONT) > room
                                                    else [row.method])]
            for row in self.rows
        ]  # fmt: skip

    @property
    def half(self) -> int:
        """How many names stand on the left."""
        return math.ceil(len(self.rows) / 2)

    @property
    def first_name(self) -> float:
        """Where the names begin."""
        return _AXIS + 0.14 + _BAR * len(joined_ranks(self.rows))

    @property
    def step(self) -> float:
        """From one name to the next."""
        return _LINE * max(map(len, self.names)) + 0.02

    @property
    def height(self) -> float:
        """All of it."""
        return self.first_name + self.half * self.step

    def draw(self, axes: Axes) -> None:
        """Axis, bars below it, then names: the better half on the left, the others on the right."""
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.axis("off")
        first, count = self.rows[0], len(self.rows)
        p = f"p = {first.p:.2g}" if first.p >= 1e-4 else "p < 0.0001"
        facts = f"n = {first.n}, Friedman {p}"
        title = elided(first.metric, 7, (self.width - 0.15) * 72 - width_of(facts, 7))
        axes.text(0, 0.1, f"{title}   {facts}", fontsize=7, va="baseline", parse_math=False)
        widths = [max(width_of(line, _FONT) for line in lines) / 72 for lines in self.names]
        left, right = max(widths[: self.half]) + 0.2, self.width - max(widths[self.half :]) - 0.2
        scale = (right - left) / (count - 1)
        self._draw_axis(axes, left, scale)
        for number, (best, worst) in enumerate(joined_ranks(self.rows)):
            ends = [left + (best - 1) * scale - 0.02, left + (worst - 1) * scale + 0.02]
            axes.plot(ends, [_AXIS + 0.07 + _BAR * number] * 2, color="#0072B2", linewidth=2, solid_capstyle="butt")
        for number, (row, lines) in enumerate(zip(self.rows, self.names, strict=True)):
            at_left = number < self.half
            place = self.first_name + self.step * ((number if at_left else count - 1 - number) + 0.5)
            edge = left - 0.12 if at_left else right + 0.12
            colour, rank = "0.45" if row.role == "control" else "black", left + (row.mean_rank - 1) * scale
            axes.plot([rank, rank, edge], [_AXIS, place, place], color=colour, linewidth=0.6)
            axes.text(
                edge + (-0.03 if at_left else 0.03), place, "\n".join(lines), ha="right" if at_left else "left",
                va="center", fontsize=_FONT, color=colour, parse_math=False, linespacing=1.1,
            )  # fmt: skip

    def _draw_axis(self, axes: Axes, left: float, scale: float) -> None:
        count, difference = len(self.rows), self.rows[0].critical_difference
        axes.plot([left, left + (count - 1) * scale], [_AXIS, _AXIS], color="black", linewidth=0.8)
        every = math.ceil(0.15 / scale)
        for rank in range(1, count + 1):
            x = left + (rank - 1) * scale
            axes.plot([x, x], [_AXIS - 0.04, _AXIS], color="black", linewidth=0.8)
            if (rank - 1) % every == 0:
                axes.text(x, _AXIS - 0.06, str(rank), ha="center", va="bottom", fontsize=6)
        label = f"critical difference {difference:.2f}"
        if difference > count - 1:
            axes.text(left, 0.29, f"{label}, longer than the axis", ha="left", va="center", fontsize=6)
            return
        end = left + difference * scale
        axes.plot([left, left, left, end, end, end], [0.26, 0.32, 0.29, 0.29, 0.26, 0.32], color="black", linewidth=0.8)
        room = self.width - end - 0.05 >= width_of(label, 6) / 72
        axes.text(end + 0.05 if room else left - 0.05, 0.29, label, ha="left" if room else "right", va="center",
                  fontsize=6)  # fmt: skip


def _broken(name: str) -> list[str]:
    before, bracket, options = name.partition("[")
    return [before, bracket + options] if bracket else [name]


SPECS = (FigureSpec("critical_difference", "mean ranks with critical differences, by metric", draw_printed_ranks),)
