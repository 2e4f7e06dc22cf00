"""The order of training images: other in each epoch, and the same again when training is resumed.

Knows torch alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

__all__ = ["EpochSampler", "seed_of"]


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffle by seed and epoch, and tell the data set the epoch with each index.

    A data set that draws its augmentation from seed, epoch and index then needs no state: whatever process loads an
    image, and however often training was interrupted, it is the same image.

    Parameters
    ----------
    count : int
        Number of images.
    seed : int
        Other seeds give other orders.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Pairs of epoch and index."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        for index in torch.randperm(self.count, generator=generator).tolist():
            yield self.epoch, index


def seed_of(*numbers: int) -> int:
    """One seed of several non-negative numbers, in [0, 2**63)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
