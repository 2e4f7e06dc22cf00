"""Messages, and the small arithmetic that rules and operations share. Knows torch only."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["HALF", "MessageKind", "Messages", "damped_ratio", "divide", "reduce_to"]

MessageKind = Literal["relevance", "multiplier"]
"""What messages are: relevances R, or multipliers R / activation ("modified gradients")."""

Messages = tuple[Tensor | None, ...]
"""One message per input of an operation; None where the input wants none or gets none."""

HALF = (torch.float16, torch.bfloat16)
"""The half-precision types."""


def divide(numerator: Tensor, denominator: Tensor, stabilizer: float = 0.0) -> Tensor:
    """The quotient numerator / (denominator + stabilizer), 0 where the denominator is 0.

    The stabilizer counts in double precision only; in single precision it is below what a denominator resolves, and
    leaving it out saves passes over memory (comparisons are slow on CPUs, ``nan_to_num_`` is not).
    """
    if stabilizer and denominator.dtype == torch.float64:
        return (numerator / (denominator + stabilizer)).masked_fill_(denominator == 0, 0)
    return (numerator / denominator).nan_to_num_(0.0, 0.0, 0.0)


def damped_ratio(numerator: Tensor, denominator: Tensor, damping: float) -> Tensor:
    """The quotient numerator * z / (z^2 + (damping * rms(z))^2) for the denominator z: bounded, and smooth through 0.

    The root mean square runs over each sample (all but the first dimension), so ``damping`` is relative to the
    denominator's own scale. Nearly the quotient where z is well above ``damping * rms(z)`` in size; zeros of a sample
    that is 0 all over.
    """
    z = denominator.float() if denominator.dtype in HALF else denominator  # squares leave float16's range
    squares = z.square()
    floor = squares.mean(dim=tuple(range(1, z.dim())), keepdim=True) * damping**2
    return (numerator * z / squares.add_(floor)).nan_to_num_(0.0, 0.0, 0.0).to(denominator.dtype)


def reduce_to(message: Tensor, shape: torch.Size) -> Tensor:
    """Sum a message over the dimensions along which an input of that shape was broadcast."""
    return message if message.shape == shape else message.sum_to_size(shape)
