"""LeGrad: Bousselham et al., ICCV 2025.

"LeGrad: an explainability method for Vision Transformers via feature formation sensitivity".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.composites import gradient_by_rules
from ..relevance.operations.affine import Linear
from .base import PropagationMethod, require_relevance
from .blocks import TokenBlocks, check_blocks, token_blocks
from .grid import check_interpolation, to_image, token_grid
from .inputs import one_hot
from .rollout import at_least_single, check_start_layer, readout, seed_of_all

__all__ = ["POOLS", "SCORES", "LeGrad"]

POOLS = ("cls", "mean")
SCORES = ("logit", "cosine")


class LeGrad(PropagationMethod):
    """How sensitive the class score of every layer's tokens is to that layer's attention.

    The tokens behind layer l are pooled and put through the model's own final normalisation and head; with s_l the
    target's score there, E_l = mean over heads and queries of (d s_l / d A_l)+, differentiated at that layer's
    attention A_l alone; the map is the sum of E_l over the layers l >= ``start_layer``.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more. The authors' code
    scales each map to [0, 1] afterwards; here it is left as it is.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    pool : {"cls", "mean"}
        ``"mean"``: the mean of all tokens, as in the authors' code. ``"cls"``: of the tokens that the model reads its
        logits from, which is the class token where there is one.
    score : {"logit", "cosine"}
        ``"cosine"``: the logit without bias, divided by the norm of all logits without bias, as in the authors' code
        for CLIP; needs logits that come straight from a linear layer.
    start_layer : int or None
        First layer that counts. None: the last two layers, as in the authors' code.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        An unknown pool, score or interpolation, or a negative ``start_layer``.

    Examples
    --------
    >>> maps = LeGrad(model, pool="mean", start_layer=0).attribute(images, target=labels)
    """

    def __init__(
        self,
        model: nn.Module,
        pool: str = "cls",
        score: str = "logit",
        start_layer: int | None = None,
        interpolate: str | None = "bilinear",
    ) -> None:
        super().__init__(model)
        if pool not in POOLS:
            raise ValueError(f'pool must be "cls" or "mean", not {pool!r}')
        if score not in SCORES:
            raise ValueError(f'score must be "logit" or "cosine", not {score!r}')
        if start_layer is not None:
            check_start_layer(start_layer)
        check_interpolation(interpolate)
        self.pool, self.score, self.start_layer, self.interpolate = pool, score, start_layer, interpolate

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        composite = gradient_by_rules(biases=False)
        options = TraceOptions(
            composite, "each attention", arguments=forward_args, gradients=False, grid=True, tail=True
        )
        return trace(self.model, inputs, options)

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        found = token_blocks(traced, inputs)
        last = len(found.blocks) - 1
        start = max(last - 1, 0) if self.start_layer is None else self.start_layer
        check_blocks(found.blocks, start, "start_layer")
        scores = _Scores(traced, found, self.pool, self.score)
        maps: dict[int, Tensor] = {}
        for index in range(start, last + 1):
            behind, weights = found.outputs[index], traced.starts[1 + index]
            for number, message in enumerate(scores.gradients(behind, targets)):
                gradient = traced.between(behind, weights, message, keep=number < len(targets) - 1)
                gradient = found.layers.blocks[index].unfold(require_relevance(gradient))
                tokens = at_least_single(gradient).clamp_(min=0).mean((1, 2))
                maps[number] = maps[number] + tokens if number in maps else tokens
        grid = token_grid(traced)
        return [to_image(maps[number], grid, inputs, self.interpolate) for number in range(len(targets))]


class _Scores:
    """The class scores of tokens behind any layer: pooled, then through the model's tail."""

    def __init__(self, traced: Trace, found: TokenBlocks, pool: str, score: str) -> None:
        self._tail, self._score = traced.tail(), score
        self._bias = _head_bias(traced) if score == "cosine" else None
        output = found.outputs[-1]
        tokens = output.shape[1]
        if pool == "mean":
            self._weights = output.new_full((1, tokens, 1), 1 / tokens)
        else:
            message = traced.between(traced.output, output, seed_of_all(traced.logits))
            self._weights = readout(require_relevance(message)[:, None])[..., None]

    def gradients(self, behind: Tensor, targets: list[Tensor]) -> list[Tensor]:
        """For each target (N,) the gradient of its score at the tokens behind a layer, (N, T, C)."""
        pooled = (behind.detach() * self._weights).sum(1, keepdim=True).requires_grad_()
        with torch.enable_grad():
            logits = self._tail(pooled.expand(behind.shape))
            if self._score == "cosine":
                logits = logits if self._bias is None else logits - self._bias
                logits = logits / logits.norm(dim=1, keepdim=True)
            scores = [(logits * one_hot(target, logits.detach())).sum() for target in targets]
            found = [torch.autograd.grad(score, pooled, retain_graph=True)[0] for score in scores]
        return [gradient * self._weights for gradient in found]


def _head_bias(traced: Trace) -> Tensor | None:
    """The bias of the linear layer that the logits come from."""
    operation = getattr(traced.output.grad_fn, "operation", None)
    if not isinstance(operation, Linear):
        raise ValueError('score="cosine" needs logits that come straight from a linear layer; use score="logit"')
    return operation.bias
