"""Merging of regions: connectedness, count, book-keeping, strong borders kept, interest and place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from quantus_vit.lime import cxr_segments
from quantus_vit.lime.merging import RegionMerger


def tiles(rows: int, columns: int, size: int = 4) -> np.ndarray:
    return np.arange(rows * columns).reshape(rows, columns).repeat(size, 0).repeat(size, 1)


def border_length(segments: np.ndarray, first: int, second: int) -> int:
    """Counted pixel by pixel."""
    pairs = [(segments[1:], segments[:-1]), (segments[:, 1:], segments[:, :-1])]
    return sum(int(((a == first) & (b == second) | (a == second) & (b == first)).sum()) for a, b in pairs)


@given(st.integers(0, 10_000), st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_merged_regions_are_connected_as_many_as_asked_and_booked_right(seed, count):
    random = np.random.default_rng(seed)
    fine = tiles(4, 5, 3)
    features, edges, interest = random.random((2, *fine.shape)), random.random(fine.shape), random.random(fine.shape)
    merger = RegionMerger(fine, features, edges, interest)
    merged = merger.merge(count)
    regions = np.unique(merged)
    assert len(regions) == count
    for region in regions:
        inside = merged == region
        assert ndimage.label(inside)[1] == 1
        assert merger.sizes[region] == inside.sum()
        np.testing.assert_allclose(merger.means[region], features[:, inside].mean(axis=1))
        np.testing.assert_allclose(merger.interests[region], interest[inside].mean())
        lengths = {other: border_length(merged, region, other) for other in regions if other != region}
        assert merger.perimeters[region] == sum(lengths.values())
        found = {other: length for other, (length, _) in merger.borders[region].items() if other in merger.alive}
        assert found == {other: length for other, length in lengths.items() if length}


@pytest.mark.parametrize("axis", [0, 1])
def test_border_strength_is_the_mean_of_both_sides(axis):
    segments = np.array([[0, 0], [1, 1]]) if axis == 0 else np.array([[0, 1], [0, 1]])
    edges = np.array([[1.0, 2.0], [3.0, 6.0]])
    merger = RegionMerger(segments, np.zeros((1, 2, 2)), edges)
    assert merger.borders[0][1] == merger.borders[1][0] == (2.0, edges.sum() / 2)


def test_the_strong_border_is_left():
    fine = tiles(2, 4)
    edges = np.zeros(fine.shape)
    edges[:, 7:9] = 0.5
    columns = np.indices(fine.shape)[1][None] / 100
    merged = RegionMerger(fine, columns, edges).merge(2)
    assert len(np.unique(merged[:, :8])) == len(np.unique(merged[:, 8:])) == 1


def test_interesting_regions_keep_more_segments():
    fine = tiles(6, 8)
    features, edges = np.random.default_rng(0).random((1, *fine.shape)), np.full(fine.shape, 0.1)
    interest = np.where(np.arange(32) < 16, 1.0, 0.01) * np.ones((24, 1))
    merged = RegionMerger(fine, features, edges, interest).merge(12)
    assert len(np.unique(merged[:, :16])) > len(np.unique(merged[:, 16:]))


@pytest.mark.parametrize("shape", [(128, 128), (96, 140)])
def test_cxr_spends_more_segments_in_the_dark_middle_than_at_the_bright_frame(shape):
    """The same noise everywhere."""
    random = np.random.default_rng(0)
    height, width = shape
    middle = np.zeros(shape, dtype=bool)
    middle[height // 4 : -height // 4, width // 4 : -width // 4] = True
    image = np.where(middle, 0.3, 0.7) + ndimage.gaussian_filter(random.normal(0, 0.4, shape), 2)
    segments = cxr_segments(image[None], 60)
    share = ndimage.mean(middle, segments, range(segments.max() + 1))
    inside, outside = (share > 0.5).sum() / middle.sum(), (share <= 0.5).sum() / (~middle).sum()
    assert inside > 1.5 * outside


def test_cxr_count_is_exact_on_a_structured_picture():
    image = ndimage.gaussian_filter(np.random.default_rng(1).random((1, 96, 96)), (0, 3, 3))
    for count in (20, 80):
        assert cxr_segments(image, count).max() + 1 == count
