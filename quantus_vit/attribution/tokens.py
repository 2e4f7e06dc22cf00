"""From attention maps to image maps: rollout over layers, the row that the class is read from, tokens to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance.passes import Attention, original

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True)
class TokenGrid:
    """Where the patch tokens are: the last ``height * width`` of ``tokens`` tokens, row by row."""

    tokens: int
    height: int
    width: int

    @property
    def prefix(self) -> int:
        """Number of class, distillation and register tokens before the patches."""
        return self.tokens - self.height * self.width


def token_grid(model: nn.Module, tokens: int, inputs: Tensor) -> TokenGrid:
    """The grid of patch tokens, from the model's patch embedding or, without one, from the image's aspect ratio.

    Raises
    ------
    ValueError
        The tokens do not make up one grid.
    """
    height, width = inputs.shape[-2:]
    for patch in _patch_sizes(original(model)):
        rows, columns = height // patch[0], width // patch[1]
        if 0 < rows * columns <= tokens <= rows * columns + 16:
            return TokenGrid(tokens, rows, columns)
    raise ValueError(
        f"{tokens} tokens do not fit a patch grid of the {height}x{width} input: no patch embedding of the model "
        "explains them. TransformerLRP needs one global grid of patch tokens (use AttnLRP for windowed or pyramid models)"
    )


def _patch_sizes(model: nn.Module) -> list[tuple[int, int]]:
    """Overall stride of the patch embedding: of one convolution, or of the product of a convolutional stem's strides."""
    for module in model.modules():
        size = getattr(module, "patch_size", None)
        if isinstance(size, (int, tuple, list)) and not isinstance(module, nn.Conv2d):
            size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
            break
    else:
        size = None
    sizes = [] if size is None else [size]
    rows = columns = 1
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str):
            rows, columns = rows * module.stride[0], columns * module.stride[1]
            sizes.append((rows, columns))
    return sizes


def square_maps(attentions: Sequence[Attention], size: int) -> list[Attention]:
    """The layers, if all are global self-attention over the same tokens.

    Raises
    ------
    ValueError
        There is no attention, or it runs in windows or over changing token counts.
    """
    if not attentions:
        raise ValueError(
            "the model has no softmax attention: no softmax output was multiplied with values during its forward. "
            "TransformerLRP, AttentionRollout and GenericAttention explain Vision Transformers only"
        )
    reference = attentions[0]
    for layer in attentions:
        if layer.shape[0] != size or len(layer.shape) != 4:
            raise ValueError(
                f"attention layer {layer.index} in '{layer.site}' has shape {layer.shape} for {size} images: windowed "
                "attention has no global token grid to roll relevance out over; use AttnLRP"
            )
        if layer.shape[-1] != reference.shape[-1] or layer.shape[-2] != layer.shape[-1]:
            raise ValueError(
                f"attention layer {layer.index} in '{layer.site}' maps {layer.shape[-1]} to {layer.shape[-2]} tokens, "
                f"layer 0 maps {reference.shape[-1]} to {reference.shape[-2]}; a rollout needs the same tokens "
                "everywhere; use AttnLRP"
            )
    return list(attentions)


def rollout_row(maps: Sequence[Tensor], start: Tensor) -> Tensor:
    """One row of the product (I + A_L) ... (I + A_1), without forming the product.

    Parameters
    ----------
    maps : sequence of Tensor
        (N, T, T) each, from the first layer to the last.
    start : Tensor
        (N, T), the row's weights on the last layer's output tokens.

    Returns
    -------
    Tensor
        (N, T).
    """
    row = start[:, None]
    for layer in reversed(maps):
        row = row + row @ layer
    return row[:, 0]


def to_image(row: Tensor, grid: TokenGrid, inputs: Tensor, interpolate: str | None) -> Tensor:
    """(N, T) relevance of tokens -> (N, 1, H, W), or (N, 1, h, w) where ``interpolate`` is None."""
    maps = row[:, grid.prefix :].reshape(-1, 1, grid.height, grid.width)
    if interpolate is None:
        return maps
    align = None if interpolate == "nearest" else False
    precise = maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
    return F.interpolate(precise, inputs.shape[-2:], mode=interpolate, align_corners=align).to(maps.dtype)


def check_interpolation(interpolate: str | None) -> None:
    """Raise ``ValueError`` for an unknown interpolation."""
    if interpolate is not None and interpolate not in INTERPOLATIONS:
        names = ", ".join(map(repr, INTERPOLATIONS))
        raise ValueError(f"interpolate must be one of {names} or None, not {interpolate!r}")
