"""Which rows of a result folder's logs a run goes on from. Knows the plan and the rows, not how a score is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .folder import Logs
from .plan import Plan
from .scores import Score, TieBreak

__all__ = ["forget_failures", "scores_of", "tie_breaks_of"]


def forget_failures(logs: Logs, retry_failed: bool) -> None:
    """Take rows of failures out of the logs, so that what failed is tried again.

    Parameters
    ----------
    logs : Logs
    retry_failed : bool
        All of them, with their scores; else only those of the machine, which have none.
    """
    kept = [] if retry_failed else [row for row in logs.failures.rows if row.cause == "image"]
    if retry_failed:
        failed = [
            score
            for score in logs.scores.rows
            if math.isnan(score.score) and any(row.explains(score) for row in logs.failures.rows)
        ]
        if failed:
            gone = {row.key for row in failed}
            logs.scores.replace(row for row in logs.scores.rows if row.key not in gone)
    if len(kept) < len(logs.failures.rows):
        logs.failures.replace(kept)


def scores_of(plan: Plan, logs: Logs) -> list[Score]:
    """The scores of a plan's cases, methods and metrics, each once, in the protocol's order.

    Rows that belong to no case of the plan, or come a second time, are left out.
    """
    methods = {call.label: number for number, call in enumerate(plan.methods)}
    metrics = {scorer.name: number for number, scorer in enumerate(plan.scorers)}
    cases = {case.key: number for number, case in enumerate(plan.cases)}
    rows: dict[tuple[str, str, str, str], Score] = {}
    for row in logs.scores.rows:
        if (row.path, row.label) in cases and row.method in methods and row.metric in metrics:
            rows.setdefault(row.key, row)
    return sorted(rows.values(), key=lambda row: (metrics[row.metric], methods[row.method], cases[row.path, row.label]))


def tie_breaks_of(scores: Sequence[Score], logs: Logs) -> list[TieBreak]:
    """The orders of ties behind scores, in the scores' order.

    A run that was cut between the two files has written a score's orders twice: the last ones belong to it.
    """
    orders: dict[tuple[str, str, str, str], dict[int, TieBreak]] = {score.key: {} for score in scores}
    for row in logs.tie_breaks.rows:
        of_score = orders.get((row.path, row.label, row.method, row.metric))
        if of_score is not None:
            of_score[row.tie_break] = row
    return [of_score[number] for of_score in orders.values() for number in sorted(of_score)]
