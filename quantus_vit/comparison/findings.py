"""What a comparison says in words, and what it does not say: sentences for the report.

Knows rows and settings; they are counted and compared here, never computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .protocol import Protocol
from .sampling import Selection
from .scores import Failure, Note, Score
from .statistics import ClassRow, SignificanceRow, SpreadRow, TableRow

__all__ = ["ALPHA", "ReportContent", "caveats", "findings"]

ALPHA = 0.05
"""Level of the tests."""


@dataclass(frozen=True)
class ReportContent:
    """Everything the page shows; see :mod:`.statistics` and :mod:`.scores` for the rows."""

    protocol: Protocol
    environment: Mapping[str, Any]
    class_names: tuple[str, ...]
    selection: Selection
    scores: Sequence[Score]
    table: Sequence[TableRow]
    by_class: Sequence[ClassRow]
    significance: Sequence[SignificanceRow]
    spread: Sequence[SpreadRow]
    failures: Sequence[Failure]
    notes: Sequence[Note]
    higher_is_better: Mapping[str, bool]
    complete: bool


def findings(content: ReportContent) -> list[str]:
    """Sentences on what the table and the tests say, and what they do not."""
    sentences = []
    best: dict[str, str] = {}
    for metric in dict.fromkeys(row.metric for row in content.table):
        higher = content.higher_is_better[metric]
        rows = [row for row in content.table if row.metric == metric and not math.isnan(row.mean)]
        if not rows:
            sentences.append(f"{metric}: no score at all.")
            continue
        rows.sort(key=lambda row: -row.mean if higher else row.mean)
        best[metric] = rows[0].method
        order = ", ".join(f"{row.method} {row.mean:.3f}" for row in rows)
        text = f"{metric} ({'higher' if higher else 'lower'} is better), by mean: {order}."
        sentences.append(f"{text} {_tested(content, metric)}" if len(rows) > 1 else text)
    for name in dict.fromkeys(metric.split("[baseline=")[0] for metric in best if "[baseline=" in metric):
        winners = {metric: method for metric, method in best.items() if metric.startswith(f"{name}[")}
        if len(set(winners.values())) > 1:
            leaders = "; ".join(f"{method} leads under {metric}" for metric, method in winners.items())
            sentences.append(
                f"The baseline changes the order: {leaders}. No method is the more faithful one by {name} as such."
            )
    return sentences


def _tested(content: ReportContent, metric: str) -> str:
    tests = [row for row in content.significance if row.metric == metric]
    clear = [row for row in tests if row.p_holm < ALPHA]
    pairs = [f"{row.method_a} and {row.method_b} (p = {row.p_holm:.2g})" for row in clear]
    if not pairs:
        return f"No two methods differ by the paired tests at {ALPHA} after Holm's correction."
    text = f"Different at {ALPHA} after Holm's correction: {', '.join(pairs)}"
    return f"{text}; the other pairs are not told apart." if len(clear) < len(tests) else f"{text}."


def caveats(content: ReportContent) -> list[str]:
    """Sentences on what the scores do not show."""
    protocol = content.protocol
    items = [
        "The scores measure how maps agree with what the model does, and the masks where they are used; not "
        "whether the model is right, nor whether a map is of use to a radiologist.",
    ]
    if {"FaithfulnessEstimate", "PixelFlipping"} & set(protocol.metrics):
        names = ", ".join(map(str, protocol.baselines))
        items.append(
            f"Values are replaced by {names} in normalised units (0.0 is ImageNet's mean grey, \"black\" the image's "
            "own minimum). Such images lie outside of what the model was trained on, and the choice alone can turn the "
            "order of the methods around."
            + ("" if len(protocol.baselines) > 1 else " Here it is one; run several to see (--baselines 0.0 black).")
        )
        items.append(
            f"FaithfulnessEstimate is that of Quantus {protocol.quantus}, {protocol.features_in_step} features in a "
            f"step, on {'probabilities' if protocol.softmax else 'logits'}. From 0.6.0 on a feature is a value of a "
            "channel, before it was a pixel: scores of older versions, the paper's of 2023 too, are no scale for these."
        )
    if "LimeCXR" in protocol.methods:
        precision = "" if protocol.precision == "float32" else f", its forward passes in {protocol.precision}"
        items.append(f"LimeCXR is drawn with {protocol.lime_samples} perturbed images and one seed{precision}.")
    items.append(
        "The tests take images as independent. Images of one patient or one hospital are not, and then the intervals "
        "are too narrow. One model was trained once: nothing here says how another training would come out."
    )
    return items
