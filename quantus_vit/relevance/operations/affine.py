"""Linear layers and convolutions, with what the sign-splitting rules need."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..interfaces import AffineOperation, Reads
from ..numerics import Messages
from .base import Operation
from .memory import Values

__all__ = ["Affine", "Convolution", "Linear", "Projection"]

ROUNDING = 4  # units of rounding that a sum of parts of both signs may be off by
SPARSE = 4  # one token in so many, or fewer, carries a message: then the others are left out


class Affine(Operation, AffineOperation):
    """Common to ``linear`` and ``convolution``: x -> x W + b, with what the sign-splitting rules need.

    A rule sees the bias-free output ``x W``, the same with absolute values ``|x| |W|``, and the transposed maps.
    """

    gradient_reads = Reads.NOTHING

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight
        self.bias = bias

    def absolute_input(self, index: int) -> Tensor:
        return self.absolute_x

    @property
    def absolute_x(self) -> Tensor:
        """|x|."""
        return cast(Tensor, self.values.once("absolute x", self.x.abs))

    @property
    def absolute_weight(self) -> Tensor:
        """|W|, made anew for each backward through this call, so that no second copy of the model is held."""
        again = self.cached
        return cast(Tensor, self.values.once("absolute weight", lambda: again("absolute weight", self.weight.abs)))

    def bias_over(self, output: Tensor) -> Tensor | None:
        return self.bias

    def unbiased_output(self) -> Tensor:
        bias = self.bias_over(self.output)
        return self.output if bias is None else self.output - bias

    def function(self, *inputs: Tensor) -> Tensor:
        return self.apply_weight(inputs[0], self.weight, self.bias)

    def gradient(self, message: Tensor) -> Messages:
        return (self.vjp(message),)

    def absolute_output(self) -> Tensor:
        return self.cached("absolute output", lambda: self.apply_weight(self.absolute_x, self.absolute_weight))

    def agreeing_output(self) -> Tensor:
        return self.cached("agreeing output", self._agreeing_output)

    def _agreeing_output(self) -> Tensor:
        minus_bias = None if self.bias is None else -self.bias
        absolute = self.apply_weight(self.absolute_x, self.absolute_weight, minus_bias)
        rounding = ROUNDING * torch.finfo(absolute.dtype).eps
        return torch.add(self.output, absolute, alpha=1 - rounding).relu_()

    def pull_absolute(self, message: Tensor) -> Tensor:
        return self.vjp(message, self.absolute_weight)


class Linear(Affine):
    """x W^T + b over the last dimension."""

    kind = "linear"

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias)

    def bias_relevance(self, message: Tensor) -> Tensor | None:
        return None if self.bias is None else message @ self.bias.to(message.dtype)

    def vjp(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        return message @ (self.weight if weight is None else weight)

    def propagate(self, message: Tensor) -> Messages:
        """As for every operation, on the tokens alone that carry a message: above the last attention few do."""
        current = self.state.current
        by_token = not current.relevance or self.rule.by_token
        waits = self.state.conditions is None  # how many tokens these are the host must know
        if waits and message.dim() > 2 and current.sparse and by_token and current.on_operation is None:
            tokens = message.flatten(0, -2)
            used = tokens.any(-1).nonzero()[:, 0]
            current.sparse = SPARSE * len(used) < len(tokens)
            if current.sparse:
                return (self._propagate_tokens(tokens, used),)
        return super().propagate(message)

    def _propagate_tokens(self, tokens: Tensor, used: Tensor) -> Tensor | None:
        shape = self.shapes[0]
        part = Linear(self.weight, self.bias).bind(self.rule, self.state, self.module_name)
        part.values, part.needs = _TokenValues(self.values, used), self.needs
        part.shapes = (torch.Size((len(used), shape[-1])),)
        (message,) = Operation.propagate(part, tokens[used])
        if message is None:
            return None
        whole = message.new_zeros((shape[:-1].numel(), shape[-1]))
        return whole.index_copy_(0, used, message).view(shape)


class _TokenValues(Values):
    """The tensors of a linear call, of some of its tokens alone."""

    def __init__(self, whole: Values, used: Tensor) -> None:
        self._whole, self._used, self._memo = whole, used, {}

    @property
    def has_inputs(self) -> bool:
        return self._whole.has_inputs

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self._whole.inputs[0].flatten(0, -2)[self._used],)

    @cached_property
    def output(self) -> Tensor:
        return self._whole.output.flatten(0, -2)[self._used]


class Projection(Linear):
    """In- or out-projection of ``multi_head_attention_forward``, which is no ``nn.Linear`` module."""

    kind = "projection"


class Convolution(Affine):
    """A convolution of any rank."""

    kind = "convolution"
    gradient_reads = Reads.INPUTS  # torch's backward takes the input, if only for its shape

    def __init__(self, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...]) -> None:
        super().__init__(weight, bias)
        self.geometry = geometry  # stride, padding, dilation, transposed, output_padding, groups

    def bias_over(self, output: Tensor) -> Tensor | None:
        return None if self.bias is None else self.bias.view(-1, *[1] * (output.dim() - 2))

    def bias_relevance(self, message: Tensor) -> Tensor | None:
        bias = self.bias_over(message)
        return None if bias is None else (message * bias).sum(1)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, *self.geometry)  # type: ignore[no-any-return]

    def vjp(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        weight = self.weight if weight is None else weight
        backward = torch.ops.aten.convolution_backward
        result = backward(message, self.x, weight, None, *self.geometry, [True, False, False])
        return cast(Tensor, result[0])
