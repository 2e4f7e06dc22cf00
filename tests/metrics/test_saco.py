"""SaCo against the authors' code, and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from attribution.golden import DATA, load_golden
from torch import nn

from quantus_vit.metrics import SaCo, saco


def by_hand(salience, drops):
    """Algorithm 1 of the paper, pair by pair."""
    score = weight = 0.0
    for i, j in combinations(range(len(salience)), 2):
        difference = salience[i] - salience[j]
        score += difference if drops[i] >= drops[j] else -difference
        weight += abs(difference)
    return score / weight if weight else float("nan")


def test_the_authors_code_on_pairs():
    with np.load(DATA / "saco_pairs.npz") as golden:
        for suffix in ("", "_K2", "_K5", "_K20"):
            pairs = zip(golden[f"salience{suffix}"], golden[f"drops{suffix}"], golden[f"F{suffix}"], strict=True)
            for salience, drops, expected in pairs:
                np.testing.assert_allclose(saco(salience, drops), expected, rtol=1e-12, atol=1e-12)


def test_pairs_by_hand():
    rng = np.random.default_rng(0)
    for _ in range(50):
        salience = np.sort(rng.integers(0, 5, 6))[::-1].astype(float)
        drops = rng.integers(0, 4, 6).astype(float)
        np.testing.assert_allclose(saco(salience, drops), by_hand(salience, drops), rtol=1e-12)


def test_extremes():
    assert saco([3, 2, 1], [0.3, 0.2, 0.1]) == 1
    assert saco([3, 2, 1], [0.1, 0.2, 0.3]) == -1
    assert np.isnan(saco([1, 1, 1], [0.1, 0.2, 0.3]))
    assert np.isnan(saco([2, 1], [np.nan, 0.1]))
    assert np.isnan(saco([2, 1], [0.1, np.nan]))
    assert np.isnan(saco([np.nan, 1], [0.2, 0.1]))


@pytest.mark.parametrize(("salience", "drops"), [([1], [1]), ([1, 2], [1]), ([[1, 2]], [[1, 2]])])
def test_what_makes_no_pairs_is_refused(salience, drops):
    with pytest.raises(ValueError, match="two sequences of the same length of 2 or more"):
        saco(salience, drops)


def test_the_authors_code_end_to_end():
    model = load_golden(DATA / "vit_d48_l3_f64.npz")
    with np.load(DATA / "vit_d48_l3_f64_saco.npz") as golden:
        scores = SaCo(groups=10)(
            model=DoublePrecision(model.model).eval(),
            x_batch=model.inputs.numpy(),
            y_batch=golden["target"],
            a_batch=golden["salience_map"][:, None],
        )
        np.testing.assert_allclose(scores, golden["F"], rtol=1e-9)


class DoublePrecision(nn.Module):
    """Quantus hands single precision to a model; this one computes in double precision."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.double())
