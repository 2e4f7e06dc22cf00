"""AttnLRP: Achtibat et al., "AttnLRP: attention-aware layer-wise relevance propagation for transformers", ICML 2024."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..relevance import Composite, Trace, TraceOptions, attn_lrp, trace
from .base import PropagationMethod, require_relevance
from .inputs import one_hot


class AttnLRP(PropagationMethod):
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

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        return trace(self.model, inputs, TraceOptions(self.composite, arguments=forward_args, gradients=False))

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        seeds = [one_hot(target, traced.logits) for target in targets]
        if self.composite.message_kind == "relevance":
            return [require_relevance(message) for (message,) in traced.walk([seed * traced.logits for seed in seeds])]
        return [require_relevance(message) * inputs.detach() for (message,) in traced.walk(seeds)]
