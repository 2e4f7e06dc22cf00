"""Ranks of the methods over a grid of settings, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..sensitivity.agreement import AgreementRow, SensitivityRow

__all__ = ["draw_sensitivity"]


def draw_sensitivity(rows: Sequence[SensitivityRow], groups: Sequence[AgreementRow]) -> Figure:
    """Draw the rank of every method (rows) in every setting (columns), a panel for each metric.

    Parameters
    ----------
    rows : sequence of SensitivityRow
    groups : sequence of AgreementRow
        Kendall's W of each metric stands above its panel.

    Returns
    -------
    matplotlib.figure.Figure
        Bright is a good rank. Columns stand by removal and step; within them by LIME's samples and seed, left to right
        as in the table. Methods stand by mean rank, the same in all panels.
    """
    metrics = list(dict.fromkeys(row.metric for row in rows))
    methods = _by_mean_rank(rows)
    widest = max(sum(row.metric == metric for row in rows) for metric in metrics) // len(methods)
    size = (max(7.0, 0.26 * widest + 3.2), (0.34 * len(methods) + 1.5) * len(metrics) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("Rank of each method in each setting (1 is the best)", fontsize=11)
    found = {row.group: row for row in groups}
    for metric, axes in zip(metrics, figure.subplots(len(metrics), 1, squeeze=False)[:, 0], strict=True):
        _draw_panel(axes, [row for row in rows if row.metric == metric], methods)
        group = found.get(f"metric={metric}") or found.get("all")
        agreed = "" if group is None else f", Kendall's W = {group.kendall_w:.2f}"
        axes.set_title(f"{metric}{agreed}", fontsize=10, fontweight="bold", loc="left")
    return figure


def _by_mean_rank(rows: Sequence[SensitivityRow]) -> list[str]:
    methods = dict.fromkeys(row.method for row in rows)
    ranks = {method: [row.rank for row in rows if row.method == method and row.rank == row.rank] for method in methods}
    return sorted(methods, key=lambda method: float(np.mean(ranks[method])) if ranks[method] else np.inf)


def _draw_panel(axes: Axes, rows: Sequence[SensitivityRow], methods: Sequence[str]) -> None:
    places = {
        (row.removal, row.features_in_step, row.lime_samples, row.seed): None
        for row in sorted(rows, key=lambda row: [r.removal for r in rows].index(row.removal))
    }
    columns = {place: number for number, place in enumerate(places)}
    ranks = np.full((len(methods), len(columns)), np.nan)
    for row in rows:
        place = (row.removal, row.features_in_step, row.lime_samples, row.seed)
        ranks[methods.index(row.method), columns[place]] = row.rank
    axes.imshow(ranks, cmap="viridis_r", vmin=1, vmax=max(2, len(methods)), aspect="auto", interpolation="nearest")
    for (i, j), rank in np.ndenumerate(ranks):
        if not np.isnan(rank):
            dark = rank > (1 + len(methods)) / 2
            axes.text(j, i, f"{rank:g}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_yticks(range(len(methods)), methods, fontsize=8)
    steps = list(dict.fromkeys(place[:2] for place in columns))
    members = {step: [number for place, number in columns.items() if place[:2] == step] for step in steps}
    axes.set_xticks(
        [float(np.mean(members[step])) for step in steps],
        [f"{removal}\n{step} a step" for removal, step in steps],
        fontsize=7,
    )
    for step in steps[1:]:
        axes.axvline(min(members[step]) - 0.5, color="white", linewidth=2)
    axes.tick_params(length=0)
