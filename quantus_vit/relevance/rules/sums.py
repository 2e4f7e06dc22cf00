"""Rules of sums of two activations: residual connections."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..interfaces import SumOperation
from ..numerics import Messages, divide, reduce_to
from .base import Rule, quotient, through_copy

__all__ = ["NormalizedAdd"]


@dataclass(frozen=True)
class NormalizedAdd(Rule[SumOperation]):
    """Sums in Chefer's normalised form: R_a = a * S, R_b = b * S with S = R / (a + b), then both rescaled.

    The rescaling gives branch a the part |sum R_a| / (|sum R_a| + |sum R_b|) of the sample's relevance, so that huge
    parts of opposite sign cannot grow without bound (Chefer et al. 2021, eq. 9). Sums run over each sample alone. With
    ``damping`` S is :func:`~.numerics.damped_ratio` of R and a + b; the rescaling keeps the sample's relevance all the
    same.

    Parameters
    ----------
    stabilizer : float
        What is added to denominators.
    damping : float
        Share of the denominator's root mean square by which quotients are damped; 0: not at all.
    """

    stabilizer: float = 1e-9
    damping: float = 0.0

    def propagate(self, operation: SumOperation, message: Tensor) -> Messages:
        a, b = operation.inputs
        share = quotient(message, operation.output, self.stabilizer, self.damping)
        parts = [share * a, share.mul_(b)]
        sums = [_sample_sum(part) for part in parts]
        total = sums[0].abs() + sums[1].abs() + self.stabilizer
        whole = _sample_sum(message)
        factors = [divide(s.abs() / total * whole, s + self.stabilizer) for s in sums]
        messages: list[Tensor | None] = []
        for i, (part, factor) in enumerate(zip(parts, factors, strict=True)):
            relevance = reduce_to(part.mul_(factor), operation.shapes[i]) if operation.needs[i] else None
            if relevance is not None and operation.shared[i]:
                relevance = through_copy(relevance, operation, i, self.stabilizer)
            messages.append(relevance)
        return tuple(messages)


def _sample_sum(relevance: Tensor) -> Tensor:
    return relevance.sum(dim=tuple(range(1, relevance.dim())), keepdim=True)
