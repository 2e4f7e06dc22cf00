"""Maps over the token grids of one model: one grid in a plain Vision Transformer, one a stage in a pyramid."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..relevance import Trace
from ..relevance.places import Places, UnplacedError
from .grid import resize, to_image, token_grid
from .rollout import at_least_single

__all__ = ["StageMaps", "channel_dimension"]

Layout = tuple[int, ...]
MOST_PREFIX_TOKENS = 16


def channel_dimension(x: Tensor, inputs: Tensor, places: Places | None = None) -> int:
    """Where the channels of a residual stream are: 2 in (N, T, C), 3 in (N, h, w, C), 1 in (N, C, h, w).

    Sizes tell, or the places of its tokens where they were followed: then images may also lie in parts,
    (N * parts, T, C) or (N, parts, T, C).

    Parameters
    ----------
    x : Tensor
        The residual stream.
    inputs : Tensor
        The images.
    places : Places or None
        Of the traced forward, if they were followed.

    Raises
    ------
    UnplacedError
        It is none of these, or may be two of them, so that no token can be told from another.
    """
    height, width = inputs.shape[-2:]
    if places is not None:
        channels = 2 if x.dim() == 3 else places.channels_of(x)
        if channels is not None:
            return channels
    if x.shape[0] == inputs.shape[0] and (x.dim() == 3 or inputs.dim() == 4 or x.dim() == 5):
        if x.dim() == 3:
            return 2
        if x.dim() == 5:
            return 4 if _alike(x.shape[1:4], inputs.shape[2:]) else 1
        last = x.dim() == 4 and x.shape[1] * width == x.shape[2] * height
        second = x.dim() == 4 and x.shape[2] * width == x.shape[3] * height
        if last != second:
            return 3 if last else 1
    raise UnplacedError(
        f"the residual stream has shape {tuple(x.shape)} for {tuple(inputs.shape)} images: neither (N, tokens, "
        "channels) nor, without doubt, a map of the image's aspect ratio; use AttnLRP"
    )


def _alike(sizes: torch.Size, image: torch.Size) -> bool:
    """Whether a grid has the proportions of a volume."""
    return all(size * image[0] == sizes[0] * whole for size, whole in zip(sizes, image, strict=True))


class StageMaps:
    """A sum of maps, each over the tokens of one layout: (N, T) with prefix tokens, or (N, h, w).

    Parameters
    ----------
    pyramid : bool
        The model has several grids; then the image's aspect ratio says what grid T tokens are, not the model's patches.
    placed : bool
        The maps are on grids already, (N, h, w) or (N, d, h, w).
    """

    def __init__(self, pyramid: bool, placed: bool = False) -> None:
        self._pyramid, self._placed = pyramid or placed, placed
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
        several = {layout: tokens for layout, tokens in self.by_layout.items() if layout != (1,)}  # a class token alone
        grids = [maps[:, None] if self._placed else _as_grid(maps, inputs) for maps in several.values()]
        grids = [at_least_single(grid) for grid in grids]
        if interpolate is None:
            finest = max((tuple(grid.shape[2:]) for grid in grids), key=math.prod)
            parts = [F.interpolate(grid, finest, mode="nearest") for grid in grids]
        else:
            parts = [resize(grid, inputs, interpolate) for grid in grids]
        return torch.stack(parts).sum(0).to(inputs.dtype)


def _as_grid(tokens: Tensor, inputs: Tensor) -> Tensor:
    """(N, T) or (N, h, w) -> (N, 1, h, w): T tokens are a grid of the image's aspect ratio, some may come before it."""
    if tokens.dim() > 2:
        return tokens[:, None]
    if inputs.dim() != 4:
        raise UnplacedError("tokens of several grids in volumes cannot be placed by their number; use AttnLRP")
    height, width = inputs.shape[-2:]
    for prefix in range(min(tokens.shape[1], MOST_PREFIX_TOKENS + 1)):
        count = tokens.shape[1] - prefix
        rows = round(math.sqrt(count * height / width))
        if rows and count % rows == 0 and rows * width == count // rows * height:
            return tokens[:, prefix:].reshape(-1, 1, rows, count // rows)
    raise UnplacedError(
        f"{tokens.shape[1]} tokens of a stage do not fit a grid of the {height}x{width} input; use AttnLRP instead"
    )
