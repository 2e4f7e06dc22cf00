"""The X-rays that the benchmarks explain: some of a data set's Test images, or phantoms."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from quantus_vit.data import CovidQuEx, Phantom


def pictures(data: str | None, count: int, seed: int, size: int) -> dict[int, Tensor]:
    """Index -> (3, size, size), evenly spread over COVID-QU-Ex's Test images in ``data``; phantoms without it."""
    found: CovidQuEx | Phantom
    if data:
        found = CovidQuEx(data, split="Test", image_size=size)
    else:
        found = Phantom(count, seed=seed, split="Test", image_size=size)
    chosen = np.linspace(0, len(found) - 1, count).round().astype(int)
    return {int(index): found[int(index)]["image"] for index in chosen}
