"""Numbers that say how well a classifier answers, each with a 95 % interval.

Knows NumPy and SciPy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm, rankdata

__all__ = ["Bools", "Estimate", "Floats", "auroc", "expected_calibration_error", "proportion"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BINS = 15
_RESAMPLES = 1000


class Estimate(NamedTuple):
    """A number with its 95 % interval; all nan where it is undefined."""

    value: float
    low: float
    high: float

    def to_list(self) -> list[float | None]:
        """Values for JSON, which has no nan: None in its place."""
        return [None if np.isnan(number) else float(number) for number in self]


_UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"))


def proportion(count: int, total: int) -> Estimate:
    """A share with Wilson's interval.

    Parameters
    ----------
    count, total : int

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    if total == 0:
        return _UNDEFINED
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return Estimate(count / total, float(interval.low), float(interval.high))


def auroc(scores: Floats, positive: Bools) -> Estimate:
    """Area under the ROC curve with DeLong's interval, cut to [0, 1].

    Parameters
    ----------
    scores : numpy.ndarray
        ``(N,)``; larger speaks for the finding.
    positive : numpy.ndarray
        bool ``(N,)``; whether it is there.

    Returns
    -------
    Estimate
        Undefined unless there are images with and without the finding.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
    characteristic curves, Biometrics 44, 1988; computed from ranks as in Sun and Xu, 2014.
    """
    with_, without = scores[positive], scores[~positive]
    if not len(with_) or not len(without):
        return _UNDEFINED
    ranks = rankdata(scores)
    above = (ranks[positive] - rankdata(with_)) / len(without)  # share of the others below each
    below = 1 - (ranks[~positive] - rankdata(without)) / len(with_)
    area = float(above.mean())
    variance = sum(part.var(ddof=1) / len(part) if len(part) > 1 else 0.0 for part in (above, below))
    reach = float(norm.ppf(0.975)) * float(np.sqrt(variance))
    return Estimate(area, max(0.0, area - reach), min(1.0, area + reach))


def expected_calibration_error(confidence: Floats, right: Bools, seed: int = 0) -> Estimate:
    """How far confidence is from the share of right answers, over 15 bins of equal width.

    Parameters
    ----------
    confidence : numpy.ndarray
        ``(N,)`` in [0, 1].
    right : numpy.ndarray
        bool ``(N,)``.
    seed : int
        Of the bootstrap (1000 samples of images, percentiles).

    References
    ----------
    Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    """
    if not len(confidence):
        return _UNDEFINED
    bins = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.zeros((_BINS, len(confidence)))
    gaps[bins, np.arange(len(confidence))] = confidence - right

    # A bin's gap times its share of images is the absolute sum of its images' gaps over all images.
    def error(weights: Floats) -> Floats:
        total: Floats = np.abs(weights @ gaps.T).sum(axis=-1) / len(confidence)
        return total

    random = np.random.default_rng(seed)
    chances = np.full(len(confidence), 1 / len(confidence))
    resampled = [float(error(random.multinomial(len(confidence), chances).astype(float))) for _ in range(_RESAMPLES)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(float(error(np.ones(len(confidence)))), float(low), float(high))
