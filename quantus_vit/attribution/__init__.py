"""Attribution methods with Captum's interface: ``Class(model, **options).attribute(inputs, target)``."""

from __future__ import annotations

from .attention_rollout import AttentionRollout
from .attn_lrp import AttnLRP
from .generic_attention import GenericAttention
from .positional_lrp import PositionalLRP
from .token_occlusion import TokenOcclusion
from .token_shapley import TokenShapley
from .transformer_lrp import TransformerLRP

__all__ = [
    "AttentionRollout",
    "AttnLRP",
    "GenericAttention",
    "PositionalLRP",
    "TokenOcclusion",
    "TokenShapley",
    "TransformerLRP",
]
