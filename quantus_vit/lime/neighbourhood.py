"""Perturbed images and the model's answers to them. Knows torch only: no segmentation, no lime, no fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..batch_size import BatchSize
from ..relevance.forward import logits_of

__all__ = ["LINKS", "Link", "Neighbourhood", "compose"]


def compose(image: Tensor, fudged: Tensor, segments: Tensor, masks: Tensor) -> Tensor:
    """Perturbed images from one segment map.

    Parameters
    ----------
    image, fudged : Tensor
        Shape (C, H, W): the image, and the image with every segment replaced.
    segments : Tensor
        Shape (H, W), int64: number of each pixel's segment.
    masks : Tensor
        Shape (B, n_segments), bool: which segments are present.

    Returns
    -------
    Tensor
        Shape (B, C, H, W).
    """
    if image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64):
        return _compose_in_cache(image, fudged, segments, masks)
    # Rows of a few bytes are gathered some twenty times faster than single values of many rows.
    present = masks.t().contiguous().index_select(0, segments.reshape(-1)).t().contiguous()
    return torch.where(present.reshape(-1, 1, *segments.shape), image, fudged)


def _compose_in_cache(image: Tensor, fudged: Tensor, segments: Tensor, masks: Tensor) -> Tensor:
    """Image by image, each while it is in a core's cache: faster than ``torch.where`` over all of them.

    Interpolation by weights of 0 and 1 gives finite numbers unchanged.
    """
    composed = image.new_empty(len(masks), *image.shape)
    for weights, one in zip(masks.to(image.dtype), composed, strict=True):
        torch.lerp(fudged, image, weights.take(segments)[None], out=one)
    return composed


Link: TypeAlias = Literal["softmax", "sigmoid", "identity"]

LINKS: Mapping[Link, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"softmax": lambda logits: logits.softmax(dim=-1), "sigmoid": torch.sigmoid, "identity": lambda logits: logits}
)
"""What is fitted, of logits (M, classes): probabilities of a multiclass task, of single findings, or logits."""


class Neighbourhood:
    """The model's answers to perturbations of one image, in batches on the model's device.

    Parameters
    ----------
    model : callable
        Maps (B, C, H, W) to logits (B, classes). Called as it is, under ``torch.inference_mode``.
    image, fudged : Tensor
        Shape (C, H, W), on the model's device.
    segments : Tensor
        Shape (H, W), int64, on the model's device.
    batch_size : BatchSize or int
        Images a forward; fewer where memory runs out.
    link : Link, optional
        Of :data:`LINKS`; None: "sigmoid" for one output, whose softmax would be 1 whatever the image, else "softmax".
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        image: Tensor,
        fudged: Tensor,
        segments: Tensor,
        batch_size: BatchSize | int,
        link: Link | None = None,
    ) -> None:
        self.model = model
        self.image = image
        self.fudged = fudged
        self.segments = segments
        self.batch_size = batch_size if isinstance(batch_size, BatchSize) else BatchSize(batch_size)
        self.link = link

    def answers(self, masks: Tensor) -> Tensor:
        """Linked logits (M, classes), float32 on the model's device, for masks (M, n_segments)."""
        return self.batch_size.run(lambda size: self._answers(masks, size))

    def _answers(self, masks: Tensor, size: int) -> Tensor:
        with torch.inference_mode():
            masks = masks.to(self.image.device, torch.bool)
            parts = [self._linked(logits_of(self.model(images)).float()) for images in self._batches(masks, size)]
            return torch.cat(parts)

    def _linked(self, logits: Tensor) -> Tensor:
        default: Link = "sigmoid" if logits.shape[-1] == 1 else "softmax"
        return LINKS[self.link or default](logits)

    def _batches(self, masks: Tensor, size: int) -> Iterator[Tensor]:
        for part in masks.split(size):  # type: ignore[no-untyped-call]
            yield compose(self.image, self.fudged, self.segments, part)
