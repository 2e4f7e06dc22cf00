"""How relevance goes through an operation: a rule is a small class that states its formula and nothing else.

A rule's :meth:`Rule.propagate` gets the operation (inputs, output, transposed maps) and the message from above, and
returns one message per input. Messages are relevances R, or multipliers m = R / activation, as the composite says; the
operation's helpers ``ratio`` and ``to_input_message`` serve both, so that a formula is written once.

In the formulas x is the input, z = x W the output without bias, R the relevance of the output.

References
----------
Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation",
PLoS ONE 2015. Montavon et al., "Layer-wise relevance propagation: an overview", 2019. Chefer, Gur and Wolf,
"Transformer interpretability beyond attention visualization", CVPR 2021. Ali et al., "XAI for Transformers: better
explanations through conservative propagation", ICML 2022 (CP-LRP). Achtibat et al., "AttnLRP: attention-aware
layer-wise relevance propagation for transformers", ICML 2024. Mehri et al., "LibraGrad: balancing gradient flow for
universally better Vision Transformer attributions", CVPR 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import torch
from torch import Tensor

from .interfaces import (
    ActivationOperation,
    AffineOperation,
    BinaryOperation,
    NormalisationOperation,
    ProductOperation,
    Reads,
    RuledOperation,
    SumOperation,
    UnaryOperation,
)
from .numerics import HALF, MessageKind, Messages, damped_ratio, divide, reduce_to

__all__ = [
    "ConstantNormaliser",
    "DetachedGate",
    "DetachedNorm",
    "Epsilon",
    "Gamma",
    "GradientTimesInput",
    "NormalizedAdd",
    "Pass",
    "PassAfterClone",
    "Rule",
    "StopGradient",
    "Uniform",
    "ValuesOnly",
    "ZBox",
    "ZPlus",
]

OperationType = TypeVar("OperationType", bound=RuledOperation, contravariant=True)
BOTH: tuple[MessageKind, ...] = ("relevance", "multiplier")


class Rule(Generic[OperationType]):
    """Base of all rules. Subclass it, state the formula in :meth:`propagate`, use it in a ``Composite``.

    What stands in brackets is the form of call that the rule takes: ``class Flat(Rule[AffineOperation])``. A composite
    refuses the rule for kinds of operation that are of another form. A rule may say that it looks at less than the
    operation's inputs and output (:meth:`reads`); the rest is then not kept in memory.

    Attributes
    ----------
    message_kinds : tuple of {"relevance", "multiplier"}
        The messages that :meth:`propagate` is written for; a composite with others refuses the rule. A rule that says
        nothing takes relevances only.
    operations : type
        The form of call that the rule takes, from the brackets.
    stops : bool
        It hands nothing down, so that nothing below a softmax need be recorded.
    by_token : bool
        It treats every token of a linear layer by itself, so that some may be left out.
    """

    message_kinds: ClassVar[tuple[MessageKind, ...]] = ("relevance",)
    operations: ClassVar[type[RuledOperation]] = RuledOperation  # type: ignore[type-abstract]
    stops: ClassVar[bool] = False
    by_token: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Rule and isinstance(get_args(base)[0], type):
                cls.operations = get_args(base)[0]

    def reads(self, message_kind: MessageKind) -> Reads:
        """What :meth:`propagate` looks at."""
        return Reads.INPUTS | Reads.OUTPUT

    def propagate(self, operation: OperationType, message: Tensor) -> Messages:
        """Message of the output -> one message per input (None where ``operation.needs`` says so).

        Parameters
        ----------
        operation : RuledOperation
            The call, of the form that the rule takes.
        message : Tensor
            Relevance or multiplier, shape of the output.

        Returns
        -------
        tuple of Tensor or None
            For each input a message of its shape.
        """
        raise NotImplementedError


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
class DetachedGate(Rule[ActivationOperation]):
    """An activation f(x) = x * gate(x) with its gate a constant: Phi(x) of GELU, sigmoid(x) of SiLU.

    (Mehri et al. 2025.) R_in = R_out, as in :class:`Pass`; multipliers are right where x is 0, too.
    """

    message_kinds = BOTH

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.NOTHING if message_kind == "relevance" else Reads.INPUTS

    def propagate(self, operation: ActivationOperation, message: Tensor) -> Messages:
        return (message if operation.carries_relevance else operation.gate().mul_(message),)


@dataclass(frozen=True)
class PassAfterClone(Rule[UnaryOperation]):
    """R_in = R_out for a normalisation at the start of a residual branch, whose input is used twice."""

    message_kinds = BOTH
    stabilizer: float = 1e-9

    def propagate(self, operation: UnaryOperation, message: Tensor) -> Messages:
        (relevance,) = Pass().propagate(operation, message)
        return (None if relevance is None else through_copy(relevance, operation, 0, self.stabilizer),)


def through_copy(relevance: Tensor, operation: RuledOperation, index: int, stabilizer: float) -> Tensor:
    """R * x / (x + stabilizer), x an input: what the authors' code does to relevance where a value was copied.

    Only in double precision: in single precision the factor is 1 but for values too small to carry relevance.
    """
    if relevance.dtype != torch.float64:
        return relevance
    x = operation.inputs[index]
    return relevance * (x / (x + stabilizer))


@dataclass(frozen=True)
class GradientTimesInput(Rule[RuledOperation]):
    """R_in = x * J^T (R_out / out), J the Jacobian: gradient times input. Exact where the operation is linear.

    For softmax and normalisation this is AttnLRP's first-order expansion (Achtibat et al. 2024, eq. 12-13). With
    ``damping`` the quotient of relevances is :func:`~.numerics.damped_ratio`; multipliers have none.
    """

    message_kinds = BOTH
    damping: float = 0.0

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.GRADIENT | (Reads.INPUTS | Reads.OUTPUT if message_kind == "relevance" else Reads.NOTHING)

    def propagate(self, operation: RuledOperation, message: Tensor) -> Messages:
        if not operation.carries_relevance:
            return tuple(operation.gradient(message))
        pulled = operation.gradient(_quotient(message, operation.output, 0.0, self.damping))
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


@dataclass(frozen=True)
class Epsilon(Rule[AffineOperation]):
    """R_in = x * W^T (R / (z + b + eps sign)): LRP-epsilon (Bach et al. 2015, eq. 58); the bias absorbs its share."""

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


@dataclass(frozen=True)
class Uniform(Rule[ProductOperation]):
    """A product's relevance in equal halves: R_a = a * (S b^T) / 2, R_b = b * (a^T S) / 2 with S = R / (a b).

    (Chefer et al. 2021, sec. 3.2; Achtibat et al. 2024, eq. 14-15.) For elementwise products that is R / 2 each. With
    ``damping`` S is :func:`~.numerics.damped_ratio` of R and a b; for multipliers R / (a b) is what they are.
    """

    message_kinds = BOTH
    stabilizer: float = 0.0
    damping: float = 0.0

    def reads(self, message_kind: MessageKind) -> Reads:
        return Reads.INPUTS | Reads.OUTPUT if message_kind == "relevance" else Reads.INPUTS

    def propagate(self, operation: ProductOperation, message: Tensor) -> Messages:
        relevance = operation.carries_relevance
        if relevance:
            share = _quotient(message, operation.output, self.stabilizer, self.damping).mul_(0.5)
        else:
            share = message * 0.5
        pulled = operation.gradient(share)
        return tuple(None if m is None else operation.to_input_message(i, m) for i, m in enumerate(pulled))


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
class NormalizedAdd(Rule[SumOperation]):
    """Sums in Chefer's normalised form: R_a = a * S, R_b = b * S with S = R / (a + b), then both rescaled.

    The rescaling gives branch a the part |sum R_a| / (|sum R_a| + |sum R_b|) of the sample's relevance, so that huge
    parts of opposite sign cannot grow without bound (Chefer et al. 2021, eq. 9). Sums run over each sample alone. With
    ``damping`` S is :func:`~.numerics.damped_ratio` of R and a + b; the rescaling keeps the sample's relevance all the
    same.
    """

    stabilizer: float = 1e-9
    damping: float = 0.0

    def propagate(self, operation: SumOperation, message: Tensor) -> Messages:
        a, b = operation.inputs
        share = _quotient(message, operation.output, self.stabilizer, self.damping)
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


def _quotient(relevance: Tensor, output: Tensor, stabilizer: float, damping: float) -> Tensor:
    return damped_ratio(relevance, output, damping) if damping else divide(relevance, output, stabilizer)


def _sample_sum(relevance: Tensor) -> Tensor:
    return relevance.sum(dim=tuple(range(1, relevance.dim())), keepdim=True)
