"""Localisation metrics that Quantus lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from .base import ImageMetric

__all__ = ["AveragePrecision"]

Array = npt.NDArray[Any]


class AveragePrecision(ImageMetric):
    """Area under the curve of precision and recall (AUPRC) of a mask by thresholds of relevance.

    In [0, 1], higher is better. A random map scores the mask's share of the image, so scores of lesions of different
    sizes are to be read beside it; for small lesions it tells more than the area under the ROC curve.

    Parameters
    ----------
    **options
        Those of every metric of Quantus, such as ``abs``.

    Examples
    --------
    >>> AveragePrecision()(model=model, x_batch=x, y_batch=y, a_batch=maps, s_batch=masks)  # doctest: +SKIP
    """

    name = "Average Precision"

    def __init__(self, **options: Any) -> None:
        super().__init__("logit", **options)

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Area of one map; nan where the mask is empty or full.

        Raises
        ------
        ValueError
            There is no mask.
        """
        if s is None:
            raise ValueError("AveragePrecision compares with masks; give s_batch (N, 1, H, W)")
        mask = np.asarray(s).reshape(-1, *a.shape[1:]).any(axis=0)
        if mask.all() or not mask.any():
            return float("nan")
        return float(average_precision_score(mask.ravel(), a.sum(axis=0).ravel()))
