"""The logits as a function of the patches that are there: what methods that remove tokens have in common.

They need no gradient and no rule, only forwards of the model with some patch tokens removed
(:mod:`quantus_vit.relevance.token_removal`). Every forward gives the logits of all classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..batch_size import BatchSize
from ..relevance.forward import check_output, logits_of
from ..relevance.model_errors import clearer_errors
from ..relevance.token_removal import TokenRemoval
from .base import AttributionMethod, like_captum
from .batches import forwards_at_once
from .grid import check_interpolation, resize
from .inputs import (
    Target,
    along_batch,
    as_forward_args,
    check_inputs,
    map_batched,
    parse_target,
    resolve_target,
    split_batch,
)

__all__ = ["TokenGame", "TokenRemovalMethod"]


class TokenGame:
    """One image's logits for any set of removed patches.

    Attributes
    ----------
    logits : Tensor
        (classes,), with all patches.
    grid : tuple of int
        Rows and columns of patches, in volumes depth, rows and columns.
    """

    def __init__(self, removal: TokenRemoval, image: Tensor, forward_args: tuple[Any, ...], at_once: BatchSize) -> None:
        self._removal, self._image, self._args, self._at_once = removal, image, forward_args, at_once
        removal.mask = None
        (self.logits,) = self._forward(1)
        self.grid = removal.grid

    @property
    def places(self) -> int:
        """Number of patches."""
        return torch.Size(self.grid).numel()

    def without(self, masks: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The logits for each of the masks (M, places), True where a patch is removed, some (m, classes) at a time."""
        start = 0
        while start < len(masks):
            logits = self._at_once.run(partial(self._some, masks, start))
            yield slice(start, start + len(logits)), logits
            start += len(logits)

    def _some(self, masks: Tensor, start: int, most: int) -> Tensor:
        part = masks[start : start + _even_step(len(masks), most)]
        self._removal.mask = part
        return self._forward(len(part))

    def _forward(self, size: int) -> Tensor:
        args = map_batched(self._args, 1, lambda x: x.expand(size, *x.shape[1:]))
        images = self._image.expand(size, *self._image.shape[1:])
        with clearer_errors(self._removal.model, self._image), torch.no_grad():
            return logits_of(self._removal(images, *args)).detach()


def _even_step(count: int, most: int) -> int:
    """Forwards at once, so that the last have as many as the others where that takes little from ``most``."""
    even = (step for step in range(min(count, most), 3 * most // 4, -1) if count % step == 0)
    return next(even, most)


class TokenRemovalMethod(AttributionMethod):
    """Base of the methods that explain logits by removing patch tokens."""

    def __init__(self, model: nn.Module, interpolate: str | None) -> None:
        super().__init__(model)
        check_interpolation(interpolate)
        self.interpolate = interpolate

    @like_captum
    def attribute(
        self,
        inputs: Tensor,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> Tensor:
        """Attribution of one class per image; arguments and errors as of every method, but for the last.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W), normalised as the model wants it.
        target : int, sequence of int, Tensor or None
            Class index for all images, or one per image; None is the predicted class.
        additional_forward_args : Any
            Further positional arguments of the model's forward; tensors whose first dimension is N go along with the
            images.
        internal_batch_size : int or None
            Forwards at once; None chooses: 16 on a CPU, elsewhere as many as the free memory holds, at most 256.
            Halved where memory runs out all the same.

        Returns
        -------
        Tensor
            (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``, on the inputs' device.

        Raises
        ------
        ValueError, TypeError
            Wrong inputs, targets or ``internal_batch_size``, or a model whose tokens cannot be removed.
        """
        inputs = check_inputs(inputs)
        wanted = parse_target(target, len(inputs))
        maps = []
        for i, game in self._games(inputs, as_forward_args(additional_forward_args), internal_batch_size):
            classes = resolve_target(None if wanted is None else wanted[i : i + 1], game.logits[None])
            maps.append(self._map(game, classes)[0])
        return self._images(torch.stack(maps), inputs)

    def attribute_all_targets(self, inputs: Tensor, internal_batch_size: int | None = None) -> Tensor:
        """Attribution of every class, (N, classes, 1, H, W), from the forwards of one; else as :meth:`attribute`."""
        inputs = check_inputs(inputs)
        found = []
        for _, game in self._games(inputs, (), internal_batch_size):
            found.append(self._map(game, torch.arange(len(game.logits), device=inputs.device)))
        maps = torch.stack(found)
        images = self._images(maps.flatten(0, 1), inputs)
        return images.view(*maps.shape[:2], *images.shape[1:])

    def _games(
        self, inputs: Tensor, forward_args: tuple[Any, ...], internal_batch_size: int | None
    ) -> Iterator[tuple[int, TokenGame]]:
        self.check_model(inputs)
        at_once = forwards_at_once(self.model, inputs, forward_args, internal_batch_size)
        split_batch(inputs, at_once)  # raises where that is no size
        size = BatchSize(int(at_once))
        removal = TokenRemoval(self.model)
        for i in range(len(inputs)):
            along = along_batch(forward_args, slice(i, i + 1), len(inputs))
            game = TokenGame(removal, inputs[i : i + 1], along, size)
            check_output(game.logits[None], 1, None)
            yield i, game

    def _map(self, game: TokenGame, classes: Tensor) -> Tensor:
        """Attribution of each of the classes (K,) to the patches, (K, h, w)."""
        raise NotImplementedError

    def _images(self, maps: Tensor, inputs: Tensor) -> Tensor:
        """(M, h, w) -> (M, 1, H, W), or (M, 1, h, w); of volumes with a depth."""
        return resize(maps[:, None], inputs, self.interpolate)
