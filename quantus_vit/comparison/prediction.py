"""What the model says of an image, in names, and whether that agrees with a case's label. Knows classifiers."""

from __future__ import annotations

import torch

from ..models import Classifier
from .cases import Case, absent
from .scores import Prediction

__all__ = ["NOTHING", "predict", "probabilities_of"]

NOTHING = "none"
"""Prediction of a multilabel model where no finding is more likely than not."""

_LIKELY = 0.5


def probabilities_of(classifier: Classifier, image: torch.Tensor, device: str) -> list[float]:
    """Probabilities of all outputs for one image ``(C, H, W)``.

    Raises
    ------
    ValueError
        The model's logits are no finite numbers, or of another shape than its class names say.
    """
    with torch.no_grad():
        logits = classifier.module(image[None].to(device))
    expected = (1, len(classifier.class_names))
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"the model returned {shape} for one image; its classes ask for a tensor {expected}")
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the model's logits are no finite numbers")
    return [float(value) for value in classifier.probabilities(logits.float())[0].cpu()]


def predict(classifier: Classifier, image: torch.Tensor, case: Case, device: str) -> Prediction:
    """Predict one image.

    Returns
    -------
    Prediction
        ``predicted``: the most likely class; for a binary model its finding or "no FINDING"; for a multilabel model
        the findings that are more likely than not, parted by "|", or "none".
    """
    values = probabilities_of(classifier, image, device)
    names = classifier.class_names
    if classifier.task == "multiclass":
        best = max(range(len(values)), key=values.__getitem__)
        predicted, correct = names[best], best == case.target
    elif classifier.task == "binary":
        says = values[0] > _LIKELY
        predicted = names[0] if says else absent(names[0])
        correct = says == case.positive
    else:
        likely = [name for name, value in zip(names, values, strict=True) if value > _LIKELY]
        predicted, correct = "|".join(likely) or NOTHING, names[case.target] in likely
    listed = " ".join(f"{value:.6g}" for value in values)
    return Prediction(case.identity, case.label, predicted, int(correct), listed)
