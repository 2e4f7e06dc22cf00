"""Superpixels: numbering, invariance to normalisation, degenerate pictures, the grid, the lung border."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import quickshift

from quantus_vit.lime import cxr_segments, grid_segments, lime_default_segments
from quantus_vit.lime.segmentation import relabel, split_at_border, stretch_channels, stretch_grey


def thorax(size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Two dark ellipses on a bright ground, with noise, (1, size, size); and the ellipses, (size, size)."""
    y, x = np.mgrid[:size, :size] / size
    lungs = ((x - 0.3) / 0.14) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1
    lungs |= ((x - 0.7) / 0.14) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 0.02, (size, size))
    return (0.7 - 0.45 * lungs + 0.1 * y + noise)[None], lungs


def assert_numbered(segments, shape):
    assert segments.shape == shape
    assert segments.dtype == np.int64
    np.testing.assert_array_equal(np.unique(segments), np.arange(segments.max() + 1))


@pytest.mark.parametrize("count", [20, 60, 100])
def test_cxr_segments_are_connected_and_about_as_many_as_asked(count):
    segments = cxr_segments(thorax()[0], count)
    assert_numbered(segments, (128, 128))
    assert 0.5 * count <= segments.max() + 1 <= 1.3 * count
    for segment in range(segments.max() + 1):
        assert ndimage.label(segments == segment)[1] == 1


def test_cxr_segments_follow_the_lung_border():
    """Few pixels lie in a segment that belongs mostly to the other side, far fewer than in squares."""
    image, lungs = thorax()

    def wrong(segments):
        share = ndimage.mean(lungs, segments, range(segments.max() + 1))
        return ((share[segments] > 0.5) != lungs).sum() / lungs.sum()

    segments = cxr_segments(image)
    squares = grid_segments((128, 128), (14, 14))
    assert squares.max() > segments.max()
    assert wrong(segments) < 0.08
    assert wrong(segments) < wrong(squares) / 3


def test_segments_do_not_depend_on_the_normalisation():
    gray = thorax(64)[0].astype(np.float32)
    picture = gray.repeat(3, axis=0)
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    normalised = (picture - mean) / std
    unit = (picture - picture.min()) / np.ptp(picture)
    assert (cxr_segments(gray) != cxr_segments(unit)).mean() < 0.01
    for function in (cxr_segments, lambda image: lime_default_segments(image, 0)):
        for other in (normalised, picture * 255):
            assert (function(other) != function(unit)).mean() < 0.01  # rounding may move a pixel


def test_deterministic():
    image = thorax()[0]
    np.testing.assert_array_equal(cxr_segments(image), cxr_segments(image.copy()))
    np.testing.assert_array_equal(lime_default_segments(image, 3), lime_default_segments(image, 3))


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 64, 64), (3, 100, 60), (1, 7, 9)])
@pytest.mark.parametrize("kind", ["noise", "constant", "one bright pixel"])
def test_degenerate_pictures_still_give_several_segments(shape, kind):
    image = np.zeros(shape, dtype=np.float32)
    if kind == "noise":
        image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    elif kind == "one bright pixel":
        image[:, 3, 3] = 1
    segments = cxr_segments(image)
    assert_numbered(segments, shape[1:])
    assert segments.max() + 1 >= 4


def test_lime_default_is_limes_quickshift():
    picture = thorax()[0].repeat(3, axis=0)
    expected = quickshift(np.moveaxis(picture, 0, -1), kernel_size=4, max_dist=200, ratio=0.2, rng=11)
    np.testing.assert_array_equal(lime_default_segments(picture, 11), expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_stretching(channels):
    image = np.random.default_rng(0).normal(3, 20, (channels, 12, 10)).astype(np.float32)
    gray, colour = stretch_grey(image), stretch_channels(image)
    assert gray.shape == (12, 10)
    assert colour.shape == (12, 10, 3)
    for picture in (gray, colour):
        assert picture.min() == 0
        assert picture.max() == pytest.approx(1)
    order = np.argsort(image.astype(np.float64).mean(axis=0), axis=None)
    assert (np.diff(gray.ravel()[order]) >= 0).all()


def test_stretching_is_robust_against_a_burnt_in_letter():
    image = thorax(100)[0]
    marked = image.copy()
    marked[:, :5, :5] = 50.0
    inner = (slice(10, None), slice(10, None))
    assert np.abs(stretch_grey(marked)[inner] - stretch_grey(image)[inner]).max() < 0.05


@pytest.mark.parametrize("shape", [(64, 64), (60, 90)])
@pytest.mark.parametrize("patch", [(16, 16), (14, 14), (8, 16)])
def test_grid_is_the_patches(shape, patch):
    segments = grid_segments(shape, patch)
    expected = {}
    for y in range(shape[0]):
        for x in range(shape[1]):
            key = (y // patch[0], x // patch[1])
            assert expected.setdefault(key, segments[y, x]) == segments[y, x]
    assert sorted(expected.values()) == list(range(len(expected)))


@pytest.mark.parametrize(("count", "found"), [(196, 196), (195, 49), (49, 49), (48, 25), (2, 1)])
def test_grid_joins_patches_until_few_enough(count, found):
    segments = grid_segments((224, 224), (16, 16), count)
    assert segments.max() + 1 == found
    for segment in range(found):  # whole patches, in rectangles
        rows, columns = np.nonzero(segments == segment)
        assert len(rows) == np.ptp(rows) * np.ptp(columns) + np.ptp(rows) + np.ptp(columns) + 1
        assert rows.min() % 16 == 0 == columns.min() % 16


@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0, 0.6))
@settings(max_examples=40, deadline=None)
def test_split_segments_nest_in_one_side_and_cover_everything(seed, blocks, smallest):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 30, (blocks, blocks))
    segments = relabel(coarse.repeat(3, 0).repeat(3, 1))
    mask = random.random(segments.shape) < 0.5
    mask = ndimage.binary_opening(mask, iterations=1)
    found = split_at_border(segments, mask, smallest)
    assert_numbered(found, segments.shape)
    for piece in range(found.max() + 1):
        assert len(np.unique(mask[found == piece])) == 1


def test_split_joins_slivers_to_their_longest_neighbour():
    segments = np.zeros((10, 14), dtype=np.int64)
    segments[:, 6:] = 1
    mask = np.zeros((10, 14), dtype=bool)
    mask[:, :7] = True  # leaves one column of segment 1 on the mask's side
    found = split_at_border(segments, mask)
    expected = np.zeros_like(segments)
    expected[:, 7:] = 1
    np.testing.assert_array_equal(found, expected)
    assert split_at_border(segments, mask, smallest=0).max() + 1 == 3
