"""Attribution methods with Captum's interface: ``Class(model, **options).attribute(inputs, target)``."""

from __future__ import annotations

from .attention_rollout import AttentionRollout
from .attn_lrp import AttnLRP
from .beyond_intuition import BeyondIntuition
from .generic_attention import GenericAttention
from .grad_cam import GradCAM
from .legrad import LeGrad
from .libragrad import LibraGrad
from .positional_lrp import PositionalLRP
from .token_occlusion import TokenOcclusion
from .token_shapley import TokenShapley
from .tokentm import TokenTM
from .transformer_lrp import TransformerLRP

__all__ = [
    "AttentionRollout",
    "AttnLRP",
    "BeyondIntuition",
    "GenericAttention",
    "GradCAM",
    "LeGrad",
    "LibraGrad",
    "PositionalLRP",
    "TokenOcclusion",
    "TokenShapley",
    "TokenTM",
    "TransformerLRP",
]
