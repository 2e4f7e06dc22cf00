"""The way into Quantus by zennit: ``quantus.explain(..., xai_lib="zennit", attributor=TransformerLRPAttributor)``.

Knows zennit's ``Attributor`` and our explainers, not Quantus. Importing this module needs zennit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .attribution import TransformerLRP

try:
    from zennit.attribution import Attributor
    from zennit.core import Composite
except ImportError as error:
    raise ImportError(
        f"quantus_vit.zennit_plugin needs zennit, which cannot be imported ({error}): "
        "pip install 'quantus-vit[zennit]' torchvision"
    ) from error

__all__ = ["TransformerLRPAttributor"]


class TransformerLRPAttributor(Attributor):  # type: ignore[misc]
    """:class:`quantus_vit.TransformerLRP` as an attributor of zennit.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer.
    composite : Composite, optional
        None: the rules belong to the method.
    attr_output : Tensor or callable, optional
        As in zennit: the output relevance (N, classes), or a function of the logits that returns it. It must have one
        entry per image other than zero, for the method explains one class; its value scales the map.
    **options
        Options of :class:`quantus_vit.TransformerLRP`; through Quantus in ``attributor_kwargs``.

    Raises
    ------
    ValueError
        A composite was given, or an output relevance with more or less than one class per image.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: torch.Tensor | Callable[[torch.Tensor], torch.Tensor] | None = None,
        **options: Any,
    ) -> None:
        if composite is not None:
            raise ValueError(f"TransformerLRPAttributor brings its own rules and takes no composite, not {composite!r}")
        super().__init__(model=model, composite=None, attr_output=attr_output)
        self.explainer = TransformerLRP(model, **options)

    def forward(
        self, input: torch.Tensor, attr_output_fn: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (N, classes) and the relevance (N, 1, H, W)."""
        with torch.no_grad():
            output = self.model(input)
        start = attr_output_fn(output)
        if start.shape != output.shape or not bool(((start != 0).sum(dim=1) == 1).all()):
            raise ValueError(
                "TransformerLRPAttributor explains one class per image: the output relevance must be of shape "
                f"{tuple(output.shape)} with one entry other than zero in each row, not {tuple(start.shape)}; pass "
                "attr_output, for instance torch.eye(classes)[targets]"
            )
        target = (start != 0).to(torch.int64).argmax(dim=1)
        relevance = self.explainer.attribute(input, target=target)
        weight = start.gather(1, target[:, None]).reshape(-1, 1, 1, 1)
        return output, relevance * weight.to(relevance.dtype)
