"""Occlusion by removal of patch tokens: nothing is painted over, the patches are taken out of the model's tokens.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, is occlusion with a grey patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .token_game import TokenGame, TokenRemovalMethod

__all__ = ["TokenOcclusion"]


class TokenOcclusion(TokenRemovalMethod):
    """How much the target's logit falls when a window of patches is removed.

    A window of ``window`` patches slides over the grid in steps of one; the map's value at a patch is the mean, over
    the windows that hold it, of logit(all patches) - logit(without the window). No colour takes a window's place: the
    tokens are gone (:class:`~quantus_vit.relevance.token_removal.TokenRemoval`), so there is no baseline to choose.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``, signed, in units of the logit. It costs
    one forward per window and one more per image.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    window : int or (int, int)
        Rows and columns of patches that are removed together.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        The window is no positive size, or larger than the grid (known in ``attribute``).

    Examples
    --------
    >>> maps = TokenOcclusion(model, window=2).attribute(images, target=labels)  # (N, 3, H, W) -> (N, 1, H, W)
    """

    def __init__(
        self, model: nn.Module, window: int | tuple[int, int] = 1, interpolate: str | None = "bilinear"
    ) -> None:
        super().__init__(model, interpolate)
        sizes = (
            (window, window) if isinstance(window, int) else tuple(window) if isinstance(window, (tuple, list)) else ()
        )
        if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError(f"window must be a positive number of patches, or two (rows, columns), not {window!r}")
        self.window = sizes

    def _map(self, game: TokenGame, classes: Tensor) -> Tensor:
        if len(game.grid) != 2 or self.window[0] > game.grid[0] or self.window[1] > game.grid[1]:
            raise ValueError(f"a window of {self.window} patches does not fit the model's grid of {game.grid}")
        masks = windows(game.grid, self.window)
        drops = game.logits.new_empty((len(masks), len(classes)))
        for part, logits in game.without(masks):
            drops[part] = game.logits[classes] - logits[:, classes]
        inside = masks.to(drops.device, drops.dtype)
        maps: Tensor = (drops.T @ inside) / inside.sum(0)
        return maps.view(len(classes), *game.grid)


def windows(grid: tuple[int, ...], window: tuple[int, int]) -> Tensor:
    """Every placement of a window in a grid, (placements, h * w) bool."""
    height, width = grid
    corners = [(row, column) for row in range(height - window[0] + 1) for column in range(width - window[1] + 1)]
    masks = torch.zeros(len(corners), height, width, dtype=torch.bool)
    for mask, (row, column) in zip(masks, corners, strict=True):
        mask[row : row + window[0], column : column + window[1]] = True
    return masks.flatten(1)
