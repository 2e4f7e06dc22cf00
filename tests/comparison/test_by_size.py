"""Localisation by the size of the mask."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantus_vit.comparison.by_size import SIZE_BINS, by_size
from quantus_vit.comparison.scores import MaskArea, Score

from .test_pipeline import compared, read_rows
from .toys import LinearModel

MASKS = {"AUPRC[mask=infection]": "infection"}
SHARES = {"a": 0.005, "b": 0.01, "c": 0.04, "d": 0.2, "e": 0.0}


def score(path: str, value: float, metric: str = "AUPRC[mask=infection]") -> Score:
    return Score(path, "COVID-19", "", "", "M", metric, value)


def test_cases_come_into_the_bin_of_their_mask_and_carry_its_share() -> None:
    scores = [score(path, number) for number, path in enumerate(SHARES)] + [score("a", 9.0, "Sparseness")]
    areas = [MaskArea(path, "COVID-19", "infection", share) for path, share in SHARES.items()]
    rows = by_size(scores, MASKS, [*areas, MaskArea("b", "COVID-19", "lung", 0.9)])
    assert [(row.size, row.mean, row.area, row.n, row.nan) for row in rows] == [
        ("below 1 %", 0.0, 0.005, 1, 0),
        ("1 to 5 %", 1.5, 0.025, 2, 0),
        ("15 % and above", 3.0, 0.2, 1, 0),
    ]
    assert {row.metric for row in rows} == set(MASKS)
    assert list(SIZE_BINS.values()) == sorted(SIZE_BINS.values())


def test_cases_without_a_score_are_counted() -> None:
    areas = [MaskArea(path, "COVID-19", "infection", 0.02) for path in "ab"]
    (row,) = by_size([score("a", math.nan), score("b", 0.5)], MASKS, areas)
    assert (row.mean, row.q1, row.n, row.nan) == (0.5, 0.5, 1, 1)


@pytest.mark.usefixtures("contribution_method")
def test_a_run_writes_the_shares_of_its_masks(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model, methods=("Contribution",), metrics=("AUPRC",))
    shares = {(row[0], row[2]): float(row[3]) for row in read_rows(tmp_path / "mask_areas.csv")[1:]}
    assert {share for (_, mask), share in shares.items() if mask == "lung"} == {36 / 64}
    assert {share for (_, mask), share in shares.items() if mask == "infection"} == {0.0, 6 / 64}
    rows = {(row[1], row[2]): row for row in read_rows(tmp_path / "by_size.csv")[1:]}
    assert set(rows) == {("AUPRC[mask=lung]", "15 % and above"), ("AUPRC[mask=infection]", "5 to 15 %")}
    scores = [float(row[6]) for row in read_rows(tmp_path / "scores.csv")[1:] if row[5] == "AUPRC[mask=infection]"]
    assert float(rows["AUPRC[mask=infection]", "5 to 15 %"][3]) == pytest.approx(np.mean(scores))
