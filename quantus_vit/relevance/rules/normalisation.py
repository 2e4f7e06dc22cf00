"""Rules that take a part of the operation as a constant: a deviation, a norm, the gate of an activation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..interfaces import ActivationOperation, BinaryOperation, NormalisationOperation, Reads
from ..numerics import MessageKind, Messages, reduce_to
from .base import BOTH, Rule

__all__ = ["ConstantNormaliser", "DetachedGate", "DetachedNorm"]


@dataclass(frozen=True)
class DetachedNorm(Rule[NormalisationOperation]):
    """Normalisation with its deviation (or norm) a constant, so that it is affine (Achtibat et al. 2024, sec. 3.3)."""

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.INPUTS | Reads.OUTPUT | Reads.FROZEN if message_kind == "relevance" else Reads.FROZEN

    def propagate(self, operation: NormalisationOperation, message: Tensor) -> Messages:
        share = operation.ratio(message, operation.output) if operation.carries_relevance else message
        return (operation.to_input_message(0, operation.frozen_gradient(share)),)


@dataclass(frozen=True)
class ConstantNormaliser(Rule[BinaryOperation]):
    """R_x = R_out, R_s = 0 for x / s or x * s: the norm, deviation or sum s counts as a constant.

    As the deviation of a normalisation does (Achtibat et al. 2024, sec. 3.3); relevance is conserved.
    """

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.NOTHING if message_kind == "relevance" else Reads.GRADIENT

    def propagate(self, operation: BinaryOperation, message: Tensor) -> Messages:
        if not operation.needs[0]:
            return None, None
        if not operation.carries_relevance:
            return operation.gradient(message)[0], None
        return reduce_to(message, operation.shapes[0]), None


@dataclass(frozen=True)
class DetachedGate(Rule[ActivationOperation]):
    """An activation f(x) = x * gate(x) with its gate a constant: Phi(x) of GELU, sigmoid(x) of SiLU.

    (Mehri et al. 2025.) R_in = R_out, as in :class:`Pass`; multipliers are right where x is 0, too.
    """

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.NOTHING if message_kind == "relevance" else Reads.INPUTS

    def propagate(self, operation: ActivationOperation, message: Tensor) -> Messages:
        return (message if operation.carries_relevance else operation.gate().mul_(message),)
