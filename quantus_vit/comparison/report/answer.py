"""The question of a run, its answer in two sentences with numbers, and what to distrust. Knows rows; computes none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..findings import ALPHA
from ..meta_evaluation import EVERY_CONTROL
from ..significance import SignificanceRow
from ..statistics import TableRow
from .html import number
from .reading import MetricFacts, RunFolder

__all__ = ["answer", "best_rows", "deciding_metric", "distrust", "places", "question"]

_FEW = 30
"""Fewer images than this are named as few."""


def deciding_metric(run: RunFolder) -> MetricFacts | None:
    """The metric that was declared to decide, else the first of faithfulness that has a score, else the first."""
    scored = [metric for metric in run.metrics if _rows(run, metric)]
    declared = [metric for metric in scored if metric.row == run.protocol["primary"]]
    # Several baselines give a metric several rows.
    variants = [metric for metric in scored if metric.name == run.protocol["primary"]]
    faithful = [metric for metric in scored if metric.category == "faithfulness"]
    return next(iter([*declared, *variants, *faithful, *scored]), None)


def best_rows(run: RunFolder, metric: MetricFacts) -> list[TableRow]:
    """Rows of a metric's methods and controls, best mean first; those without a score are left out."""
    return sorted(_rows(run, metric), key=lambda row: -row.mean if metric.higher_is_better else row.mean)


def places(run: RunFolder, metric: MetricFacts) -> dict[str, int]:
    """Method -> its place by mean, 1 for the best; equal means share the better place."""
    means = {row.method: row.mean if metric.higher_is_better else -row.mean for row in _rows(run, metric)}
    return {method: 1 + sum(other > mean for other in means.values()) for method, mean in means.items()}


def _rows(run: RunFolder, metric: MetricFacts) -> list[TableRow]:
    return [row for row in run.table if row.metric == metric.row and not math.isnan(row.mean)]


def question(run: RunFolder) -> str:
    """What the run asks."""
    if run.protocol["truth"]:
        return "Which metrics can tell a map that is right by construction from maps that know nothing?"
    target = "true" if run.protocol["target"] == "label" else "predicted"
    noun = "class" if run.facts["task"] == "multiclass" else "finding"
    return f"Which method shows best what made the model give an X-ray its score for the {target} {noun}?"


def answer(run: RunFolder) -> list[str]:
    """Two sentences with numbers and intervals; one that says so where there is no answer."""
    if run.protocol["truth"]:
        return _answer_on_metrics(run)
    metric = deciding_metric(run)
    if metric is None:
        return ["No image has a score, so there is no answer."]
    rows = best_rows(run, metric)
    methods = [row for row in rows if row.role != "control"]
    if not methods:
        return [f"Only controls were scored; the best under {metric.row} is {_told(rows[0])}."]
    declared = metric.row == run.protocol["primary"]
    why = ", the metric that was declared to decide," if declared else " (no metric was declared to decide beforehand)"
    leaders = [row for row in methods if row.mean == methods[0].mean]
    first = f"By {metric.row}{why} {' and '.join(map(_told, leaders))} "
    if len(methods) == 1:
        first += "is the only method with a score"
    else:
        first += "comes first" if len(leaders) == 1 else "share the first place"
    if len(methods) > len(leaders):
        first += f", before {_told(methods[len(leaders)])}"
        first += f"; {_difference(run, metric, methods[0], methods[1])}" if len(leaders) == 1 else ""
    return [f"{first}.", _against_controls(run, metric, methods, _controls(rows))]


def _controls(rows: Sequence[TableRow]) -> list[TableRow]:
    """Controls that were scored on all cases: a mean over those that have a mask cannot be set beside the others."""
    most = max(row.n + row.nan for row in rows)
    return [row for row in rows if row.role == "control" and row.n + row.nan == most]


def _told(row: TableRow) -> str:
    interval = "" if math.isnan(row.ci_low) else f"95 % interval {number(row.ci_low)} to {number(row.ci_high)}, "
    lacking = f", {row.nan} without a score" if row.nan else ""
    return f"{row.method} with {number(row.mean)} ({interval}n = {row.n}{lacking})"


def _difference(run: RunFolder, metric: MetricFacts, first: TableRow, second: TableRow) -> str:
    test = _test(run, metric.row, first.method, second.method)
    if test is None or math.isnan(test.p_holm):
        return "the two were not tested against each other"
    low, high, mean = test.ci_low, test.ci_high, test.mean_difference
    if test.method_a != first.method:
        low, high, mean = -high, -low, -mean
    verdict = "is significant" if test.p_holm < ALPHA else "is not significant"
    interval = f"{number(mean)}, {number(low)} to {number(high)}"
    return f"their difference ({interval}) {verdict} (p = {test.p_holm:.2g} after Holm's correction)"


def _test(run: RunFolder, metric: str, first: str, second: str) -> SignificanceRow | None:
    for row in run.significance:
        if row.metric == metric and {row.method_a, row.method_b} == {first, second}:
            return row
    return None


def _against_controls(
    run: RunFolder, metric: MetricFacts, methods: Sequence[TableRow], controls: Sequence[TableRow]
) -> str:
    if not controls:
        return "No control was scored, so nothing says how much of this chance would reach."
    control = controls[0]
    tests = {row.method: _test(run, metric.row, row.method, control.method) for row in methods}
    ahead = {row.method for row in methods if (row.mean > control.mean) == metric.higher_is_better}
    clear = [name for name, test in tests.items() if name in ahead and test is not None and test.p_holm < ALPHA]
    if all(test is None or test.n_tested < 2 for test in tests.values()):
        return f"Too few cases to test anything against the best control, {_told(control)}."
    if len(methods) == 1:
        verdict = "is" if clear else "is not"
        return f"{methods[0].method} {verdict} significantly better than the best control, {_told(control)}."
    if not clear:
        return f"None of {len(methods)} methods is significantly better than the best control, {_told(control)}."
    verb = "is" if len(clear) == 1 else "are"
    text = f"Of {len(methods)} methods {len(clear)} {verb} significantly better than the best control, {_told(control)}"
    rest = [row.method for row in methods if row.method not in clear]
    if rest:
        text += f"; not so {', '.join(rest)}"
    return f"{text}."


def _answer_on_metrics(run: RunFolder) -> list[str]:
    rows = [row for row in run.meta if row.control == EVERY_CONTROL and row.n]
    if not rows:
        return ["No metric has been judged yet, so there is no answer."]
    always = [row for row in rows if row.preferred == row.n]
    names = f": {', '.join(row.metric for row in always)}" if always else ""
    first = (
        f"{len(always)} of {len(rows)} metrics give the truth the best score in every case that counts"
        f" (n = {rows[0].n}, 95 % interval of the share {always[0].ci_low:.2f} to 1){names}."
        if always
        else f"None of {len(rows)} metrics gives the truth the best score in every case."
    )
    worst = min(rows, key=lambda row: row.share)
    interval = f"{worst.ci_low:.2f} to {worst.ci_high:.2f}"
    return [first, f"The least is {worst.metric} with {worst.preferred} of {worst.n} (95 % interval {interval})."]


def distrust(run: RunFolder) -> list[str]:
    """What a reader should know before believing the answer, the gravest first."""
    sentences = []
    cases = len(run.cases)
    covered = len({(row.path, row.label) for row in run.scores})
    if not run.facts["complete"]:
        sentences.append(
            f"The run is not finished: scores cover {covered} of {cases} cases. The same command goes on from here."
        )
    if run.facts["foreign_rows"]:
        sentences.append(
            f"scores.csv holds {run.facts['foreign_rows']} rows of no case of this run, or twice; they are in no table."
        )
    if run.facts["dataset"] in ("phantom", "confounded"):
        sentences.append(
            "Phantoms are drawn by code, with lesions far more regular than real ones: this shows that the methods "
            "work, not how they rank on patients."
        )
    if cases == 1:
        sentences.append("One case alone has no interval and no test: it is an example.")
    elif cases < _FEW:
        sentences.append(f"{cases} cases are few: intervals are wide, and small differences go unseen.")
    sentences += _without_scores(run)
    sentences += _never_significant(run)
    failing = [row for row in run.meta if row.control == EVERY_CONTROL and row.n and row.ci_high < 1]
    if failing and not run.protocol["truth"]:
        names = ", ".join(f"{row.metric} ({row.preferred} of {row.n})" for row in failing)
        sentences.append(f"On phantoms, whose truth is known, these metrics miss it: {names}. Do not rank by them.")
    return [*sentences, *run.facts["caveats"]]


def _without_scores(run: RunFolder) -> list[str]:
    """A sentence where methods lack scores of the deciding metric: their means are over what they answered."""
    metric = deciding_metric(run)
    lacking = [row for row in run.table if metric is not None and row.metric == metric.row and row.nan]
    if not lacking:
        return []
    listed = ", ".join(f"{row.method} for {row.nan} of {row.n + row.nan}" for row in lacking)
    return [
        f"Cases without a score by {lacking[0].metric} (constant or undefined maps, or failures): {listed}. Means over "
        "different cases are not comparable, and a method gains by failing on what is hard for it; the findings have "
        "the means over the cases that all methods answer."
    ]


def _never_significant(run: RunFolder) -> list[str]:
    """A sentence where the deciding metric's tests have too few images to become significant, whatever the scores."""
    metric = deciding_metric(run)
    tests = [row for row in run.significance if not math.isnan(row.p)]
    own = [row for row in tests if metric is not None and row.metric == metric.row and row.n_tested]
    if not own or min(row.p_holm for row in own) < ALPHA:
        return []
    most = max(row.n_tested for row in own)
    least = 2.0 ** (1 - most)  # of Wilcoxon's two-sided test: all differences have one sign
    if least * len(tests) < ALPHA:
        return []
    return [
        f"No difference can be significant here: with {most} differences the smallest p of a paired test is "
        f"{least:.2g}, and {len(tests)} tests share the level of {ALPHA}. Take more cases or fewer methods and metrics."
    ]
