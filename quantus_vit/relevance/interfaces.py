"""What a rule sees of an operation: small abstract classes, one for each form of call.

Rules name in brackets what they take (``Rule[AffineOperation]``), operations inherit what they are. Neither knows the
other. Knows torch only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Flag, auto

import torch
from torch import Tensor

from .numerics import Messages

__all__ = [
    "ActivationOperation",
    "AffineOperation",
    "BinaryOperation",
    "NormalisationOperation",
    "ProductOperation",
    "Reads",
    "RuledOperation",
    "SumOperation",
    "UnaryOperation",
]


class Reads(Flag):
    """What a rule, or an operation's gradient, looks at during a backward pass; nothing else is kept in memory."""

    NOTHING = 0
    INPUTS = auto()
    OUTPUT = auto()
    GRADIENT = auto()
    """Calls the true gradient (``gradient``, or ``vjp`` of linear maps), and reads what that reads."""
    FROZEN = auto()
    """Calls ``frozen_gradient`` of a normalisation, and reads what that reads."""


class RuledOperation(ABC):
    """One call of a torch function during a backward pass.

    Attributes
    ----------
    needs : tuple of bool
        Which inputs want a message.
    shapes : tuple of torch.Size
        Shapes of the inputs.
    kind : str
        The kind of operation, as composites name it.
    module_name : str
        Name of the module that made the call, where the trace located it; else "".
    """

    kind: str
    module_name: str
    needs: tuple[bool, ...]
    shapes: tuple[torch.Size, ...]

    @property
    @abstractmethod
    def inputs(self) -> tuple[Tensor, ...]:
        """The call's inputs."""

    @property
    @abstractmethod
    def output(self) -> Tensor:
        """The call's output."""

    @property
    @abstractmethod
    def keeps_inputs(self) -> bool:
        """Whether ``inputs`` can be asked for."""

    @property
    @abstractmethod
    def carries_relevance(self) -> bool:
        """Whether messages are relevances R; otherwise they are multipliers R / activation."""

    @abstractmethod
    def gradient(self, message: Tensor) -> Messages:
        """Vector-Jacobian product: message (shape of the output) -> one message per input."""

    @abstractmethod
    def ratio(self, message: Tensor, denominator: Tensor, stabilizer: float = 0.0) -> Tensor:
        """Relevance of the output over ``denominator``; 0 where the denominator is 0 (then nothing was passed up).

        The stabilizer is added with the denominator's sign.
        """

    @abstractmethod
    def to_input_message(self, index: int, signed: Tensor, absolute: Tensor | None = None) -> Tensor:
        """Message for input x = ``inputs[index]`` whose relevance is ``x * signed + |x| * absolute``.

        Overwrites ``signed``. Multipliers without an absolute part need no x.
        """

    def bias_relevance(self, message: Tensor) -> Tensor | None:
        """The bias' relevance, bias times multiplier summed over channels: the output's shape without channels.

        None without a bias. Of a normalisation it is what the affine map adds if the deviation is a constant.
        """
        return None


class UnaryOperation(RuledOperation):
    """A call with one input."""

    @property
    def x(self) -> Tensor:
        """The input."""
        return self.inputs[0]


class ActivationOperation(UnaryOperation):
    """An elementwise non-linearity of one input, f(x) = x * gate(x)."""

    @abstractmethod
    def gate(self) -> Tensor:
        """f(x) / x, and f'(0) where x is 0 (0 if f(0) is not 0)."""


class AffineOperation(UnaryOperation):
    """A linear layer or a convolution: x -> x W + b.

    Attributes
    ----------
    weight : Tensor
        W, in torch's layout.
    bias : Tensor or None
        b, (out,).
    """

    weight: Tensor
    bias: Tensor | None

    @abstractmethod
    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The map with another input, weight and bias of the same shapes."""

    @abstractmethod
    def vjp(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        """The transposed map W^T (or that of another weight of the same shape)."""

    @abstractmethod
    def bias_over(self, output: Tensor) -> Tensor | None:
        """The bias, shaped to be broadcast over the output."""

    @abstractmethod
    def unbiased_output(self) -> Tensor:
        """The output without bias, x W."""

    @abstractmethod
    def absolute_output(self) -> Tensor:
        """|x| |W|, shape of the output."""

    @abstractmethod
    def agreeing_output(self) -> Tensor:
        """2 (x+ W+ + x- W-) = x W + |x| |W|; 0 where it is no more than rounding of its two parts."""

    @abstractmethod
    def pull_absolute(self, message: Tensor) -> Tensor:
        """|W|^T applied to a message."""


class NormalisationOperation(UnaryOperation):
    """A normalisation, affine part included.

    Attributes
    ----------
    shared : bool
        Its input also enters a sum, as the residual stream does.
    """

    shared: bool = False

    @abstractmethod
    def frozen_gradient(self, message: Tensor) -> Tensor:
        """Vector-Jacobian product with the deviation (or norm) a constant, the mean (where there is one) not."""


class BinaryOperation(RuledOperation):
    """A call with two inputs that are both activations."""


class ProductOperation(BinaryOperation):
    """A product of two activations, linear in each: of matrices, an einsum, or elementwise."""


class SumOperation(BinaryOperation):
    """The sum of two activations.

    Attributes
    ----------
    shared : tuple of bool
        Which of them also entered a normalisation, as the residual stream does.
    """

    shared: tuple[bool, bool]
