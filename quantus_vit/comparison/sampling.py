"""Which cases are compared: a seeded sample, as balanced over the classes as the data allow.

Knows labels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cases import Case

__all__ = ["Selection", "balanced_sample", "select"]


@dataclass(frozen=True)
class Selection:
    """A sample of the cases of a data set.

    Parameters
    ----------
    cases : tuple of Case
        Classes in turn, so that any beginning of the list is balanced too.
    taken : dict of str to int
        How many cases of each label.
    requested : int
        How many were asked for.
    """

    cases: tuple[Case, ...]
    taken: dict[str, int]
    requested: int

    def describe(self) -> str:
        """One or two sentences: the cases of each class, and where balance or size could not be had."""
        parts = ", ".join(f"{count} {name}" for name, count in self.taken.items())
        images = len({case.identity for case in self.cases})
        text = f"{images} image{'s' * (images != 1)}: {parts}."
        if images < len(self.cases):
            text = f"{len(self.cases)} cases of {text}"
        least, most = min(self.taken.values()), max(self.taken.values())
        if len(self.cases) < self.requested:
            text += f" {self.requested} were asked for, but the split holds no more."
        elif most - least > 1:
            scarce = ", ".join(name for name, count in self.taken.items() if count == least)
            text += f" The split holds no more of {scarce}; the other classes fill the sample."
        return text


def select(cases: Sequence[Case], labels: Sequence[str], count: int, seed: int = 0) -> Selection:
    """Draw a class-balanced sample of cases.

    Parameters
    ----------
    cases : sequence of Case
    labels : sequence of str
        The classes, in order.
    count : int
        Cases to draw; all there are, if there are fewer.
    seed : int
        Seed of the draw. A larger ``count`` with the same seed keeps the cases of the smaller one.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    chosen = balanced_sample([numbers[case.label] for case in cases], count, len(labels), seed)
    sample = tuple(cases[index] for index in chosen)
    taken = {label: sum(case.label == label for case in sample) for label in labels}
    return Selection(sample, taken, count)


def balanced_sample(labels: Sequence[int], count: int, num_classes: int, seed: int = 0) -> list[int]:
    """Draw a class-balanced sample.

    Parameters
    ----------
    labels : sequence of int
        Label of each item.
    count : int
        Items to draw; all there are, if there are fewer.
    num_classes : int
        Number of classes; a class without items gets none.
    seed : int
        Seed of the draw. A larger ``count`` with the same seed keeps the items of the smaller one.

    Returns
    -------
    list of int
        Indices, classes in turn. Every class has an equal share (the first classes take the remainder); a class with
        fewer items than its share gives all of them and the others fill up.

    Raises
    ------
    ValueError
        There is no item, or a label is out of range.
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
    return [queue[turn] for turn in range(max(taken)) for queue in queues if turn < len(queue)]


def _shares(available: Sequence[int], count: int) -> list[int]:
    """Hand out one item at a time, classes in turn, until the count is reached or all are empty."""
    shares = [0] * len(available)
    left = min(count, sum(available))
    while left:
        for label, most in enumerate(available):
            if left and shares[label] < most:
                shares[label] += 1
                left -= 1
    return shares
