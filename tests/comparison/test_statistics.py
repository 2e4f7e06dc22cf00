"""Tables against brute force: enumeration of signs, closed testing, Walsh averages, scipy's bootstrap."""

from __future__ import annotations

import csv
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quantus_vit.comparison.scores import Score, TieBreak
from quantus_vit.comparison.significance import holm, significance
from quantus_vit.comparison.statistics import (
    TableRow,
    bootstrap_interval,
    by_class,
    by_confidence,
    by_prediction,
    table,
    tie_spread,
    write_table,
)

GENERATOR = np.random.default_rng(3)
A, B = GENERATOR.normal(0.3, 0.2, 9), GENERATOR.normal(0.1, 0.2, 9)


def scores_of(method: str, values, metric: str = "F", label: str = "x") -> list[Score]:
    return [Score(f"{index}.png", label, "x", "x", method, metric, float(value)) for index, value in enumerate(values)]


def test_table_counts_nan_and_leaves_it_out_of_the_mean() -> None:
    (row,) = table(scores_of("m", [0.1, math.nan, 0.5, 0.9, math.nan]))
    assert (row.method, row.metric, row.n, row.nan) == ("m", "F", 3, 2)
    assert row.mean == pytest.approx(0.5)
    assert row.median == pytest.approx(0.5)
    assert 0.1 <= row.ci_low <= row.mean <= row.ci_high <= 0.9


def test_table_without_any_score_is_nan() -> None:
    (row,) = table(scores_of("m", [math.nan]))
    assert (row.n, row.nan) == (0, 1)
    assert all(math.isnan(value) for value in (row.mean, row.ci_low, row.ci_high, row.median))


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).gamma(2.0, 1.0, 60)
    low, high = bootstrap_interval(values)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile").confidence_interval
    # Both are random: 10,000 resamples leave some hundredths of the standard error of the mean.
    tolerance = 0.1 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(expected.low, abs=tolerance)
    assert high == pytest.approx(expected.high, abs=tolerance)
    assert bootstrap_interval(values) == (low, high)
    assert all(map(math.isnan, bootstrap_interval(values[:1])))


def test_signed_rank_p_value_is_the_share_of_all_signs() -> None:
    (row,) = significance(scores_of("a", A) + scores_of("b", B))
    ranks = stats.rankdata(np.abs(A - B))
    observed = abs((ranks * np.sign(A - B)).sum())
    sums = [abs(np.dot(ranks, signs)) for signs in itertools.product((-1, 1), repeat=len(A))]
    assert row.p == pytest.approx(np.mean(np.array(sums) >= observed - 1e-9))
    assert row.n == 9
    assert row.mean_difference == pytest.approx(A.mean() - B.mean())


def test_rank_biserial_by_walsh_averages() -> None:
    (row,) = significance(scores_of("a", A) + scores_of("b", B))
    differences = A - B
    walsh = [differences[i] + differences[j] for i in range(9) for j in range(i, 9)]
    assert row.rank_biserial == pytest.approx(np.mean(np.sign(walsh)))


def test_pairs_are_of_the_same_image_whatever_the_order_and_skip_nan() -> None:
    a, b = A.copy(), B.copy()
    a[2] = math.nan
    b[5] = math.nan
    rows = scores_of("a", a) + scores_of("b", b)[::-1]
    (row,) = significance(rows)
    kept = [index for index in range(9) if index not in (2, 5)]
    assert row.n == 7
    assert row.mean_difference == pytest.approx(np.mean(A[kept] - B[kept]))
    assert row.p == pytest.approx(stats.wilcoxon(A[kept], B[kept]).pvalue)


def test_equal_methods_and_single_images_have_no_test() -> None:
    same = significance(scores_of("a", A) + scores_of("b", A))[0]
    single = significance(scores_of("a", A[:1]) + scores_of("b", B[:1]))[0]
    for row in (same, single):
        assert math.isnan(row.p)
        assert math.isnan(row.p_holm)
    assert same.mean_difference == 0


def test_correction_counts_every_pair_of_every_metric() -> None:
    rows = significance(
        [
            row
            for metric in ("F", "G")
            for name, v in (("a", A), ("b", B), ("c", A * B))
            for row in scores_of(name, v, metric)
        ]
    )
    assert [(row.metric, row.method_a, row.method_b) for row in rows] == [
        (metric, *pair) for metric in ("F", "G") for pair in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    smallest = min(rows, key=lambda row: row.p)
    assert smallest.p_holm == pytest.approx(6 * smallest.p)


@given(st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p: list[float]) -> None:
    # A hypothesis' adjusted p is the largest Bonferroni p of all intersections that hold it (Marcus et al., 1976).
    expected = []
    for index in range(len(p)):
        others = [other for other in range(len(p)) if other != index]
        families = [(index, *rest) for size in range(len(p)) for rest in itertools.combinations(others, size)]
        expected.append(max(min(1.0, len(family) * min(p[member] for member in family)) for family in families))
    assert holm(p) == pytest.approx(expected)


def test_holm_leaves_nan_out() -> None:
    assert holm([0.01, math.nan, 0.04])[::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(holm([math.nan])[0])
    assert holm([]) == []


def test_by_class_has_the_quartiles_of_a_class() -> None:
    rows = by_class(scores_of("m", [1, 2, 3, 4, math.nan], label="y") + scores_of("m", [9], label="z"), ("x", "y", "z"))
    assert [(row.label, row.n, row.nan) for row in rows] == [("y", 4, 1), ("z", 1, 0)]
    assert (rows[0].q1, rows[0].median, rows[0].q3, rows[0].mean) == pytest.approx((1.75, 2.5, 3.25, 2.5))


def test_tie_spread_takes_the_last_of_rows_that_a_crash_doubled() -> None:
    values = {"a": (0.1, 0.3), "b": (0.6, 0.5)}
    rows = [TieBreak("a", "x", "m", "F", 0, 9.0)]
    rows += [TieBreak(path, "x", "m", "F", k, v) for path, scores in values.items() for k, v in enumerate(scores)]
    (spread,) = tie_spread(rows)
    assert spread.n == 2
    assert spread.mean_spread == pytest.approx(0.15)
    assert spread.max_spread == pytest.approx(0.2)
    assert (spread.mean_low, spread.mean_high) == pytest.approx((0.35, 0.4))
    assert tie_spread([]) == []


def test_tables_have_their_header_even_when_empty(tmp_path) -> None:
    write_table(tmp_path / "t.csv", TableRow, [])
    write_table(tmp_path / "u.csv", TableRow, table(scores_of("m", A)))
    assert (
        tmp_path / "t.csv"
    ).read_text() == "method,metric,mean,ci_low,ci_high,median,n,nan,category,mask_kind,role,n_patients\n"
    with (tmp_path / "u.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["mean"]) == pytest.approx(A.mean())


def test_cases_of_one_image_are_pairs_of_their_own() -> None:
    rows = [row for label in ("x", "y") for name, v in (("a", A), ("b", B)) for row in scores_of(name, v, label=label)]
    (row,) = significance(rows)
    assert row.n == 18


PAIRS = {f"{index}.png": f"patient {index // 3}" for index in range(9)}


def test_one_image_a_patient_changes_no_number() -> None:
    rows = scores_of("a", A) + scores_of("b", B)
    alone = {f"{index}.png": f"patient {index}" for index in range(9)}
    assert significance(rows, patients=alone) == significance(rows)
    with_patients, without = table(rows, patients=alone), table(rows)
    assert [row.n_patients for row in with_patients] == [9, 9]
    assert [(row.mean, row.ci_low, row.ci_high) for row in with_patients] == [
        (row.mean, row.ci_low, row.ci_high) for row in without
    ]


def test_tests_average_the_images_of_a_patient() -> None:
    (row,) = significance(scores_of("a", A) + scores_of("b", B), patients=PAIRS)
    means = (A - B).reshape(3, 3).mean(axis=1)
    assert (row.n, row.n_tested) == (9, 3)
    assert row.p == pytest.approx(stats.wilcoxon(means).pvalue)
    assert row.mean_difference == pytest.approx(np.mean(A - B))


def test_the_interval_is_that_of_patients() -> None:
    # Three copies of each image: by image the interval would be narrower by the root of three.
    values = np.repeat(A, 3)
    rows = scores_of("m", values)
    patients = {row.path: f"patient {index // 3}" for index, row in enumerate(rows)}
    (row,) = table(rows, patients=patients)
    low, high = bootstrap_interval(A)
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
    assert row.n_patients == 9
    (by_image,) = table(rows)
    assert by_image.ci_high - by_image.ci_low < 0.75 * (high - low)


def test_two_controls_are_not_tested_and_do_not_cost_power() -> None:
    rows = [row for name, v in (("a", A), ("b", B), ("c", A * B)) for row in scores_of(name, v)]
    tests = significance(rows, {"a": "method", "b": "control", "c": "control"})
    assert [(row.method_a, row.method_b) for row in tests] == [("a", "b"), ("a", "c")]
    assert min(row.p_holm for row in tests) == pytest.approx(2 * min(row.p for row in tests))


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    (row,) = significance(scores_of("a", A) + scores_of("b", B))
    spread = float(np.std(A - B, ddof=1))
    generator = np.random.default_rng(0)
    found = stats.ttest_1samp(generator.normal(row.detectable, spread, (4000, 9)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_by_prediction_parts_right_from_wrong() -> None:
    rows = scores_of("m", [1, 2, 3, 4])
    correct = {("0.png", "x"): True, ("1.png", "x"): False, ("2.png", "x"): True}
    assert [(row.label, row.mean, row.n) for row in by_prediction(rows, correct)] == [("right", 2, 2), ("wrong", 2, 1)]


def test_by_confidence_has_fixed_bins_and_a_limit_is_in_the_next() -> None:
    rows = scores_of("m", [1, 2, 3, 4, 5, 6])
    values = [0.3, 0.6, 0.79, 0.8, 0.95, 1.0]
    found = by_confidence(rows, {(f"{number}.png", "x"): value for number, value in enumerate(values)})
    assert [(row.label, row.mean, row.n) for row in found] == [
        ("below 0.60", 1, 1), ("0.60 to 0.80", 2.5, 2), ("0.80 to 0.95", 4, 1), ("0.95 and above", 5.5, 2),
    ]  # fmt: skip
    assert by_confidence(rows, {}) == []


def test_table_says_the_category_and_how_masks_were_drawn() -> None:
    (row,) = table(scores_of("m", A, "PointingGame[mask=lung]"), {"PointingGame[mask=lung]": ("localisation", "box")})
    assert (row.category, row.mask_kind) == ("localisation", "box")


def test_means_of_groups_have_the_interval_of_the_table() -> None:
    rows = scores_of("A", [0.1, 0.5, 0.9, 0.2])
    (whole,), (group,) = table(rows), by_class(rows, (rows[0].label,))
    assert (group.ci_low, group.ci_high) == (whole.ci_low, whole.ci_high)
    assert group.ci_low < group.mean < group.ci_high
    one = by_class(rows, (rows[0].label,), dict.fromkeys((row.path for row in rows), "one patient"))
    assert math.isnan(one[0].ci_low)
