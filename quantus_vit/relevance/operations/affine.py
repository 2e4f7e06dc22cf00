"""Linear layers and convolutions, with what the sign-splitting rules need."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Messages, Operation

if TYPE_CHECKING:
    from ..passes import PassState
    from ..rules import Rule


class Affine(Operation):
    """Common to ``linear`` and ``convolution``: x -> x W + b, with what the sign-splitting rules need.

    A rule sees the bias-free output ``x W``, the same with absolute values ``|x| |W|``, and the transposed maps.
    """

    gradient_reads = frozenset()

    def __init__(self, rule: Rule, state: PassState, module_name: str, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(rule, state, module_name)
        self.weight = weight
        self.bias = bias

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    @cached_property
    def absolute_x(self) -> Tensor:
        return self.x.abs()

    def absolute_input(self, index: int) -> Tensor:
        return self.absolute_x

    @cached_property
    def absolute_weight(self) -> Tensor:
        """|W|, made anew for each backward through this call, so that no second copy of the model is held."""
        return self.cached("absolute_weight", self.weight.abs)

    def bias_over(self, output: Tensor) -> Tensor | None:
        """The bias, shaped to be broadcast over the output."""
        return self.bias

    def unbiased_output(self) -> Tensor:
        bias = self.bias_over(self.output)
        return self.output if bias is None else self.output - bias

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def vjp(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        """The transposed map W^T (or that of another weight of the same shape)."""
        raise NotImplementedError

    def function(self, *inputs: Tensor) -> Tensor:
        return self.apply_weight(inputs[0], self.weight, self.bias)

    def gradient(self, message: Tensor) -> Messages:
        return (self.vjp(message),)

    def absolute_output(self) -> Tensor:
        """|x| |W|, shape of the output."""
        return self.cached("absolute_output", lambda: self.apply_weight(self.absolute_x, self.absolute_weight))

    def agreeing_output(self) -> Tensor:
        """2 (x+ W+ + x- W-) = x W + |x| |W|; 0 where it is no more than rounding of its two parts."""
        return self.cached("agreeing_output", self._agreeing_output)

    def _agreeing_output(self) -> Tensor:
        minus_bias = None if self.bias is None else -self.bias
        absolute = self.apply_weight(self.absolute_x, self.absolute_weight, minus_bias)
        rounding = 4 * torch.finfo(absolute.dtype).eps
        return torch.add(self.output, absolute, alpha=1 - rounding).relu_()

    def pull_absolute(self, message: Tensor) -> Tensor:
        """|W|^T applied to a message."""
        return self.vjp(message, self.absolute_weight)


class Linear(Affine):
    """x W^T + b over the last dimension."""

    kind = "linear"

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias)

    def vjp(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        return message @ (self.weight if weight is None else weight)

    def propagate(self, message: Tensor) -> Messages:
        """As for every operation, on the tokens alone that carry a message: above the last attention few do."""
        state = self.state
        by_token = not state.relevance or self.rule.by_token
        if message.dim() > 2 and state.sparse and by_token and state.report is None:
            tokens = message.flatten(0, -2)
            used = tokens.any(-1).nonzero()[:, 0]
            state.sparse = 4 * len(used) < len(tokens)
            if state.sparse:
                return (self._propagate_tokens(tokens, used),)
        return super().propagate(message)

    def _propagate_tokens(self, tokens: Tensor, used: Tensor) -> Tensor | None:
        part = _Part(self, used)
        (message,) = Operation.propagate(part, tokens[used])
        if message is None:
            return None
        shape = self.shapes[0]
        whole = message.new_zeros((shape[:-1].numel(), shape[-1]))
        return whole.index_copy_(0, used, message).view(shape)


class _Part(Linear):
    """A linear call on some of its tokens."""

    def __init__(self, whole: Linear, used: Tensor) -> None:
        super().__init__(whole.rule, whole.state, whole.module_name, whole.weight, whole.bias)
        self._whole, self._used = whole, used
        self.needs, self.shapes = whole.needs, (torch.Size((len(used), whole.shapes[0][-1])),)

    @property
    def keeps_inputs(self) -> bool:
        return self._whole.keeps_inputs

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self._whole.x.flatten(0, -2)[self._used],)

    @cached_property
    def output(self) -> Tensor:
        return self._whole.output.flatten(0, -2)[self._used]


class Projection(Linear):
    """In- or out-projection of ``multi_head_attention_forward``, which is no ``nn.Linear`` module."""

    kind = "projection"


class Convolution(Affine):
    """A convolution of any rank."""

    kind = "convolution"
    gradient_reads = frozenset({"inputs"})  # torch's backward takes the input, if only for its shape

    def __init__(
        self,
        rule: Rule,
        state: PassState,
        module_name: str,
        weight: Tensor,
        bias: Tensor | None,
        geometry: tuple[Any, ...],
    ) -> None:
        super().__init__(rule, state, module_name, weight, bias)
        self.geometry = geometry  # stride, padding, dilation, transposed, output_padding, groups

    def bias_over(self, output: Tensor) -> Tensor | None:
        return None if self.bias is None else self.bias.view(-1, *[1] * (output.dim() - 2))

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, *self.geometry)  # type: ignore[no-any-return]

    def vjp(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        weight = self.weight if weight is None else weight
        backward = torch.ops.aten.convolution_backward
        result = backward(message, self.x, weight, None, *self.geometry, [True, False, False])
        return cast(Tensor, result[0])
