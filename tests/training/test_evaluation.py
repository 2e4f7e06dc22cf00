"""Numbers of a classifier against torchmetrics, brute force, and counts by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from quantus_vit.training.estimates import auroc, expected_calibration_error, proportion
from quantus_vit.training.evaluation import Evaluation, as_evaluation, evaluate

NAMES = ("COVID-19", "Non-COVID", "Normal")


def answers(confusion: list[list[int]]) -> Evaluation:
    """An evaluation with these counts, sure of itself."""
    pairs = [(i, j) for i, row in enumerate(confusion) for j, count in enumerate(row) for _ in range(count)]
    eye = np.eye(len(confusion))
    targets, called = eye[[i for i, _ in pairs]], eye[[j for _, j in pairs]]
    return Evaluation(0.7 * called + 0.1, targets > 0, NAMES)


def test_accuracy_and_recall() -> None:
    evaluation = answers([[8, 1, 1], [0, 3, 3], [2, 0, 2]])
    assert evaluation.count == 20
    assert evaluation.confusion == [[8, 1, 1], [0, 3, 3], [2, 0, 2]]
    assert evaluation.accuracy.value == pytest.approx(13 / 20)
    assert [estimate.value for estimate in evaluation.recall] == pytest.approx([0.8, 0.5, 0.5])
    assert [estimate.value for estimate in evaluation.specificity] == pytest.approx([8 / 10, 13 / 14, 12 / 16])


def test_class_without_images_has_no_recall() -> None:
    evaluation = answers([[1, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert math.isnan(evaluation.recall[1].value)
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert values["recall"]["Non-COVID"] == values["auroc"]["Non-COVID"] == [None, None, None]
    assert values["mean_auroc"] == 1.0


def test_table_shows_every_count() -> None:
    lines = answers([[8, 1, 1], [0, 3, 3], [2, 0, 2]]).to_table("Test").splitlines()
    assert lines[0].startswith("Test: accuracy 0.650 (0.433 to 0.819) of 20 images")
    assert lines[1].split() == ["true", "\\", "called", *NAMES, "recall", "specificity", "AUROC"]
    assert [line.split()[:5] for line in lines[2:]] == [
        ["COVID-19", "8", "1", "1", "0.800"],
        ["Non-COVID", "0", "3", "3", "0.500"],
        ["Normal", "2", "0", "2", "0.500"],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


def test_findings_are_counted_one_by_one() -> None:
    probabilities = np.array([[0.9, 0.2], [0.6, 0.7], [0.4, 0.1], [0.5, 0.8]])
    targets = np.array([[1, 0], [0, 1], [1, 0], [1, 0]]) > 0
    evaluation = Evaluation(probabilities, targets, ("a", "b"), "multilabel")
    assert evaluation.confusion == [[2, 1, 1, 0], [1, 0, 1, 2]]
    assert evaluation.accuracy.value == pytest.approx(5 / 8)
    assert "found" in evaluation.to_table("Val")


@pytest.mark.parametrize("seed", range(3))
def test_against_torchmetrics(seed: int) -> None:
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    torch.manual_seed(seed)
    labels = torch.randint(0, 3, (200,))
    logits = (torch.randn(200, 3) + 1.2 * nn.functional.one_hot(labels, 3)).round(decimals=1)  # with ties
    evaluation = as_evaluation(logits, labels, NAMES)
    probabilities = logits.double().softmax(dim=1)
    areas = metrics.multiclass_auroc(probabilities, labels, 3, average=None)
    assert [estimate.value for estimate in evaluation.aurocs] == pytest.approx(areas.tolist(), abs=1e-6)
    error = metrics.multiclass_calibration_error(probabilities, labels, 3, n_bins=15)
    assert evaluation.calibration_error.value == pytest.approx(float(error), abs=1e-6)
    assert evaluation.confusion == metrics.multiclass_confusion_matrix(logits, labels, 3).tolist()
    assert evaluation.accuracy.value == pytest.approx(
        float(metrics.multiclass_accuracy(logits, labels, 3, average="micro"))
    )


def test_delongs_interval_is_that_of_the_bootstrap() -> None:
    random = np.random.default_rng(0)
    positive = random.random(300) < 0.4
    scores = random.normal(size=300) + positive
    estimate = auroc(scores, positive)
    areas = []
    for _ in range(400):
        chosen = random.integers(0, 300, 300)
        x, y = scores[chosen][positive[chosen]], scores[chosen][~positive[chosen]]
        areas.append((x[:, None] > y[None, :]).mean())
    assert estimate.low == pytest.approx(np.percentile(areas, 2.5), abs=0.012)
    assert estimate.high == pytest.approx(np.percentile(areas, 97.5), abs=0.012)


def test_intervals_of_shares() -> None:
    # Wilson's interval for 8 of 10, from the formula's common worked example.
    assert proportion(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert all(math.isnan(number) for number in proportion(0, 0))


def test_calibration_interval_holds_the_value() -> None:
    random = np.random.default_rng(1)
    confidence = random.random(2000)
    calibrated = expected_calibration_error(confidence, random.random(2000) < confidence)
    overconfident = expected_calibration_error(confidence, random.random(2000) < confidence**3)
    assert calibrated.value < 0.05 < 0.15 < overconfident.low < overconfident.value < overconfident.high


def test_evaluate_counts_over_batches_and_restores_the_mode() -> None:
    class Echo(nn.Module):
        """Answers what the image says; wrong while it trains."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answers = images.flatten(1)[:, 0].long()
            return nn.functional.one_hot((answers + self.training) % 3, 3).float()

    answers, labels = torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 1, 2, 0, 0])
    images = answers.float()[:, None, None, None].expand(-1, 3, 2, 2)
    model = Echo().train()
    evaluation = evaluate(model, [(images[:3], labels[:3]), (images[3:], labels[3:])], NAMES)
    assert evaluation.confusion == [[1, 1, 1], [0, 1, 0], [0, 0, 1]]
    assert model.training
