"""What happens to an X-ray on its way into training: preprocessing, caching, and light augmentation.

Knows torch, the data sets' record and preprocessing.
"""

from __future__ import annotations

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..data.base import XrayDataset
from ..data.preprocessing import Preprocessing
from .order import seed_of

__all__ = ["LabelledImages", "augment", "targets_of"]


def augment(image: torch.Tensor, generator: torch.Generator, max_shift: float = 0.05) -> torch.Tensor:
    """Mirror an X-ray in half of the cases and shift it a little.

    Parameters
    ----------
    image : torch.Tensor
        ``(C, H, W)``.
    generator : torch.Generator
        Where the random numbers come from.
    max_shift : float
        Largest shift along each axis, as a share of the side. What comes in at the border repeats the edge.

    Returns
    -------
    torch.Tensor
        ``(C, H, W)``.

    Notes
    -----
    A mirrored chest has its heart on the right. Neither COVID-19 nor pneumonia prefers a side strongly enough for
    this to lose what the label hangs on, and flips are what fine-tuning on X-rays commonly uses.
    """
    if torch.rand((), generator=generator) < 0.5:
        image = image.flip(-1)
    for axis in (-2, -1):
        size = image.shape[axis]
        reach = int(size * max_shift)
        offset = int(torch.randint(-reach, reach + 1, (), generator=generator))
        index = (torch.arange(size) + offset).clamp(0, size - 1)
        image = image.index_select(axis, index)
    return image


def targets_of(source: XrayDataset) -> torch.Tensor:
    """What a model should answer.

    Parameters
    ----------
    source : XrayDataset

    Returns
    -------
    torch.Tensor
        int64 ``(N,)``, the class, for "multiclass"; else float32 ``(N, findings)`` of 0 and 1.
    """
    if source.task == "multiclass":
        return torch.tensor(source.labels, dtype=torch.int64)
    return torch.from_numpy(source.findings).float()


class LabelledImages(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pairs of image and target from a data set of X-rays.

    Parameters
    ----------
    source : XrayDataset
        The data set.
    preprocessing : Preprocessing
        The model's.
    seed : int, optional
        Apply :func:`augment` to images that are asked for as ``(epoch, index)``, by this seed; None: to none.
    cached : bool
        Read all images now and keep them in memory: as 8-bit grey values, ``H * W`` bytes each, where that loses
        nothing, as with 8-bit X-rays, otherwise as they are.
    description : str
        Shown beside the progress bar of reading.
    """

    def __init__(
        self,
        source: XrayDataset,
        preprocessing: Preprocessing,
        seed: int | None = None,
        cached: bool = False,
        description: str = "reading",
    ) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self.targets = targets_of(source)
        self.seed = seed
        self._cache: list[torch.Tensor] | None = None
        if cached:
            indices = tqdm(range(len(source)), desc=description, unit="image", disable=None)
            self._cache = [self._compact(self._read(index)) for index in indices]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Image ``(C, H, W)`` and target of an index; augmented for a pair of epoch and index."""
        epoch, index = key if isinstance(key, tuple) else (None, key)
        image = self._read(index) if self._cache is None else self._restored(self._cache[index])
        if epoch is not None and self.seed is not None:
            image = augment(image, torch.Generator().manual_seed(seed_of(self.seed, epoch, index)))
        return image, self.targets[index]

    def _read(self, index: int) -> torch.Tensor:
        return self.preprocessing.image(self.source.grey(index))

    def _compact(self, image: torch.Tensor) -> torch.Tensor:
        """8-bit grey values ``(H, W)`` if the image can be restored from them to the bit, else the image."""
        levels = (self.preprocessing.grey(image) * 255.0).round().to(torch.uint8)
        return levels if torch.equal(self._restored(levels), image) else image

    def _restored(self, kept: torch.Tensor) -> torch.Tensor:
        return self.preprocessing.normalise(kept.float() / 255.0) if kept.dtype == torch.uint8 else kept
