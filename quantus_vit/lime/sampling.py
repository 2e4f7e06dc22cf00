"""Designs of the neighbourhood: which superpixels are present in which perturbed image. Knows NumPy and SciPy only.

Every row of every design is, by itself, a fair coin toss for each segment, as in lime; the designs differ in how the
rows depend on each other. So all of them estimate the same coefficients, with different variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

__all__ = ["DESIGNS", "antithetic", "clusters", "hadamard", "hadamard_order", "orthogonal", "plain", "stratified"]

Masks: TypeAlias = NDArray[np.int64]

STRATA = 32


def plain(num_samples: int, n_segments: int, random_state: np.random.RandomState) -> Masks:
    """Independent coin tosses: the very call of ``lime.lime_image.LimeImageExplainer.data_labels``."""
    draws = random_state.randint(0, 2, num_samples * n_segments).reshape((num_samples, n_segments))
    masks: Masks = draws.astype(np.int64, copy=False)
    masks[0, :] = 1
    return masks


def antithetic(num_samples: int, n_segments: int, random_state: np.random.RandomState) -> Masks:
    """Coin tosses, each followed by its complement: interactions of an even number of segments cancel within a pair.

    References
    ----------
    Owen, Monte Carlo theory, methods and examples, 2013, section 8.2. Covert and Lee, Improving KernelSHAP: practical
    Shapley value estimation via linear regression, AISTATS 2021, section 3.3 (paired sampling for a linear surrogate).
    """

    def halves() -> Iterator[Masks]:
        while True:
            yield random_state.randint(0, 2, n_segments)[None]

    return _paired(halves(), num_samples, n_segments)


def stratified(num_samples: int, n_segments: int, random_state: np.random.RandomState) -> Masks:
    """Complementary pairs whose numbers of absent segments are spread evenly over their binomial distribution.

    In every run of 32 pairs each 32nd part of the distribution's lower half holds one pair: the number of absent
    segments, on which lime's kernel weight depends alone, no longer varies by chance.

    References
    ----------
    Owen, Monte Carlo theory, methods and examples, 2013, section 8.4 (stratification) and 8.2 (antithetic pairs).
    """
    cumulative = binom.cdf(np.arange(n_segments + 1), n_segments, 0.5)

    def halves() -> Iterator[Masks]:
        while True:
            quantiles = (random_state.permutation(STRATA) + random_state.uniform(size=STRATA)) / (2 * STRATA)
            present = np.searchsorted(cumulative, quantiles)
            order = random_state.uniform(size=(STRATA, n_segments)).argsort(axis=1)
            rows = (order.argsort(axis=1) < present[:, None]).astype(np.int64)
            # a coin toss puts one half first, else a last row without its complement were no fair draw
            swap = random_state.randint(0, 2, STRATA)
            yield np.where(swap[:, None] == 1, 1 - rows, rows)

    return _paired(halves(), num_samples, n_segments)


def orthogonal(num_samples: int, n_segments: int, random_state: np.random.RandomState) -> Masks:
    """Fold-over Plackett-Burman blocks: any three segments take all eight states equally often, complements included.

    Each block is a Hadamard matrix with random columns, random signs and shuffled rows, followed row by row by its
    complement. Within a block, main effects are uncorrelated with each other, so few samples do not blow up the
    coefficients' variance, and interactions of an even number of segments cancel.

    References
    ----------
    Plackett and Burman, The design of optimum multifactorial experiments, Biometrika 1946. Box and Wilson, On the
    experimental attainment of optimum conditions, JRSS B 1951 (fold-over).
    """
    matrix = hadamard(hadamard_order(n_segments))

    def halves() -> Iterator[Masks]:
        while True:
            columns = random_state.permutation(len(matrix))[:n_segments]
            signs = random_state.randint(0, 2, n_segments) * 2 - 1
            rows = random_state.permutation(len(matrix))
            yield (matrix[np.ix_(rows, columns)] * signs + 1) // 2

    return _paired(halves(), num_samples, n_segments)


def _paired(halves: Iterator[Masks], num_samples: int, n_segments: int) -> Masks:
    """Row 0: all present, as in lime; then each row of ``halves`` followed by its complement."""
    masks = np.ones((num_samples, n_segments), dtype=np.int64)
    filled = 1
    while filled < num_samples:
        rows = next(halves)
        pairs = np.stack([rows, 1 - rows], axis=1).reshape(-1, n_segments)[: num_samples - filled]
        masks[filled : filled + len(pairs)] = pairs
        filled += len(pairs)
    return masks


Design: TypeAlias = Callable[[int, int, np.random.RandomState], Masks]

DESIGNS: Mapping[str, Design] = MappingProxyType(
    {"plain": plain, "antithetic": antithetic, "stratified": stratified, "orthogonal": orthogonal}
)


def clusters(design: str, num_samples: int) -> NDArray[np.int64]:
    """Number of the group of dependent rows of each row: pairs, but for the plain design, and row 0 by itself."""
    rows = np.arange(num_samples)
    return rows if design == "plain" else (rows + 1) // 2


def hadamard_order(at_least: int) -> int:
    """Smallest order, not below ``at_least``, of a Hadamard matrix that ``hadamard`` can build."""
    order = max(at_least, 1)
    while not _constructible(order):
        order += 1
    return order


@lru_cache(maxsize=8)
def hadamard(order: int) -> NDArray[Any]:
    """Square matrix of +1 and -1 with orthogonal rows, by Sylvester's doubling and Paley's first construction.

    Parameters
    ----------
    order : int
        1, 2, p + 1 for a prime p = 3 modulo 4, or twice an order that can be built.

    Raises
    ------
    ValueError
        An order that these constructions do not reach.
    """
    if not _constructible(order):
        raise ValueError(f"no Hadamard matrix of order {order} by Sylvester's or Paley's construction")
    if order == 1:
        return np.ones((1, 1), dtype=np.int64)
    if _paley(order):
        prime = order - 1
        symbol = np.full(prime, -1, dtype=np.int64)
        symbol[np.unique(np.arange(1, prime) ** 2 % prime)] = 1
        symbol[0] = 0
        skew = np.zeros((order, order), dtype=np.int64)
        skew[0, 1:], skew[1:, 0] = 1, -1
        numbers = np.arange(prime)
        skew[1:, 1:] = symbol[(numbers[:, None] - numbers[None, :]) % prime]
        return skew + np.eye(order, dtype=np.int64)
    half = hadamard(order // 2)
    return np.block([[half, half], [half, -half]])


def _paley(order: int) -> bool:
    prime = order - 1
    return prime >= 3 and prime % 4 == 3 and all(prime % divisor for divisor in range(2, int(prime**0.5) + 1))


def _constructible(order: int) -> bool:
    return order == 1 or _paley(order) or (order % 2 == 0 and _constructible(order // 2))
