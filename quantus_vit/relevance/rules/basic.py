"""Rules that hardly look at the operation: pass relevance on, stop it, or take gradient times input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..interfaces import Reads, RuledOperation, UnaryOperation
from ..numerics import MessageKind, Messages, reduce_to
from .base import BOTH, Rule, quotient, through_copy

__all__ = ["GradientTimesInput", "Pass", "PassAfterClone", "StopGradient"]


@dataclass(frozen=True)
class Pass(Rule[UnaryOperation]):
    """R_in = R_out: the operation leaves relevance as it is (softmax, normalisation, activation, scaling)."""

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.NOTHING if message_kind == "relevance" else Reads.INPUTS | Reads.OUTPUT

    def propagate(self, operation: UnaryOperation, message: Tensor) -> Messages:
        if not operation.carries_relevance:
            slope = torch.nan_to_num_(operation.output / operation.inputs[0], 0.0, 0.0, 0.0)
            message = slope.mul_(message)
        return (reduce_to(message, operation.shapes[0]),)


@dataclass(frozen=True)
class PassAfterClone(Rule[UnaryOperation]):
    """R_in = R_out for a normalisation at the start of a residual branch, whose input is used twice.

    Parameters
    ----------
    stabilizer : float
        See :func:`~.base.through_copy`.
    """

    message_kinds = BOTH
    stabilizer: float = 1e-9

    def propagate(self, operation: UnaryOperation, message: Tensor) -> Messages:
        (relevance,) = Pass().propagate(operation, message)
        return (None if relevance is None else through_copy(relevance, operation, 0, self.stabilizer),)


@dataclass(frozen=True)
class GradientTimesInput(Rule[RuledOperation]):
    """R_in = x * J^T (R_out / out), J the Jacobian: gradient times input. Exact where the operation is linear.

    For softmax and normalisation this is AttnLRP's first-order expansion (Achtibat et al. 2024, eq. 12-13). With
    ``damping`` the quotient of relevances is :func:`~.numerics.damped_ratio`; multipliers have none.

    Parameters
    ----------
    damping : float
        Share of the denominator's root mean square by which quotients are damped; 0: not at all.
    """

    message_kinds = BOTH
    damping: float = 0.0

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.GRADIENT | (Reads.INPUTS | Reads.OUTPUT if message_kind == "relevance" else Reads.NOTHING)

    def propagate(self, operation: RuledOperation, message: Tensor) -> Messages:
        if not operation.carries_relevance:
            return tuple(operation.gradient(message))
        pulled = operation.gradient(quotient(message, operation.output, 0.0, self.damping))
        return tuple(None if m is None else m * x for m, x in zip(pulled, operation.inputs, strict=True))


@dataclass(frozen=True)
class StopGradient(Rule[RuledOperation]):
    """R_in = 0: the output counts as a constant (attention weights in CP-LRP)."""

    message_kinds = BOTH
    stops = True

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.NOTHING

    def propagate(self, operation: RuledOperation, message: Tensor) -> Messages:
        return tuple(None for _ in operation.needs)
