"""Critical-difference diagrams: what is drawn, read back from the figure."""

from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.comparison.figures.critical_difference import draw_critical_difference
from quantus_vit.comparison.rank_rows import RankRow, rank_rows
from quantus_vit.comparison.scores import Score

BAR = "#0072B2"


def ranked(difference: float, n: int = 40) -> list[RankRow]:
    """A and B differ by as much as is asked for, C is far behind."""
    generator = np.random.default_rng(0)
    means = {"A": difference, "B": 0.0, "C": -9.0}
    scores = [
        Score(f"{case}.png", "x", "x", "x", method, "F", mean + generator.standard_normal())
        for method, mean in means.items()
        for case in range(n)
    ]
    return rank_rows(scores, {"F": True}, {"A": "method", "B": "method", "C": "control"})


def test_names_ranks_and_bars_are_those_of_the_rows() -> None:
    rows = ranked(0.0)
    (axes,) = draw_critical_difference(rows).axes
    texts = {text.get_text(): text for text in axes.texts}
    for row in rows:
        assert texts[f"{row.method} {row.mean_rank:.2f}"].get_color() == ("0.5" if row.role == "control" else "black")
    assert f"critical difference {rows[0].critical_difference:.2f}" in texts
    (bar,) = [line for line in axes.lines if line.get_color() == BAR]
    ends = {row.method: row.mean_rank for row in rows}
    low, high = sorted((ends["A"], ends["B"]))
    assert np.asarray(bar.get_xdata()) == pytest.approx([low - 0.03, high + 0.03])
    stems = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 3]
    assert sorted(stems) == pytest.approx(sorted(ends.values()))


def test_methods_that_differ_have_no_bar() -> None:
    (axes,) = draw_critical_difference(ranked(4.0)).axes
    assert not [line for line in axes.lines if line.get_color() == BAR]


def test_a_panel_for_each_metric_with_ranks() -> None:
    rows = ranked(0.0)
    empty = [RankRow("G", row.method, row.role, float("nan"), 0, 0.0, 1.0, 0.0, "") for row in rows]
    assert len(draw_critical_difference([*rows, *empty]).axes) == 1
    with pytest.raises(ValueError, match="no metric has ranks to draw"):
        draw_critical_difference(empty)
