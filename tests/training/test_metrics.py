"""Counts of answers against a count by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from quantus_vit.training.metrics import Evaluation, confusion_matrix, evaluate

NAMES = ("COVID-19", "Non-COVID", "Normal")


def test_confusion_matrix_against_a_loop() -> None:
    torch.manual_seed(0)
    labels, predicted = torch.randint(0, 3, (50,)), torch.randint(0, 3, (50,))
    expected = [[0] * 3 for _ in range(3)]
    for label, answer in zip(labels.tolist(), predicted.tolist()):  # noqa: B905
        expected[label][answer] += 1
    assert confusion_matrix(predicted, labels, 3).tolist() == expected


def test_accuracy_and_recall() -> None:
    evaluation = Evaluation(((8, 1, 1), (0, 3, 3), (2, 0, 2)), NAMES)
    assert evaluation.count == 20
    assert evaluation.accuracy == pytest.approx(13 / 20)
    assert evaluation.recall == pytest.approx((0.8, 0.5, 0.5))


def test_class_without_images_has_no_recall() -> None:
    evaluation = Evaluation(((1, 0, 0), (0, 0, 0), (0, 0, 1)), NAMES)
    assert math.isnan(evaluation.recall[1])
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert values["recall"] == {"COVID-19": 1.0, "Non-COVID": None, "Normal": 1.0}


def test_table_shows_every_count() -> None:
    lines = Evaluation(((8, 1, 1), (0, 3, 3), (2, 0, 2)), NAMES).to_table("Test").splitlines()
    assert lines[0] == "Test: accuracy 0.650 of 20 images"
    assert lines[1].split() == ["true", "\\", "called", *NAMES, "recall"]
    assert [line.split() for line in lines[2:]] == [
        ["COVID-19", "8", "1", "1", "0.800"],
        ["Non-COVID", "0", "3", "3", "0.500"],
        ["Normal", "2", "0", "2", "0.500"],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


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
    assert evaluation.confusion == ((1, 1, 1), (0, 1, 0), (0, 0, 1))
    assert model.training
