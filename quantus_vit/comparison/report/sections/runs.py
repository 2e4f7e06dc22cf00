"""Several runs side by side: what differs between them, their scores and places, and how far they agree."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ranking import kendall_w
from ...statistics import TableRow
from ..answer import answer, best_rows, deciding_metric, distrust, places
from ..html import Section, data_table, items, number, plain, text_of
from ..reading import RunFolder

__all__ = ["runs_sections"]

_NO_DIFFERENCE = frozenset({"data", "model", "overrides"})
"""Settings whose digests say the same, or that follow from the others."""


def runs_sections(runs: Sequence[RunFolder]) -> list[Section | None]:
    """Overview, scores, agreement, and the differing settings of two runs or more."""
    return [_top(runs), _scores(runs), _agreement(runs), _settings(runs)]


def _top(runs: Sequence[RunFolder]) -> Section:
    lines = []
    for run in runs:
        sentence = " ".join(answer(run))
        lines.append(f"<dt>{text_of(run.name)}</dt><dd>{text_of(sentence)}</dd>")
    header = ("run", "data", "model", "protocol", "seed", "cases", "right", "first under its deciding metric")
    body = [
        '<p class="question">Do the runs agree on which method comes first?</p>',
        f"<dl>{''.join(lines)}</dl>",
        data_table("The runs", header, [_row(run) for run in runs]),
        '<div class="warning" role="note"><h3>What to distrust</h3>',
        items([*_comparability(runs), *_doubts(runs)]),
        "</div>",
    ]
    return Section("answer", "Runs side by side", tuple(body))


def _row(run: RunFolder) -> list[Any]:
    metric = deciding_metric(run)
    scored = [] if metric is None else [row for row in best_rows(run, metric) if row.role != "control"]
    right = sum(row.correct for row in run.predictions.values())
    first = "" if metric is None or not scored else f"{scored[0].method} ({metric.row} {number(scored[0].mean)})"
    return [
        run.name, run.facts["dataset"], os.path.basename(str(run.protocol["model"])), run.protocol["protocol"],
        run.protocol["sample_seed"], len(run.cases), f"{right} of {len(run.predictions)}", first,
    ]  # fmt: skip


def _doubts(runs: Sequence[RunFolder]) -> list[str]:
    """What to distrust in each run, with its name; what is so in all of them once."""
    of: dict[str, list[str]] = {}
    for run in runs:
        for sentence in distrust(run):
            of.setdefault(sentence, []).append(run.name)
    common = [f"All runs: {sentence}" for sentence, names in of.items() if len(names) == len(runs)]
    return common + [f"{', '.join(names)}: {sentence}" for sentence, names in of.items() if len(names) < len(runs)]


def _comparability(runs: Sequence[RunFolder]) -> list[str]:
    sentences = []
    if len({run.protocol["data_digest"] for run in runs}) > 1 or len({tuple(c.key for c in r.cases) for r in runs}) > 1:
        sentences.append("The runs scored different images: differences between them are of images, too.")
    if len({run.protocol["quantus"] for run in runs}) > 1:
        sentences.append("The runs used different versions of Quantus, whose scores are not comparable.")
    return sentences


def _scores(runs: Sequence[RunFolder]) -> Section:
    metrics = dict.fromkeys(metric.row for run in runs for metric in run.metrics)
    methods = {method.label: method.title for run in runs for method in run.methods}
    tables = [{(row.metric, row.method): row for row in run.table} for run in runs]
    rows = [
        [metric, title, *(_told(table.get((metric, label))) for table in tables)]
        for metric in metrics
        for label, title in methods.items()
        if any((metric, label) in table for table in tables)
    ]
    header = ("metric", "method", *(run.name for run in runs))
    text = "<p>Mean with its 95 % bootstrap interval, and in front of it the place among the methods of that run.</p>"
    return Section("scores", "Scores", (text, data_table("Scores of every run", header, _placed(rows, runs))))


def _placed(rows: Sequence[Sequence[str]], runs: Sequence[RunFolder]) -> list[list[str]]:
    ranked = [{(m.row, name): place for m in run.metrics for name, place in places(run, m).items()} for run in runs]
    titles = {method.title: method.label for run in runs for method in run.methods}
    return [
        [
            row[0],
            row[1],
            *(
                f"{place[key]}. {cell}" if (key := (row[0], titles[row[1]])) in place else cell
                for place, cell in zip(ranked, row[2:], strict=True)
            ),
        ]
        for row in rows
    ]


def _told(row: TableRow | None) -> str:
    if row is None:
        return "-"
    if math.isnan(row.mean):
        return "no score"
    interval = "" if math.isnan(row.ci_low) else f" ({number(row.ci_low)} to {number(row.ci_high)})"
    return f"{number(row.mean)}{interval}"


def _agreement(runs: Sequence[RunFolder]) -> Section | None:
    rows = []
    for metric in dict.fromkeys(metric.row for run in runs for metric in run.metrics):
        tables = [{row.method: row.mean for row in run.table if row.metric == metric and row.role != "control"}
                  for run in runs]  # fmt: skip
        scored = [{name: mean for name, mean in table.items() if not math.isnan(mean)} for table in tables]
        scored = [table for table in scored if table]
        shared = set.intersection(*(set(table) for table in scored)) if scored else set()
        if len(scored) < 2 or len(shared) < 2:
            continue
        names = [name for name in scored[0] if name in shared]
        w = kendall_w(np.array([[table[name] for name in names] for table in scored]))
        rows.append((metric, len(scored), len(names), w))
    if not rows:
        return None
    text = (
        "<p>Kendall's W of the methods' places, controls left out: 1 where all runs rank them alike, 0 where they have "
        "nothing in common. With two runs a random order gives some 0.5, so few runs and methods say little.</p>"
    )
    header = ("metric", "runs", "methods in all of them", "Kendall's W")
    return Section("agreement", "Agreement", (text, data_table("Agreement of the runs", header, rows)))


def _settings(runs: Sequence[RunFolder]) -> Section:
    names = dict.fromkeys(name for run in runs for name in run.protocol)
    rows = []
    for name in names:
        values = [plain(run.protocol.get(name, "")) for run in runs]
        if name not in _NO_DIFFERENCE and len(set(values)) > 1:
            rows.append([name, *values])
    header = ("setting", *(run.name for run in runs))
    table = data_table("Settings that differ", header, rows) if rows else "<p>All settings are the same.</p>"
    return Section("settings", "Settings that differ", (table,))
