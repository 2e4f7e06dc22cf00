"""Rankings, against worked examples, simulation and other ways to compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from quantus_vit.comparison.ranking import (
    cluster_bootstrap_interval,
    detectable_difference,
    kendall_w,
    mean_ranks,
)

# Demsar 2006, table 6: AUC of four variants of C4.5 on 14 data sets; mean ranks 3.143, 2.000, 2.893, 1.964,
# chi-squared 9.28, critical difference 1.25 at 0.05.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def test_the_example_of_the_literature():
    found = mean_ranks(NAMES, DEMSAR)
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    np.testing.assert_allclose([ranks[name] for name in NAMES], [3.143, 2.000, 2.893, 1.964], atol=0.001)
    assert found.n == 14
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.methods == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert found.groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    assert found.p == pytest.approx(float(stats.friedmanchisquare(*DEMSAR.T).pvalue))


def test_groups_are_the_largest_runs_within_the_critical_difference():
    rng = np.random.default_rng(0)
    scores = rng.normal([0, 0.2, 3, 3.2], 1, (60, 4))
    found = mean_ranks("abcd", scores)
    assert [set(group) for group in found.groups] == [{"c", "d"}, {"a", "b"}]
    assert mean_ranks("abcd", -scores, higher_is_better=False) == found


def test_images_without_a_score_are_left_out():
    scores = np.array([[1, 2, 3], [1, np.nan, 3], [3, 2, 1.0]])
    found = mean_ranks("abc", scores)
    assert found.n == 2
    assert found.ranks == (2, 2, 2)
    assert mean_ranks("ab", np.full((2, 2), np.nan)).n == 0
    with pytest.raises(ValueError, match="two methods or more"):
        mean_ranks(["a"], scores[:, :1])


def test_kendall_w_from_mean_rank_correlation():
    """W = (mean Spearman correlation of all pairs * (m - 1) + 1) / m without ties (Kendall and Gibbons)."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(5, 6)) + np.arange(6)
    pairs = [stats.spearmanr(scores[i], scores[j])[0] for i in range(5) for j in range(i)]
    assert kendall_w(scores) == pytest.approx((np.mean(pairs) * 4 + 1) / 5)
    assert kendall_w(np.arange(4) + np.zeros((3, 1))) == pytest.approx(1)
    assert kendall_w(np.array([[1, 2, 3], [3, 2, 1]])) == pytest.approx(0)
    assert math.isnan(kendall_w(np.ones((3, 3))))
    assert math.isnan(kendall_w(np.ones((1, 3))))


def test_kendall_w_with_ties_stays_1_where_all_agree():
    assert kendall_w(np.array([[1, 1, 2, 3], [5, 5, 6, 9], [0, 0, 1, 2]])) == pytest.approx(1)


def test_patients_of_one_image_are_plain_bootstrap_and_patients_of_many_widen_the_interval():
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(30), 4)
    values = rng.normal(size=30)[patients] + 0.1 * rng.normal(size=120)
    low, high = cluster_bootstrap_interval(values, list(patients))
    single_low, single_high = cluster_bootstrap_interval(values, list(range(120)))
    assert high - low > 1.7 * (single_high - single_low)
    error = stats.sem(values)
    assert single_high - single_low == pytest.approx(2 * 1.96 * error, rel=0.05)
    # The truth: 30 independent means.
    assert high - low == pytest.approx(2 * 1.96 * stats.sem(values.reshape(30, 4).mean(1)), rel=0.1)
    assert all(math.isnan(bound) for bound in cluster_bootstrap_interval(values, ["one"] * 120))
    with pytest.raises(ValueError, match="a cluster for each of the 120 values, not 3"):
        cluster_bootstrap_interval(values, [1, 2, 3])


def test_the_detectable_difference_is_found_in_80_of_100_samples():
    rng = np.random.default_rng(3)
    effect = detectable_difference(2.0, 25)
    samples = rng.normal(effect, 2.0, (4000, 25))
    assert (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)
    assert detectable_difference(0.0, 25) == 0
    assert math.isnan(detectable_difference(1.0, 1))
    assert math.isnan(detectable_difference(math.nan, 10))


def test_detectable_difference_of_two_images_by_simulation() -> None:
    difference = detectable_difference(1.0, 2)
    drawn = np.random.default_rng(0).normal(difference, 1.0, (40_000, 2))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)
