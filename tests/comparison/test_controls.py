"""Control maps: what they show, and that they know no more than they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from quantus_vit.comparison import controls


def test_random_patches_are_as_smooth_as_interpolated_patches():
    found = controls.random_patches((64, 48), np.random.default_rng(0), patch_size=16)
    coarse = np.random.default_rng(0).random((4, 3), dtype=np.float32)
    wanted = F.interpolate(torch.from_numpy(coarse)[None, None], (64, 48), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)
    rough = controls.random_pixels((64, 48), np.random.default_rng(0))
    assert np.abs(np.diff(found)).mean() < 0.2 * np.abs(np.diff(rough)).mean()


def test_centre_prior_falls_from_the_middle():
    found = controls.centre_prior((65, 33))
    assert np.unravel_index(found.argmax(), found.shape) == (32, 16)
    assert (np.diff(found[:33], axis=0) > 0).all()
    np.testing.assert_allclose(found, found[::-1, ::-1], rtol=1e-6)
    quarter = found[32 + 16, 16]
    assert quarter == pytest.approx(np.exp(-0.5), rel=1e-5)


def test_edges_lie_where_the_image_steps():
    image = np.zeros((3, 20, 20))
    image[:, :, 10:] = 1
    found = controls.sobel_edges(image)
    assert set(np.flatnonzero(found.sum(axis=0))) == {9, 10}
    assert controls.sobel_edges(image.transpose(0, 2, 1))[9, 5] == pytest.approx(found[5, 9])


def test_intensity_orders_pixels_as_the_image_does():
    image = np.random.default_rng(0).normal(size=(1, 8, 8)).repeat(3, axis=0)
    found = controls.intensity(image)
    assert found.min() == 0
    np.testing.assert_array_equal(found.ravel().argsort(), image[0].ravel().argsort())


def test_mask_prior_is_highest_inside():
    mask = np.zeros((50, 50), dtype=bool)
    mask[10:40, 10:40] = True
    found = controls.mask_prior(mask)
    assert found[mask].min() > found[~mask].max() - 0.6
    assert found[25, 25] == pytest.approx(1, abs=1e-3)
    assert found[2, 2] == pytest.approx(0, abs=1e-3)


def test_blurring_keeps_the_mass_of_patches():
    relevance = np.random.default_rng(1).normal(size=(64, 64))
    found = controls.blurred_by_patch(relevance, 16)
    y, x = 24, 40
    assert found[y, x] == pytest.approx(relevance[y - 8 : y + 8, x - 8 : x + 8].mean(), abs=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: controls.centre_prior((8, 8), width=-1),
        lambda: controls.random_patches((8, 8), np.random.default_rng(0), patch_size=0),
        lambda: controls.blurred_by_patch(np.ones((8, 8)), patch_size=-3),
    ],
)
def test_sizes_that_mean_nothing_are_refused(make):
    with pytest.raises(ValueError, match=r"must be .*, got"):
        make()
