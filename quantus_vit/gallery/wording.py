"""Outputs of a model in words, and words as outputs."""

from __future__ import annotations

from collections.abc import Sequence

from ..comparison.prediction import NOTHING, named_predictions
from ..models import Classifier

__all__ = ["class_index", "listed_prediction"]


def listed_prediction(classifier: Classifier, probabilities: Sequence[float]) -> str:
    """What the model predicts, each name with its probability."""
    named = named_predictions(classifier, probabilities)
    return ", ".join(f"{name} (p = {value:.2f})" for name, value in named.items()) or NOTHING


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
