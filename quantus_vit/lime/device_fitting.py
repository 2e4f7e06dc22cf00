"""The local linear models of several classes at once, in float64 on the model's device.

Knows torch and the arithmetic of lime's ``LimeBase``; no lime, no image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .fitting import RIDGE_PENALTY, LocalModel

__all__ = ["fit_on_device", "fits_on_device"]

SELECTION_PENALTY = 0.01  # the alpha of LimeBase's "highest_weights"
FEW_FEATURES = 6  # so many or fewer are selected one after the other by lime's "auto"
CLASSES_AT_ONCE = 32


def fits_on_device(device: torch.device, feature_selection: str, num_features: int) -> bool:
    """Whether :func:`fit_on_device` is to be used: on a CUDA device, where lime selects features in one step.

    Forward selection and the lasso's path go feature by feature: these are lime's own, on the CPU. So are all fits of
    models on a CPU, where a transfer costs nothing.
    """
    return device.type == "cuda" and _selects_at_once(feature_selection, num_features)


def fit_on_device(
    masks: Tensor,
    answers: Tensor,
    weights: NDArray[Any],
    labels: Sequence[int],
    num_features: int,
    feature_selection: str,
    groups: NDArray[np.int64],
) -> dict[int, LocalModel]:
    """What :func:`~.fitting.fit` gives for each of several classes, to rounding; one copy to the host.

    With the features centred by their weighted mean, all classes share the matrix of the normal equations, X^T W X.

    Parameters
    ----------
    masks : Tensor
        Shape (M, n_segments), bool or numbers, row 0 all ones.
    answers : Tensor
        Shape (M, classes), on the device of ``masks``: probabilities or logits.
    weights : ndarray
        Shape (M,): of lime's kernel.
    labels : sequence of int
        Columns of ``answers``.
    num_features, feature_selection
        As in lime; "none", "highest_weights", or "auto" with more than six features.
    groups : ndarray
        Shape (M,): rows of one number depend on each other (see ``sampling.clusters``).

    Raises
    ------
    ValueError
        Lime selects these features one after the other, or an answer is not finite.
    """
    if not _selects_at_once(feature_selection, num_features):
        raise ValueError(
            f"{num_features} features by {feature_selection!r} are selected one by one; use lime's own fit"
        )
    features = masks.to(torch.float64)
    weighting = torch.from_numpy(np.asarray(weights, dtype=np.float64)).to(features.device)
    members = torch.from_numpy(np.unique(groups, return_inverse=True)[1].reshape(-1)).to(features.device)
    count = features.shape[1] if feature_selection == "none" else min(num_features, features.shape[1])
    surface = _Surface(features, weighting, members, None if feature_selection == "none" else count)
    parts = [labels[start : start + CLASSES_AT_ONCE] for start in range(0, len(labels), CLASSES_AT_ONCE)]
    rows = torch.cat([surface.fit(answers[:, list(part)].to(torch.float64)) for part in parts]).cpu().numpy()
    for label, row in zip(labels, rows, strict=True):
        if not np.isfinite(row).all():
            raise ValueError(
                f"the model's answers for class {label} are not finite numbers, so that no linear model fits them; if "
                "the model is in half precision, convert it with .float()"
            )
    return {label: _local_model(row, count, features.shape[1]) for label, row in zip(labels, rows, strict=True)}


class _Surface:
    """The neighbourhood, ready for the answers of any class; see :func:`fit_on_device` for the arguments."""

    def __init__(self, features: Tensor, weights: Tensor, groups: Tensor, most: int | None) -> None:
        self.weights, self.groups, self.most = weights, groups, most
        self.mean = (weights @ features) / weights.sum()
        self.centred = features - self.mean
        self.weighted = self.centred * weights[:, None]
        self.gram = self.weighted.T @ self.centred

    def fit(self, answers: Tensor) -> Tensor:
        """For answers (M, K) one row a class: intercept, R2, prediction of row 0, then segments, coefficients, errors.

        Returns
        -------
        Tensor
            Shape (K, 3 + 3 f), f being the number of selected segments.
        """
        middle = (self.weights @ answers) / self.weights.sum()
        targets = answers - middle
        right = (self.weighted.T @ targets).T  # (K, n)
        used = self._select(right)  # (K, f)
        gram = self.gram[used[:, :, None], used[:, None, :]]
        factor = _cholesky(gram, RIDGE_PENALTY)
        coefficients = torch.cholesky_solve(right.gather(1, used)[..., None], factor)[..., 0]
        intercepts = middle - (self.mean[used] * coefficients).sum(1)
        centred = self.centred[:, used].transpose(0, 1)  # (K, M, f)
        residuals = targets.T - (centred @ coefficients[..., None])[..., 0]
        errors = self._errors(centred, residuals, torch.cholesky_inverse(factor))
        numbers = [intercepts, self._r2(residuals, targets.T), intercepts + coefficients.sum(1)]
        return torch.cat([torch.stack(numbers, 1), used.to(coefficients.dtype), coefficients, errors], 1)

    def _select(self, right: Tensor) -> Tensor:
        """Segments in lime's order: all as they are, or those of the largest coefficients under a small penalty."""
        if self.most is None:
            return torch.arange(right.shape[1], device=right.device).expand(right.shape)
        first = torch.cholesky_solve(right.T, _cholesky(self.gram, SELECTION_PENALTY)).T
        return first.abs().argsort(dim=1, descending=True, stable=True)[:, : self.most]

    def _r2(self, residuals: Tensor, targets: Tensor) -> Tensor:
        """Weighted R2 of each class, and scikit-learn's for answers that are all the same: 1 where they are met."""
        left, whole = (residuals**2 * self.weights).sum(1), (targets**2 * self.weights).sum(1)
        constant = torch.where(left == 0, torch.ones_like(left), torch.zeros_like(left))
        return torch.where(whole == 0, constant, 1 - left / whole)

    def _errors(self, centred: Tensor, residuals: Tensor, bread: Tensor) -> Tensor:
        """As ``fitting.sandwich_errors``, for K classes: (K, M, f), (K, M), (K, f, f) -> (K, f)."""
        weighted = centred * self.weights[:, None]
        leverage = ((weighted @ bread) * centred).sum(2) + self.weights / self.weights.sum()
        scores = weighted * (residuals / (1 - leverage).clamp(min=1e-6))[..., None]
        summed = torch.zeros_like(scores).index_add_(1, self.groups, scores)  # as many rows as there could be groups
        return ((summed @ bread) ** 2).sum(1).sqrt()


def _cholesky(gram: Tensor, penalty: float) -> Tensor:
    """Factor of a matrix with a penalty on its diagonal; positive definite by it, so the host need not look."""
    diagonal = penalty * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor: Tensor = torch.linalg.cholesky_ex(gram + diagonal).L
    return factor


def _local_model(row: NDArray[np.float64], count: int, segments: int) -> LocalModel:
    (intercept, r2, prediction), (used, coefficients, found) = row[:3], row[3:].reshape(3, count)
    errors = np.full(segments, np.nan)
    errors[used.astype(np.int64)] = found
    pairs = [(int(segment), float(weight)) for segment, weight in zip(used, coefficients, strict=True)]
    pairs.sort(key=lambda pair: abs(pair[1]), reverse=True)
    return LocalModel(float(intercept), pairs, float(r2), np.array([prediction]), errors)


def _selects_at_once(feature_selection: str, num_features: int) -> bool:
    return feature_selection in ("none", "highest_weights") or (
        feature_selection == "auto" and num_features > FEW_FEATURES
    )
