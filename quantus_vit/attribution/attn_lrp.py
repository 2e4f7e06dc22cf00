"""AttnLRP: Achtibat et al., "AttnLRP: attention-aware layer-wise relevance propagation for transformers", ICML 2024."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..relevance import Composite, attn_lrp, trace
from .base import AttributionMethod, check_inputs, one_hot, parts, resolve_target


class AttnLRP(AttributionMethod):
    """Signed relevance of every input value for the target's logit.

    ``attribute`` gives (N, C, H, W), signed, in units of the logit.

    Serves any model whose operations have rules, windowed and pyramid transformers included. The defaults are the
    recipe that the authors' library (LXT) recommends for Vision Transformers: gamma rules and CP-LRP inside attention.

    Parameters
    ----------
    model : nn.Module
        The classifier, in evaluation mode; it is not changed.
    conv_gamma, linear_gamma : float
        Gamma of convolutions and of linear layers; 0 is LRP-epsilon (epsilon 1e-6).
    attention_rule : {"cp", "attnlrp"}
        ``"cp"``: relevance flows through the values only (Ali et al. 2022). ``"attnlrp"``: the paper's softmax and
        bilinear rules.
    composite : Composite, optional
        Rules of your own instead of the three options above.

    Examples
    --------
    >>> maps = AttnLRP(model).attribute(images, target=1).sum(1, keepdim=True)
    """

    def __init__(
        self,
        model: nn.Module,
        conv_gamma: float = 0.25,
        linear_gamma: float = 0.05,
        attention_rule: str = "cp",
        composite: Composite | None = None,
    ) -> None:
        super().__init__(model)
        self.composite = attn_lrp(conv_gamma, linear_gamma, attention_rule) if composite is None else composite

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: relevance is input times multiplier."""
        return True

    def attribute_all_targets(self, inputs: Tensor, internal_batch_size: int | None = None) -> Tensor:
        """Relevance for every class, (N, classes, C, H, W), from one forward pass an image; as :meth:`attribute`."""
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        return torch.cat([self._all_targets(inputs[part]) for part in parts(inputs, internal_batch_size)])

    def _attribute(self, inputs: Tensor, target: Tensor | None, further: tuple[Any, ...]) -> Tensor:
        traced = trace(self.model, inputs, self.composite, arguments=further, gradients=False)
        seed = one_hot(resolve_target(target, traced.logits), traced.logits)
        return self._relevance(traced.relevance(self._message(seed, traced.logits))[0], inputs)

    def _all_targets(self, inputs: Tensor) -> Tensor:
        traced = trace(self.model, inputs, self.composite, gradients=False)
        size, classes = traced.logits.shape
        targets = [torch.full((size,), k, device=inputs.device) for k in range(classes)]
        seeds = [self._message(one_hot(target, traced.logits), traced.logits) for target in targets]
        return torch.stack([self._relevance(message, inputs) for (message,) in traced.walk(seeds)], 1)

    def _message(self, seed: Tensor, logits: Tensor) -> Tensor:
        return seed * logits if self.composite.currency == "relevance" else seed

    def _relevance(self, message: Tensor | None, inputs: Tensor) -> Tensor:
        if message is None:
            raise ValueError("the model's logits do not depend on the input through any traced operation")
        return message if self.composite.currency == "relevance" else message * inputs.detach()
