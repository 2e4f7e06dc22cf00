"""Ranks of methods from scores: against scipy's ranks and test, by hand for groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from quantus_vit.comparison.rank_rows import rank_rows
from quantus_vit.comparison.scores import Score

VALUES = np.random.default_rng(1).normal((0.0, 0.1, 3.0), size=(40, 3))
NAMES = ("a", "b", "c")


def scores_of(values, metric: str = "F") -> list[Score]:
    return [
        Score(f"{index}.png", "x", "x", "x", name, metric, float(value))
        for name, column in zip(NAMES, np.transpose(values), strict=True)
        for index, value in enumerate(column)
    ]


def test_ranks_and_friedman_agree_with_scipy() -> None:
    rows = rank_rows(scores_of(VALUES), {"F": True}, {"a": "control"})
    expected = stats.rankdata(-VALUES, axis=1).mean(axis=0)
    assert {row.method: row.mean_rank for row in rows} == pytest.approx(dict(zip(NAMES, expected, strict=True)))
    assert rows[0].friedman == pytest.approx(stats.friedmanchisquare(*VALUES.T).statistic)
    assert [(row.role, row.method) for row in rows if row.role] == [("control", "a")]


def test_a_method_apart_has_a_letter_of_its_own() -> None:
    groups = {row.method: row.groups for row in rank_rows(scores_of(VALUES), {"F": True})}
    assert groups == {"c": "a", "a": "b", "b": "b"}


def test_direction_turns_the_order() -> None:
    assert [row.method for row in rank_rows(scores_of(VALUES), {"F": False})][-1] == "c"


def test_images_without_a_score_of_every_method_are_left_out() -> None:
    holed = VALUES.copy()
    holed[3, 1] = math.nan
    rows = rank_rows(scores_of(holed), {"F": True})
    kept = np.delete(VALUES, 3, axis=0)
    assert rows[0].n == 39
    assert rows[0].friedman == pytest.approx(stats.friedmanchisquare(*kept.T).statistic)


def test_images_of_a_patient_are_ranked_by_their_mean() -> None:
    rows = rank_rows(scores_of(VALUES), {"F": True}, patients={f"{i}.png": str(i // 4) for i in range(40)})
    means = VALUES.reshape(10, 4, 3).mean(axis=1)
    assert rows[0].n == 10
    assert {row.method: row.mean_rank for row in rows} == pytest.approx(
        dict(zip(NAMES, stats.rankdata(-means, axis=1).mean(axis=0), strict=True))
    )


def test_nothing_to_rank() -> None:
    assert rank_rows([row for row in scores_of(VALUES) if row.method == "a"], {"F": True}) == []
    (first, *_) = rank_rows(scores_of(np.full((2, 3), math.nan)), {"F": True})
    assert (first.n, first.groups) == (0, "")
