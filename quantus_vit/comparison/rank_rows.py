"""Scores -> mean ranks of the methods under every metric, and which of them do not differ significantly.

Knows rows of scores; the ranking itself is :mod:`.ranking`'s.
"""

from __future__ import annotations

import math
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .ranking import MeanRanks, mean_ranks
from .scores import Score
from .statistics import cluster_means, grouped

__all__ = ["RankRow", "joined_ranks", "rank_rows"]


@dataclass(frozen=True)
class RankRow:
    """A row of ``ranks.csv``: a method's place under a metric.

    ``mean_rank`` is over the ``n`` patients (images, where the data name no patients) that have a score of every
    method; 1 is the best. ``friedman`` and ``p`` are Friedman's test that all methods rank alike. Two methods that
    share a letter of ``groups`` lie less than Nemenyi's ``critical_difference`` apart: they do not differ
    significantly.
    """

    metric: str
    method: str
    role: str
    mean_rank: float
    n: int
    friedman: float
    p: float
    critical_difference: float
    groups: str


def rank_rows(
    scores: Sequence[Score],
    higher_is_better: Mapping[str, bool],
    roles: Mapping[str, str] | None = None,
    patients: Mapping[str, str] | None = None,
    made_of_masks: Collection[str] = (),
) -> list[RankRow]:
    """Mean ranks under each metric with two methods or more, best first.

    Parameters
    ----------
    scores : sequence of Score
    higher_is_better : mapping
        Metric -> its direction.
    roles : mapping, optional
        Method -> "method" or "control"; both are ranked.
    patients : mapping, optional
        Image -> its patient; the scores of a patient's images are averaged before they are ranked.
    made_of_masks : collection of str
        Methods that mean nothing on an image without their mask. Where that leaves one with fewer cases than the metric
        has, it is not ranked: the ranks of all others would be over these cases alone.
    """
    groups = grouped(scores)
    rows: list[RankRow] = []
    for metric in dict.fromkeys(metric for metric, _ in groups):
        of_methods = {method: group for (m, method), group in groups.items() if m == metric}
        cases = {(row.path, row.label) for group in of_methods.values() for row in group}
        of_methods = {
            method: group
            for method, group in of_methods.items()
            if method not in made_of_masks or len({(row.path, row.label) for row in group}) == len(cases)
        }
        if len(of_methods) < 2:
            continue
        columns = [_means_of_complete(group, list(of_methods.values()), patients) for group in of_methods.values()]
        table = np.array([list(column.values()) for column in columns]).T.reshape(-1, len(columns))
        ranked = mean_ranks(tuple(of_methods), table, higher_is_better[metric])
        letters = _letters(ranked)
        rows += [
            RankRow(
                metric, method, (roles or {}).get(method, ""), rank, ranked.n, ranked.statistic, ranked.p,
                ranked.critical_difference, letters[method],
            )
            for method, rank in zip(ranked.methods, ranked.ranks, strict=True)
        ]  # fmt: skip
    return rows


def joined_ranks(rows: Sequence[RankRow]) -> list[tuple[float, float]]:
    """Mean ranks of the best and the worst method of each group of two or more: where a diagram's bars begin and end.

    Parameters
    ----------
    rows : sequence of RankRow
        Of one metric.
    """
    members: dict[str, list[float]] = {}
    for row in rows:
        for letter in row.groups.split():
            members.setdefault(letter, []).append(row.mean_rank)
    return [(min(ranks), max(ranks)) for ranks in members.values() if len(ranks) > 1]


def _means_of_complete(
    group: Sequence[Score], all_groups: Sequence[Sequence[Score]], patients: Mapping[str, str] | None
) -> dict[tuple[str, str], float]:
    """Mean scores of one method by patient, over the cases that every method has a score of, in one order for all."""
    scored = [{(row.path, row.label) for row in rows if not math.isnan(row.score)} for rows in all_groups]
    complete = set.intersection(*scored)
    kept = sorted((row for row in group if (row.path, row.label) in complete), key=lambda row: (row.path, row.label))
    return cluster_means(kept, patients)


def _letters(ranked: MeanRanks) -> dict[str, str]:
    """Letters of each method's groups; a method in no group has one of its own. None where nothing was ranked."""
    if not ranked.n:
        return dict.fromkeys(ranked.methods, "")
    together = {method for group in ranked.groups for method in group}
    groups = [*ranked.groups, *((method,) for method in ranked.methods if method not in together)]
    groups.sort(key=lambda group: ranked.methods.index(group[0]))
    names = [_name(number) for number in range(len(groups))]
    return {
        method: " ".join(name for name, group in zip(names, groups, strict=True) if method in group)
        for method in ranked.methods
    }


def _name(number: int) -> str:
    """A to z, then a1, b1, ..."""
    turn, letter = divmod(number, len(string.ascii_lowercase))
    return string.ascii_lowercase[letter] + (str(turn) if turn else "")
