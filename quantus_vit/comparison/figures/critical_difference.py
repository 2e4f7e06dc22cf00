"""Critical-difference diagrams: mean ranks on a line, with bars over methods that do not differ significantly.

References
----------
Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..rank_rows import RankRow, joined_ranks

__all__ = ["draw_critical_difference"]


def draw_critical_difference(rows: Sequence[RankRow]) -> Figure:
    """Draw a diagram for each metric with ranks.

    Parameters
    ----------
    rows : sequence of RankRow
        Of one metric or more. Methods are grouped by the letters that they share; metrics in which nothing was ranked
        are left out.

    Returns
    -------
    matplotlib.figure.Figure
        The best rank is on the left. A bar joins methods that lie less than Nemenyi's critical difference apart, whose
        length stands above the axis. Controls are grey.

    Raises
    ------
    ValueError
        There is nothing ranked.
    """
    metrics = [metric for metric in dict.fromkeys(row.metric for row in rows) if _of(rows, metric)]
    if not metrics:
        raise ValueError("no metric has ranks to draw")
    heights = [_height(_of(rows, metric)) for metric in metrics]
    figure = Figure(figsize=(9.0, sum(heights)), layout="constrained")
    grid = figure.subplots(len(metrics), 1, squeeze=False, height_ratios=heights)[:, 0]
    for metric, axes, height in zip(metrics, grid, heights, strict=True):
        _draw(axes, _of(rows, metric), height)
        row = _of(rows, metric)[0]
        axes.set_title(f"{metric} (mean ranks, n = {row.n})", fontsize=10, fontweight="bold", loc="left")
    return figure


def _height(rows: Sequence[RankRow]) -> float:
    """Inches of a panel: axis, bars, and half of the methods one below the other."""
    return 0.9 + 0.12 * len(joined_ranks(rows)) + 0.22 * -(-len(rows) // 2)


def _of(rows: Sequence[RankRow], metric: str) -> list[RankRow]:
    return sorted((row for row in rows if row.metric == metric and row.n), key=lambda row: row.mean_rank)


def _draw(axes: Axes, rows: Sequence[RankRow], height: float) -> None:
    """Axis at 0, bars below it, then names: the better half on the left, the others on the right; y counts inches."""
    last, bars = len(rows), joined_ranks(rows)
    axes.plot([1, last], [0, 0], color="black", linewidth=1)
    for rank in range(1, last + 1):
        axes.plot([rank, rank], [0, 0.05], color="black", linewidth=1)
        axes.text(rank, 0.08, str(rank), ha="center", va="bottom", fontsize=8)
    difference = min(rows[0].critical_difference, last - 1.0)
    axes.plot([1, 1 + difference], [0.33, 0.33], color="black", linewidth=1.5)
    label = f"critical difference {rows[0].critical_difference:.2f}"
    axes.text(1, 0.37, label, ha="left", va="bottom", fontsize=8)
    for number, (start, end) in enumerate(bars):
        place = -0.1 - 0.12 * number
        axes.plot([start - 0.03, end + 0.03], [place, place], color="#0072B2", linewidth=3, solid_capstyle="round")
    top, half = -0.2 - 0.12 * len(bars), -(-len(rows) // 2)
    for number, row in enumerate(rows):
        left = number < half
        place = top - 0.22 * (number if left else len(rows) - 1 - number)
        edge = 0.8 if left else last + 0.2
        colour = "0.5" if row.role == "control" else "black"
        axes.plot([row.mean_rank, row.mean_rank, edge], [0, place, place], color=colour, linewidth=0.8)
        name = f"{row.method} {row.mean_rank:.2f}"
        x, alignment = (edge - 0.03, "right") if left else (edge + 0.03, "left")
        axes.text(x, place, name, ha=alignment, va="center", fontsize=8, color=colour)
    axes.set_xlim(0.8 - 0.45 * last, last + 0.2 + 0.45 * last)
    axes.set_ylim(0.55 - height, 0.55)
    axes.axis("off")
