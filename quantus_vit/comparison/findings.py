"""What a comparison says in words, and what it does not say: sentences for the report.

Knows rows and settings; they are counted and compared here, never computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .calls import Call
from .methods import MethodSpec
from .metrics import MetricSpec
from .protocol import VAL_SAMPLES, Protocol
from .removal_shift import removal_shift_findings
from .sampling import Selection
from .scores import Failure, Note, Prediction, Score
from .sensitivity import sensitivity_findings
from .significance import POWER, SignificanceRow
from .statistics import TableRow, common_means
from .summary import Summary

__all__ = ["ALPHA", "ReportContent", "caveats", "findings"]

ALPHA = 0.05
"""Level of the tests."""

_LISTED = 3
"""Pairs that were not tested are named up to this number."""

_ROUNDING = 1e-9
"""Differences that a sample could show below this are those of rounding."""


@dataclass(frozen=True)
class ReportContent:
    """Everything the page shows; see :class:`~.summary.Summary` and :mod:`.scores` for the rows.

    ``metrics`` and ``methods`` have the spec of each row's metric and method, ``labels`` the compared classes.
    """

    protocol: Protocol
    environment: Mapping[str, Any]
    dataset: str
    task: str
    labels: tuple[str, ...]
    selection: Selection
    scores: Sequence[Score]
    predictions: Sequence[Prediction]
    summary: Summary
    failures: Sequence[Failure]
    notes: Sequence[Note]
    metrics: Mapping[str, MetricSpec]
    methods: Mapping[str, MethodSpec]
    foreign_rows: int
    complete: bool


def findings(content: ReportContent) -> list[str]:
    """Sentences on what the table and the tests say, and what they do not."""
    sentences = []
    best: dict[str, str] = {}
    for metric in dict.fromkeys(row.metric for row in content.summary.table):
        higher = content.metrics[metric].higher_is_better
        rows = [row for row in content.summary.table if row.metric == metric and not math.isnan(row.mean)]
        if not rows:
            sentences.append(f"{metric}: no image has a score.")
            continue
        rows.sort(key=lambda row: -row.mean if higher else row.mean)
        best[metric] = rows[0].method
        order = ", ".join(map(_mean_in_words, rows))
        text = f"{metric} ({'higher' if higher else 'lower'} is better), by mean: {order}.{_unequal(content, metric)}"
        sentences.append(f"{text} {_tested(content, metric)}" if len(rows) > 1 else text)
    for name in dict.fromkeys(content.metrics[metric].name for metric in best if "baseline=" in metric):
        winners = {m: method for m, method in best.items() if content.metrics[m].name == name and "baseline=" in m}
        if len(set(winners.values())) > 1:
            leaders = "; ".join(f"{method} leads under {metric}" for metric, method in winners.items())
            sentences.append(
                f"The ranking depends on the baseline: {leaders}. {name} alone does not make one method the more "
                "faithful."
            )
    if content.summary.sensitivity is not None:
        sentences += sensitivity_findings(content.summary.sensitivity)
    sentences += removal_shift_findings(content.summary.removal_shift)
    return sentences


def _mean_in_words(row: TableRow) -> str:
    known = [] if math.isnan(row.ci_low) else [f"{row.ci_low:.3f} to {row.ci_high:.3f}"]
    known += [f"{row.nan} of {row.n + row.nan} cases without a score"] if row.nan else []
    return f"{row.method} {row.mean:.3f}" + (f" ({'; '.join(known)})" if known else "")


def _unequal(content: ReportContent, metric: str) -> str:
    """Where methods lack scores, the order over the cases that all have: else one gains by what it does not answer."""
    every = [row for row in content.summary.table if row.metric == metric]
    none = [row.method for row in every if not row.n]
    without = f" No score at all: {', '.join(none)}." if none else ""
    rows = [row for row in every if row.n]
    if not any(row.nan for row in rows):
        return without
    most = max(row.n + row.nan for row in rows)
    shared, means = common_means(content.scores, metric, [row.method for row in rows if row.n + row.nan == most])
    if all(row.n == shared for row in rows):
        return without  # all lack the same cases
    if not shared:
        return f" These means are over different cases, and no case has a score of every method.{without}"
    higher = content.metrics[metric].higher_is_better
    order = sorted(means, key=lambda method: -means[method] if higher else means[method])
    noun = "case that has" if shared == 1 else "cases that have"
    listed = ", ".join(f"{method} {means[method]:.3f}" for method in order)
    return f" These means are over different cases; over the {shared} {noun} scores of all: {listed}.{without}"


def _tested(content: ReportContent, metric: str) -> str:
    rows = [row for row in content.summary.significance if row.metric == metric]
    if not rows:
        return "Nothing is tested: controls are not tested against each other."
    tests = [row for row in rows if row.n_tested > 1]
    if not tests:
        return "Nothing is tested: no two patients or images have scores of two methods."
    untested = _not_tested([row for row in rows if row.n_tested < 2])
    clear = [row for row in tests if row.p_holm < ALPHA]
    pairs = [f"{row.method_a} and {row.method_b} (p = {row.p_holm:.2g})" for row in clear]
    how = f"(paired tests, {ALPHA} after Holm's correction)"
    if not pairs:
        return f"No two methods differ significantly {how}.{_power(tests)}{untested}"
    text = f"Significantly different {how}: {', '.join(pairs)}"
    rest = [row for row in tests if row not in clear]
    alike = f"; the other pairs do not differ significantly.{_power(rest)}" if rest else "."
    return f"{text}{alike}{untested}"


def _not_tested(rows: Sequence[SignificanceRow]) -> str:
    if not rows:
        return ""
    pairs = ", ".join(f"{row.method_a} and {row.method_b}" for row in rows)
    if len(rows) > _LISTED:
        shared = set.intersection(*({row.method_a, row.method_b} for row in rows))
        pairs = f"{len(rows)} pairs" + "".join(f", all with {method}" for method in shared)
    return f" Not tested, for want of cases with scores of both: {pairs}."


def _power(tests: Sequence[SignificanceRow]) -> str:
    """What the sample could have shown: so that nobody reads "not significant" as "equal"."""
    found = [row.detectable for row in tests if row.detectable > _ROUNDING]
    if not found:
        return ""
    least = f"{min(found):.2g}"
    if len(found) > 1:
        least = f"{min(found):.2g} to {max(found):.2g}, by pair,"
    return (
        f" That is no proof that they are equal: a sample of this size shows differences of {least} with a chance of "
        f"{POWER:.0%}, before the correction."
    )


def caveats(content: ReportContent) -> list[str]:
    """Sentences on what the scores do not show."""
    protocol = content.protocol
    items = [
        "The scores measure how maps agree with what the model does, and with masks where they are used; not whether "
        "the model is right, nor whether a map is of use to a radiologist.",
    ]
    if any("perturb_baseline" in _variant_settings(spec, protocol) for spec in content.metrics.values()):
        items += _removal(content)
    if any(spec.name == "FaithfulnessEstimate" for spec in content.metrics.values()):
        items.append(
            f"FaithfulnessEstimate is that of Quantus {protocol.quantus}, {protocol.features_in_step} features in a "
            f"step, on {'probabilities' if protocol.softmax else 'logits'}. From 0.6.0 on a feature is a value of a "
            "channel, before it was a pixel: scores of older versions, the paper's of 2023 too, are not comparable."
        )
    if protocol.chosen:
        values = ", ".join(f"{value:g} for {row}" for row, value in protocol.chosen_values().items())
        items.append(
            f"Chosen on at most {VAL_SAMPLES} cases of the Val split before the run, by the best mean over methods, "
            f"the same for all of them: {values}. A single method may be better at another value."
        )
    left_out = content.environment.get("left_out")
    if left_out:
        items.append(
            f"Left out of the protocol {protocol.protocol}, since data or model have not what they need (masks, "
            f"another class): {', '.join(left_out)}."
        )
    in_table = {(row.method, row.metric) for row in content.summary.table}
    partly = dict.fromkeys(row.method for row in content.summary.excluded if (row.method, row.metric) in in_table)
    if partly:
        items.append(
            f"{', '.join(partly)}: made of a mask that not all images have, and scored on those that have it. Compare "
            "it by the paired tests, which take the images that both methods have, not by its mean; it has no rank."
        )
    if any(kind for kind in {row.mask_kind for row in content.summary.table} if "box" in kind):
        items.append(
            "Some masks are boxes, which hold healthy tissue too: shares inside them are not comparable with those "
            "inside outlines that were drawn pixel by pixel."
        )
    if any(spec.lower_precision for spec in content.methods.values()):
        precision = "" if protocol.precision == "float32" else f", its forward passes in {protocol.precision}"
        items.append(f"LimeCXR is sampled with {protocol.lime_samples} perturbed images and one seed{precision}.")
    items.append(
        _independence(content)
        + " Images of one hospital are alike, too, which no interval here knows. One model was trained once: nothing "
        "here says how another training would come out."
    )
    return items


def _independence(content: ReportContent) -> str:
    if any(row.n_patients for row in content.summary.table):
        return (
            "Intervals draw whole patients, tests and ranks average a patient's images first; images without a named "
            "patient count as patients of their own."
        )
    return (
        "The data name no patients, so tests and intervals take images as independent; images of one patient are not, "
        "and then the intervals are too narrow."
    )


def _variant_settings(spec: MetricSpec, protocol: Protocol) -> set[str]:
    return {name for further in spec.variants(protocol).values() for name in further}


def _removal(content: ReportContent) -> list[str]:
    protocol = content.protocol
    names = ", ".join(map(str, protocol.baselines))
    several = len(protocol.baselines) > 1
    items = [
        f'Values are replaced by {names} in normalised units (0.0 is the mean of the model\'s preprocessing, "black" '
        "the image's own minimum). Such images lie outside of what the model was trained on, and the choice alone can "
        "reverse the ranking of the methods." + ("" if several else " Here it is one; compare --baselines 0.0 black.")
    ]
    removing = {label: spec for label, spec in content.methods.items() if spec.removes}
    if removing:
        text = f"Replacing parts of the image by themselves: {', '.join(removing)}."
        matched = [label for label, spec in removing.items() if not several and _is_matched(label, spec, protocol)]
        if matched:
            text += (
                f" The replacement of {', '.join(matched)} is the metric's, so that the score does not measure how "
                "well two removals agree."
            )
        others = [label for label in removing if label not in matched]
        if others:
            text += f" Where that of {', '.join(others)} is not the metric's, the score also measures how these agree."
        items.append(text)
    return items


def _is_matched(label: str, spec: MethodSpec, protocol: Protocol) -> bool:
    """Whether a method's replacement follows the run's, which is the metric's, and no brackets give another."""
    follows = "replacement" in spec.options(protocol.explain_options())
    return protocol.lime_replacement == "baseline" and follows and "replacement" not in Call.parse(label).options
