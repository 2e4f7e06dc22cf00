"""Superpixels of unequal size: fine ones are merged, the least different neighbours first. Knows NumPy and SciPy."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import mean as mean_by_label

__all__ = ["RegionMerger"]

EDGE_FLOOR = 0.003  # strength of a border in a flat region, where only the other terms decide
DIFFERENCE_LIMIT = 0.2**2  # squared difference in the features that counts half of what it is
SIZE_POWER = 1.2
SHAPE_POWER = 0.6


class RegionMerger:
    """Greedy merging of neighbouring regions.

    The price of joining regions a and b is a product: Ward's growth of the summed squared deviation from the regions'
    mean features, with bounded difference and a little more weight on the size; the squared mean edge strength along
    their common border, so that a strong border keeps regions apart that are alike on average; a power of the smaller
    perimeter over the length of that border, so that outlines stay short; and the smaller of the regions' mean
    interests. A large uniform area ends as one region.

    Parameters
    ----------
    segments : ndarray
        Shape (H, W), 0 ... n - 1: the fine regions.
    features : ndarray
        Shape (F, H, W): what regions are alike in.
    edges : ndarray
        Shape (H, W): edge strength, at least 0.
    interest : ndarray, optional
        Shape (H, W), positive: how much a region is worth keeping by its place and brightness; None: the same
        everywhere.

    References
    ----------
    Ward, Hierarchical grouping to optimize an objective function, JASA 1963. Haris et al., Hybrid image segmentation
    using watersheds and fast region merging, IEEE TIP 1998.
    """

    def __init__(
        self,
        segments: NDArray[np.int64],
        features: NDArray[Any],
        edges: NDArray[Any],
        interest: NDArray[Any] | None = None,
    ) -> None:
        self.segments = segments
        numbers = np.arange(int(segments.max()) + 1)
        self.sizes: list[float] = np.bincount(segments.ravel()).astype(np.float64).tolist()
        # Plain numbers: of so few features an array costs more than the arithmetic.
        self.means: list[list[float]] = np.stack(
            [mean_by_label(feature, segments, numbers) for feature in features], axis=1
        ).tolist()
        interest = np.ones(segments.shape) if interest is None else interest
        self.interests: list[float] = mean_by_label(interest, segments, numbers).tolist()
        self.borders = _borders(segments, edges)
        self.perimeters = [sum(length for length, _ in neighbours.values()) for neighbours in self.borders]
        self.parent = list(range(len(numbers)))
        self.alive = set(self.parent)

    def merge(self, count: int) -> NDArray[np.int64]:
        """Merge until ``count`` regions are left, and give the map (H, W) of their numbers (with gaps)."""
        queue = [(self._price(a, b), a, b) for a, neighbours in enumerate(self.borders) for b in neighbours if a < b]
        heapq.heapify(queue)
        while len(self.alive) > count and queue:
            _, first, second = heapq.heappop(queue)
            if first in self.alive and second in self.alive:
                joined = self._join(first, second)
                for neighbour in self.borders[joined]:
                    heapq.heappush(queue, (self._price(neighbour, joined), neighbour, joined))
        roots = np.array(self.parent)
        for region in reversed(range(len(roots))):  # a parent's number is larger than its children's
            roots[region] = roots[roots[region]]
        merged: NDArray[np.int64] = roots[self.segments]
        return merged

    def _price(self, first: int, second: int) -> float:
        squared = 0.0
        for mine, other in zip(self.means[first], self.means[second], strict=True):
            squared += (mine - other) ** 2
        mass = self.sizes[first] * self.sizes[second] / (self.sizes[first] + self.sizes[second])
        length, strength = self.borders[first][second]
        ward: float = mass**SIZE_POWER * squared / (1 + squared / DIFFERENCE_LIMIT)
        shape: float = (min(self.perimeters[first], self.perimeters[second]) / length) ** SHAPE_POWER
        interest = min(self.interests[first], self.interests[second])
        return interest * ward * shape * (strength / length + EDGE_FLOOR) ** 2

    def _join(self, first: int, second: int) -> int:
        joined, size = len(self.parent), self.sizes[first] + self.sizes[second]
        share, other = self.sizes[first] / size, self.sizes[second] / size
        means = zip(self.means[first], self.means[second], strict=True)
        self.means.append([mine * share + theirs * other for mine, theirs in means])
        self.interests.append(self.interests[first] * share + self.interests[second] * other)
        self.sizes.append(size)
        common, _ = self.borders[first][second]
        self.perimeters.append(self.perimeters[first] + self.perimeters[second] - 2 * common)
        self.parent.append(joined)
        self.parent[first] = self.parent[second] = joined
        self.alive.remove(first)
        self.alive.remove(second)
        self.alive.add(joined)
        borders: dict[int, tuple[float, float]] = {}
        for part in (first, second):
            for neighbour, (length, strength) in self.borders[part].items():
                if neighbour in self.alive:
                    known = borders.get(neighbour, (0.0, 0.0))
                    borders[neighbour] = (known[0] + length, known[1] + strength)
        self.borders.append(borders)
        for neighbour, border in borders.items():
            self.borders[neighbour][joined] = border
        return joined


def _borders(segments: NDArray[np.int64], edges: NDArray[Any]) -> list[dict[int, tuple[float, float]]]:
    """For each region its neighbours, with the length of the common border and the summed edge strength on it."""
    count = int(segments.max()) + 1
    keys, strengths = [], []
    for axis in (0, 1):
        here, there = np.moveaxis(segments, axis, 0)[1:], np.moveaxis(segments, axis, 0)[:-1]
        strength = np.moveaxis(edges, axis, 0)
        crossing = here != there
        low, high = np.minimum(here, there)[crossing], np.maximum(here, there)[crossing]
        keys.append(low * count + high)
        strengths.append((strength[1:] + strength[:-1])[crossing] / 2)
    pairs, numbers = np.unique(np.concatenate(keys), return_inverse=True)
    lengths, sums = np.bincount(numbers).tolist(), np.bincount(numbers, np.concatenate(strengths)).tolist()
    found: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for pair, length, total in zip(pairs.tolist(), lengths, sums, strict=True):
        first, second = divmod(pair, count)
        found[first][second] = found[second][first] = (float(length), float(total))
    return found
