"""What happens to an X-ray on its way into training: caching, and light augmentation.

Knows torch and the data conventions; works on items of any of the package's data sets.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..data.conventions import IMAGENET_MEAN, IMAGENET_STD, XraySample, normalize_image

__all__ = ["LabelledImages", "augment"]


class XrayDataset(Protocol):
    """What training needs of a data set."""

    @property
    def labels(self) -> list[int]:
        """Label of each item."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> XraySample: ...


def augment(image: torch.Tensor, max_shift: float = 0.05) -> torch.Tensor:
    """Mirror an X-ray in half of the cases and shift it a little.

    Parameters
    ----------
    image
        ``(C, S, S)``.
    max_shift
        Largest shift along each axis, as a share of the side. What comes in at the border repeats the edge.

    Returns
    -------
    torch.Tensor
        ``(C, S, S)``, drawn from torch's global random numbers, which data loaders seed for each worker.

    Notes
    -----
    A mirrored chest has its heart on the right. Neither COVID-19 nor pneumonia prefers a side strongly enough for
    this to lose what the label hangs on, and flips are what fine-tuning on X-rays commonly uses.
    """
    if torch.rand(()) < 0.5:
        image = image.flip(-1)
    for axis in (-2, -1):
        size = image.shape[axis]
        reach = int(size * max_shift)
        offset = int(torch.randint(-reach, reach + 1, ()))
        index = (torch.arange(size) + offset).clamp(0, size - 1)
        image = image.index_select(axis, index)
    return image


class LabelledImages(Dataset[tuple[torch.Tensor, int]]):
    """Pairs of image and label from a data set of X-rays.

    Parameters
    ----------
    source
        The data set.
    augmented
        Apply :func:`augment` to each image.
    cached
        Read all images now and keep them in memory, as 8-bit grey values: ``S * S`` bytes each. Exact for images that
        were 8-bit grey, as X-rays of COVID-QU-Ex and phantoms are.
    description
        Shown beside the progress bar of reading.
    """

    def __init__(
        self, source: XrayDataset, augmented: bool = False, cached: bool = False, description: str = "reading"
    ) -> None:
        self.source = source
        self.labels = source.labels
        self.augmented = augmented
        indices = tqdm(range(len(source)), desc=description, unit="image", disable=None)
        self._cache = [_to_bytes(source[index]["image"]) for index in indices] if cached else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.source[index]["image"] if self._cache is None else normalize_image(self._cache[index] / 255.0)
        return (augment(image) if self.augmented else image), self.labels[index]


def _to_bytes(image: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation of one channel, ``(S, S)`` uint8."""
    gray = image[0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    return (gray * 255.0).round().clamp(0, 255).to(torch.uint8)
