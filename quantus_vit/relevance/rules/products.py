"""Rules of products of two activations, such as attention times values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..interfaces import ProductOperation, Reads
from ..numerics import MessageKind, Messages, reduce_to
from .base import BOTH, Rule, quotient

__all__ = ["Uniform", "ValuesOnly"]


@dataclass(frozen=True)
class Uniform(Rule[ProductOperation]):
    """A product's relevance in equal halves: R_a = a * (S b^T) / 2, R_b = b * (a^T S) / 2 with S = R / (a b).

    (Chefer et al. 2021, sec. 3.2; Achtibat et al. 2024, eq. 14-15.) For elementwise products that is R / 2 each. With
    ``damping`` S is :func:`~.numerics.damped_ratio` of R and a b; for multipliers R / (a b) is what they are.

    Parameters
    ----------
    stabilizer : float
        What is added to denominators.
    damping : float
        Share of the denominator's root mean square by which quotients are damped; 0: not at all.
    """

    message_kinds = BOTH
    stabilizer: float = 0.0
    damping: float = 0.0

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.INPUTS | Reads.OUTPUT if message_kind == "relevance" else Reads.INPUTS

    def propagate(self, operation: ProductOperation, message: Tensor) -> Messages:
        relevance = operation.carries_relevance
        if relevance:
            share = quotient(message, operation.output, self.stabilizer, self.damping).mul_(0.5)
        else:
            share = message * 0.5
        pulled = operation.gradient(share)
        return tuple(None if m is None else operation.to_input_message(i, m) for i, m in enumerate(pulled))


@dataclass(frozen=True)
class ValuesOnly(Rule[ProductOperation]):
    """CP-LRP (Ali et al. 2022): in ``attention @ values`` all goes to the values, R_b = b * a^T (R / (a b))."""

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.INPUTS | Reads.OUTPUT if message_kind == "relevance" else Reads.INPUTS

    def propagate(self, operation: ProductOperation, message: Tensor) -> Messages:
        if not operation.needs[1]:
            return None, None
        share = operation.ratio(message, operation.output) if operation.carries_relevance else message
        down = reduce_to(operation.inputs[0].mT @ share, operation.shapes[1])
        return None, operation.to_input_message(1, down)
