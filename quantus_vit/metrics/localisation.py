"""Localisation metrics that Quantus lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import average_precision_score

from .base import ImageMetric

__all__ = ["AveragePrecision", "MaskIoU", "TolerantPointingGame"]

Array = npt.NDArray[Any]


class _MaskMetric(ImageMetric):
    """A metric of a map and a mask; the model is not run."""

    def __init__(self, **options: Any) -> None:
        super().__init__("logit", **options)

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Score of one map; nan where the mask is empty or full.

        Raises
        ------
        ValueError
            There is no mask.
        """
        if s is None:
            raise ValueError(f"{type(self).__name__} compares with masks; give s_batch (N, 1, H, W)")
        mask = np.asarray(np.any(np.reshape(s, (-1, *a.shape[1:])), axis=0))
        if mask.all() or not mask.any():
            return float("nan")
        return self.against(a.sum(axis=0), mask)

    def against(self, relevance: Array, mask: Array) -> float:
        """Score of relevance ``(H, W)`` against a mask, bool ``(H, W)``, that is neither empty nor full."""
        raise NotImplementedError


class AveragePrecision(_MaskMetric):
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

    def against(self, relevance: Array, mask: Array) -> float:
        """Area of one map."""
        return float(average_precision_score(mask.ravel(), relevance.ravel()))


class TolerantPointingGame(_MaskMetric):
    """Whether the most relevant pixel lies inside the mask or near it (Zhang et al., IJCV 2018).

    1 for a hit, 0 for a miss; of several pixels with the same largest value the share that hits. Higher is better. A
    random map hits by the area of the mask with its margin.

    Parameters
    ----------
    tolerance : float
        How many pixels away from the mask still hit; 15 in the paper.
    **options
        Those of every metric of Quantus, such as ``abs``.

    Examples
    --------
    >>> TolerantPointingGame(tolerance=8)(model=model, x_batch=x, y_batch=y, a_batch=maps, s_batch=s)  # doctest: +SKIP
    """

    name = "Tolerant Pointing Game"

    def __init__(self, tolerance: float = 15.0, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(tolerance, bool) or not 0 <= tolerance < np.inf:
            raise ValueError(f"tolerance must be a number of pixels of 0 or more, not {tolerance!r}")
        self.tolerance = float(tolerance)

    def against(self, relevance: Array, mask: Array) -> float:
        """Share of the most relevant pixels that hit."""
        distance = distance_transform_edt(~mask)
        return float((distance[relevance == relevance.max()] <= self.tolerance).mean())


class MaskIoU(_MaskMetric):
    """Intersection over union of the mask and the most relevant pixels.

    In [0, 1], higher is better. How many pixels count as relevant is a setting that has to be chosen on other images
    than those that are scored.

    Parameters
    ----------
    share : float
        Share of the image's pixels that count as relevant. Pixels as relevant as the last of them count by the part
        that is left for them, as if they were drawn at random.
    **options
        Those of every metric of Quantus, such as ``abs``.

    Examples
    --------
    >>> MaskIoU(share=0.1)(model=model, x_batch=x, y_batch=y, a_batch=maps, s_batch=masks)  # doctest: +SKIP
    """

    name = "Mask IoU"

    def __init__(self, share: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, not {share!r}")
        self.share = float(share)

    def against(self, relevance: Array, mask: Array) -> float:
        """Intersection over union of one map."""
        count = max(1, round(self.share * relevance.size))
        last = np.partition(relevance.ravel(), -count)[-count]
        above, tied = relevance > last, relevance == last
        part = (count - above.sum()) / tied.sum()
        inside = mask[above].sum() + part * mask[tied].sum()
        return float(inside / (count + mask.sum() - inside))
