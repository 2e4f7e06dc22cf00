"""Grad-CAM on the tokens of a Vision Transformer.

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017, whose
feature maps are the patch tokens in front of a block of attention here.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.composites import gradient_by_rules
from .base import PropagationMethod, require_relevance
from .blocks import check_blocks, token_blocks
from .grid import check_interpolation, to_image, token_grid
from .inputs import one_hot

__all__ = ["GradCAM"]


class GradCAM(PropagationMethod):
    """Token features, weighed by the mean gradient of the target's logit over the patches.

    With A (T, C) the tokens in front of a block and G their gradient, w_c is the mean of G over the patch tokens, and
    the map is max(0, sum_c w_c A_tc) at each patch t: Grad-CAM with the channels of the tokens as feature maps. Behind
    the last block a class token alone reaches the logits, so that patches have no gradient there; the default is the
    input of the last block, the last place where they have.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    block : int or None
        In front of which block of attention, counted from 0; None: the last.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        An unknown interpolation, or a block that is negative or does not exist (known in ``attribute``).

    Examples
    --------
    >>> maps = GradCAM(model).attribute(images, target=labels)  # (N, 3, H, W) -> (N, 1, H, W)
    """

    def __init__(self, model: nn.Module, block: int | None = None, interpolate: str | None = "bilinear") -> None:
        super().__init__(model)
        if block is not None and (type(block) is not int or block < 0):
            raise ValueError(f"block must be a whole number of 0 or more, or None for the last, not {block!r}")
        check_interpolation(interpolate)
        self.block, self.interpolate = block, interpolate

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        composite = gradient_by_rules(biases=False)
        options = TraceOptions(composite, arguments=forward_args, gradients=False, grid=True, blocks=True)
        return trace(self.model, inputs, options)

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        blocks = token_blocks(traced, inputs).blocks
        block = len(blocks) - 1 if self.block is None else self.block
        check_blocks(blocks, block, "block")
        tokens, grid = blocks[block].input, token_grid(traced)
        maps = []
        for number, target in enumerate(targets):
            seed = one_hot(target, traced.logits)
            message = traced.between(traced.output, tokens, seed, keep=number < len(targets) - 1)
            gradient = require_relevance(message)
            patches = grid.tokens.to(tokens.device)  # type: ignore[union-attr]  # token_grid refuses grids without
            weights = gradient[:, patches].mean(1, keepdim=True)
            features = (tokens.detach() * weights).sum(-1).clamp_(min=0)
            maps.append(to_image(features, grid, inputs, self.interpolate))
        return maps
