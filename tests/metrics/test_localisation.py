"""AUPRC against a plain loop over thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.metrics import AveragePrecision

from .toys import WeighedPatches

MODEL = WeighedPatches(np.ones(16)).eval()


def by_thresholds(relevance, mask):
    """Sum of precision times the growth of recall, one threshold after the other."""
    area = recall = 0.0
    for threshold in sorted(set(relevance.ravel()), reverse=True):
        chosen = relevance >= threshold
        precision, reached = mask[chosen].mean(), mask[chosen].sum() / mask.sum()
        area += precision * (reached - recall)
        recall = reached
    return area


def call(maps, masks):
    n = len(maps)
    x = np.random.default_rng(0).normal(size=(n, 3, 16, 16))
    return AveragePrecision()(
        model=MODEL, x_batch=x, y_batch=np.zeros(n, dtype=int), a_batch=maps[:, None], s_batch=masks
    )


def test_thresholds_by_hand():
    rng = np.random.default_rng(1)
    maps = rng.integers(0, 9, (4, 16, 16)).astype(float)
    masks = rng.random((4, 1, 16, 16)) < 0.2
    np.testing.assert_allclose(call(maps, masks), [by_thresholds(a, s[0]) for a, s in zip(maps, masks, strict=True)])


def test_the_mask_itself_is_best_and_chance_is_its_share():
    masks = np.zeros((1, 1, 16, 16), dtype=bool)
    masks[:, :, 2:6, 3:9] = True
    assert call(masks[:, 0] + 0.0, masks) == [1]
    chance = call(np.random.default_rng(2).random((200, 16, 16)), np.repeat(masks, 200, axis=0))
    assert np.mean(chance) == pytest.approx(masks.mean(), abs=0.03)


def test_without_a_finding_there_is_no_score():
    assert np.isnan(call(np.arange(256.0).reshape(1, 16, 16), np.zeros((1, 1, 16, 16), dtype=bool)))[0]
    with pytest.raises(ValueError, match="AveragePrecision compares with masks; give s_batch"):
        call(np.arange(256.0).reshape(1, 16, 16), None)
