"""The rules of PA-LRP as its authors' code runs them.

Bakish et al., "Revisiting LRP: positional attribution as the missing ingredient for Transformer explainability",
NeurIPS 2025.

Every denominator gets a stabilizer that is added without sign. In attention the values receive half of the relevance
(the other half goes to the weights and is dropped there), so the method does not conserve; that is kept, since maps are
to be theirs. A conserving form is ``AttnLRP(positions=True)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .composites import Composite
from .interfaces import AffineOperation, NormalisationOperation, ProductOperation, SumOperation
from .numerics import Messages, reduce_to
from .rules import ConstantNormaliser, Gamma, GradientTimesInput, Pass, Rule, StopGradient, Uniform

__all__ = ["HalfValues", "SharedNorm", "SumShares", "UnsignedEpsilon", "pa_lrp"]


@dataclass(frozen=True)
class UnsignedEpsilon(Rule[AffineOperation]):
    """R_in = x * W^T (R / (z + b + eps))."""

    epsilon: float = 1e-8

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        return (operation.x * operation.vjp(message / (operation.output + self.epsilon)),)


@dataclass(frozen=True)
class SumShares(Rule[SumOperation]):
    """R_a = a * R / (a + b + eps), R_b = b * R / (a + b + eps)."""

    epsilon: float = 1e-6
    copied: float = 1e-9

    def propagate(self, operation: SumOperation, message: Tensor) -> Messages:
        share = message / (operation.output + self.epsilon)
        messages: list[Tensor | None] = []
        for x, need, shared in zip(operation.inputs, operation.needs, operation.shared, strict=True):
            part = reduce_to(share * x, x.shape) if need else None
            messages.append(part * (x / (x + self.copied)) if part is not None and shared else part)
        return tuple(messages)


@dataclass(frozen=True)
class SharedNorm(Rule[NormalisationOperation]):
    """R_in = x * J^T (R / (y + eps)), J with the deviation a constant.

    Relevance of a copied value x passes the factor x / (x + 1e-9): of the input where a residual branch starts, of the
    output where it does not (there the class token is picked).
    """

    epsilon: float = 1e-6
    copied: float = 1e-9

    def propagate(self, operation: NormalisationOperation, message: Tensor) -> Messages:
        x, y = operation.x, operation.output
        if not operation.shared:
            message = message * (y / (y + self.copied))
        relevance = x * operation.frozen_gradient(message / (y + self.epsilon))
        return (relevance * (x / (x + self.copied)) if operation.shared else relevance,)


@dataclass(frozen=True)
class HalfValues(Rule[ProductOperation]):
    """R_b = b * a^T (R / (2 a b + eps)) for ``attention @ values``: half for the values, none for the weights."""

    epsilon: float = 1e-6

    def propagate(self, operation: ProductOperation, message: Tensor) -> Messages:
        if not operation.needs[1]:
            return None, None
        a, b = operation.inputs
        down = reduce_to(a.mT @ (message / (2 * operation.output + self.epsilon)), operation.shapes[1])
        return None, b * down


def pa_lrp() -> Composite:
    """Rules of the authors' main method, ``full_lrp_GammaLinear_POS_ENC_gammaConv``, outside attention's projections.

    Linear layers that project into and out of attention follow :class:`UnsignedEpsilon`; which they are is for the
    caller to add.
    """
    return Composite(
        "relevance",
        {
            "linear": Gamma(0.05, 1e-6),
            "projection": UnsignedEpsilon(),
            "convolution": Gamma(100.0, 1e-6),
            "matmul": Uniform(),
            "attention": HalfValues(),
            "softmax": StopGradient(),
            "normalisation": SharedNorm(),
            "activation": Pass(),
            "add": SumShares(),
            "scale": Pass(),
            "gate": Uniform(),
            "normaliser": ConstantNormaliser(),
            "pooling": GradientTimesInput(),
        },
    )
