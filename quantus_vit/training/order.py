"""The order of training images: other in each epoch, and the same again when training is resumed.

Knows torch alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

__all__ = ["EpochSampler", "EveryNth", "seed_of"]


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
    batch_size : int
        Images of a step in all processes together; matters only where there are several.
    rank, processes : int
        Number of this process, and of all: each takes its part of every step's batch, so that a step sees the images
        that it sees in one process. The last batch is filled up with the epoch's first images until it can be parted.
    """

    def __init__(self, count: int, seed: int, batch_size: int = 1, rank: int = 0, processes: int = 1) -> None:
        self.count = count
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.processes = processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.processes)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Pairs of epoch and index."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        order += order[: -self.count % self.processes]
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            part = len(batch) // self.processes
            for index in batch[self.rank * part : (self.rank + 1) * part]:
                yield self.epoch, index


class EveryNth(Sampler[int]):
    """Every image once over all processes: this one takes each ``processes``-th, from its own number on."""

    def __init__(self, count: int, rank: int, processes: int) -> None:
        self.indices = range(rank, count, processes)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        """Indices."""
        return iter(self.indices)


def seed_of(*numbers: int) -> int:
    """One seed of several non-negative numbers, in [0, 2**63)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
