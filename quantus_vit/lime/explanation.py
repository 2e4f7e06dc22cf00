"""Lime's ``ImageExplanation``, filled and read. Knows lime; no torch, no model, no segmentation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from lime.lime_image import ImageExplanation
from numpy.typing import NDArray

from .fitting import LocalModel

__all__ = ["LocalFitWarning", "build_explanation", "dense_map", "warn_if_poor"]


class LocalFitWarning(UserWarning):
    """The linear model explains little of what the classifier does around the image.

    Parameters
    ----------
    message : str
    index : int
        Of the image in its batch.
    """

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


def build_explanation(
    image: NDArray[Any],
    segments: NDArray[np.int64],
    masks: NDArray[Any],
    labels: NDArray[np.float32],
    weights: NDArray[Any],
    models: dict[int, LocalModel],
) -> ImageExplanation:
    """Lime's object as lime fills it, and the neighbourhood and uncertainties beside it.

    Parameters
    ----------
    image : ndarray
        Shape (H, W, 3).
    segments : ndarray
        Shape (H, W).
    masks, labels, weights : ndarray
        The neighbourhood: (M, n_segments), (M, classes) and (M,), row 0 the unperturbed image.
    models : dict of int to LocalModel
        The local model of each explained class.
    """
    explanation = ImageExplanation(image, segments)
    for label, model in models.items():
        explanation.intercept[label] = model.intercept
        explanation.local_exp[label] = model.coefficients
        explanation.score, explanation.local_pred = model.r2, model.local_prediction
    explanation.top_labels = sorted(models, key=lambda label: -float(labels[0, label]))
    explanation.r2 = {label: model.r2 for label, model in models.items()}
    explanation.standard_errors = {label: model.standard_errors for label, model in models.items()}
    explanation.masks = masks.astype(np.bool_)
    explanation.labels = labels
    explanation.weights = weights
    return explanation


def dense_map(explanation: ImageExplanation, label: int) -> NDArray[np.float32]:
    """Map (H, W), float32: each pixel has its superpixel's coefficient for the class; 0 where lime left it out.

    Parameters
    ----------
    explanation : lime.lime_image.ImageExplanation
        Of ``LimeCXR.explain_instance``, or lime's own.
    label : int
        An explained class.

    Returns
    -------
    numpy.ndarray
        float32 (H, W).
    """
    if label not in explanation.local_exp:
        raise ValueError(f"class {label} was not explained; there are {sorted(explanation.local_exp)}")
    coefficients = np.zeros(int(explanation.segments.max()) + 1, dtype=np.float32)
    for segment, weight in explanation.local_exp[label]:
        coefficients[segment] = weight
    dense: NDArray[np.float32] = coefficients[explanation.segments]
    return dense


def warn_if_poor(explanation: ImageExplanation, index: int, limit: float) -> None:
    """Warn (:class:`LocalFitWarning`) of classes whose local fit has a weighted R2 below ``limit``.

    Parameters
    ----------
    explanation : lime.lime_image.ImageExplanation
        With the attribute ``r2`` that :func:`build_explanation` adds.
    index : int
        Of the image in its batch, for the message.
    limit : float
    """
    poor = {label: r2 for label, r2 in explanation.r2.items() if r2 < limit}
    if poor:
        classes = ", ".join(f"class {label}: {r2:.2f}" for label, r2 in poor.items())
        message = (
            f"LIME's linear model fits image {index} poorly (weighted R2 of {classes}; it warns below {limit}): its "
            "coefficients say little about the classifier. More samples do not help; other segments, another "
            "replacement or a smaller kernel_width may"
        )
        warnings.warn(LocalFitWarning(message, index), stacklevel=4)
