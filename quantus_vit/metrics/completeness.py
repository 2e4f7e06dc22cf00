"""Completeness: whether a map's values add up to what they claim to explain.

Sundararajan et al., "Axiomatic attribution for deep networks", ICML 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .base import ImageMetric

__all__ = ["CompletenessError"]

Array = npt.NDArray[Any]


class CompletenessError(ImageMetric):
    """How far a map's sum is from the fall of the logit from the image to a baseline.

    |sum of the map - (f(x) - f(baseline))| over |f(x) - f(baseline)|; lower is better, 0 for a complete map. For
    methods that claim completeness alone. Quantus' own ``Completeness`` asks two floating-point numbers to be equal to
    the last digit, which they never are.

    Parameters
    ----------
    baseline : float
        Value of every pixel of the baseline, in normalised units.
    output : {"logit", "probability"}
        What the map explains.
    **options
        Those of every metric of Quantus.
    """

    name = "Completeness Error"

    def __init__(self, baseline: float = 0.0, output: str = "logit", **options: Any) -> None:
        super().__init__(output, **options)
        if not np.isfinite(baseline):
            raise ValueError(f"baseline must be a finite number in normalised units, not {baseline!r}")
        self.baseline = float(baseline)

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Relative error of one map; nan where image and baseline have the same output."""
        at_image, at_baseline = self._predict(model, np.stack([x, np.full_like(x, self.baseline)]), y)
        fall = float(at_image - at_baseline)
        return abs(float(a.sum(dtype=np.float64)) - fall) / abs(fall) if fall else float("nan")
