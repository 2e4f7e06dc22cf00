"""How well a classifier answers: accuracy, AUROC, calibration and confusion, with intervals.

Knows NumPy and torch; needs no Lightning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ..models.base import LINKS
from .estimates import Bools, Estimate, Floats, auroc, expected_calibration_error, proportion

__all__ = ["Evaluation", "as_evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A classifier's answers to the images of a split.

    Intervals take images as independent: where patients have several films they are too narrow.

    Parameters
    ----------
    probabilities : numpy.ndarray
        float64 ``(N, K)``.
    targets : numpy.ndarray
        bool ``(N, K)``: which classes or findings each image has.
    class_names : tuple of str
        ``K`` names.
    task : str
        "multiclass", "multilabel" or "binary".
    """

    probabilities: Floats
    targets: Bools
    class_names: tuple[str, ...]
    task: str = "multiclass"

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.targets)

    @cached_property
    def called(self) -> Bools:
        """What the model says, bool ``(N, K)``: the likeliest class, or each finding of at least half probability."""
        if self.task != "multiclass":
            return self.probabilities >= 0.5
        called = np.zeros_like(self.targets)
        called[np.arange(self.count), self.probabilities.argmax(axis=1)] = True
        return called

    @cached_property
    def accuracy(self) -> Estimate:
        """Share of right answers; of images for "multiclass", else of pairs of image and finding."""
        right = (self.called == self.targets).all(axis=1) if self.task == "multiclass" else self.called == self.targets
        return proportion(int(right.sum()), right.size)

    @cached_property
    def recall(self) -> tuple[Estimate, ...]:
        """Share of the images of each class, or with each finding, that are called so."""
        hits = (self.called & self.targets).sum(axis=0)
        return tuple(proportion(int(hit), int(n)) for hit, n in zip(hits, self.targets.sum(axis=0), strict=True))

    @cached_property
    def specificity(self) -> tuple[Estimate, ...]:
        """Share of the images of other classes, or without each finding, that are not called so."""
        hits = (~self.called & ~self.targets).sum(axis=0)
        return tuple(proportion(int(hit), int(n)) for hit, n in zip(hits, (~self.targets).sum(axis=0), strict=True))

    @cached_property
    def aurocs(self) -> tuple[Estimate, ...]:
        """Area under the ROC curve of each class against the others, or of each finding."""
        return tuple(auroc(self.probabilities[:, k], self.targets[:, k]) for k in range(len(self.class_names)))

    @property
    def mean_auroc(self) -> float:
        """Mean of those that are defined; nan if none is."""
        values = [estimate.value for estimate in self.aurocs if not np.isnan(estimate.value)]
        return float(np.mean(values)) if values else float("nan")

    @cached_property
    def calibration_error(self) -> Estimate:
        """Expected calibration error: of the class that is called, or of all findings together."""
        if self.task == "multiclass":
            right: Bools = np.any(self.called & self.targets, axis=1)
            return expected_calibration_error(self.probabilities.max(axis=1, initial=0.0), right)
        return expected_calibration_error(self.probabilities.ravel(), self.targets.ravel())

    @property
    def brier(self) -> float:
        """Mean over images of the squared distance of the probabilities from the truth (Brier, 1950)."""
        if not self.count:
            return float("nan")
        return float(((self.probabilities - self.targets) ** 2).sum(axis=1).mean())

    @property
    def confusion(self) -> list[list[int]]:
        """Counts of images: true class by called class for "multiclass".

        For other tasks a row for each finding: there and called, there and missed, not there and called, not there and
        not called.
        """
        called, true = self.called.astype(np.int64), self.targets.astype(np.int64)
        if self.task == "multiclass":
            table: list[list[int]] = (true.T @ called).tolist()
            return table
        parts = (true * called, true * (1 - called), (1 - true) * called, (1 - true) * (1 - called))
        return np.stack([part.sum(axis=0) for part in parts], axis=1).tolist()  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON: estimates as [value, low, high], None for what is undefined."""
        by_class = {"recall": self.recall, "specificity": self.specificity, "auroc": self.aurocs}
        scalars = {"mean_auroc": self.mean_auroc, "brier": self.brier}
        return {
            "task": self.task,
            "count": self.count,
            "images": dict(zip(self.class_names, self.targets.sum(axis=0).tolist(), strict=True)),
            "accuracy": self.accuracy.to_list(),
            **{name: None if np.isnan(value) else value for name, value in scalars.items()},
            "calibration_error": self.calibration_error.to_list(),
            **{
                name: {label: estimate.to_list() for label, estimate in zip(self.class_names, estimates, strict=True)}
                for name, estimates in by_class.items()
            },
            "confusion": self.confusion,
        }

    def to_table(self, title: str) -> str:
        """Lay out the numbers, a row for each class or finding."""
        multiclass = self.task == "multiclass"
        columns = self.class_names if multiclass else ("found", "missed", "false alarm", "rejected")
        corner = "true \\ called" if multiclass else "finding"
        rates = {"recall": self.recall, "specificity": self.specificity, "AUROC": self.aurocs}
        width = max(map(len, (*self.class_names, corner, *columns, "specificity"))) + 2
        lines = [
            f"{title}: accuracy {_told(self.accuracy)} of {self.count} images, mean AUROC {self.mean_auroc:.3f}, "
            f"calibration error {_told(self.calibration_error)}",
            corner.ljust(width) + "".join(name.rjust(width) for name in (*columns, *rates)),
        ]
        for index, (name, row) in enumerate(zip(self.class_names, self.confusion, strict=True)):
            cells = [*map(str, row), *(f"{estimates[index].value:.3f}" for estimates in rates.values())]
            lines.append(name.ljust(width) + "".join(cell.rjust(width) for cell in cells))
        return "\n".join(lines)


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def as_evaluation(
    logits: torch.Tensor, targets: torch.Tensor, class_names: tuple[str, ...], task: str = "multiclass"
) -> Evaluation:
    """Evaluation of logits.

    Parameters
    ----------
    logits : torch.Tensor
        ``(N, K)``.
    targets : torch.Tensor
        Classes ``(N,)``, or 0 and 1 ``(N, K)``.
    class_names : tuple of str
        ``K`` names.
    task : str
    """
    logits = logits.detach().double().cpu()
    probabilities = logits.softmax(dim=1) if LINKS[task] == "softmax" else logits.sigmoid()
    if targets.ndim == 1:
        targets = nn.functional.one_hot(targets.long(), len(class_names))
    return Evaluation(probabilities.numpy(), targets.cpu().numpy() > 0.5, class_names, task)


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    class_names: tuple[str, ...],
    task: str = "multiclass",
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Ask a model about the images of a split.

    Parameters
    ----------
    model : torch.nn.Module
        Classifier; run in evaluation mode, its mode is restored.
    batches : iterable of pairs of torch.Tensor
        Images ``(N, C, H, W)`` and targets, see :func:`as_evaluation`.
    class_names : tuple of str
        One name for each output.
    task : str
        "multiclass", "multilabel" or "binary".
    device : str or torch.device
        Where the model is.

    Returns
    -------
    Evaluation
    """
    logits, targets = [], []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for images, truth in batches:
                logits.append(model(images.to(device)).float().cpu())
                targets.append(truth.cpu())
    finally:
        model.train(was_training)
    return as_evaluation(torch.cat(logits), torch.cat(targets), class_names, task)
