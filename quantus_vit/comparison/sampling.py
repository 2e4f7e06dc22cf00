"""Which images are compared: a seeded sample, as balanced over the classes as the data allow.

Knows labels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Selection", "balanced_sample"]


@dataclass(frozen=True)
class Selection:
    """A sample of a data set.

    Parameters
    ----------
    indices
        Items of the data set, classes in turn, so that any beginning of the list is balanced too.
    taken
        How many images of each class.
    requested
        How many images were asked for.
    """

    indices: tuple[int, ...]
    taken: tuple[int, ...]
    requested: int

    def describe(self, class_names: Sequence[str]) -> str:
        """One or two sentences: the images of each class, and where balance or size could not be had."""
        parts = ", ".join(f"{count} {name}" for count, name in zip(self.taken, class_names, strict=True))
        text = f"{len(self.indices)} images: {parts}."
        if len(self.indices) < self.requested:
            text += f" {self.requested} were asked for, but the split holds no more."
        elif max(self.taken) - min(self.taken) > 1:
            scarce = ", ".join(
                name for count, name in zip(self.taken, class_names, strict=True) if count == min(self.taken)
            )
            text += f" The split holds no more of {scarce}; the other classes fill the sample."
        return text


def balanced_sample(labels: Sequence[int], count: int, num_classes: int, seed: int = 0) -> Selection:
    """Draw a class-balanced sample.

    Parameters
    ----------
    labels
        Label of each item.
    count
        Images to draw; all there are, if there are fewer.
    num_classes
        Number of classes; a class without images gets none.
    seed
        Seed of the draw. A larger ``count`` with the same seed keeps the images of the smaller one.

    Returns
    -------
    Selection
        Every class has an equal share (the first classes take the remainder); a class with fewer images than its
        share gives all of them and the others fill up.

    Raises
    ------
    ValueError
        If there is no image, or a label is out of range.
    """
    if not labels:
        raise ValueError("the data set is empty, there is nothing to draw from")
    if min(labels) < 0 or max(labels) >= num_classes:
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {min(labels)}..{max(labels)}")
    members = [np.flatnonzero(np.asarray(labels) == label) for label in range(num_classes)]
    taken = _shares([len(items) for items in members], count)
    queues = [
        np.random.default_rng([seed, label]).permutation(items)[:share].tolist()
        for label, (items, share) in enumerate(zip(members, taken, strict=True))
    ]
    turns = max(taken)
    indices = [queue[turn] for turn in range(turns) for queue in queues if turn < len(queue)]
    return Selection(tuple(indices), tuple(taken), count)


def _shares(available: Sequence[int], count: int) -> list[int]:
    """Hand out one image at a time, classes in turn, until the count is reached or all are empty."""
    shares = [0] * len(available)
    left = min(count, sum(available))
    while left:
        for label, most in enumerate(available):
            if left and shares[label] < most:
                shares[label] += 1
                left -= 1
    return shares
