"""Accuracy, recall by class and confusion of a classifier, as numbers and as a printed table.

Knows torch; needs no Lightning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Counts of a classifier's answers.

    Parameters
    ----------
    confusion
        ``confusion[i][j]``: images of class ``i`` that were called ``j``.
    class_names
        Names of the classes, in the order of the labels.
    """

    confusion: tuple[tuple[int, ...], ...]
    class_names: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of right answers; nan without images."""
        right = sum(row[index] for index, row in enumerate(self.confusion))
        return right / self.count if self.count else float("nan")

    @property
    def recall(self) -> tuple[float, ...]:
        """Share of right answers among the images of each class; nan for a class without images."""
        return tuple(row[index] / sum(row) if sum(row) else float("nan") for index, row in enumerate(self.confusion))

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; a recall that does not exist is None, since JSON has no nan."""
        recalls = zip(self.class_names, self.recall, strict=True)
        return {
            "count": self.count,
            "accuracy": None if self.accuracy != self.accuracy else self.accuracy,
            "recall": {name: None if value != value else value for name, value in recalls},
            "confusion": [list(row) for row in self.confusion],
        }

    def to_table(self, title: str) -> str:
        """Lay out the confusion, a row for each true class, with its recall at the end."""
        width = max(map(len, (*self.class_names, "true \\ called"))) + 2
        header = "true \\ called".ljust(width) + "".join(name.rjust(width) for name in self.class_names)
        lines = [f"{title}: accuracy {self.accuracy:.3f} of {self.count} images", header + "recall".rjust(width)]
        for name, row, recall in zip(self.class_names, self.confusion, self.recall, strict=True):
            lines.append(name.ljust(width) + "".join(str(n).rjust(width) for n in row) + f"{recall:.3f}".rjust(width))
        return "\n".join(lines)


def confusion_matrix(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Count pairs of label and answer.

    Parameters
    ----------
    predicted, labels
        integer ``(N,)``.
    classes
        Number of classes ``K``.

    Returns
    -------
    torch.Tensor
        int64 ``(K, K)``; rows are labels, columns answers.
    """
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    class_names: Sequence[str],
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Count a model's answers.

    Parameters
    ----------
    model
        Classifier; run in evaluation mode, its mode is restored.
    batches
        Pairs of images ``(N, C, H, W)`` and labels ``(N,)``.
    class_names
        One name for each output.
    device
        Where the model is.

    Returns
    -------
    Evaluation
        The counts.
    """
    classes = len(class_names)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for images, labels in batches:
                total += confusion_matrix(model(images.to(device)).argmax(dim=1).cpu(), labels.cpu(), classes)
    finally:
        model.train(was_training)
    return Evaluation(tuple(tuple(row) for row in total.tolist()), tuple(class_names))
