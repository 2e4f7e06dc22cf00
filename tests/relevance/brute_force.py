"""Relevance rules by scalar loops, written from the papers' equations; slow, and independent of the engine."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def linear_z_plus(x: Array, weight: Array, relevance: Array) -> Array:
    """Chefer et al. 2021, eq. 3: parts x_j w_ji that are positive share R_i in proportion. (in,), (out, in), (out,)."""
    found = np.zeros_like(x)
    for i in range(weight.shape[0]):
        parts = [max(x[j] * weight[i, j], 0.0) for j in range(len(x))]
        total = sum(parts)
        for j in range(len(x)):
            if total > 0:
                found[j] += parts[j] / total * relevance[i]
    return found


def linear_epsilon(x: Array, weight: Array, bias: Array, relevance: Array, epsilon: float) -> Array:
    """Bach et al. 2015, eq. 58."""
    found = np.zeros_like(x)
    for i in range(weight.shape[0]):
        z = sum(x[j] * weight[i, j] for j in range(len(x))) + bias[i]
        z += epsilon if z >= 0 else -epsilon
        for j in range(len(x)):
            found[j] += x[j] * weight[i, j] / z * relevance[i]
    return found


def linear_gamma(x: Array, weight: Array, bias: Array, relevance: Array, gamma: float) -> Array:
    """Andeol et al. 2021: parts with the sign of the output weigh 1 + gamma, the bias like a part of input 1."""
    found = np.zeros_like(x)
    for i in range(weight.shape[0]):
        parts = [x[j] * weight[i, j] for j in range(len(x))] + [bias[i]]
        sign = np.sign(sum(parts))
        raised = [p * (1 + gamma) if p * sign > 0 else p for p in parts]
        for j in range(len(x)):
            found[j] += raised[j] / sum(raised) * relevance[i]
    return found


def product_uniform(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    """Each part a_ik b_kj of (a b)_ij gets its share of R_ij, half of which goes to each factor."""
    left, right = np.zeros_like(a), np.zeros_like(b)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = sum(a[i, k] * b[k, j] for k in range(a.shape[1]))
            for k in range(a.shape[1]):
                part = a[i, k] * b[k, j] / total * relevance[i, j]
                left[i, k] += part / 2
                right[k, j] += part / 2
    return left, right


def add_shares(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    """Chefer et al. 2021, eq. 9, for one sample."""
    parts = [np.zeros_like(relevance), np.zeros_like(relevance)]
    for index in np.ndindex(relevance.shape):
        total = a[index] + b[index]
        parts[0][index] = a[index] / total * relevance[index]
        parts[1][index] = b[index] / total * relevance[index]
    sums = [part.sum() for part in parts]
    size = abs(sums[0]) + abs(sums[1])
    left, right = (p * abs(s) / size * relevance.sum() / s for p, s in zip(parts, sums, strict=True))
    return left, right


def softmax_taylor(x: Array, relevance: Array) -> Array:
    """Achtibat et al. 2024, eq. 13: R_i = x_i (R_i - s_i sum_j R_j). One row."""
    s = np.exp(x) / np.exp(x).sum()
    return np.array([x[i] * (relevance[i] - s[i] * sum(relevance)) for i in range(len(x))])


def layer_norm_frozen(x: Array, weight: Array, bias: Array, eps: float, relevance: Array) -> Array:
    """LRP-0 through y = w (x - mean) / deviation + b, an affine map once the deviation is a constant. One row."""
    n = len(x)
    deviation = np.sqrt(x.var() + eps)
    found = np.zeros_like(x)
    for i in range(n):
        y = weight[i] * (x[i] - x.mean()) / deviation + bias[i]
        for j in range(n):
            slope = weight[i] / deviation * ((1.0 if i == j else 0.0) - 1.0 / n)
            found[j] += x[j] * slope / y * relevance[i]
    return found
