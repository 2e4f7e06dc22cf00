"""Superpixels of unequal size: fine ones are merged, the least different neighbours first. Knows NumPy and SciPy."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import mean as mean_by_label

EDGE_FLOOR = 0.01  # contrast of a border in a flat region, where only Ward's term decides


class RegionMerger:
    """Greedy merging of neighbouring regions.

    The price of joining regions a and b is Ward's, the growth of the summed squared deviation from the regions' mean
    features, times the squared mean contrast across their common border: a strong border keeps regions apart that are
    alike on average, and a large uniform area ends as one region.

    Parameters
    ----------
    segments
        Shape (H, W), 0 ... n - 1: the fine regions.
    features
        Shape (F, H, W): what regions are alike in.
    contrast
        Shape (H, W): picture whose steps across borders count.

    References
    ----------
    Ward, Hierarchical grouping to optimize an objective function, JASA 1963. Haris et al., Hybrid image segmentation
    using watersheds and fast region merging, IEEE TIP 1998.
    """

    def __init__(self, segments: NDArray[np.int64], features: NDArray[Any], contrast: NDArray[Any]) -> None:
        self.segments = segments
        numbers = np.arange(int(segments.max()) + 1)
        self.sizes: list[float] = np.bincount(segments.ravel()).astype(np.float64).tolist()
        self.means = list(np.stack([mean_by_label(feature, segments, numbers) for feature in features], axis=1))
        self.borders = _borders(segments, contrast)
        self.parent = list(range(len(numbers)))
        self.alive = set(self.parent)

    def merge(self, count: int) -> NDArray[np.int64]:
        """Merge until `count` regions are left, and give the map (H, W) of their numbers (with gaps)."""
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
        difference = self.means[first] - self.means[second]
        mass = self.sizes[first] * self.sizes[second] / (self.sizes[first] + self.sizes[second])
        length, contrast = self.borders[first][second]
        return float(difference @ difference) * mass * (contrast / length + EDGE_FLOOR) ** 2

    def _join(self, first: int, second: int) -> int:
        joined, size = len(self.parent), self.sizes[first] + self.sizes[second]
        self.means.append((self.means[first] * self.sizes[first] + self.means[second] * self.sizes[second]) / size)
        self.sizes.append(size)
        self.parent.append(joined)
        self.parent[first] = self.parent[second] = joined
        self.alive -= {first, second}
        self.alive.add(joined)
        borders: dict[int, tuple[float, float]] = {}
        for part in (first, second):
            for neighbour, (length, contrast) in self.borders[part].items():
                if neighbour in self.alive:
                    known = borders.get(neighbour, (0.0, 0.0))
                    borders[neighbour] = (known[0] + length, known[1] + contrast)
        self.borders.append(borders)
        for neighbour, border in borders.items():
            self.borders[neighbour][joined] = border
        return joined


def _borders(segments: NDArray[np.int64], contrast: NDArray[Any]) -> list[dict[int, tuple[float, float]]]:
    """For each region its neighbours, with the length of the common border and the summed contrast across it."""
    count = int(segments.max()) + 1
    keys, steps = [], []
    for axis in (0, 1):
        here, there = np.moveaxis(segments, axis, 0)[1:], np.moveaxis(segments, axis, 0)[:-1]
        crossing = here != there
        low, high = np.minimum(here, there)[crossing], np.maximum(here, there)[crossing]
        keys.append(low * count + high)
        steps.append(np.abs(np.diff(contrast, axis=axis)).swapaxes(0, axis)[crossing])
    pairs, numbers = np.unique(np.concatenate(keys), return_inverse=True)
    lengths, sums = np.bincount(numbers).tolist(), np.bincount(numbers, np.concatenate(steps)).tolist()
    found: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for pair, length, total in zip(pairs.tolist(), lengths, sums, strict=True):
        first, second = divmod(pair, count)
        found[first][second] = found[second][first] = (float(length), float(total))
    return found
