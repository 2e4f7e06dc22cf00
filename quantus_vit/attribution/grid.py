"""Tokens and pixels: the grid of patch tokens as the traced forward showed it, and maps on it.

It knows the relevance engine only; no attribute of a model is asked.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.positions import PatchGrid
from .rollout import at_least_single

__all__ = ["INTERPOLATIONS", "at_tokens", "check_interpolation", "patch_grid", "resize", "to_image", "token_grid"]

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def token_grid(traced: Trace) -> PatchGrid:
    """The grid of patch tokens that a traced model's attention runs over.

    Parameters
    ----------
    traced : Trace
        Made with ``TraceOptions(grid=True)``.

    Returns
    -------
    PatchGrid
        With ``sizes`` (rows, columns; in volumes depth, rows, columns) and ``tokens``, the token of each patch.

    Raises
    ------
    ValueError
        The tokens do not make up one grid, or where they come from cannot be followed.
    """
    grid = traced.grid
    if grid is None:
        raise ValueError(
            "the tokens of the model's first attention could not be followed back to places in the image: its patch "
            "embedding must be a convolution, or a linear map of pixels, whose places become tokens; use AttnLRP for "
            "other models"
        )
    if grid.tokens is None:
        sizes = " x ".join(map(str, grid.sizes))
        raise ValueError(
            f"the model's first attention does not run over one grid of all patches (its patches: {sizes}), of as many "
            "dimensions as the images: maps of tokens need one; use AttnLRP for other models"
        )
    return grid


def patch_grid(model: nn.Module, image: Tensor) -> tuple[int, ...]:
    """Rows and columns of the patches into which a model with attention cuts an image, from one plain forward.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; it is not changed. Attention may be global or run in windows.
    image : Tensor
        (1, C, H, W), or (1, C, D, H, W).

    Returns
    -------
    tuple of int
        Rows and columns (in volumes depth, rows and columns) of what the first attention takes as tokens.

    Raises
    ------
    ValueError
        The model has no attention, or where its tokens come from cannot be followed.
    """
    grid = trace(model, image, TraceOptions(grid=True)).grid
    if grid is None or max(grid.sizes) == 1:
        raise ValueError(
            f"{type(model).__name__} has no attention whose tokens can be followed back to places in the image, so it "
            "has no grid of patches"
        )
    return grid.sizes


def to_image(row: Tensor, grid: PatchGrid, inputs: Tensor, interpolate: str | None) -> Tensor:
    """Relevance of tokens as an image.

    Parameters
    ----------
    row : Tensor
        (N, T), relevance of the tokens.
    grid : PatchGrid
        Where the patches are among them, from :func:`token_grid`.
    inputs : Tensor
        (N, C, H, W) or (N, C, D, H, W), whose size and type the image gets.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How the grid becomes H x W pixels, or D x H x W voxels (``"bilinear"`` is trilinear there); None leaves it.

    Returns
    -------
    Tensor
        (N, 1, H, W), or (N, 1, rows, columns) where ``interpolate`` is None; of volumes (N, 1, D, H, W).

    Raises
    ------
    ValueError
        ``"bicubic"`` for volumes, which torch does not have.
    """
    assert grid.tokens is not None
    return resize(at_tokens(row, grid.tokens).reshape(-1, 1, *grid.sizes), inputs, interpolate)


def at_tokens(row: Tensor, tokens: Tensor) -> Tensor:
    """(N, T) -> (N, number of tokens): the values of some tokens, whose numbers lie on the host.

    Tokens that follow one another are a slice, which needs no indices on the device.
    """
    numbers = tokens.tolist()
    first = numbers[0] if numbers else 0
    if numbers == list(range(first, first + len(numbers))):
        return row[:, first : first + len(numbers)]
    return row[:, tokens.to(row.device)]


def resize(maps: Tensor, inputs: Tensor, interpolate: str | None) -> Tensor:
    """Maps of patches, (N, 1, rows, columns), as images; arguments, result and errors as of :func:`to_image`."""
    if interpolate is None:
        return maps.to(inputs.dtype)
    if inputs.dim() == 5:
        if interpolate == "bicubic":
            raise ValueError('volumes cannot be interpolated by "bicubic"; use "bilinear", "nearest" or None')
        interpolate = {"bilinear": "trilinear"}.get(interpolate, interpolate)
    align = None if interpolate == "nearest" else False
    image = F.interpolate(at_least_single(maps), inputs.shape[2:], mode=interpolate, align_corners=align)
    return image.to(inputs.dtype)


def check_interpolation(interpolate: str | None) -> None:
    """Raise ``ValueError`` for an unknown interpolation."""
    if interpolate is not None and interpolate not in INTERPOLATIONS:
        names = ", ".join(map(repr, INTERPOLATIONS))
        raise ValueError(f"interpolate must be one of {names} or None, not {interpolate!r}")
