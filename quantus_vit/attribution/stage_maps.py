"""Maps over the token grids of one model: one grid in a plain Vision Transformer, one a stage in a pyramid."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..relevance import Trace
from .grid import to_image, token_grid
from .rollout import at_least_single

__all__ = ["StageMaps", "channel_dimension"]

Layout = tuple[int, ...]
MOST_PREFIX_TOKENS = 16


def channel_dimension(x: Tensor, inputs: Tensor) -> int:
    """Where the channels of a residual stream are: 2 in (N, T, C), 3 in (N, h, w, C), 1 in (N, C, h, w).

    Raises
    ------
    ValueError
        It is none of these, so that no token can be told from another.
    """
    height, width = inputs.shape[-2:]
    if x.shape[0] == inputs.shape[0] and (x.dim() == 3 or inputs.dim() == 4):
        if x.dim() == 3:
            return 2
        if x.dim() == 4 and x.shape[1] * width == x.shape[2] * height:
            return 3
        if x.dim() == 4 and x.shape[2] * width == x.shape[3] * height:
            return 1
    raise ValueError(
        f"the residual stream has shape {tuple(x.shape)} for {tuple(inputs.shape)} images: neither (N, tokens, "
        "channels) nor a map of the image's aspect ratio; use AttnLRP"
    )


class StageMaps:
    """A sum of maps, each over the tokens of one layout: (N, T) with prefix tokens, or (N, h, w).

    Parameters
    ----------
    pyramid : bool
        The model has several grids; then the image's aspect ratio says what grid T tokens are, not the model's patches.
    """

    def __init__(self, pyramid: bool) -> None:
        self._pyramid = pyramid
        self.by_layout: dict[Layout, Tensor] = {}

    def add(self, tokens: Tensor) -> None:
        """Add a map, (N, T) or (N, h, w)."""
        layout = tuple(tokens.shape[1:])
        known = self.by_layout.get(layout)
        self.by_layout[layout] = tokens if known is None else known + tokens

    def add_all(self, maps: Mapping[Layout, Tensor]) -> None:
        """Add maps of several layouts."""
        for tokens in maps.values():
            self.add(tokens)

    def tokens(self) -> Tensor:
        """(N, T), where all maps are over the same tokens.

        Raises
        ------
        ValueError
            The model has several grids.
        """
        if len(self.by_layout) != 1:
            sizes = ", ".join("x".join(map(str, layout)) for layout in self.by_layout)
            raise ValueError(f"the model's tokens lie on several grids ({sizes}); attribute(...) sums them as images")
        (found,) = self.by_layout.values()
        return found.flatten(1)

    def image(self, traced: Trace, inputs: Tensor, interpolate: str | None) -> Tensor:
        """The sum as an image (N, 1, H, W): every grid's map is interpolated by itself.

        Without interpolation on the finest grid (N, 1, h, w), where coarser maps repeat their values.
        """
        if not self._pyramid and list(self.by_layout) == [tuple(traced.attentions[0].shape[-1:])]:
            return to_image(self.tokens(), token_grid(traced), inputs, interpolate)
        if inputs.dim() != 4:
            raise ValueError("maps over several grids of tokens are made of images only, not of volumes; use AttnLRP")
        several = {layout: tokens for layout, tokens in self.by_layout.items() if layout != (1,)}  # a class token alone
        grids = [_as_grid(tokens, inputs) for tokens in several.values()]
        finest = max((tuple(grid.shape[-2:]) for grid in grids), key=math.prod)
        size = inputs.shape[-2:] if interpolate is not None else finest
        mode = "nearest" if interpolate is None else interpolate
        align = None if mode == "nearest" else False
        parts = [F.interpolate(at_least_single(grid), size, mode=mode, align_corners=align) for grid in grids]
        return torch.stack(parts).sum(0).to(inputs.dtype)


def _as_grid(tokens: Tensor, inputs: Tensor) -> Tensor:
    """(N, T) or (N, h, w) -> (N, 1, h, w): T tokens are a grid of the image's aspect ratio, some may come before it."""
    if tokens.dim() == 3:
        return tokens[:, None]
    height, width = inputs.shape[-2:]
    for prefix in range(min(tokens.shape[1], MOST_PREFIX_TOKENS + 1)):
        count = tokens.shape[1] - prefix
        rows = round(math.sqrt(count * height / width))
        if rows and count % rows == 0 and rows * width == count // rows * height:
            return tokens[:, prefix:].reshape(-1, 1, rows, count // rows)
    raise ValueError(
        f"{tokens.shape[1]} tokens of a stage do not fit a grid of the {height}x{width} input; use AttnLRP instead"
    )
