"""Which method refuses which of the tested families, and why; the rest is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from quantus_vit import BeyondIntuition, GenericAttention, LeGrad, LibraGrad, PositionalLRP, TokenTM
from quantus_vit.relevance import TokenRemoval

__all__ = ["METHODS", "REASONS", "Reason", "refusals", "run"]

METHODS = ("rollout", "LibraGrad", "LeGrad", "TokenTM", "BeyondIntuition", "PositionalLRP", "TokenRemoval")


@dataclass(frozen=True)
class Reason:
    """In words, for the table of the docs, and what the method's message must match."""

    words: str
    message: str


REASONS: Mapping[str, Reason] = {
    "windows": Reason(
        "attention runs in windows or over parts of the tokens",
        r"has shape .* for \d+ images: windowed|does not run over one grid of all patches|over a part of the tokens|"
        r"as of several windows|runs over parts of an image",
    ),
    "grids": Reason(
        "layers attend over different tokens (pyramids, pooled keys, class attention, stages)",
        r"maps \d+ to \d+ tokens, where layer|joins maps of different sizes|sums over .* tokens after attention over",
    ),
    "weights": Reason(
        "the softmax is changed, turned or masked before it meets the values (talking heads, `v @ weights.T`)",
        r"mixes its maps after the softmax|no attention layer was seen|adds constant attention",
    ),
    "none": Reason(
        "there is no softmax attention in a residual block of one stream",
        r"no softmax attention|no attention with a residual connection|no attention over a grid of patch tokens|"
        r"could not be followed back to places",
    ),
    "positions": Reason(
        "no position embedding is added to the tokens of the first attention",
        r"adds no position embedding|adds its position embedding to another grid",
    ),
    "blocks": Reason(
        "a block has several attentions, or is no sequence of tokens",
        r"layers of self-attention in \d+ residual block",
    ),
    "projection": Reason(
        'a normalisation stands between attention and its projection (`mode="head"` works)',
        r"are followed by a linear layer at once",
    ),
    "convolutions": Reason(
        "convolutions or linear maps mix the tokens after the first attention", r"tokens cannot be removed"
    ),
}
_REFUSED: Mapping[str, str] = {
    "hf_timesformer": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval; none: LibraGrad",
    "swin_unetr": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval; none: LibraGrad",
    "coat": "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval",
    "coat_lite": (
        "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval"
    ),
    "crossvit": "grids: rollout LeGrad TokenTM BeyondIntuition TokenRemoval; none: LibraGrad",
    "efficientformerv2": "weights: rollout LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval",
    "hieradet": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "poolformerv2": "none: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "csatv2": "grids: rollout LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval",
    "convit": "grids: rollout LeGrad TokenTM BeyondIntuition; weights: TokenRemoval",
    "efficientvit_b0": "none: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; windows: TokenRemoval",
    "efficientvit_m0": (
        "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval"
    ),
    "mobilevit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "mobilevitv2": "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; windows: TokenRemoval",
    "mvitv2": "grids: rollout LeGrad TokenTM BeyondIntuition TokenRemoval; positions: PositionalLRP",
    "hiera": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "edgenext": "windows: rollout PositionalLRP; blocks: LeGrad TokenTM BeyondIntuition; convolutions: TokenRemoval",
    "levit": "grids: rollout LeGrad TokenTM BeyondIntuition",
    "levit_conv": (
        "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval"
    ),
    "tiny_vit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "fastvit": "blocks: LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval",
    "twins_svt": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "twins_pcpvt": (
        "grids: rollout LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval"
    ),
    "davit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "nest": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "volo": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "gcvit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "focalnet": "none: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "repvit": "none: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "samvit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "botnet": "grids: rollout LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval",
    "visformer": (
        "grids: rollout LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval"
    ),
    "pit": "grids: rollout LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval",
    "tnt": "windows: rollout LeGrad TokenTM BeyondIntuition; convolutions: TokenRemoval",
    "hf_cvt": "grids: rollout LeGrad TokenTM BeyondIntuition TokenRemoval; positions: PositionalLRP",
    "hf_pvt": "grids: rollout LeGrad TokenTM BeyondIntuition TokenRemoval; positions: PositionalLRP",
    "hf_pvtv2": "grids: rollout LeGrad TokenTM BeyondIntuition TokenRemoval; positions: PositionalLRP",
    "hf_mobilevit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_mobilevitv2": (
        "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; windows: TokenRemoval"
    ),
    "hf_levit": "grids: rollout LeGrad TokenTM BeyondIntuition",
    "hf_poolformer": "none: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_swiftformer": (
        "weights: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval"
    ),
    "hf_hiera": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_focalnet": "none: rollout LibraGrad LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_swinv2": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "vit_ParallelThingsBlock": "blocks: LeGrad TokenTM BeyondIntuition",
    "beit": "positions: PositionalLRP",
    "beitv2": "positions: PositionalLRP",
    "beit3": "projection: BeyondIntuition",
    "eva02_clip": "projection: BeyondIntuition",
    "vit_rope": "positions: PositionalLRP",
    "vit_rope_mixed": "positions: PositionalLRP",
    "vit_relpos": "positions: PositionalLRP",
    "dinov3": "positions: PositionalLRP",
    "dinov3_plus": "positions: PositionalLRP",
    "cait": "weights: rollout LeGrad TokenTM BeyondIntuition PositionalLRP",
    "xcit": "grids: rollout LeGrad TokenTM BeyondIntuition; windows: PositionalLRP; convolutions: TokenRemoval",
    "swin": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "swinv2": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "torchvision_swin": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "torchvision_swin_v2": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_swin_eager": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_swin_sdpa": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP TokenRemoval",
    "hf_beit_eager": "positions: PositionalLRP",
    "hf_data2vecvision_eager": "positions: PositionalLRP",
    "pvt_v2": "grids: rollout LeGrad TokenTM BeyondIntuition; positions: PositionalLRP; convolutions: TokenRemoval",
    "hf_segformer": "grids: rollout LeGrad TokenTM BeyondIntuition TokenRemoval; positions: PositionalLRP",
    "maxvit": "windows: rollout LeGrad TokenTM BeyondIntuition PositionalLRP; convolutions: TokenRemoval",
}


def refusals(name: str) -> dict[str, Reason]:
    """Method -> why it refuses this family; methods that serve it are not there."""
    found = {}
    for part in filter(None, _REFUSED.get(name, "").split("; ")):
        reason, _, methods = part.partition(": ")
        found |= dict.fromkeys(methods.split(), REASONS[reason])
    return found


def run(method: str, model: nn.Module, x: Tensor) -> Any:
    """The method on images; ``"rollout"`` stands for the three that roll attention out."""
    if method == "TokenRemoval":
        return TokenRemoval(model)(x)
    if method == "BeyondIntuition":
        return BeyondIntuition(model, steps=2, start_layer=0).attribute(x, 1)
    explainers: dict[str, Any] = {
        "rollout": GenericAttention,
        "LibraGrad": LibraGrad,
        "LeGrad": LeGrad,
        "TokenTM": TokenTM,
        "PositionalLRP": PositionalLRP,
    }
    return explainers[method](model).attribute(x, 1)
