"""The table of metrics: rows, settings, direction, and a metric of another package in one file."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from quantus_vit.comparison.metrics import CATEGORIES, METRICS, MetricSpec, build_scorers, by_baseline
from quantus_vit.comparison.scoring import score_maps
from quantus_vit.tables import Table

from .toys import SIZE, LinearModel, protocol, runnable_metrics, scored


def test_every_metric_can_be_built_and_others_are_refused() -> None:
    settings = protocol(metrics=runnable_metrics(), baselines=(0.0, "black"))
    scorers = build_scorers(settings, ("lung",))
    names = [scorer.name for scorer in scorers]
    assert len(set(names)) == len(names)
    assert {scorer.spec.name for scorer in scorers} == set(runnable_metrics())
    assert "FaithfulnessEstimate[baseline=black]" in names
    for scorer in scorers:
        assert scorer.build() is not scorer.build()
    with pytest.raises(ValueError, match=r"unknown metric 'Faith'; .*FaithfulnessEstimate, PixelFlipping"):
        build_scorers(protocol(metrics=("Faith",)))


def test_a_localisation_metric_has_a_row_for_every_finding_with_masks() -> None:
    settings = protocol(metrics=("PointingGame", "FaithfulnessEstimate"))
    names = [scorer.name for scorer in build_scorers(settings, ("Pneumothorax", "lung"))]
    assert names == ["PointingGame[mask=Pneumothorax]", "PointingGame[mask=lung]", "FaithfulnessEstimate"]


def test_options_in_brackets_replace_settings_and_name_the_row() -> None:
    settings = protocol(metrics=("FaithfulnessEstimate[features_in_step=4]",), baselines=(0.0, 1.0))
    scorers = build_scorers(settings)
    assert [scorer.name for scorer in scorers] == [
        "FaithfulnessEstimate[features_in_step=4,baseline=0.0]",
        "FaithfulnessEstimate[features_in_step=4,baseline=1.0]",
    ]
    assert {scorer.build().features_in_step for scorer in scorers} == {4}


def test_each_metric_gets_its_own_settings_and_no_others() -> None:
    scorers = {scorer.spec.name: scorer for scorer in build_scorers(protocol(metrics=tuple(METRICS.names())), ("m",))}
    repeated = {"MaxSensitivity", "LocalLipschitzEstimate"}
    assert {name for name, scorer in scorers.items() if "nr_samples" in scorer.settings} == repeated
    assert {name for name, scorer in scorers.items() if "subset_size" in scorer.settings} == {"FaithfulnessCorrelation"}


def test_the_page_on_comparisons_lists_every_metric_as_the_table_has_it() -> None:
    page = Path(__file__).parents[2] / "docs" / "comparison.md"
    rows = [line.strip("| ").split(" | ") for line in page.read_text(encoding="utf-8").splitlines() if "|" in line]
    listed = {row[0].strip("`"): row[1:] for row in rows if len(row) == 5 and row[1] in CATEGORIES}
    assert set(listed) == set(METRICS.names())
    words = {"mask": "a mask", "explanations": "more maps"}
    for spec in METRICS:
        needs = ", ".join(words[need] for need in sorted(spec.needs - {"order"}))
        direction = "higher" if spec.higher_is_better else "lower"
        assert listed[spec.name] == [spec.category, direction, needs, spec.summary]


class Brightest:
    """A metric of another package: the largest relevance."""

    def __init__(self, factor: float, **_: object) -> None:
        self.factor = factor

    def __call__(self, a_batch: np.ndarray, **_: object) -> list[float]:
        return [self.factor * float(relevance.max()) for relevance in a_batch]


SPEC = MetricSpec(
    name="Brightest",
    summary="the largest relevance",
    category="complexity",
    higher_is_better=True,
    build=Brightest,
    settings=lambda protocol: {"factor": 2.0},
    variants=by_baseline,
)


def test_a_metric_of_another_package_comes_by_its_entry_point(monkeypatch) -> None:
    from quantus_vit import tables
    from quantus_vit.comparison.metrics import base

    entry = EntryPoint("Brightest", f"{__name__}:SPEC", "quantus_vit.metrics")
    monkeypatch.setattr(tables, "entry_points", lambda group: [entry] if group == "quantus_vit.metrics" else [])
    monkeypatch.setattr(base, "METRICS", Table("metric", MetricSpec, "quantus_vit.metrics"))
    (scorer,) = build_scorers(protocol(metrics=("Brightest",)))
    assert scorer.settings == {"factor": 2.0, "perturb_baseline": 0.0}
    relevance = np.arange(float(SIZE * SIZE)).reshape(1, SIZE, SIZE)
    assert score_maps(scorer, [relevance], scored(), LinearModel(), protocol(), "cpu") == [[2.0 * 63]]


def test_a_category_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the category of M must be one of .*, got 'beauty'"):
        MetricSpec("M", "", "beauty", True, Brightest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "patch"), [((224, 224), 16), ((518, 518), 14), ((384, 256), 16), ((8, 8), 2), ((7, 5), 1)]
)
def test_patches_of_removal_curves_fill_the_image(size: tuple[int, int], patch: int) -> None:
    settings = protocol(metrics=("RemovalCurve",), image_size=size, features_in_step=1)
    (scorer,) = build_scorers(settings)
    assert scorer.build().patch_size == patch
    (scorer,) = build_scorers(protocol(metrics=("RemovalCurve[removal=tokens]",)))
    assert scorer.build().patch_size is None
