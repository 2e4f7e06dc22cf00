"""Judging metrics: counts by hand, an oracle and its opposite, Wilson's interval by its own equation."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from quantus_vit.assets import phantom_checkpoint_path, shipped_verdict_path
from quantus_vit.comparison import protocol_for
from quantus_vit.comparison.meta_evaluation import EVERY_CONTROL, meta_rows, wilson_interval
from quantus_vit.comparison.meta_shipped import shipped_rows
from quantus_vit.comparison.planning import make_plan, model_digest
from quantus_vit.comparison.protocols import PROTOCOLS
from quantus_vit.comparison.scores import Score
from quantus_vit.data import open_data
from quantus_vit.models import load_model

nan = math.nan
VALUES = {"truth": [0.9, 0.8, 0.7, nan, 0.6], "noise": [0.1, 0.8, 0.2, 0.3, 0.9], "edges": [0.5, 0.5, nan, 0.5, 0.5]}
CORRECT = {(f"{index}.png", "x"): True for index in range(5)}


def scores(metric: str = "F") -> list[Score]:
    return [
        Score(f"{index}.png", "x", "x", "x", method, metric, value)
        for method, values in VALUES.items()
        for index, value in enumerate(values)
    ]


def counts(higher: bool, correct=CORRECT) -> dict[str, tuple[int, int, int, int]]:
    rows = meta_rows(scores(), "truth", ("noise", "edges"), {"F": higher}, correct)
    return {row.control: (row.n, row.preferred, row.ties, row.nan) for row in rows}


def test_counts() -> None:
    assert counts(True) == {"noise": (4, 2, 1, 1), "edges": (3, 3, 0, 2), EVERY_CONTROL: (3, 1, 1, 2)}


def test_direction_turns_the_preference_and_not_the_ties() -> None:
    assert counts(False) == {"noise": (4, 1, 1, 1), "edges": (3, 0, 0, 2), EVERY_CONTROL: (3, 0, 0, 2)}


def test_wrong_predictions_do_not_count() -> None:
    correct = CORRECT | {("0.png", "x"): False}
    assert counts(True, correct)["noise"] == (3, 1, 1, 1)


def test_every_control_looks_at_the_worst_of_them() -> None:
    # 0.png: ahead of both; 1.png: a tie with noise; 4.png: behind noise.
    assert counts(True)[EVERY_CONTROL][:3] == (3, 1, 1)


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (12, 12)])
def test_wilson_bounds_solve_their_equation(successes: int, n: int) -> None:
    z = 1.959963984540054
    for bound in wilson_interval(successes, n):
        distance = (successes / n - bound) ** 2
        assert distance == pytest.approx(z * z * bound * (1 - bound) / n, abs=1e-9)
    assert all(map(math.isnan, wilson_interval(0, 0)))


def test_the_protocol_names_a_truth_among_its_methods() -> None:
    settings = PROTOCOLS["meta"].settings
    assert settings["truth"] in settings["methods"]


def test_what_was_declared_for_other_methods_is_dropped() -> None:
    spec = PROTOCOLS["meta"]
    assert spec.with_overrides({"methods": ("Random",)})["truth"] == ""
    assert spec.with_overrides({"samples": 3})["truth"] == spec.settings["truth"]


def test_the_shipped_verdict_is_of_the_shipped_protocol_and_model() -> None:
    verdict = json.loads(shipped_verdict_path().read_text())
    protocol, model = PROTOCOLS["meta"], load_model(phantom_checkpoint_path())
    assert (verdict["version"], verdict["samples"]) == (protocol.version, protocol.settings["samples"])
    assert verdict["model_digest"] == model_digest(model)
    judged = {row[0].split("[")[0] for row in verdict["rows"]}
    assert judged == {name.split("[")[0] for name in protocol.settings["metrics"]}
    primary = PROTOCOLS["fair"].settings["primary"]
    counts = {row[0]: row[3] for row in verdict["rows"] if row[1] == EVERY_CONTROL}
    assert counts[primary] == max(counts.values())  # what fair's documentation says of its choice


@pytest.fixture(scope="module")
def real_plan():
    """Six phantoms and the shipped model, by which the verdict was made; ``quick`` has one baseline."""
    classifier = load_model(phantom_checkpoint_path())
    dataset = open_data("phantom", "Test", count=6)

    def plan(name: str = "quick", **settings):
        protocol = protocol_for(name, classifier, dataset, **settings)
        verdict = json.loads(shipped_verdict_path().read_text())
        return make_plan(replace(protocol, quantus=verdict["quantus"]), classifier, dataset, "cpu")[0]

    return plan


def test_a_run_takes_the_shipped_verdict_under_its_own_names(real_plan) -> None:
    verdict = json.loads(shipped_verdict_path().read_text())
    rows = {(row.metric, row.control): row for row in shipped_rows(real_plan())}
    own = next(row for row in verdict["rows"] if row[:2] == ["FaithfulnessEstimate[baseline=0.0]", EVERY_CONTROL])
    found = rows["FaithfulnessEstimate", EVERY_CONTROL]  # one baseline: the row has the plain name
    assert [found.n, found.preferred, found.ties, found.nan] == own[2:]
    assert (found.ci_low, found.ci_high) == wilson_interval(found.preferred, found.n)
    assert "Quantus 0.6.0" in found.source


@pytest.mark.parametrize(
    "settings",
    [{"softmax": True}, {"abs": True}, {"baselines": ("mean",)}, {"features_in_step": 1792}],
)
def test_other_settings_are_not_judged_by_the_shipped_verdict(real_plan, settings) -> None:
    assert shipped_rows(real_plan()) != []
    assert shipped_rows(real_plan(**settings)) == []


def test_another_release_of_quantus_is_not_judged_by_the_shipped_verdict(real_plan) -> None:
    plan = real_plan()
    assert shipped_rows(replace(plan, protocol=replace(plan.protocol, quantus="0.5.3"))) == []
