"""The way back from a model's input to the pixels of a file, beside the way there and beside SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from quantus_vit.data.preprocessing import Preprocessing

PREPROCESSINGS = [
    Preprocessing(size=(64, 64)),
    Preprocessing(size=(64, 64), resize="pad"),
    Preprocessing(size=(64, 64), resize="crop"),
    Preprocessing(size=(64, 48), resize="crop", crop_fraction=0.875),
    Preprocessing(size=(64, 48), resize="pad", crop_fraction=0.75),
]
SHAPES = [(64, 64), (150, 150), (120, 200), (211, 133), (40, 50), (9, 30)]


def named(value: Preprocessing) -> str:
    return f"{value.resize}-{value.crop_fraction}-{value.size}"


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=named)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_those_of_the_points_that_the_way_there_names(preprocessing, shape) -> None:
    values = np.random.default_rng(0).normal(size=preprocessing.size).astype(np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    there = preprocessing.points(np.stack([x, y], axis=-1), shape)[..., ::-1]
    geometry = preprocessing.geometry(shape)
    covered = [
        (max(-start, 0), min(length - start, side))
        for start, length, side in zip(
            (geometry.top, geometry.left), geometry.resized, preprocessing.size, strict=True
        )
    ]  # fmt: skip
    image = values[covered[0][0] : covered[0][1], covered[1][0] : covered[1][1]]
    places = np.stack([there[..., axis] - 0.5 - covered[axis][0] for axis in (0, 1)])
    seen = ((there >= 0) & (there < preprocessing.size)).all(axis=-1)
    undone = preprocessing.undo(values, shape)
    assert undone.shape == shape
    assert undone.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(undone), ~seen)
    np.testing.assert_allclose(undone[seen], map_coordinates(image, places, order=1, mode="nearest")[seen], atol=1e-4)
    nearest = preprocessing.undo(values, shape, nearest=True)
    chosen = tuple(np.floor(there[seen]).astype(int).T)
    np.testing.assert_array_equal(nearest[seen], values[chosen])


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=named)
@pytest.mark.parametrize("shape", SHAPES[:4])
def test_a_shape_comes_back_to_where_it_was(preprocessing, shape) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre, radius = (shape[0] * 0.55, shape[1] * 0.45), min(shape) * 0.2
    disc = (y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 < radius**2
    back = preprocessing.undo(preprocessing.mask(disc)[0].numpy(), shape) > 0.5
    # Half a pixel of the coarser of the two grids, all around.
    resized = preprocessing.geometry(shape).resized
    coarser = max(1.0, shape[0] / resized[0], shape[1] / resized[1])
    assert np.logical_xor(disc, back).sum() <= 2 * np.pi * radius * coarser
    for axis, grid in ((0, y), (1, x)):
        assert (grid[back].mean() - grid[disc].mean()) == pytest.approx(0, abs=0.5 * coarser), axis


def test_a_border_does_not_bleed_into_the_image() -> None:
    preprocessing = Preprocessing(size=(8, 8), resize="pad")
    values = np.full((8, 8), 100.0)
    values[2:6] = 1.0  # the rows that a 4 x 8 image covers
    np.testing.assert_array_equal(preprocessing.undo(values, (4, 8)), 1.0)
    np.testing.assert_array_equal(preprocessing.undo(values, (40, 80)), 1.0)


def test_what_a_crop_took_away_has_no_value() -> None:
    undone = Preprocessing(size=(4, 4), resize="crop").undo(np.ones((4, 4)), (4, 8))
    np.testing.assert_array_equal(np.isnan(undone), [[True, True, False, False, False, False, True, True]] * 4)


def test_refuses_maps_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"have the shape \(224, 224\), got \(14, 14\)"):
        Preprocessing().undo(np.ones((14, 14)), (100, 100))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["squash", "pad", "crop"]),
    st.floats(0.3, 1.0),
)
def test_any_shape_comes_back(shape, size, resize, fraction) -> None:
    preprocessing = Preprocessing(size=size, resize=resize, crop_fraction=fraction)
    undone = preprocessing.undo(np.full(size, 3.0), shape)
    assert undone.shape == shape
    np.testing.assert_allclose(undone[~np.isnan(undone)], 3.0, rtol=1e-6)
