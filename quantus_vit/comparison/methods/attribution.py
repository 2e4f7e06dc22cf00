"""The methods of this package that read the model's own computation."""

from __future__ import annotations

from .base import MethodSpec

__all__ = ["SPECS"]

SPECS = (
    MethodSpec(
        "TransformerLRP", "attention relevance x gradient, rolled out (Chefer et al., CVPR 2021)", sign="positive"
    ),
    MethodSpec("AttnLRP", "relevance down to the pixels (Achtibat et al., ICML 2024)"),
    MethodSpec("GenericAttention", "attention x gradient, rolled out (Chefer et al., ICCV 2021)", sign="positive"),
    MethodSpec("GradCAM", "token features x mean gradient (Selvaraju et al., ICCV 2017)", sign="positive"),
    MethodSpec("AttentionRollout", "attention alone, rolled out (Abnar and Zuidema, ACL 2020)", sign="positive"),
)
