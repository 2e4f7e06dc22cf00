"""Localisation metrics against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.metrics import AveragePrecision, MaskIoU, TolerantPointingGame

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


def call(maps, masks, metric=None):
    n = len(maps)
    x = np.random.default_rng(0).normal(size=(n, 3, 16, 16))
    return (metric or AveragePrecision())(
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


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 40])
def test_a_hit_is_near_a_marked_pixel(tolerance):
    rng = np.random.default_rng(3)
    masks = rng.random((30, 1, 16, 16)) < 0.02
    masks[:, :, 0, 0] = True
    maps = rng.permutation(30 * 256).reshape(30, 16, 16).astype(float)
    maps[0, 5, 5] = maps[0, 0, 0] = maps[0].max() + 1  # two maxima, one of them in the mask
    wanted = []
    for relevance, mask in zip(maps, masks[:, 0], strict=True):
        marked = np.argwhere(mask)
        tops = np.argwhere(relevance == relevance.max())
        hits = [min(np.hypot(*(top - one)) for one in marked) <= tolerance for top in tops]
        wanted.append(np.mean(hits))
    assert call(maps, masks, TolerantPointingGame(tolerance=tolerance)) == wanted
    assert set(wanted) <= {0.0, 0.5, 1.0}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_overlap_by_counting_pixels(share):
    rng = np.random.default_rng(4)
    maps = rng.permutation(8 * 256).reshape(8, 16, 16).astype(float)
    masks = rng.random((8, 1, 16, 16)) < 0.2
    for found, relevance, mask in zip(call(maps, masks, MaskIoU(share=share)), maps, masks[:, 0], strict=True):
        top = set(np.argsort(-relevance.ravel())[: round(share * 256)])
        marked = set(np.flatnonzero(mask))
        assert found == pytest.approx(len(top & marked) / len(top | marked))


def test_overlap_of_tied_pixels_is_that_of_a_random_draw():
    """A map of two values, 64 pixels of the higher one, of which 26 are drawn: expected pixels inside, by symmetry."""
    relevance = np.zeros((1, 16, 16))
    relevance[:, :4] = 1
    masks = np.zeros((1, 1, 16, 16), dtype=bool)
    masks[:, :, :8, :8] = True
    inside = 26 * 32 / 64
    assert call(relevance, masks, MaskIoU(share=0.1)) == [pytest.approx(inside / (26 + 64 - inside))]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="tolerance must be a number of pixels of 0 or more, not -1"):
        TolerantPointingGame(tolerance=-1)
    with pytest.raises(ValueError, match=r"share must lie between 0 and 1, not 1\.5"):
        MaskIoU(share=1.5)
