"""The study of sensitivity: ranks and Kendall's W against scipy and by hand, the grid, and whole runs on the toys."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from quantus_vit.comparison import compare, group_scoring, grouping
from quantus_vit.comparison.cases import data_digest
from quantus_vit.comparison.methods import METHODS, MethodSpec
from quantus_vit.comparison.printing import print_figures
from quantus_vit.comparison.scores import Score
from quantus_vit.comparison.sensitivity import (
    GridPoint,
    SensitivityGrid,
    SensitivityTables,
    agreement,
    sensitivity_findings,
    sensitivity_rows,
)

from .toys import Images, LinearModel, classifier_of, contribution, logs_of, protocol, read_rows

LABELS = [0, 0, 1, 1, 2, 2]
ROLES = {"A": "method", "B": "method", "C": "method", "Random": "control"}
HIGHER = {"F1": True, "F2": True, "P1": False}


def points() -> list[GridPoint]:
    labels = tuple((name, name) for name in ROLES)
    return [
        GridPoint("F", "black", 4, 10, 0, "F1", labels),
        GridPoint("F", "mean", 4, 10, 0, "F2", labels),
        GridPoint("P", "mean", 4, 10, 0, "P1", labels),
    ]


def scores_of(means: dict[str, tuple[float, ...]], cases: int = 8, noise: float = 0.0) -> list[Score]:
    """Scores of each scorer's methods, in the order of ROLES, around the given means."""
    generator = np.random.default_rng(0)
    return [
        Score(f"{case}.png", "x", "x", "x", method, scorer, value + noise * generator.standard_normal())
        for scorer, values in means.items()
        for method, value in zip(ROLES, values, strict=True)
        for case in range(cases)
    ]


def test_ranks_follow_the_direction_and_share_places() -> None:
    scores = scores_of({"F1": (3, 2, 1, 0), "F2": (3, 3, 1, 0), "P1": (3, 2, 1, 4)})
    rows = sensitivity_rows(scores, points(), ROLES, HIGHER)
    ranks = {(row.metric, row.removal, row.method): row.rank for row in rows}
    assert [ranks["F", "black", name] for name in ROLES] == [1, 2, 3, 4]
    assert [ranks["F", "mean", name] for name in ROLES] == [1.5, 1.5, 3, 4]
    assert [ranks["P", "mean", name] for name in ROLES] == [3, 2, 1, 4]
    assert [row.score for row in rows if row.metric == "P"] == [3, 2, 1, 4]
    assert {row.n for row in rows} == {8}


def test_a_setting_is_ranked_over_the_cases_that_every_method_has() -> None:
    scores = scores_of({"F1": (1, 2, 3, 0), "F2": (1, 2, 3, 0), "P1": (1, 2, 3, 0)})
    scores = [
        replace(row, score=math.nan) if row.path == "0.png" and row.key[2:] == ("A", "F1") else row for row in scores
    ]
    scores = [replace(row, score=99.0) if row.path == "0.png" and row.key[2:] == ("C", "F1") else row for row in scores]
    rows = [row for row in sensitivity_rows(scores, points(), ROLES, HIGHER) if row.removal == "black"]
    assert [(row.score, row.n) for row in rows] == [(1, 7), (2, 7), (3, 7), (0, 7)]


def test_w_is_that_of_friedmans_statistic_without_the_control() -> None:
    means = {"F1": (3, 2, 1, 0), "F2": (1, 3, 2, 0), "P1": (1, 3, 2, 0)}
    rows = {row.group: row for row in agreement(scores_of(means), points(), ROLES, HIGHER)}
    # Friedman's chi-squared of m settings and k methods is m (k - 1) W.
    blocks = np.array([[3, 2, 1], [1, 3, 2], [-1, -3, -2]])
    expected = stats.friedmanchisquare(*blocks.T).statistic / (3 * 2)
    assert rows["all"].kendall_w == pytest.approx(expected)
    assert (rows["all"].ci_low, rows["all"].ci_high) == pytest.approx((expected, expected))  # no noise, no spread
    assert set(rows) == {"all", "metric=F", "removal=mean"}  # groups of two settings or more
    assert (rows["all"].settings, rows["metric=F"].settings) == (3, 2)


def test_the_winner_may_be_a_control_and_ties_count_for_both() -> None:
    means = {"F1": (3, 2, 1, 5), "F2": (3, 3, 1, 0), "P1": (3, 2, 1, 0)}
    rows = {row.group: row for row in agreement(scores_of(means), points(), ROLES, HIGHER)}
    assert (rows["all"].winner, rows["all"].winner_share) == ("Random", pytest.approx(2 / 3))
    # Random, A and B are first in one of the two settings each: none of them leads.
    assert (rows["metric=F"].winner, rows["metric=F"].winner_share, rows["metric=F"].holds) == ("", 0.5, 0)
    said = sensitivity_findings(SensitivityTables([], list(rows.values()), complete=True))
    (tied,) = [sentence for sentence in said if "metric=F" in sentence]
    assert tied.endswith("none leads: several methods come first equally often, in 50% of them.")
    assert not any(name in tied for name in ("A comes", "Random comes"))


def test_a_ranking_holds_only_with_a_narrow_interval_and_one_winner() -> None:
    clear = {"F1": (3, 2, 1, 0), "F2": (3, 2, 1, 0), "P1": (1, 2, 3, 4)}
    rows = {row.group: row for row in agreement(scores_of(clear, noise=0.1), points(), ROLES, HIGHER)}
    assert (rows["all"].holds, rows["all"].kendall_w) == (1, 1.0)
    rows = {row.group: row for row in agreement(scores_of(clear, noise=9.0), points(), ROLES, HIGHER)}
    assert rows["all"].holds == 0
    assert rows["all"].ci_low < 0.8
    turned = clear | {"P1": (2, 1, 3, 4)}
    assert agreement(scores_of(turned), points(), ROLES, HIGHER)[0].holds == 0


def test_patients_widen_the_interval() -> None:
    means = {"F1": (3, 2, 1, 0), "F2": (3, 2.5, 1, 0), "P1": (1, 2, 3, 4)}
    scores = scores_of(means, cases=12, noise=1.5)
    by_image = agreement(scores, points(), ROLES, HIGHER)[0]
    one = agreement(scores, points(), ROLES, HIGHER, dict.fromkeys((row.path for row in scores), "the only one"))[0]
    assert by_image.ci_low < by_image.ci_high
    assert math.isnan(one.ci_low)  # one patient alone tells nothing of others
    assert one.holds == 0


def test_what_was_not_varied_is_named() -> None:
    means = {"F1": (3, 2, 1, 0), "F2": (3, 2, 1, 0), "P1": (1, 2, 3, 4)}
    rows = sensitivity_rows(scores_of(means), points(), ROLES, HIGHER)
    groups = agreement(scores_of(means), points(), ROLES, HIGHER)
    said = sensitivity_findings(SensitivityTables(rows, groups, complete=True))
    assert said[0].startswith("Sensitivity: the ranking holds over all 3 settings")
    assert said[-1] == ("Not varied, so that nothing is said of it: features in step (4), lime samples (10), seed (0).")


def test_words_say_what_does_not_hold_and_on_what_it_depends() -> None:
    scores = scores_of({"F1": (3, 2, 1, 0), "F2": (1, 3, 2, 0), "P1": (3, 1, 2, 4)})
    more = [replace(point, seed=1) for point in points()]
    groups = agreement(scores, [*points(), *more], ROLES, HIGHER)
    said = sensitivity_findings(SensitivityTables([], groups, complete=False))
    assert said[0].startswith("Sensitivity: the ranking does not hold over all 6 settings: Kendall's W = ")
    assert (
        "The leader depends on the removal: A with black (first in 100% of 2); B with mean (first in 100% of 4)."
        in said
    )
    assert said[-1].startswith("The sensitivity is not finished")
    assert sensitivity_findings(SensitivityTables([], [], complete=True)) == [
        "Sensitivity: there is one setting alone, or no score, so nothing is said of the ranking."
    ]


# The grid -------------------------------------------------------------------------------------------------------------


def test_defaults_come_from_the_protocol() -> None:
    grid = SensitivityGrid().resolved(protocol(lime_samples=1000, lime_seed=3))
    assert (grid.steps, grid.seeds, grid.lime_samples) == ((8, 16), (3, 4), (250, 1000))


def test_the_protocols_own_draw_keeps_the_plain_label() -> None:
    settings = protocol(
        methods=("LimeCXR", "LimeCXR[num_samples=9]", "AttnLRP", "Random", "CentrePrior"), lime_samples=100
    )
    specs = {label: METHODS[label.partition("[")[0]] for label in settings.methods}
    plan = SensitivityGrid(metrics=("FaithfulnessEstimate",), baselines=(0.0,), steps=(8,)).plan(settings, specs)
    assert [(point.lime_samples, point.seed) for point in plan.points] == [(25, 0), (25, 1), (100, 0), (100, 1)]
    assert dict(plan.points[2].labels) == {label: label for label in settings.methods if label != "CentrePrior"}
    assert dict(plan.points[1].labels) == {
        "LimeCXR": "LimeCXR[num_samples=25,seed=1]",
        "LimeCXR[num_samples=9]": "LimeCXR[num_samples=9,seed=1]",
        "AttnLRP": "AttnLRP",
        "Random": "Random",
    }
    assert plan.roles["Random"] == "control"


def test_steps_of_curves_take_as_many_pixels_as_those_of_quantus() -> None:
    specs = {name: MethodSpec(name, "") for name in ("A", "B")}
    plan = SensitivityGrid(baselines=("black",), removals=("blur",), steps=(4, 16)).plan(
        protocol(methods=("A", "B")), specs
    )
    assert plan.settings.metrics == (
        "FaithfulnessEstimate[perturb_baseline=black,features_in_step=4]",
        "FaithfulnessEstimate[perturb_baseline=black,features_in_step=16]",
        "RemovalCurve[removal=blur,steps=16]",
        "RemovalCurve[removal=blur,steps=4]",
    )


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["sample=3"], "--sensitivity takes NAME=VALUE.*lime_samples, samples; got 'sample=3'"),
        (["steps=4,x"], "--sensitivity steps=4,x: invalid literal"),
        (["samples=3,4"], "samples takes one number"),
        (["steps=4", "steps=8"], "each name once"),
        (["metrics=Sparseness"], "must be some of FaithfulnessEstimate, .*got 'Sparseness'"),
        (["baselines=grey"], "a baseline is a finite number"),
        (["seeds=1,1"], "seeds hold a value twice: 1, 1"),
        (["lime_samples=0"], "lime_samples must be 1 or more, got 0"),
    ],
)
def test_grids_that_cannot_be_are_refused(items, message) -> None:
    with pytest.raises(ValueError, match=message):
        SensitivityGrid.parse(items)


def test_a_grid_is_read_from_words() -> None:
    grid = SensitivityGrid.parse(["removals=0.5,tokens", "baselines=black,-1", "samples=3", "seeds=0, 7"])
    assert (grid.removals, grid.baselines, grid.samples, grid.seeds) == ((0.5, "tokens"), ("black", -1.0), 3, (0, 7))


# Whole runs -----------------------------------------------------------------------------------------------------------

GRID = SensitivityGrid(baselines=(0.0, "black"), removals=("mean",), steps=(4, 8), samples=4)
pytestmark = pytest.mark.usefixtures("contribution_method")


@pytest.fixture
def sampling_method(monkeypatch):
    """A method that draws samples: the exact map with noise that falls with their number."""
    from quantus_vit import register_method, unregister_method

    def noisy(model, inputs, targets, num_samples=100, seed=0, **_):
        noise = np.random.default_rng([seed, num_samples]).standard_normal(np.shape(inputs)[2:])
        return contribution(model, inputs, targets) + 200 / num_samples * noise

    register_method("Noisy", noisy)
    spec = MethodSpec("Noisy", "", options=lambda given: {"num_samples": given.lime_samples, "seed": given.lime_seed})
    METHODS.add(spec)
    yield "Noisy"
    METHODS.remove("Noisy")
    unregister_method("Noisy")


def compared(folder: Path, model: LinearModel, grid: SensitivityGrid | None = GRID, **changes):
    report_only = changes.pop("report_only", False)
    dataset = Images(LABELS)
    settings = replace(
        protocol(**{"methods": ("Contribution", "Noisy", "Random"), **changes}), data_digest=data_digest(dataset)
    )
    return compare(
        folder, settings, classifier_of(model), dataset, quiet=True, sensitivity=grid, report_only=report_only
    )


@pytest.mark.usefixtures("sampling_method")
def test_a_study_scores_every_setting_once(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model, lime_samples=100)
    rows = read_rows(tmp_path / "sensitivity.csv")
    assert rows[0] == [
        "metric",
        "removal",
        "features_in_step",
        "lime_samples",
        "seed",
        "method",
        "role",
        "score",
        "rank",
        "n",
    ]
    # FaithfulnessEstimate: 2 baselines x 2 steps, RemovalCurve: 1 removal x 2 steps; 2 x 2 draws; 3 methods.
    assert len(rows) - 1 == (4 + 2) * 4 * 3
    assert {tuple(row[5:7]) for row in rows[1:]} == {
        ("Contribution", "method"),
        ("Noisy", "method"),
        ("Random", "control"),
    }
    assert {row[9] for row in rows[1:]} == {"4"}
    faithful = [row for row in rows[1:] if row[0] == "FaithfulnessEstimate" and row[1] == "0.0"]
    assert all(float(row[8]) == 1 for row in faithful if row[5] == "Contribution")  # exact by construction
    assert all(float(row[8]) == 3 for row in faithful if row[5] == "Random")
    # The setting of the protocol has the scores of the comparison.
    main = {row[0]: row[6] for row in read_rows(tmp_path / "scores.csv")[1:] if row[4] == "Noisy"}
    scorer = "FaithfulnessEstimate[perturb_baseline=0.0,features_in_step=8]"
    rows = read_rows(tmp_path / "sensitivity" / "scores.csv")[1:]
    study = {row[0]: row[6] for row in rows if row[4:6] == ["Noisy", scorer]}
    assert len(study) == 4
    assert study == {path: main[path] for path in study}
    names = {file.name for file in print_figures(tmp_path, ["sensitivity"])}
    assert names == {f"sensitivity-{width}.{kind}" for width in ("column", "page") for kind in ("png", "pdf")}
    overall = read_rows(tmp_path / "sensitivity_agreement.csv")[1]
    assert overall[:2] == ["all", "24"]
    verdict = "holds" if overall[-1] == "1" else "does not hold"
    page = (tmp_path / "report.html").read_text()
    assert f"the ranking {verdict} over all 24 settings: Kendall&#x27;s W = {float(overall[2]):.2f} (" in page


@pytest.mark.usefixtures("sampling_method")
def test_an_interrupted_study_goes_on_and_loses_nothing(tmp_path, model, monkeypatch) -> None:
    monkeypatch.setattr(grouping, "_MAPS_CPU", 1)
    calls, score_maps = [], group_scoring.score_maps

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return score_maps(*arguments)

    monkeypatch.setattr(group_scoring, "score_maps", interrupted)
    assert compared(tmp_path, model).interrupted
    before = len(logs_of(tmp_path / "sensitivity").scores.rows)
    assert before > 0
    page = (tmp_path / "report.html").read_text()
    assert "The sensitivity is not finished" in page
    calls.clear()
    monkeypatch.setattr(group_scoring, "score_maps", lambda *arguments: calls.append(1) or score_maps(*arguments))
    assert compared(tmp_path, model).complete
    rows = logs_of(tmp_path / "sensitivity").scores.rows
    assert len(rows) == len({row.key for row in rows}) == 4 * 6 * (1 + 4 + 1)
    assert len(calls) < 4 * 6  # what was there was not scored again
    assert "not finished" not in (tmp_path / "report.html").read_text()
    monkeypatch.setattr(group_scoring, "score_maps", lambda *_: pytest.fail("a report alone scores nothing"))
    (tmp_path / "sensitivity.csv").unlink()
    compared(tmp_path, model, report_only=True)
    assert len(read_rows(tmp_path / "sensitivity.csv")) == 1 + 24 * 3


@pytest.mark.usefixtures("sampling_method")
@pytest.mark.parametrize(
    ("grid", "changes", "message"),
    [
        (
            GRID,
            {"methods": ("Contribution", "Random")},
            "needs two or more that are no controls; got Contribution, Random",
        ),
        (replace(GRID, steps=(7,)), {}, "steps must divide the 8x8 pixels, got 7"),
        (replace(GRID, removals=("tokens",)), {}, "removals=tokens: .*leave it out"),
        (replace(GRID, removals=("fog",)), {}, "fog"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_written(tmp_path, model, grid, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        compared(tmp_path / "out", model, grid, **changes)
    assert not (tmp_path / "out").exists()
