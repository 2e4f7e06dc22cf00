"""Judging metrics: counts by hand, an oracle and its opposite, Wilson's interval by its own equation."""

from __future__ import annotations

import math

import pytest

from quantus_vit.comparison.meta_evaluation import EVERY_CONTROL, meta_rows, wilson_interval
from quantus_vit.comparison.protocols import PROTOCOLS
from quantus_vit.comparison.scores import Score

nan = math.nan
VALUES = {"truth": [0.9, 0.8, 0.7, nan, 0.6], "noise": [0.1, 0.8, 0.2, 0.3, 0.9], "edges": [0.5, 0.5, nan, 0.5, 0.5]}
CORRECT = {(f"{index}.png", "x"): True for index in range(5)}


def scores(metric: str = "F") -> list[Score]:
    return [
        Score(f"{index}.png", "x", "x", "x", method, metric, value)
        for method, values in VALUES.items()
        for index, value in enumerate(values)
    ]


def counts(higher: bool, correct=CORRECT) -> dict[str, tuple[int, int, int, int]]:
    rows = meta_rows(scores(), "truth", ("noise", "edges"), {"F": higher}, correct)
    return {row.control: (row.n, row.preferred, row.ties, row.nan) for row in rows}


def test_counts() -> None:
    assert counts(True) == {"noise": (4, 2, 1, 1), "edges": (3, 3, 0, 2), EVERY_CONTROL: (3, 1, 1, 2)}


def test_direction_turns_the_preference_and_not_the_ties() -> None:
    assert counts(False) == {"noise": (4, 1, 1, 1), "edges": (3, 0, 0, 2), EVERY_CONTROL: (3, 0, 0, 2)}


def test_wrong_predictions_do_not_count() -> None:
    correct = CORRECT | {("0.png", "x"): False}
    assert counts(True, correct)["noise"] == (3, 1, 1, 1)


def test_every_control_looks_at_the_worst_of_them() -> None:
    # 0.png: ahead of both; 1.png: a tie with noise; 4.png: behind noise.
    assert counts(True)[EVERY_CONTROL][:3] == (3, 1, 1)


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (12, 12)])
def test_wilson_bounds_solve_their_equation(successes: int, n: int) -> None:
    z = 1.959963984540054
    for bound in wilson_interval(successes, n):
        distance = (successes / n - bound) ** 2
        assert distance == pytest.approx(z * z * bound * (1 - bound) / n, abs=1e-9)
    assert all(map(math.isnan, wilson_interval(0, 0)))


def test_the_protocol_names_a_truth_among_its_methods() -> None:
    settings = PROTOCOLS["meta"].settings
    assert settings["truth"] in settings["methods"]


def test_what_was_declared_for_other_methods_is_dropped() -> None:
    spec = PROTOCOLS["meta"]
    assert spec.with_overrides({"methods": ("Random",)})["truth"] == ""
    assert spec.with_overrides({"samples": 3})["truth"] == spec.settings["truth"]
