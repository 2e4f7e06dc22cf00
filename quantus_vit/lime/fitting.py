"""The local linear model of one class, by lime's own ``LimeBase``, and how far to trust it. Knows lime; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

__all__ = ["RIDGE_PENALTY", "LocalModel", "cosine_distances", "fit", "sandwich_errors"]

RIDGE_PENALTY = 1.0  # the alpha of LimeBase's regressor


@dataclass(frozen=True)
class LocalModel:
    """What LimeBase returns for one class, and its uncertainty.

    Attributes
    ----------
    intercept, coefficients, r2, local_prediction
        As in lime: ``coefficients`` is a list of (segment, weight), largest absolute weight first; ``r2`` is that of
        the weighted fit.
    standard_errors
        Shape (n_segments,): standard error of each coefficient; nan for a segment that feature selection left out.
    """

    intercept: float
    coefficients: list[tuple[int, float]]
    r2: float
    local_prediction: NDArray[Any]
    standard_errors: NDArray[np.float64]


def cosine_distances(masks: NDArray[Any]) -> NDArray[np.float64]:
    """Lime's distance of each row from row 0, by the same call."""
    distances: NDArray[np.float64] = pairwise_distances(masks, masks[0].reshape(1, -1), metric="cosine").ravel()
    return distances


def fit(
    base: LimeBase,
    masks: NDArray[Any],
    answers: NDArray[Any],
    distances: NDArray[np.float64],
    label: int,
    num_features: int,
    feature_selection: str,
    groups: NDArray[np.int64],
) -> LocalModel:
    """Fit one class.

    Parameters
    ----------
    base : LimeBase
        Lime's regression, with its kernel.
    masks : ndarray
        Shape (M, n_segments), 0 or 1, row 0 all ones.
    answers : ndarray
        Shape (M, classes): probabilities or logits.
    distances : ndarray
        Shape (M,), of ``masks`` from row 0.
    label : int
        Column of ``answers``.
    num_features, feature_selection
        As in lime.
    groups : ndarray
        Shape (M,): rows of one number depend on each other (see ``sampling.clusters``).
    """
    intercept, coefficients, r2, local_prediction = base.explain_instance_with_data(
        masks, answers, distances, label, num_features, feature_selection=feature_selection
    )
    used = np.array([segment for segment, _ in coefficients], dtype=np.int64)
    weights = np.array([weight for _, weight in coefficients])
    errors = np.full(masks.shape[1], np.nan)
    if len(used):
        residuals = answers[:, label] - (masks[:, used] @ weights + intercept)
        errors[used] = sandwich_errors(masks[:, used], residuals, base.kernel_fn(distances), groups)
    return LocalModel(
        float(intercept),
        [(int(segment), float(weight)) for segment, weight in coefficients],
        float(r2),
        local_prediction,
        errors,
    )


def sandwich_errors(
    features: NDArray[Any], residuals: NDArray[Any], weights: NDArray[Any], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Standard errors of weighted ridge coefficients, robust to any form of misfit.

    With X the features, centred by their weighted mean, W the weights, e the residuals and h the leverages, cov = A^-1
    (sum over groups g of u_g u_g^T) A^-1, A = X^T W X + I, u_g = sum over rows i of g of w_i x_i e_i / (1 - h_i). They
    say how much the coefficients would vary with other random masks; the linear model's bias is no part of them.

    Parameters
    ----------
    features : ndarray
        Shape (M, n).
    residuals, weights : ndarray
        Shape (M,).
    groups : ndarray
        Shape (M,): rows of one number are summed before they are squared.

    Returns
    -------
    numpy.ndarray
        Shape (n,).

    References
    ----------
    MacKinnon and White, Some heteroskedasticity-consistent covariance matrix estimators, J. Econometrics 1985 (HC3);
    Liang and Zeger, Longitudinal data analysis using generalized linear models, Biometrika 1986 (groups); Garreau and
    von Luxburg, Explaining the explainer, AISTATS 2020 (LIME's coefficients are asymptotically normal).
    """
    centred = features - np.average(features, axis=0, weights=weights)
    weighted = centred * weights[:, None]
    bread = np.linalg.inv(weighted.T @ centred + RIDGE_PENALTY * np.eye(features.shape[1]))
    leverage = np.einsum("ij,jk,ik->i", weighted, bread, centred, optimize=True) + weights / weights.sum()
    scores = weighted * (residuals / np.maximum(1.0 - leverage, 1e-6))[:, None]
    _, rows = np.unique(groups, return_inverse=True)
    summed = np.zeros((rows.max() + 1, features.shape[1]))
    np.add.at(summed, rows, scores)
    spread = summed @ bread
    errors: NDArray[np.float64] = np.sqrt((spread**2).sum(axis=0))
    return errors
