"""AttnLRP: Achtibat et al., "AttnLRP: attention-aware layer-wise relevance propagation for transformers", ICML 2024."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..relevance import Composite, Trace, TraceOptions, attn_lrp, trace
from .base import PropagationMethod, require_relevance
from .inputs import one_hot
from .position_maps import over_patches, position_relevance

__all__ = ["AttnLRP"]


class AttnLRP(PropagationMethod):
    """Signed relevance of every input value for the target's logit.

    ``attribute`` gives (N, C, H, W), of volumes (N, C, D, H, W), signed, in units of the logit.

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
    positions : bool
        Add the relevance of the position embedding, which a sum's rule hands to it and AttnLRP otherwise drops: each
        patch's is spread evenly over its pixels and channels (the idea of PA-LRP, Bakish et al. 2025, in a form that
        conserves: nothing that reaches the patches is lost; :class:`PositionalLRP` runs as its authors' code does).
        The model must add an embedding to its patch tokens, found in the graph; what falls to the class token's own
        position is left out.

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
        positions: bool = False,
    ) -> None:
        super().__init__(model)
        self.composite = attn_lrp(conv_gamma, linear_gamma, attention_rule) if composite is None else composite
        self.positions = positions

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: relevance is input times multiplier."""
        return True

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        options = TraceOptions(
            self.composite, arguments=forward_args, gradients=False, grid=self.positions, embeddings=self.positions
        )
        return trace(self.model, inputs, options)

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        seeds = [one_hot(target, traced.logits) for target in targets]
        multipliers = self.composite.message_kind == "multiplier"
        if not multipliers:
            seeds = [seed * traced.logits for seed in seeds]
        maps = []
        for message, *others in traced.walk(seeds):
            relevance = require_relevance(message)
            relevance = relevance * inputs.detach() if multipliers else relevance
            if self.positions:
                of_patches = position_relevance(traced, others, multipliers)
                relevance = relevance + over_patches(of_patches, inputs.shape[2:]) / inputs.shape[1]
            maps.append(relevance)
        return maps
