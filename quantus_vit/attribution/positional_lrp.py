"""PA-LRP as its authors' code runs it.

Bakish et al., "Revisiting LRP: positional attribution as the missing ingredient for Transformer explainability",
NeurIPS 2025.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from ..relevance import Composite, Trace, TraceOptions, trace
from ..relevance.forward import original
from ..relevance.positional import UnsignedEpsilon, pa_lrp
from .base import PropagationMethod, check_finite, require_relevance
from .inputs import Target, along_batch, check_inputs, one_hot, parse_target, resolve_target
from .position_maps import over_patches, position_relevance

__all__ = ["PositionalLRP", "PositionalParts"]


class PositionalParts(NamedTuple):
    """Signed relevance of the pixels, (N, 1, H, W), channels summed, and of the patches' positions, (N, 1, h, w)."""

    pixels: Tensor
    positions: Tensor


class PositionalLRP(PropagationMethod):
    """Relevance of the pixels and, spread over its patch, of each patch's position embedding; negative sums are 0.

    As the authors' code runs it (their method ``full_lrp_GammaLinear_POS_ENC_gammaConv``): the seed is 1 and not the
    logit; linear layers follow the gamma rule, the projections of attention an epsilon rule; at the sum of patches and
    positions each gets its share. In attention the values receive one half of the relevance and the other half is lost,
    so sums are far from 1: compare maps by their pattern. ``AttnLRP(positions=True)`` adds positions and conserves.

    ``attribute`` gives (N, 1, H, W), of 0 and more; :meth:`attribute_parts` gives the two signed parts.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer that adds a position embedding to its patch tokens, in evaluation mode; it is not changed.
        The sum is found in the graph. Projections of attention are the linear layers in the modules that run attention.
    positions : bool
        False leaves the positions out (the authors' ``full_lrp_GammaLinear_gammaConv``).

    Examples
    --------
    >>> maps = PositionalLRP(model).attribute(images, target=labels)  # (N, 3, H, W) -> (N, 1, H, W)
    """

    def __init__(self, model: nn.Module, positions: bool = True) -> None:
        super().__init__(model)
        self.positions = positions

    def attribute_parts(self, inputs: Tensor, target: Target = None) -> PositionalParts:
        """The two parts of the maps, signed; arguments as for :meth:`attribute`.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W).
        target : int, list, Tensor or None
            As for :meth:`attribute`.

        Returns
        -------
        PositionalParts
            Two maps, each (N, 1, H, W).
        """
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        wanted = parse_target(target, len(inputs))
        traced = self._trace(inputs, ())
        (parts,) = self._parts(traced, [resolve_target(wanted, traced.logits)])
        return PositionalParts(*map(check_finite, parts))

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        options = TraceOptions(
            self._composite(inputs, forward_args), arguments=forward_args, gradients=False, grid=True, embeddings=True
        )
        return trace(self.model, inputs, options)

    def _composite(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Composite:
        """The rules, with exceptions for the linear layers of the modules that a plain forward saw run attention."""
        first = along_batch(forward_args, slice(0, 1), len(inputs))
        plain = trace(self.model, inputs[:1], TraceOptions(arguments=first))
        composite = pa_lrp()
        modules = dict(original(self.model).named_modules())
        for name in dict.fromkeys(layer.module_name for layer in plain.attentions):
            own = modules[name]
            has_linear = any(isinstance(module, nn.Linear) for module in own.modules())
            if not name and has_linear:
                raise ValueError(
                    "attention runs in the model's own forward, outside any of its modules (as in torch.fx graph "
                    "modules), so that its linear layers, which have rules of their own, cannot be told from the "
                    "others; explain the module that the graph was made of, or use AttnLRP"
                )
            if name and has_linear and not isinstance(own, nn.MultiheadAttention):  # whose projections are a kind
                composite = composite.where(f"{name}.*", linear=UnsignedEpsilon())
        return composite

    def _parts(self, traced: Trace, targets: list[Tensor]) -> list[PositionalParts]:
        parts = []
        for message, *others in traced.walk([one_hot(target, traced.logits) for target in targets]):
            pixels = require_relevance(message).sum(1, keepdim=True)
            parts.append(PositionalParts(pixels, position_relevance(traced, others, multipliers=False)))
        return parts

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        maps = []
        for pixels, positions in self._parts(traced, targets):
            total = pixels + over_patches(positions, inputs.shape[2:]) if self.positions else pixels
            maps.append(total.clamp(min=0))
        return maps
