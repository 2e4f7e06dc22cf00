"""What replaces removed pixels, against other ways to compute it."""

from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.metrics import REMOVALS
from quantus_vit.metrics.removal import removal_of

try:
    from quantus.functions import perturb_func
except ImportError:  # where Quantus 0.2 has it
    from quantus.helpers import perturb_func

NAMES = [name for name in REMOVALS.names() if name != "tokens"]


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)


@pytest.fixture
def masks():
    found = np.zeros((3, 32, 32), dtype=bool)
    found[1, 8:16, 8:24] = True
    found[2] = True
    return found


@pytest.mark.parametrize("name", NAMES)
def test_only_removed_pixels_change(name, image, masks):
    result = REMOVALS[name].replace(image, masks)
    assert result.shape == (3, 3, 32, 32)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result[0], image)
    np.testing.assert_array_equal(result[1][:, ~masks[1]], image[:, ~masks[1]])
    assert not np.isclose(result[1][:, masks[1]], image[:, masks[1]]).mean() > 0.1


@pytest.mark.parametrize(("name", "value"), [("mean", None), ("black", None), (0.25, 0.25), (0, 0)])
def test_constants(name, value, image, masks):
    result = removal_of(name).replace(image, masks)[1]
    for channel in range(3):
        wanted = {"mean": image[channel].mean(), "black": image.min()}.get(name, value)
        np.testing.assert_allclose(result[channel][masks[1]], wanted, rtol=1e-5)


def test_linear_imputation_solves_the_equations_of_its_neighbours(image, masks):
    """Every removed pixel is the weighted mean of the pixels around it; checked pixel by pixel."""
    result = REMOVALS["inpaint"].replace(image.astype(np.float64), masks)[1]
    for y, x in np.argwhere(masks[1]):
        around = sum(
            (1 / 6 if dy == 0 or dx == 0 else 1 / 12) * result[:, y + dy, x + dx]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if (dy, dx) != (0, 0)
        )
        np.testing.assert_allclose(result[:, y, x], around, atol=1e-10)


@pytest.mark.skipif(
    not hasattr(perturb_func, "noisy_linear_imputation"), reason="this Quantus has no linear imputation"
)
def test_linear_imputation_as_quantus_without_its_noise(masks):
    """On one channel and away from the border, where Quantus' function is right."""
    grey = np.random.default_rng(1).normal(size=(1, 32, 32))
    wanted = perturb_func.noisy_linear_imputation(grey, np.flatnonzero(masks[1]), noise=0)
    np.testing.assert_allclose(REMOVALS["inpaint"].replace(grey, masks[1:2])[0].ravel(), wanted.ravel(), atol=1e-8)


@pytest.mark.parametrize("name", ["smooth", "inpaint"])
def test_a_slope_goes_on_under_the_hole(name):
    """Both continue a smooth image; the mean does not."""
    slope = np.broadcast_to(np.linspace(0, 1, 32)[None, None], (1, 32, 32)).copy()
    mask = np.zeros((1, 32, 32), dtype=bool)
    mask[0, 12:20, 4:12] = True
    error = np.abs(REMOVALS[name].replace(slope, mask)[0] - slope).max()
    assert error < 0.12
    assert np.abs(REMOVALS["mean"].replace(slope, mask)[0] - slope).max() > 0.3


def test_names_and_numbers():
    with pytest.raises(ValueError, match="unknown removal 'gray'"):
        removal_of("gray")
    with pytest.raises(ValueError, match="finite number in normalised units, not nan"):
        removal_of(float("nan"))
