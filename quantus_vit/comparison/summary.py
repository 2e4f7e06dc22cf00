"""All tables of a run together, and their files. Knows a run's rows and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .by_size import SizeRow, by_size
from .meta_evaluation import MetaRow, meta_rows
from .planning import mask_kinds
from .rank_rows import RankRow, rank_rows
from .removal_shift import RemovalShiftRow
from .runner import ComparisonRun
from .scores import Score
from .sensitivity import SensitivityTables
from .significance import SignificanceRow, significance
from .statistics import (
    ClassRow,
    SpreadRow,
    TableRow,
    by_class,
    by_confidence,
    by_prediction,
    table,
    tie_spread,
    write_table,
)

__all__ = ["ExclusionRow", "Summary", "summarise", "write_summary"]


@dataclass(frozen=True)
class ExclusionRow:
    """A method for which a metric means nothing, on all images or on some: a row of ``not_applicable.csv``."""

    method: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """The tables of a run: rows of ``table1.csv``, ``by_class.csv``, and so on."""

    table: list[TableRow]
    significance: list[SignificanceRow]
    ranks: list[RankRow] = field(default_factory=list)
    by_class: list[ClassRow] = field(default_factory=list)
    by_prediction: list[ClassRow] = field(default_factory=list)
    by_confidence: list[ClassRow] = field(default_factory=list)
    by_size: list[SizeRow] = field(default_factory=list)
    spread: list[SpreadRow] = field(default_factory=list)
    meta: list[MetaRow] = field(default_factory=list)
    sensitivity: SensitivityTables | None = None
    removal_shift: list[RemovalShiftRow] = field(default_factory=list)
    excluded: list[ExclusionRow] = field(default_factory=list)


def summarise(run: ComparisonRun, labels: Sequence[str]) -> Summary:
    """Make the tables of the scores that a run has.

    Parameters
    ----------
    run : ComparisonRun
    labels : sequence of str
        The compared classes, in order.
    """
    plan, scores, kinds = run.plan, run.scores(), mask_kinds(run.plan)
    about = {scorer.name: (scorer.spec.category, kinds[scorer.name]) for scorer in plan.scorers}
    roles = {call.label: call.spec.role for call in plan.methods}
    higher = {scorer.name: scorer.spec.higher_is_better for scorer in plan.scorers}
    patients = plan.patients()
    correct = {(row.path, row.label): bool(row.correct) for row in run.predictions()}
    made_of_masks = [call.label for call in plan.methods if plan.mask_of(call) is not None]
    return Summary(
        table=table(scores, about, roles, patients),
        significance=significance(scores, roles, patients),
        ranks=rank_rows(scores, higher, roles, patients, made_of_masks),
        by_class=by_class(scores, labels, patients),
        by_prediction=by_prediction(scores, correct, patients),
        by_confidence=by_confidence(scores, _confidence(run), patients),
        by_size=by_size(
            scores, {s.name: s.mask for s in plan.scorers if s.mask is not None}, run.logs.mask_areas.rows, patients
        ),
        spread=tie_spread(run.tie_breaks()),
        meta=_judge_metrics(run, scores, higher, correct) if plan.protocol.truth else [],
        excluded=[
            ExclusionRow(call.label, scorer.name, plan.excluded(call, scorer))
            for scorer in plan.scorers
            for call in plan.methods
            if plan.excluded(call, scorer)
        ]
        + _without_mask(run, scores),
    )


def _without_mask(run: ComparisonRun, scores: Sequence[Score]) -> list[ExclusionRow]:
    """Methods that are made of a mask, where a metric has cases without it."""
    cases: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row in scores:
        cases.setdefault((row.metric, row.method), set()).add((row.path, row.label))
    rows = []
    for scorer in run.plan.scorers:
        every = set().union(*(found for (metric, _), found in cases.items() if metric == scorer.name))
        for call in run.plan.methods:
            mask = run.plan.mask_of(call)
            lacking = len(every - cases.get((scorer.name, call.label), set()))
            if mask is not None and lacking and not run.plan.excluded(call, scorer):
                reason = f"{lacking} of {len(every)} cases have no mask {mask!r}, which it is made of"
                rows.append(ExclusionRow(call.label, scorer.name, reason))
    return rows


def _confidence(run: ComparisonRun) -> dict[tuple[str, str], float]:
    """(image, label) -> probability of what the model says: of its class, or of the finding, there or not."""
    targets = {case.key: case.target for case in run.plan.cases}
    found = {}
    for row in run.predictions():
        values = row.values()
        one = values[targets[row.path, row.label]]
        found[row.path, row.label] = max(values) if run.plan.classifier.task == "multiclass" else max(one, 1 - one)
    return found


def _judge_metrics(
    run: ComparisonRun, scores: Sequence[Score], higher: Mapping[str, bool], correct: Mapping[tuple[str, str], bool]
) -> list[MetaRow]:
    truth = run.plan.protocol.truth
    controls = [call.label for call in run.plan.methods if call.spec.role == "control" and call.label != truth]
    return meta_rows(scores, truth, controls, higher, correct)


def write_summary(folder: Path, summary: Summary) -> None:
    """Write the tables into a folder, each a CSV file with a header even where it has no rows."""
    write_table(folder / "table1.csv", TableRow, summary.table)
    write_table(folder / "significance.csv", SignificanceRow, summary.significance)
    write_table(folder / "ranks.csv", RankRow, summary.ranks)
    write_table(folder / "by_class.csv", ClassRow, summary.by_class)
    write_table(folder / "by_prediction.csv", ClassRow, summary.by_prediction)
    write_table(folder / "by_confidence.csv", ClassRow, summary.by_confidence)
    write_table(folder / "by_size.csv", SizeRow, summary.by_size)
    write_table(folder / "tie_spread.csv", SpreadRow, summary.spread)
    write_table(folder / "not_applicable.csv", ExclusionRow, summary.excluded)
    if summary.meta:
        write_table(folder / "meta_evaluation.csv", MetaRow, summary.meta)
