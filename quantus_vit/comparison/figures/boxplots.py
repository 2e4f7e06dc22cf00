"""Figure 5: box plots of the scores by class.

A few methods have a panel each under every metric, as in the paper; of more, which would be too narrow to be read, each
metric has one panel with a line a method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..scores import Score, finite
from ..statistics import grouped

__all__ = ["CLASS_COLOURS", "HORIZONTAL", "draw_boxplots"]

_SIDE_BY_SIDE = 4
"""Most methods with a panel of their own."""

CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colours for the colour-blind."""

HORIZONTAL: dict[str, Any] = (
    {"orientation": "horizontal"} if "orientation" in signature(Axes.boxplot).parameters else {"vert": False}
)
"""How matplotlib lays boxes down; it renamed the option in 3.10."""


def draw_boxplots(scores: Sequence[Score], labels: Sequence[str], higher_is_better: Mapping[str, bool]) -> Figure:
    """Draw the scores of every method under every metric, by class.

    Parameters
    ----------
    scores : sequence of Score
        All scores; those that are nan are left out, and their number stands below the class.
    labels : sequence of str
        The classes, in the order of the boxes.
    higher_is_better : mapping of str to bool
        For each metric, how to read it.

    Returns
    -------
    matplotlib.figure.Figure
        Boxes from the first to the third quartile with the median, whiskers to the last point within 1.5 interquartile
        ranges, a diamond for the mean, every image a dot; panels of a row share their axis.
    """
    metrics = list(dict.fromkeys(row.metric for row in scores))
    methods = list(dict.fromkeys(row.method for row in scores))
    if len(methods) > _SIDE_BY_SIDE:
        return _draw_lines(scores, metrics, methods, labels, higher_is_better)
    figure = Figure(figsize=(max(6.0, 3.3 * len(methods) + 0.8), 3.3 * len(metrics) + 0.7), layout="constrained")
    figure.suptitle("Scores by class (box: quartiles, line: median, diamond: mean, dot: one image)", fontsize=11)
    grid = figure.subplots(len(metrics), len(methods), squeeze=False, sharey="row")
    for metric, axes_row in zip(metrics, grid, strict=True):
        for method, axes in zip(methods, axes_row, strict=True):
            rows = [row for row in scores if (row.metric, row.method) == (metric, method)]
            _draw_panel(axes, rows, labels)
            axes.set_title(method, fontsize=10, fontweight="bold")
        label = metric.replace("[", "\n[").replace("=", " = ")
        axes_row[0].set_ylabel(f"{label}\n({_direction(higher_is_better[metric])})", fontsize=9)
    return figure


def _direction(higher: bool) -> str:
    return "higher is better" if higher else "lower is better"


def _draw_lines(
    scores: Sequence[Score],
    metrics: Sequence[str],
    methods: Sequence[str],
    labels: Sequence[str],
    higher_is_better: Mapping[str, bool],
) -> Figure:
    """A panel a metric: a line a method, in it a box a class."""
    columns = min(2, len(metrics))
    lines = math.ceil(len(metrics) / columns)
    height = 0.8 + len(methods) * max(0.2, 0.13 * len(labels))
    figure = Figure(figsize=(5.5 * columns + 1.5, lines * height + 0.8), layout="constrained")
    figure.suptitle("Scores by class (box: quartiles, line: median, diamond: mean, dot: one image)", fontsize=11)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.ravel()[len(metrics) :]:
        axes.set_axis_off()
    groups = grouped(scores)
    step = 0.84 / len(labels)
    for axes, metric in zip(grid.ravel(), metrics, strict=False):
        for place, method in enumerate(methods):
            for number, label in enumerate(labels):
                values = finite(row for row in groups.get((metric, method), ()) if row.label == label)
                _draw_box(axes, values, place - 0.42 + step * (number + 0.5), step, number)
        axes.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(methods)), methods, fontsize=9)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_title(f"{metric} ({_direction(higher_is_better[metric])})", fontsize=9, loc="left")
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", color="0.92", zorder=0)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    handles = [
        Patch(facecolor=CLASS_COLOURS[number % len(CLASS_COLOURS)], alpha=0.6, label=label)
        for number, label in enumerate(labels)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=9)
    return figure


def _draw_box(axes: Axes, values: Sequence[float], position: float, step: float, number: int) -> None:
    if not values:
        return
    colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
    axes.boxplot(
        [values], positions=[position], widths=0.8 * step, **HORIZONTAL, manage_ticks=False, showfliers=False,
        showmeans=True, patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
        medianprops={"color": "black", "linewidth": 1.4},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 3},
        whiskerprops={"color": colour}, capprops={"color": colour},
    )  # fmt: skip
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(values)) * step
    axes.scatter(values, position + spread, s=6, color=colour, alpha=0.75, linewidths=0, zorder=2)


def _draw_panel(axes: Axes, rows: Sequence[Score], labels: Sequence[str]) -> None:
    ticks = []
    generator = np.random.default_rng(0)
    for position, name in enumerate(labels):
        members = [row for row in rows if row.label == name]
        values = finite(members)
        missing = sum(math.isnan(row.score) for row in members)
        ticks.append(f"{name}\nn = {len(values)}" + (f" (+{missing} nan)" if missing else ""))
        if not values:
            continue
        colour = CLASS_COLOURS[position % len(CLASS_COLOURS)]
        axes.boxplot(
            [values], positions=[position], widths=0.55, showfliers=False, showmeans=True, patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
            medianprops={"color": "black", "linewidth": 1.6},
            meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
            whiskerprops={"color": colour}, capprops={"color": colour},
        )  # fmt: skip
        spread = generator.uniform(-0.16, 0.16, len(values))
        axes.scatter(position + spread, values, s=9, color=colour, alpha=0.75, linewidths=0, zorder=2)
    axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(labels)), ticks, fontsize=8)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", color="0.92", zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
