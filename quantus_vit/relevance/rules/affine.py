"""Rules of linear layers and convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..interfaces import AffineOperation, Reads
from ..numerics import HALF, MessageKind, Messages, divide
from .base import BOTH, Rule

__all__ = ["Epsilon", "Gamma", "ZBox", "ZPlus"]


@dataclass(frozen=True)
class Epsilon(Rule[AffineOperation]):
    """R_in = x * W^T (R / (z + b + eps sign)): LRP-epsilon (Bach et al. 2015, eq. 58); the bias absorbs its share.

    Parameters
    ----------
    epsilon : float
        What is added to denominators, with their sign; 0 is LRP-0.
    """

    message_kinds = BOTH
    by_token = True
    epsilon: float = 0.0

    def reads(self, message_kind: MessageKind) -> Reads:
        if message_kind == "relevance":
            return Reads.INPUTS | Reads.OUTPUT | Reads.GRADIENT
        return Reads.OUTPUT | Reads.GRADIENT if self.epsilon else Reads.GRADIENT

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        if not self.epsilon and not operation.carries_relevance:
            return (operation.vjp(message),)
        share = operation.ratio(message, operation.output, self.epsilon)
        return (operation.to_input_message(0, operation.vjp(share)),)


@dataclass(frozen=True)
class ZPlus(Rule[AffineOperation]):
    """R_in = x+ * W+^T S + x- * W-^T S with S = R / (x+ W+ + x- W-): only agreeing signs count, no bias.

    (Chefer et al. 2021, eq. 3 with alpha = 1.) Computed with three products instead of eight through
    x+ W+ + x- W- = (x W + |x| |W|) / 2; in half precision, where that difference would lose small sums, as it stands.

    Parameters
    ----------
    stabilizer : float
        What is added to denominators.
    """

    message_kinds = BOTH
    by_token = True
    stabilizer: float = 1e-9

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        relevance = message if operation.carries_relevance else message * operation.output
        if message.dtype in HALF:
            return (self._as_it_stands(operation, relevance),)
        share = divide(relevance, operation.agreeing_output(), 2 * self.stabilizer)
        return (operation.to_input_message(0, operation.vjp(share), operation.pull_absolute(share)),)

    def _as_it_stands(self, operation: AffineOperation, relevance: Tensor) -> Tensor:
        x, weight = operation.x, operation.weight
        x_up, x_down = x.clamp(min=0), x.clamp(max=0)
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        share = divide(relevance, operation.apply_weight(x_up, up) + operation.apply_weight(x_down, down))
        from_up = operation.vjp(share, up)
        from_down = operation.vjp(share, down)
        if operation.carries_relevance:
            return x_up * from_up + x_down * from_down
        return torch.where(x > 0, from_up, from_down)


@dataclass(frozen=True)
class Gamma(Rule[AffineOperation]):
    """Generalised LRP-gamma: parts that agree with the sign of the output weigh 1 + gamma.

    For outputs > 0: R_in = x * (W + gamma W+)^T S for x > 0, x * (W + gamma W-)^T S for x < 0; W+ and W- change places
    for outputs < 0. S = R / (sum of those parts and of the bias, which is treated like a weight). (Montavon et al.
    2019; generalised to signed inputs by Andeol et al. 2021.) gamma 0 is LRP-0.

    Parameters
    ----------
    gamma : float
        How much more the agreeing parts weigh.
    stabilizer : float
        What is added to denominators.
    """

    message_kinds = BOTH
    by_token = True
    gamma: float = 0.25
    stabilizer: float = 1e-6

    def reads(self, message_kind: MessageKind) -> Reads:
        return super().reads(message_kind) if self.gamma else Epsilon().reads(message_kind)

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        if not self.gamma:
            return Epsilon().propagate(operation, message)
        output, absolute = operation.output, operation.absolute_output()
        sign = output.sign()
        agreeing = (operation.unbiased_output() + sign * absolute) / 2
        bias = operation.bias_over(output)
        if bias is not None:
            agreeing = agreeing + (bias + sign * bias.abs()) / 2
        share = operation.ratio(message, output + self.gamma * agreeing, self.stabilizer)
        signed = operation.vjp(share).mul_(1 + self.gamma / 2)
        return (operation.to_input_message(0, signed, operation.pull_absolute(sign * share).mul_(self.gamma / 2)),)


@dataclass(frozen=True)
class ZBox(Rule[AffineOperation]):
    """z^B rule for pixels (Montavon et al. 2017): inputs are bounded by the image's own minimum l and maximum h.

    R_in = x * W^T S - l * W+^T S - h * W-^T S with S = R / (x W - l W+ - h W-).

    Parameters
    ----------
    stabilizer : float
        What is added to denominators.
    """

    message_kinds = BOTH
    stabilizer: float = 1e-9

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        x, weight = operation.x, operation.weight
        low, high = (torch.zeros_like(x) + bound for bound in (_per_image(x, "amin"), _per_image(x, "amax")))
        positive, negative = weight.clamp(min=0), weight.clamp(max=0)
        z = operation.unbiased_output() - operation.apply_weight(low, positive) - operation.apply_weight(high, negative)
        share = operation.ratio(message, z + self.stabilizer)
        parts = low * operation.vjp(share, positive) + high * operation.vjp(share, negative)
        relevance = x * operation.vjp(share) - parts
        return (relevance if operation.carries_relevance else divide(relevance, x),)


def _per_image(x: Tensor, reduction: str) -> Tensor:
    dims = tuple(range(1, x.dim()))
    return getattr(x, reduction)(dim=dims, keepdim=True)  # type: ignore[no-any-return]
