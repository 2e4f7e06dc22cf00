"""Occlusion by removal of patch tokens: nothing is painted over, the patches are taken out of the model's tokens.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, is occlusion with a grey patch.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from .token_game import TokenGame, TokenRemovalMethod

__all__ = ["TokenOcclusion"]


class TokenOcclusion(TokenRemovalMethod):
    """How much the target's logit falls when a window of patches is removed.

    A window of ``window`` patches slides over the grid in steps of ``stride``; the map's value at a patch is the mean,
    over the windows that hold it, of logit(all patches) - logit(without the window). No colour takes a window's place:
    the tokens are gone (:class:`~quantus_vit.relevance.token_removal.TokenRemoval`), so there is no baseline to choose.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``, signed, in units of the logit. It costs
    one forward per window and one more per image.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    window : int or tuple of int
        Rows and columns of patches that are removed together, in volumes depth, rows and columns; one number for all.
    stride : int
        Patches from one place of the window to the next, at most the window's size; the last place ends at the border.
        With more the map is coarser and costs stride^2 times less.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        The window or stride is no positive size, the stride is larger than the window, or the window than the grid
        (known in ``attribute``).

    Examples
    --------
    >>> maps = TokenOcclusion(model, window=2).attribute(images, target=labels)  # (N, 3, H, W) -> (N, 1, H, W)
    """

    def __init__(
        self,
        model: nn.Module,
        window: int | tuple[int, ...] = 1,
        interpolate: str | None = "bilinear",
        stride: int = 1,
    ) -> None:
        super().__init__(model, interpolate)
        sizes = tuple(window) if isinstance(window, (tuple, list)) else (window, window)
        if len(sizes) not in (2, 3) or not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError(
                f"window must be a positive number of patches, or one a dimension (rows, columns), not {window!r}"
            )
        if type(stride) is not int or not 0 < stride <= min(sizes):
            raise ValueError(f"stride must be a whole number from 1 to {min(sizes)}, the window's size, not {stride!r}")
        self.window = window if isinstance(window, int) else sizes
        self.stride = stride

    def _map(self, game: TokenGame, classes: Tensor) -> Tensor:
        window = (self.window,) * len(game.grid) if isinstance(self.window, int) else self.window
        if len(window) != len(game.grid) or any(size > most for size, most in zip(window, game.grid, strict=True)):
            raise ValueError(f"a window of {window} patches does not fit the model's grid of {game.grid}")
        masks = windows(game.grid, window, self.stride)
        drops = game.logits.new_empty((len(masks), len(classes)))
        for part, logits in game.without(masks):
            drops[part] = game.logits[classes] - logits[:, classes]
        inside = masks.to(drops.device, drops.dtype)
        maps: Tensor = (drops.T @ inside) / inside.sum(0)
        return maps.view(len(classes), *game.grid)


def windows(grid: tuple[int, ...], window: tuple[int, ...], stride: int = 1) -> Tensor:
    """Every placement of a window in a grid of as many dimensions, (placements, places of the grid) bool."""
    lasts = [most - size for most, size in zip(grid, window, strict=True)]
    corners = product(*(sorted({*range(0, last + 1, stride), last}) for last in lasts))
    masks = []
    for corner in corners:
        mask = torch.zeros(grid, dtype=torch.bool)
        mask[tuple(slice(start, start + size) for start, size in zip(corner, window, strict=True))] = True
        masks.append(mask.flatten())
    return torch.stack(masks)
