"""Designs of the neighbourhood: structure, fairness, and what they are for."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import binom, chisquare

from quantus_vit.lime.sampling import DESIGNS, STRATA, clusters, hadamard, hadamard_order

PAIRED = ["antithetic", "stratified", "orthogonal"]


def draw(design, samples, segments, seed=0):
    return DESIGNS[design](samples, segments, np.random.RandomState(seed))


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(("samples", "segments"), [(2, 1), (3, 5), (50, 7), (129, 40), (400, 196)])
def test_shape_and_values(design, samples, segments):
    masks = draw(design, samples, segments)
    assert masks.shape == (samples, segments)
    assert set(np.unique(masks)) <= {0, 1}
    assert masks[0].all()


@pytest.mark.parametrize("design", DESIGNS)
def test_a_shorter_run_is_the_beginning_of_a_longer_one(design):
    np.testing.assert_array_equal(draw(design, 300, 30)[:101], draw(design, 101, 30))


@pytest.mark.parametrize("design", PAIRED)
def test_pairs_are_complements(design):
    masks = draw(design, 201, 33)
    groups = clusters(design, 201)
    assert groups[0] not in groups[1:]
    for group in np.unique(groups[1:]):
        first, second = masks[groups == group]
        np.testing.assert_array_equal(first + second, 1)


def test_plain_rows_are_all_independent():
    assert len(np.unique(clusters("plain", 50))) == 50


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("row", [1, 4])
def test_each_row_by_itself_is_a_fair_toss_of_every_segment(design, row):
    """All 2^4 states of a row come equally often over seeds."""
    states = [int("".join(map(str, draw(design, 7, 4, seed)[row])), 2) for seed in range(800)]
    assert chisquare(np.bincount(states, minlength=16)).pvalue > 1e-4


def test_stratified_spreads_the_number_of_present_segments():
    segments = 60
    present = draw("stratified", 1 + 2 * STRATA, segments)[1:].sum(axis=1)
    low = np.sort(np.minimum(present, segments - present))
    bounds = binom.ppf(np.arange(STRATA + 1) / (2 * STRATA), segments, 0.5)
    assert len(low) == 2 * STRATA
    for stratum, count in enumerate(low[::2]):
        assert bounds[stratum] <= count <= bounds[stratum + 1]


@pytest.mark.parametrize("segments", [4, 11, 20])
def test_orthogonal_block_has_strength_three(segments):
    order = hadamard_order(segments)
    block = draw("orthogonal", 1 + 2 * order, segments)[1:]
    for columns in combinations(range(min(segments, 7)), 3):
        counts = [np.all(block[:, columns] == state, axis=1).sum() for state in product((0, 1), repeat=3)]
        assert counts == [2 * order / 8] * 8


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 20, 24, 40, 48, 60, 64, 72, 80, 104, 128])
def test_hadamard(order):
    matrix = hadamard(order)
    np.testing.assert_array_equal(np.abs(matrix), 1)
    np.testing.assert_array_equal(matrix @ matrix.T, order * np.eye(order))


def test_hadamard_orders():
    assert [hadamard_order(n) for n in (1, 2, 3, 5, 13, 49, 73, 197)] == [1, 2, 4, 8, 16, 60, 80, 200]
    with pytest.raises(ValueError, match="order 92"):
        hadamard(92)  # exists, but by neither construction


@pytest.mark.parametrize("design", PAIRED)
def test_even_interactions_leave_no_noise(design):
    """Of a function with main effects and pairwise interactions (in signs), pairs show the main effects exactly."""
    random = np.random.RandomState(1)
    main, pairs = random.randn(8), random.randn(8, 8)
    signs = 2 * draw(design, 1 + 2 * 64, 8)[1:] - 1
    values = signs @ main + np.einsum("ij,jk,ik->i", signs, pairs, signs)
    contrast = (values[::2] - values[1::2]) / 2
    np.testing.assert_allclose(contrast, signs[::2] @ main, atol=1e-12)
