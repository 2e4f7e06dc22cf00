"""Colours and scales: a sign is never lost, a few extreme pixels hide nothing, pixels without a value do not count."""

from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.pictures import colour_table, is_signed, label_of, scale_of, shared_scale


def test_pixels_that_the_model_did_not_see_do_not_count() -> None:
    relevance = np.array([[np.nan, 2.0], [1.0, np.inf]])
    colours, scale = scale_of(relevance)
    assert (scale.vmin, scale.vmax) == (0.0, 2.0)
    assert colours(scale(np.ma.masked_invalid(relevance)))[0, 0, 3] == 0
    assert scale_of(np.full((2, 2), np.nan))[1].vmax == 1.0


def test_a_shared_scale_is_the_widest_and_one_negative_value_makes_it_signed() -> None:
    first, second = np.array([[0.0, 3.0]]), np.array([[-7.0, 1.0]])
    _, scale = shared_scale([first, second])
    assert (scale.vmin, scale.vmax) == (-7.0, 7.0)
    assert is_signed(scale)
    assert "purple: against" in label_of(scale)
    _, positive = shared_scale([first, first * 2])
    assert (positive.vmin, positive.vmax) == (0.0, 6.0)
    assert not is_signed(positive)
    assert label_of(positive) == "relevance"


@pytest.mark.parametrize("signed", [False, True])
def test_the_table_is_what_the_figures_show(signed) -> None:
    table = colour_table(signed)
    assert table.shape == (256, 4)
    assert table.dtype == np.uint8
    values = np.linspace(-1 if signed else 0, 1, 256)
    colours, scale = scale_of(values, signed=signed)
    scale.vmin, scale.vmax = values[0], 1.0
    np.testing.assert_allclose(table, colours(scale(values)) * 255, atol=1)


def luminance_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Distance of two colours as a person without red cones sees them (Viénot, Brettel and Mollon, 1999)."""
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    blind = np.array([[0.0, 2.02344, -2.52581], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    seen = np.linalg.inv(to_lms) @ blind @ to_lms
    return float(np.abs(seen @ (first[:3].astype(float) - second[:3])).max())


def test_for_and_against_are_told_apart_without_red_cones() -> None:
    table = colour_table(signed=True)
    assert luminance_difference(table[0], table[255]) > 80
    assert table[127, 3] <= 2
    assert table[0, 3] == table[255, 3] > 200
