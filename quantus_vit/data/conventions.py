"""What every data set of this package agrees on: classes, normalisation, and the shape of an item.

Knows torch and nothing else of the package; data sets and training import it, never the other way round.
"""

from __future__ import annotations

from typing import TypedDict

import torch

__all__ = ["CLASS_NAMES", "IMAGENET_MEAN", "IMAGENET_STD", "SPLITS", "XraySample", "check_split", "normalize_image"]

CLASS_NAMES: tuple[str, str, str] = ("COVID-19", "Non-COVID", "Normal")
"""Class names in label order: label 0 is COVID-19, 1 another pneumonia, 2 no finding."""

IMAGENET_MEAN: tuple[float, float, float] = (0.485, 0.456, 0.406)
"""Channel means that timm's pretrained ViTs expect (Deng et al., 2009)."""

IMAGENET_STD: tuple[float, float, float] = (0.229, 0.224, 0.225)
"""Channel standard deviations that timm's pretrained ViTs expect."""

SPLITS: tuple[str, str, str] = ("Train", "Val", "Test")
"""Names of the three splits, spelled as COVID-QU-Ex spells its folders."""


class XraySample(TypedDict):
    """One item of a data set; ``S`` is the data set's ``image_size``."""

    image: torch.Tensor
    """float32 ``(3, S, S)``, the grey image three times, normalised by the ImageNet mean and standard deviation."""
    label: int
    """Index into :data:`CLASS_NAMES`."""
    lung_mask: torch.Tensor
    """bool ``(1, S, S)``, True inside the lungs; all False where there is no mask."""
    infection_mask: torch.Tensor
    """bool ``(1, S, S)``, True inside the lesion; all False where there is no mask, or no lesion."""
    has_lung_mask: bool
    """Whether ``lung_mask`` is an annotation, not a placeholder."""
    has_infection_mask: bool
    """Whether ``infection_mask`` is an annotation, not a placeholder."""
    path: str
    """Where the image came from."""


def check_split(split: str) -> str:
    """Spell a split's name the way COVID-QU-Ex does.

    Parameters
    ----------
    split : str
        "Train", "Val" or "Test", in any case.

    Returns
    -------
    str
        The member of :data:`SPLITS`.

    Raises
    ------
    ValueError
        If ``split`` is none of the three.
    """
    if isinstance(split, str):
        for name in SPLITS:
            if split.lower() == name.lower():
                return name
    raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")


def normalize_image(grey: torch.Tensor) -> torch.Tensor:
    """Turn grey values into the input of an ImageNet-pretrained model.

    Parameters
    ----------
    grey : Tensor
        float ``(S, S)`` or ``(1, S, S)`` with values in [0, 1].

    Returns
    -------
    torch.Tensor
        float32 ``(3, S, S)``: the same values in each channel, minus the mean, divided by the standard deviation.
    """
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return (grey.to(torch.float32).reshape(1, *grey.shape[-2:]) - mean) / std
