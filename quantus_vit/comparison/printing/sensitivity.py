"""The study of sensitivity for print: place of every method in every setting of the grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...pictures import width_of
from ..sensitivity import AgreementRow, SensitivityRow
from .base import TALLEST, FigureSpec, PrintRequest, draw_places

__all__ = ["SPECS", "draw_printed_sensitivity"]

_ROW = 0.135
"""Inches of a method's row."""

Column = tuple[str, int, int, int]


def draw_printed_sensitivity(request: PrintRequest) -> Figure | None:
    """Draw the place of every method and of the control (rows) in every setting (columns), a panel for each metric.

    Columns stand by removal and step, which the axis names; within such a group by LIME's samples and seed, in the
    order that stands at the foot. Methods stand by mean place, the same in all panels; Kendall's W of the metric's
    settings stands above its panel. Dark is a good place, whose number is in the cells where they are wide enough.
    """
    rows = request.run.sensitivity
    metrics = list(dict.fromkeys(row.metric for row in rows if row.rank == row.rank))
    if not metrics:
        return None
    methods = _by_mean_place(rows)
    height = _ROW * len(methods) + 1.05
    metrics = metrics[: max(1, int(TALLEST / height))]
    figure = Figure(figsize=(request.width, height * len(metrics) + 0.15), layout="constrained")
    agreed = {row.group: row for row in request.run.sensitivity_agreement}
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    room = request.width - 0.2 - max(width_of(method, 6.5) for method in methods) / 72
    for metric, axes in zip(metrics, panels, strict=True):
        _draw_panel(axes, [row for row in rows if row.metric == metric], methods, room)
        axes.set_title(_title(metric, agreed), loc="left")
    note = ["Groups: removal, pixels of a step. Dark is a good place, 1 the best.", *_within(_columns(rows))]
    figure.supxlabel("\n".join(note), fontsize=6, color="0.3", x=0.01, ha="left", parse_math=False)
    return figure


def _title(metric: str, agreed: dict[str, AgreementRow]) -> str:
    group = agreed.get(f"metric={metric}") or agreed.get("all")
    if group is None:
        return metric
    return f"{metric}   Kendall's W {group.kendall_w:.2f} ({group.ci_low:.2f} to {group.ci_high:.2f})"


def _by_mean_place(rows: Sequence[SensitivityRow]) -> list[str]:
    ranks: dict[str, list[float]] = {}
    for row in rows:
        ranks.setdefault(row.method, []).extend([row.rank] if row.rank == row.rank else [])
    return sorted(ranks, key=lambda method: float(np.mean(ranks[method])) if ranks[method] else np.inf)


def _columns(rows: Sequence[SensitivityRow]) -> list[Column]:
    """Settings in the order of the table, those of one removal together."""
    removals = list(dict.fromkeys(row.removal for row in rows))
    ordered = sorted(rows, key=lambda row: removals.index(row.removal))
    return list(dict.fromkeys((r.removal, r.features_in_step, r.lime_samples, r.seed) for r in ordered))


def _within(columns: Sequence[Column]) -> list[str]:
    """What the columns of a group are, where it has several."""
    drawn = dict.fromkeys(column[2:] for column in columns)
    if len(drawn) == 1:
        return []
    listed = "; ".join(f"{samples}, {seed}" for samples, seed in drawn)
    return [f"Columns of a group: LIME's samples, seed: {listed}."]


def _draw_panel(axes: Axes, rows: Sequence[SensitivityRow], methods: Sequence[str], room: float) -> None:
    """``room`` inches are for all columns."""
    columns = _columns(rows)
    ranks = np.full((len(methods), len(columns)), np.nan)
    for row in rows:
        place = columns.index((row.removal, row.features_in_step, row.lime_samples, row.seed))
        ranks[methods.index(row.method), place] = row.rank
    texts = [[f"{rank:g}" for rank in line] for line in ranks]
    if max(width_of(text, 6) for line in texts for text in line) + 2 > 72 * room / len(columns):
        texts = [[""] * len(columns) for _ in methods]
    draw_places(axes, ranks, texts)
    axes.set_yticks(range(len(methods)), methods)
    groups: dict[tuple[str, int], list[int]] = {}
    for number, column in enumerate(columns):
        groups.setdefault(column[:2], []).append(number)
    names = [f"{removal}, {step}" for removal, step in groups]
    fitting = max(width_of(name, 6.5) for name in names) + 4 < 72 * room / len(groups)
    axes.set_xticks([float(np.mean(numbers)) for numbers in groups.values()], names, rotation=0 if fitting else 90)
    for numbers in list(groups.values())[1:]:
        axes.axvline(min(numbers) - 0.5, color="white", linewidth=1.5)


SPECS = (
    FigureSpec(
        "sensitivity", "places of the methods in every setting of compare --sensitivity", draw_printed_sensitivity
    ),
)
