"""Outputs of a model in words, and words as outputs."""

from __future__ import annotations

from collections.abc import Sequence

from ..comparison.prediction import NOTHING, named_predictions
from ..models import Classifier
from .inputs import InputImage
from .settings import Settings

__all__ = ["class_index", "listed_prediction", "target_of"]


def listed_prediction(classifier: Classifier, probabilities: Sequence[float]) -> str:
    """What the model predicts, each name with its probability."""
    named = named_predictions(classifier, probabilities)
    return ", ".join(f"{name} (prob. {value:.2f})" for name, value in named.items()) or NOTHING


def class_index(text: str, class_names: Sequence[str]) -> int:
    """Number of a model's output, by its name or number.

    Raises
    ------
    ValueError
        There is no such output; the message lists them.
    """
    for index, name in enumerate(class_names):
        if text.casefold() == name.casefold() or text == str(index):
            return index
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(class_names))
    raise ValueError(f"unknown target {text!r}; the model's classes are {listed}")


def target_of(image: InputImage, settings: Settings, class_names: Sequence[str], probabilities: Sequence[float]) -> int:
    """The output to explain: the image's own, else that of the settings, else the one with the highest probability.

    Raises
    ------
    ValueError
        As :func:`class_index`.
    """
    if image.target:
        return class_index(image.target, class_names)
    if settings.target is not None:
        return settings.target
    return max(range(len(probabilities)), key=probabilities.__getitem__)
