"""Vision Transformers as residual blocks with one self-attention each: what methods on tokens and attention rely on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..relevance import Trace
from ..relevance.residual import Block
from .rollout import Layers, token_layers

__all__ = ["TokenBlocks", "check_blocks", "token_blocks"]


@dataclass(frozen=True)
class TokenBlocks:
    """The blocks of one global token grid, their attention layers and their outputs (N, T, C), in the same order."""

    blocks: list[Block]
    layers: Layers
    outputs: list[Tensor]


def check_blocks(blocks: list[Block], start_block: int, name: str = "start_block") -> None:
    """Raise ``ValueError`` where there are no blocks, or none with this index."""
    if not blocks:
        raise ValueError(
            "no attention with a residual connection around it was found in the model's graph, or its residual stream "
            "is not one (as in two-branch models): there are no blocks to explain with; use AttnLRP"
        )
    if start_block >= len(blocks):
        raise ValueError(
            f"the model has {len(blocks)} attention blocks, 0 to {len(blocks) - 1}; {name} {start_block} does not exist"
        )


def token_blocks(traced: Trace, inputs: Tensor) -> TokenBlocks:
    """The traced blocks, if each has one self-attention over the same tokens (N, T, C).

    Raises
    ------
    ValueError
        Attention in windows or over several grids, several attentions in one block, or none.
    """
    layers = token_layers(traced.attentions, len(inputs))
    check_blocks(traced.blocks, 0)
    shapes = {tuple(block.input.shape[:2]) for block in traced.blocks}
    if len(layers.blocks) != len(traced.blocks) or shapes != {(len(inputs), layers.blocks[0].shape[-1])}:
        raise ValueError(
            f"the model has {len(layers.blocks)} layers of self-attention in {len(traced.blocks)} residual blocks with "
            f"inputs of {sorted(shapes)} (images, tokens); the method needs one layer a block, over its tokens"
        )
    last = traced.blocks[-1].output
    if last is None:
        raise ValueError("the model's logits are not read from the residual stream behind its last attention block")
    return TokenBlocks(traced.blocks, layers, [*[block.input for block in traced.blocks[1:]], last])
