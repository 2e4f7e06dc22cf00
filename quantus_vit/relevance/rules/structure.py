"""Rules that ask what depends on what, and not how much: where gradients vanish, their messages do not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..interfaces import AffineOperation, Reads, UnaryOperation
from ..numerics import MessageKind, Messages, reduce_to
from .base import BOTH, Rule

__all__ = ["Linked", "Unchanged"]


@dataclass(frozen=True)
class Linked(Rule[AffineOperation]):
    """M_in = 1^T M_out: every input of a unit gets the unit's message, as if all weights were 1."""

    message_kinds = BOTH

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        return (operation.vjp(message, torch.ones_like(operation.weight)),)


@dataclass(frozen=True)
class Unchanged(Rule[UnaryOperation]):
    """M_in = M_out: softmax, normalisation and activation hand the message down, whatever their slope."""

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.NOTHING

    def propagate(self, operation: UnaryOperation, message: Tensor) -> Messages:
        return (reduce_to(message, operation.shapes[0]),)
