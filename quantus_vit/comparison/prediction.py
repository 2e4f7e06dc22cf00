"""What the model says of an image, in names, and whether that agrees with a case's label. Knows classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..models import Classifier
from ..quantus_plugin.model_state import precision
from .cases import Case, absent
from .scores import Prediction

__all__ = ["NOTHING", "named_predictions", "predict", "probabilities_of"]

NOTHING = "none"
"""Prediction of a multilabel model where no finding is more likely than not."""

_LIKELY = 0.5


def probabilities_of(classifier: Classifier, image: torch.Tensor, device: str) -> list[float]:
    """Probabilities of all outputs for one image ``(C, H, W)``, which the model gets in its own precision.

    Raises
    ------
    ValueError
        The model's logits are not all finite, or of another shape than its class names say. Of several outputs, as
        MONAI's ViT has them beside its hidden states, the first is meant, as in the maps.
    """
    with torch.no_grad():
        logits = classifier.module(image[None].to(device, precision(classifier.module)))
    if isinstance(logits, tuple) and logits:
        logits = logits[0]
    expected = (1, len(classifier.class_names))
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"the model returned {shape} for one image; its classes ask for a tensor {expected}")
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the model's logits are not all finite; there is nothing to explain")
    return [float(value) for value in classifier.probabilities(logits.float())[0].cpu()]


def named_predictions(classifier: Classifier, probabilities: Sequence[float]) -> dict[str, float]:
    """What a model predicts, by name, with the probability of each.

    Parameters
    ----------
    classifier : Classifier
    probabilities : sequence of float
        Of all outputs, as :func:`probabilities_of` gives them.

    Returns
    -------
    dict of str to float
        The most likely class; for a binary model its finding or "no FINDING"; for a multilabel model the findings that
        are more likely than not, none where there are none.
    """
    names = classifier.class_names
    if classifier.task == "multiclass":
        best = max(range(len(names)), key=probabilities.__getitem__)
        return {names[best]: probabilities[best]}
    if classifier.task == "binary":
        (value,) = probabilities
        return {names[0]: value} if value > _LIKELY else {absent(names[0]): 1 - value}
    return {name: value for name, value in zip(names, probabilities, strict=True) if value > _LIKELY}


def predict(classifier: Classifier, image: torch.Tensor, case: Case, device: str) -> Prediction:
    """Predict one image.

    Returns
    -------
    Prediction
        ``predicted``: the names of :func:`named_predictions`, parted by "|", or "none".
    """
    values = probabilities_of(classifier, image, device)
    names = classifier.class_names
    predicted = named_predictions(classifier, values)
    if classifier.task == "binary":
        correct = (names[0] in predicted) == case.positive
    else:
        correct = names[case.target] in predicted
    listed = " ".join(f"{value:.6g}" for value in values)
    return Prediction(case.identity, case.label, "|".join(predicted) or NOTHING, int(correct), listed)
