"""Removal curves: how the model's output falls while patches are removed in the order of a map.

References
----------
Samek et al., "Evaluating the visualization of what a deep neural network has learned", IEEE TNNLS 2017. Bluecher,
Vielhaben and Strodthoff, "Decoupling pixel flipping and occlusion strategy for consistent XAI benchmarks", TMLR 2024
(SRG). Edin et al., "Normalized AOPC: fixing misleading faithfulness metrics for feature attribution explainability",
2024.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.integrate import trapezoid

from .base import ImageMetric, Removed, Scoring
from .checks import check_choice, check_count
from .patches import patch_order
from .removal import removal_of

__all__ = ["RemovalCurve"]

Array = npt.NDArray[Any]
_ORDERS = {"mif": (True,), "lif": (False,), "srg": (True, False)}  # most important first?


class _Image(NamedTuple):
    """An image, its target, and the number of each pixel's patch."""

    x: Array
    y: int
    units: Array

    @property
    def patches(self) -> int:
        return int(self.units.max()) + 1


class RemovalCurve(ImageMetric):
    """Area under the curve of the target's output while patches are removed in the order of a map.

    ``order="mif"`` removes the most important patches first (a low area is good), ``"lif"`` the least important first
    (a high area is good), and ``"srg"``, the symmetric relevance gain, is LIF - MIF (Bluecher et al. 2024): higher is
    better, and 0 is what a random order has. Areas are means over the removed share, in the unit of the output.

    Parameters
    ----------
    removal : str or float
        What replaces a removed patch: a name in :data:`~quantus_vit.metrics.REMOVALS`, or a value in normalised units.
    order : {"srg", "mif", "lif"}
        Which area.
    patch_size : int, optional
        Side of a patch in pixels; 16 if left out, and with ``removal="tokens"`` always the model's own patches.
    steps : int
        Steps from the whole image to none of it; at most the number of patches.
    output : {"logit", "probability"}
        Whose curve.
    normalised : bool
        Give 0 to the mean area of random orders and 1 to that of a greedy oracle, which at each step removes what
        changes the output most (after Edin et al. 2024); then higher is better with every ``order``. Costs some
        ``steps * patches`` forwards an image and direction.
    random_orders : int
        How many random orders bound a normalised area.
    tie_breaks : int
        Over how many random orders of equal patches a score is averaged; 1 takes them row by row.
    seed : int
        Seed of random orders and ties.
    **options
        Those of every metric of Quantus, such as ``abs``.

    Attributes
    ----------
    curves : list of dict of str to ndarray
        After a call: for each image "mif" and/or "lif", the outputs ``(steps + 1,)`` from nothing removed to all
        patches removed, mean over the tie-breaks.
    """

    name = "Removal Curve"

    def __init__(
        self,
        removal: str | float = "mean",
        order: str = "srg",
        patch_size: int | None = None,
        steps: int = 14,
        output: str = "logit",
        normalised: bool = False,
        random_orders: int = 10,
        tie_breaks: int = 1,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(output, **options)
        self.removal = removal_of(removal)
        self.order = check_choice("order", order, tuple(_ORDERS))
        self.patch_size = None if patch_size is None else check_count("patch_size", patch_size)
        self.steps = check_count("steps", steps)
        self.normalised = normalised
        self.random_orders = check_count("random_orders", random_orders)
        self.tie_breaks = check_count("tie_breaks", tie_breaks)
        self.seed = seed
        self.curves: list[dict[str, Array]] = []
        self._bounds: dict[tuple[bytes, int, bool], tuple[float, float]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Score maps, see :meth:`ImageMetric.__call__`."""
        self.curves, self._bounds = [], {}
        return super().__call__(*args, **kwargs)

    def scoring(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> Scoring:
        """Area of one map, and its curves."""
        units = self.units(model, x, self.removal, self.patch_size)
        scores = np.bincount(units.ravel(), a.sum(axis=0).ravel())
        if self.steps > len(scores):
            raise ValueError(f"steps must be at most {len(scores)}, the number of patches, not {self.steps}")
        image = _Image(x, y, units)
        curves: dict[str, Array] = {}
        areas: dict[bool, float] = {}
        for most_important_first in _ORDERS[self.order]:
            name = "mif" if most_important_first else "lif"
            drawn = yield from self._curves(image, self._orders(scores, most_important_first))
            curves[name] = drawn.mean(axis=0)
            areas[most_important_first] = float(_area(curves[name]))
        if self.normalised:
            parts = []
            for first in areas:
                parts.append((yield from self._normalise(areas[first], image, first)))
            return float(np.mean(parts)), curves
        return areas[False] - areas[True] if self.order == "srg" else next(iter(areas.values())), curves

    def finish(self, results: list[tuple[float, dict[str, Array]]]) -> list[float]:
        """Areas of a batch; its curves are kept."""
        self.curves += [curves for _, curves in results]
        return [area for area, _ in results]

    def _orders(self, scores: Array, most_important_first: bool) -> list[Array]:
        signed = scores if most_important_first else -scores
        if self.tie_breaks == 1:
            return [patch_order(signed)]
        return [patch_order(signed, np.random.default_rng((self.seed, number))) for number in range(self.tie_breaks)]

    def _curves(self, image: _Image, orders: list[Array]) -> Scoring:
        """Outputs ``(orders, steps + 1)``."""
        removed = np.concatenate([self._sets(order) for order in orders])
        outputs = yield from self._without(image, removed)
        return outputs.reshape(len(orders), self.steps + 1)

    def _sets(self, order: Array) -> Array:
        """The removed patches at each step, bool ``(steps + 1, P)``."""
        counts = np.rint(np.linspace(0, len(order), self.steps + 1)).astype(int)
        rank = np.empty(len(order), dtype=int)
        rank[order] = np.arange(len(order))
        return np.asarray(rank[None] < counts[:, None])

    def _normalise(self, area: float, image: _Image, most_important_first: bool) -> Scoring:
        """0 at the area of random orders, 1 at that of the greedy oracle; nan where the two are the same."""
        key = (image.x.tobytes(), image.y, most_important_first)
        if key not in self._bounds:
            rng = np.random.default_rng((self.seed, 1))
            orders = [rng.permutation(image.patches) for _ in range(self.random_orders)]
            drawn = yield from self._curves(image, orders)
            oracle = yield from self._oracle_area(image, most_important_first)
            self._bounds[key] = float(_area(drawn).mean()), oracle
        random, oracle = self._bounds[key]
        return float("nan") if random == oracle else (area - random) / (oracle - random)

    def _oracle_area(self, image: _Image, most_important_first: bool) -> Scoring:
        """Area of the greedy order: each step removes the patches that alone would lower (or keep) the output most."""
        counts = np.rint(np.linspace(0, image.patches, self.steps + 1)).astype(int)
        removed = np.zeros(image.patches, dtype=bool)
        sets = [removed.copy()]
        for count in counts[1:]:
            left = np.flatnonzero(~removed)
            candidates = np.repeat(removed[None], len(left), axis=0)
            candidates[np.arange(len(left)), left] = True
            outputs = yield from self._without(image, candidates)
            ranked = left[np.argsort(outputs if most_important_first else -outputs, kind="stable")]
            removed[ranked[: count - int(removed.sum())]] = True
            sets.append(removed.copy())
        outputs = yield from self._without(image, np.stack(sets))
        return float(_area(outputs))

    def _without(self, image: _Image, removed: Array) -> Generator[Removed, Array | None, Array]:
        outputs = yield Removed(image.x, image.y, removed, image.units, self.removal)
        assert outputs is not None
        return outputs


def _area(curves: Array) -> Array:
    """Mean over the removed share, of curves ``(..., steps + 1)``."""
    return np.asarray(trapezoid(curves, dx=1 / (curves.shape[-1] - 1), axis=-1))
