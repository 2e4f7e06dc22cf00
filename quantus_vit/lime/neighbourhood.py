"""Perturbed images and the model's answers to them. Knows torch only: no segmentation, no lime, no fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from quantus_vit.relevance.forward import logits_of


def compose(image: Tensor, fudged: Tensor, segments: Tensor, masks: Tensor) -> Tensor:
    """Perturbed images from one segment map.

    Parameters
    ----------
    image, fudged
        Shape (C, H, W): the image, and the image with every segment replaced.
    segments
        Shape (H, W), int64: number of each pixel's segment.
    masks
        Shape (B, n_segments), bool: which segments are present.

    Returns
    -------
    Tensor
        Shape (B, C, H, W).
    """
    present = masks.index_select(1, segments.reshape(-1)).reshape(-1, 1, *segments.shape)
    return torch.where(present, image, fudged)


class Neighbourhood:
    """The model's class probabilities on perturbations of one image, in batches on the model's device.

    Parameters
    ----------
    model
        Maps (B, C, H, W) to logits (B, classes). Called as it is, under `torch.inference_mode`.
    image, fudged
        Shape (C, H, W), on the model's device.
    segments
        Shape (H, W), int64, on the model's device.
    batch_size
        Images a forward.
    """

    def __init__(
        self, model: Callable[[Tensor], Tensor], image: Tensor, fudged: Tensor, segments: Tensor, batch_size: int
    ) -> None:
        self.model = model
        self.image = image
        self.fudged = fudged
        self.segments = segments
        self.batch_size = batch_size

    def probabilities(self, masks: Tensor) -> Tensor:
        """Softmax probabilities (M, classes), float32 on the CPU, for masks (M, n_segments)."""
        with torch.inference_mode():
            masks = masks.to(self.image.device, torch.bool)
            parts = [torch.softmax(logits_of(self.model(images)).float(), dim=-1) for images in self._batches(masks)]
            # one transfer at the end: a copy a batch would make the host wait for the device each time
            return torch.cat(parts).cpu()

    def _batches(self, masks: Tensor) -> Iterator[Tensor]:
        for part in masks.split(self.batch_size):  # type: ignore[no-untyped-call]
            yield compose(self.image, self.fudged, self.segments, part)
