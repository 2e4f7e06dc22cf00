"""SaCo: Wu et al., "On the faithfulness of vision transformer explanations", CVPR 2024."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .base import ImageMetric, Removed, Scoring
from .checks import check_count
from .patches import patch_order
from .removal import removal_of

__all__ = ["SaCo", "saco"]

Array = npt.NDArray[Any]


def saco(salience: Sequence[float] | Array, drops: Sequence[float] | Array) -> float:
    """Salience-guided faithfulness coefficient of groups of pixels (Wu et al. 2024, algorithm 1).

    Every pair of groups is a vote: for the map where the group of more salience costs the model at least as much,
    against it where it costs less, weighed by the difference in salience.

    Parameters
    ----------
    salience : sequence of float
        ``(K,)``, salience of each group, from the most salient to the least.
    drops : sequence of float
        ``(K,)``, by how much the prediction falls without the group.

    Returns
    -------
    float
        In [-1, 1], higher is better; nan where all groups have the same salience, so that nothing is claimed,
        or where a salience or a drop is nan.

    Raises
    ------
    ValueError
        The two have other lengths, or less than two groups.
    """
    s, drop = np.asarray(salience, dtype=np.float64), np.asarray(drops, dtype=np.float64)
    if s.ndim != 1 or s.shape != drop.shape or len(s) < 2:
        raise ValueError(
            f"salience and drops must be two sequences of the same length of 2 or more, not of shapes {s.shape} and "
            f"{drop.shape}"
        )
    first, second = np.triu_indices(len(s), k=1)
    difference = s[first] - s[second]
    total = np.abs(difference).sum()
    if total == 0 or np.isnan(drop).any():
        return float("nan")
    return float(np.where(drop[first] >= drop[second], difference, -difference).sum() / total)


class SaCo(ImageMetric):
    """Whether more salient groups of pixels matter more to the model (SaCo, Wu et al., CVPR 2024).

    The pixels are cut into groups of equal size by their salience; each group alone is removed, and the drops of the
    target's probability are compared with the groups' salience by :func:`saco`. In [-1, 1], higher is better.

    Parameters
    ----------
    groups : int
        K, the number of groups; 10 in the paper.
    removal : str or float
        What replaces a group: a name in :data:`~quantus_vit.metrics.REMOVALS`, or a value in normalised units. With
        ``"tokens"`` groups are of patches, which the model never sees.
    output : {"probability", "logit"}
        What drops.
    **options
        Those of every metric of Quantus, such as ``abs``.

    Examples
    --------
    >>> SaCo(groups=10)(model=model, x_batch=x, y_batch=y, a_batch=maps)  # doctest: +SKIP
    """

    name = "SaCo"

    def __init__(
        self,
        groups: int = 10,
        removal: str | float = "mean",
        output: str = "probability",
        **options: Any,
    ) -> None:
        super().__init__(output, **options)
        if check_count("groups", groups) < 2:
            raise ValueError(f"groups must be 2 or more, not {groups!r}")
        self.groups = int(groups)
        self.removal = removal_of(removal)

    def scoring(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> Scoring:
        """Coefficient of one map; nan where the map is constant."""
        units = self.units(model, x, self.removal, None if self.removal.replace is None else 1)
        salience = np.bincount(units.ravel(), a.sum(axis=0).ravel())
        if self.groups > len(salience):
            raise ValueError(
                f"groups must be at most {len(salience)}, the number of pixels or patches, not {self.groups}"
            )
        order = patch_order(salience)
        bounds = [len(order) * i // self.groups for i in range(self.groups + 1)]
        removed = np.zeros((self.groups + 1, len(order)), dtype=bool)  # the last: the whole image
        for row, (low, high) in enumerate(pairwise(bounds)):
            removed[row, order[low:high]] = True
        outputs = yield Removed(x, y, removed, units, self.removal)
        assert outputs is not None
        of_groups = [salience[row].sum() for row in removed[:-1]]
        return saco(of_groups, outputs[-1] - outputs[:-1])
