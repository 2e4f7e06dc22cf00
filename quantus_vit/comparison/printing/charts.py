"""Figure 5 for print, and the figures of rankings: scores by class, heat map of places, removal curves with bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...pictures import elided, width_of
from ..figures.boxplots import CLASS_COLOURS, HORIZONTAL
from ..report.answer import best_rows, deciding_metric, places
from ..report.bands import CurveBand, curve_bands
from ..report.reading import MethodFacts, MetricFacts, RunFolder
from ..scores import Score, finite
from ..statistics import grouped
from .base import TALLEST, FigureSpec, PrintRequest, draw_places, fitted

__all__ = ["SPECS", "draw_printed_curves", "draw_printed_ranking", "draw_printed_scores"]

_PANELS = {True: 4, False: 8}
"""Most panels of the scores in a narrow and in a wide figure."""

_NAMES = {True: 1.25, False: 1.7}
"""Inches of a method's or metric's name beside a chart, in a narrow and in a wide figure."""

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
_ORDERS = {"mif": "most relevant first (low is good)", "lif": "least relevant first (high is good)"}


def draw_printed_scores(request: PrintRequest) -> Figure | None:
    """Box plots of the scores: a panel for each metric, the deciding one first, a line a method, a colour a class.

    Up to four metrics in one column, eight in two, as many as a page has room for; the median in each box, whiskers to
    the last point within 1.5 interquartile ranges.
    """
    run, labels = request.run, list(request.run.facts["labels"])
    scored = {row.metric for row in run.scores if not math.isnan(row.score)}
    first = deciding_metric(run)
    metrics = [m for m in dict.fromkeys([first, *run.metrics]) if m is not None and m.row in scored]
    if not metrics:
        return None
    columns = 1 if request.is_narrow or len(metrics) == 1 else 2
    panel, foot = 0.55 + len(request.methods) * max(0.16, 0.09 * len(labels)), 0.3
    most = columns * max(1, int((TALLEST - foot) / panel))
    metrics = metrics[: min(_PANELS[request.is_narrow], most)]
    lines = math.ceil(len(metrics) / columns)
    figure = Figure(figsize=(request.width, lines * panel + foot), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.ravel()[len(metrics) :]:
        axes.set_axis_off()
    groups = grouped(run.scores)
    side = _NAMES[request.is_narrow]
    for axes, metric in zip(grid.ravel(), metrics, strict=False):
        _boxes(axes, request.methods, metric, labels, groups)
        axes.set_yticks(range(len(request.methods)), [fitted(method.label, side) for method in request.methods])
        direction = "higher" if metric.higher_is_better else "lower"
        title = fitted(metric.row, (request.width - side) / columns - 0.2, 7)
        axes.set_title(f"{title}\n({direction} is better)", loc="left")
    colours = [CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(len(labels))]
    handles = [Patch(facecolor=colour, label=label, alpha=0.6) for colour, label in zip(colours, labels, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
    return figure


def _boxes(
    axes: Axes,
    methods: Sequence[MethodFacts],
    metric: MetricFacts,
    labels: Sequence[str],
    groups: Mapping[tuple[str, str], Sequence[Score]],
) -> None:
    height = 0.8 / len(labels)
    for place, method in enumerate(methods):
        rows = groups.get((metric.row, method.label), ())
        for number, label in enumerate(labels):
            values = finite(row for row in rows if row.label == label)
            if not values:
                continue
            colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
            axes.boxplot(
                [values], positions=[place - 0.4 + height * (number + 0.5)], widths=0.8 * height, **HORIZONTAL,
                patch_artist=True, manage_ticks=False, showfliers=True,
                flierprops={"marker": ".", "markersize": 2, "markerfacecolor": colour, "markeredgecolor": colour},
                boxprops={"facecolor": colour, "alpha": 0.6, "linewidth": 0.5},
                medianprops={"color": "black", "linewidth": 1.0},
                whiskerprops={"linewidth": 0.5}, capprops={"linewidth": 0.5},
            )  # fmt: skip
    axes.axvline(0, color="0.6", linewidth=0.5, zorder=0)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_printed_ranking(request: PrintRequest) -> Figure | None:
    """Place of every method and control under every metric, with the mean where there is room for it."""
    run = request.run
    metrics = [metric for metric in run.metrics if best_rows(run, metric)]
    if not metrics:
        return None
    methods = [method.label for method in run.methods]
    ranked, texts = np.full((len(metrics), len(methods)), np.nan), [[""] * len(methods) for _ in metrics]
    roomy = not request.is_narrow and len(methods) <= 12
    for i, metric in enumerate(metrics):
        place = places(run, metric)
        for row in best_rows(run, metric):
            j, number = methods.index(row.method), place[row.method]
            ranked[i, j], texts[i][j] = number, f"{number}  {row.mean:.2f}" if roomy else str(number)
    titles = [elided(method.title, 6.5, 72 * _NAMES[request.is_narrow]) for method in run.methods]
    longest = max(width_of(title, 6.5) for title in titles) / 72
    figure = Figure(figsize=(request.width, 0.17 * len(metrics) + longest + 0.3), layout="constrained")
    axes = figure.subplots()
    draw_places(axes, ranked, texts)
    axes.set_yticks(
        range(len(metrics)), [elided(metric.row, 6.5, 72 * _NAMES[request.is_narrow]) for metric in metrics]
    )
    upright = request.is_narrow or len(methods) > 8
    axes.set_xticks(
        range(len(methods)), titles, rotation=90 if upright else 35, ha="center" if upright else "right",
        rotation_mode="default" if upright else "anchor",
    )  # fmt: skip
    return figure


def draw_printed_curves(request: PrintRequest) -> Figure | None:
    """Removal curves: mean change of the output with its 95 % band, a panel a metric and order; controls grey."""
    run, chosen = request.run, [method.label for method in request.methods]
    bands = curve_bands(run.curves, run.owners)
    panels = list(dict.fromkeys((band.metric, band.order) for band in bands))
    if not panels:
        return None
    columns = 1 if request.is_narrow else 2
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(request.width, lines * 1.9 + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.ravel(), panels, strict=False):
        for band in bands:
            if (band.metric, band.order) == panel:
                _curve(axes, band, chosen, run)
        axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
        axes.set_title(
            f"{elided(panel[0], 7, 72 * (request.width / columns - 0.6))}\n{_ORDERS.get(panel[1], panel[1])}",
            loc="left",
        )
        axes.set_xlabel("removed patches, %")
        axes.set_ylabel("change of the output")
        axes.set_xlim(0, 100)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    handles, names = grid.ravel()[0].get_legend_handles_labels()
    ncols = 2 if request.is_narrow else 4
    names = [fitted(name, request.width / ncols - 0.55) for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=ncols, frameon=False)
    return figure


def _curve(axes: Axes, band: CurveBand, chosen: Sequence[str], run: RunFolder) -> None:
    shares = np.linspace(0, 100, len(band.mean))
    if band.method in chosen:
        number = chosen.index(band.method)
        colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
        axes.plot(shares, band.mean, color=colour, linestyle=_DASHES[number % len(_DASHES)], label=band.method)
        axes.fill_between(shares, band.low, band.high, color=colour, alpha=0.15, linewidth=0)
    elif any(method.label == band.method and method.role == "control" for method in run.methods):
        axes.plot(shares, band.mean, color="0.55", linewidth=0.6, linestyle=(0, (2, 1)), zorder=1)


SPECS = (
    FigureSpec("scores", "figure 5 of the paper: scores by class", draw_printed_scores),
    FigureSpec("ranking", "heat map of the methods' places under every metric", draw_printed_ranking),
    FigureSpec("curves", "removal curves with bands", draw_printed_curves),
)
