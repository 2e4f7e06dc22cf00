"""The operations of a Vision Transformer, each with two backward meanings: gradient and relevance.

An :class:`Operation` is one call of a torch function. Its forward is torch's own computation. Its backward hands down
either the true gradient (:meth:`Operation.gradient`) or what the operation's rule makes of the relevance message. The
file knows torch; it does not know which torch function a model called (``interception``) nor any rule (``rules``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .passes import Direction
    from .rules import Rule

Messages = tuple["Tensor | None", ...]


class Operation:
    """One call of a torch function inside a traced forward.

    During a backward pass ``inputs`` and ``output`` hold the call's tensors; ``needs`` says which inputs want one.
    """

    kind: ClassVar[str]
    inputs: tuple[Tensor, ...]
    output: Tensor
    needs: tuple[bool, ...]

    def __init__(self, rule: Rule, direction: Direction, site: str) -> None:
        self.rule = rule
        self.direction = direction
        self.site = site

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the call and record it in autograd's graph."""
        return cast(Tensor, _Node.apply(self, *inputs))

    # What a subclass defines -----------------------------------------------------------------------------------------

    def function(self, *inputs: Tensor) -> Tensor:
        """Torch's own computation of this call."""
        raise NotImplementedError

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output, and the tensors to keep for the backward passes (see :meth:`bind`)."""
        output = self.function(*inputs)
        return output, (*inputs, output)

    def bind(self, saved: tuple[Tensor, ...]) -> None:
        """Put the kept tensors back in place."""
        *inputs, self.output = saved
        self.inputs = tuple(inputs)

    def gradient(self, message: Tensor) -> Messages:
        """Vector-Jacobian product: message (shape of the output) -> one message per input."""
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_(need) for x, need in zip(self.inputs, self.needs, strict=True)]
            wanted = [x for x in inputs if x.requires_grad]
            found = iter(torch.autograd.grad(self.function(*inputs), wanted, message))
        return tuple(next(found) if need else None for need in self.needs)

    # What a rule works with ------------------------------------------------------------------------------------------

    @property
    def carries_relevance(self) -> bool:
        """Whether messages are relevances R; otherwise they are multipliers R / activation."""
        return self.direction.currency == "relevance"

    @property
    def is_lean(self) -> bool:
        """Whether the rule does without the call's inputs, so that they need not be kept."""
        return self.direction.currency in self.rule.input_free and not self.direction.keep_inputs

    def ratio(self, message: Tensor, denominator: Tensor, stabilizer: float = 0.0) -> Tensor:
        """Relevance of the output over ``denominator``; 0 where the denominator is 0 (then nothing was passed up).

        The stabilizer is added with the denominator's sign.
        """
        if stabilizer:  # float16 would round a small one to 0
            stabilizer = max(stabilizer, torch.finfo(denominator.dtype).tiny)
        if not self.carries_relevance and denominator is self.output:
            size = denominator.abs()  # m z / (z + eps sign z) = m |z| / (|z| + eps)
            return message * (size / (size + stabilizer)) if stabilizer else message
        relevance = message if self.carries_relevance else message * self.output
        if stabilizer:
            denominator = denominator + torch.copysign(denominator.new_tensor(stabilizer), denominator)
            return relevance / denominator
        return divide(relevance, denominator)

    def hand_down(self, x: Tensor, signed: Tensor, absolute: Tensor | None = None) -> Tensor:
        """Message for input x whose relevance is ``x * signed + |x| * absolute``; overwrites ``signed``."""
        if self.carries_relevance:
            signed = signed.mul_(x)
            return signed if absolute is None else signed.addcmul_(x.abs(), absolute)
        return signed if absolute is None else signed.addcmul_(x.sign(), absolute)

    def propagate(self, message: Tensor) -> Messages:
        if not self.direction.relevance:
            return self.gradient(message)
        messages = self.rule.propagate(self, message)
        if self.direction.report is not None:
            self.direction.report.record(self, message, messages)
        return messages


class _Node(torch.autograd.Function):
    """The autograd function behind every operation: keeps the operation, asks it for the messages."""

    @staticmethod
    def forward(ctx: Any, operation: Operation, *inputs: Tensor) -> Tensor:
        output, saved = operation.forward(*inputs)
        ctx.operation = operation
        ctx.save_for_backward(*saved)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, message: Tensor) -> Any:
        operation = copy.copy(ctx.operation)
        operation.bind(ctx.saved_tensors)
        operation.needs = ctx.needs_input_grad[1:]
        return (None, *operation.propagate(message))


def divide(numerator: Tensor, denominator: Tensor, stabilizer: float = 0.0) -> Tensor:
    """The quotient numerator / (denominator + stabilizer), 0 where the denominator is 0.

    The stabilizer counts in double precision only; in single precision it is below what a denominator resolves, and
    leaving it out saves passes over memory (comparisons are slow on CPUs, ``nan_to_num_`` is not).
    """
    if stabilizer and denominator.dtype == torch.float64:
        return (numerator / (denominator + stabilizer)).masked_fill_(denominator == 0, 0)
    return (numerator / denominator).nan_to_num_(0.0, 0.0, 0.0)


class Affine(Operation):
    """Common to ``linear`` and ``convolution``: x -> x W + b, with what the sign-splitting rules need.

    A rule sees the bias-free output ``x W``, the same with absolute values ``|x| |W|``, and the transposed maps.
    """

    def __init__(self, rule: Rule, direction: Direction, site: str, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(rule, direction, site)
        self.weight = weight
        self.bias = bias
        self.memory: dict[str, Tensor] = {}  # shared by the copies that backward passes make

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    @cached_property
    def absolute_weight(self) -> Tensor:
        """|W|, made anew for each backward through this call, so that no second copy of the model is held."""
        return self._remembered("absolute_weight", self.weight.abs)

    def bias_over(self, output: Tensor) -> Tensor | None:
        """The bias, shaped to be broadcast over the output."""
        return self.bias

    def unbiased_output(self) -> Tensor:
        bias = self.bias_over(self.output)
        return self.output if bias is None else self.output - bias

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def pull(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        """The transposed map W^T (or that of another weight of the same shape)."""
        raise NotImplementedError

    def function(self, *inputs: Tensor) -> Tensor:
        return self.apply_weight(inputs[0], self.weight, self.bias)

    def gradient(self, message: Tensor) -> Messages:
        return (self.pull(message),)

    def absolute_output(self) -> Tensor:
        """|x| |W|, shape of the output."""
        return self._remembered("absolute_output", lambda: self.apply_weight(self.x.abs(), self.absolute_weight))

    def agreeing_output(self) -> Tensor:
        """2 (x+ W+ + x- W-) = x W + |x| |W|; 0 where it is no more than rounding of its two parts."""
        return self._remembered("agreeing_output", self._agreeing_output)

    def _agreeing_output(self) -> Tensor:
        minus_bias = None if self.bias is None else -self.bias
        absolute = self.apply_weight(self.x.abs(), self.absolute_weight, minus_bias)
        rounding = 4 * torch.finfo(absolute.dtype).eps
        return torch.add(self.output, absolute, alpha=1 - rounding).relu_()

    def _remembered(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """What depends on the forward alone is kept while further targets follow."""
        found = self.memory.get(key)
        if found is None:
            found = compute()
            if self.direction.keep:
                self.memory[key] = found
        return found

    def pull_absolute(self, message: Tensor) -> Tensor:
        """|W|^T applied to a message."""
        return self.pull(message, self.absolute_weight)


class Linear(Affine):
    """x W^T + b over the last dimension."""

    kind = "linear"

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias)

    def pull(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        return message @ (self.weight if weight is None else weight)

    def propagate(self, message: Tensor) -> Messages:
        """As for every operation, on the tokens alone that carry a message: above the last attention few do."""
        direction = self.direction
        if message.dim() > 2 and direction.sparse and direction.report is None:
            tokens = message.flatten(0, -2)
            used = tokens.any(-1).nonzero()[:, 0]
            direction.sparse = 4 * len(used) < len(tokens)
            if direction.sparse:
                return (self._propagate_tokens(tokens, used),)
        return super().propagate(message)

    def _propagate_tokens(self, tokens: Tensor, used: Tensor) -> Tensor | None:
        part = copy.copy(self)
        x = self.x.flatten(0, -2)
        part.inputs, part.output = (x[used],), self.output.flatten(0, -2)[used]
        part.memory = {}
        (message,) = Operation.propagate(part, tokens[used])
        return None if message is None else torch.zeros_like(x).index_copy_(0, used, message).view(self.x.shape)


class Projection(Linear):
    """In- or out-projection of ``multi_head_attention_forward``, which is no ``nn.Linear`` module."""

    kind = "projection"


class Convolution(Affine):
    """A convolution of any rank."""

    kind = "convolution"

    def __init__(
        self,
        rule: Rule,
        direction: Direction,
        site: str,
        weight: Tensor,
        bias: Tensor | None,
        geometry: tuple[Any, ...],
    ) -> None:
        super().__init__(rule, direction, site, weight, bias)
        self.geometry = geometry  # stride, padding, dilation, transposed, output_padding, groups

    def bias_over(self, output: Tensor) -> Tensor | None:
        return None if self.bias is None else self.bias.view(-1, *[1] * (output.dim() - 2))

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, *self.geometry)  # type: ignore[no-any-return]

    def pull(self, message: Tensor, weight: Tensor | None = None) -> Tensor:
        weight = self.weight if weight is None else weight
        backward = torch.ops.aten.convolution_backward
        result = backward(message, self.x, weight, None, *self.geometry, [True, False, False])
        return cast(Tensor, result[0])


class Product(Operation):
    """Matrix product of two activations, ``a @ b``; ``record`` is set where a holds attention weights."""

    kind = "matmul"
    record: Callable[[Operation, Tensor], None] | None = None

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.matmul(inputs[0], inputs[1])

    def pull(self, message: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(message b^T, a^T message), in the inputs' shapes."""
        a, b = self.inputs
        left = reduce_to(message @ b.mT, a) if self.needs[0] else None
        right = reduce_to(a.mT @ message, b) if self.needs[1] else None
        return left, right

    def gradient(self, message: Tensor) -> Messages:
        return self.pull(message)

    def propagate(self, message: Tensor) -> Messages:
        messages = super().propagate(message)
        if self.record is not None and messages[0] is not None:
            self.record(self, messages[0])
        return messages


class Softmax(Operation):
    """Softmax along one dimension; only its output is kept where the rule asks for no more."""

    kind = "softmax"

    def __init__(self, rule: Rule, direction: Direction, site: str, dim: int) -> None:
        super().__init__(rule, direction, site)
        self.dim = dim

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output = torch.softmax(inputs[0], self.dim)
        return output, (output,) if self.is_lean else (*inputs, output)

    def bind(self, saved: tuple[Tensor, ...]) -> None:
        if len(saved) == 1:
            (self.output,) = saved
        else:
            super().bind(saved)

    def gradient(self, message: Tensor) -> Messages:
        backward = torch.ops.aten._softmax_backward_data
        return (backward(message, self.output, self.dim, self.output.dtype),)


class Given(Operation):
    """Common to operations whose function comes with the call, options bound; their gradient is autograd's."""

    def __init__(self, rule: Rule, direction: Direction, site: str, function: Callable[..., Tensor]) -> None:
        super().__init__(rule, direction, site)
        self._function = function

    def function(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


class Normalisation(Given):
    """Layer, group, batch (in evaluation), root-mean-square or L2 normalisation, affine part included.

    ``frozen(message, at)`` pulls a message back through the normalisation of ``at`` with its deviation a constant.
    """

    kind = "normalisation"

    def __init__(
        self,
        rule: Rule,
        direction: Direction,
        site: str,
        function: Callable[[Tensor], Tensor],
        frozen: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__(rule, direction, site, function)
        self._frozen = frozen

    def frozen_gradient(self, message: Tensor) -> Tensor:
        """Vector-Jacobian product with the deviation a constant, the mean (where there is one) not."""
        return self._frozen(message, self.inputs[0])


class LayerNorm(Operation):
    """Layer normalisation over the trailing dimensions, with torch's fused kernels."""

    kind = "normalisation"

    def __init__(
        self,
        rule: Rule,
        direction: Direction,
        site: str,
        shape: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> None:
        super().__init__(rule, direction, site)
        self.shape, self.weight, self.bias, self.eps = shape, weight, bias, eps

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, mean, deviation = torch.native_layer_norm(inputs[0], self.shape, self.weight, self.bias, self.eps)
        return output, (*inputs, output, mean, deviation)

    def bind(self, saved: tuple[Tensor, ...]) -> None:
        x, self.output, self.mean, self.rstd = saved
        self.inputs = (x,)

    def gradient(self, message: Tensor) -> Messages:
        backward = torch.ops.aten.native_layer_norm_backward
        x = self.inputs[0]
        found = backward(message, x, self.shape, self.mean, self.rstd, self.weight, self.bias, [True, False, False])
        return (found[0],)

    def frozen_gradient(self, message: Tensor) -> Tensor:
        """Vector-Jacobian product with the standard deviation a constant: centring of message * weight / deviation."""
        scaled = message * self.rstd
        if self.weight is not None:
            scaled = scaled * self.weight
        return scaled - scaled.mean(dim=tuple(range(-len(self.shape), 0)), keepdim=True)


class Activation(Given):
    """An elementwise non-linearity of one input."""

    kind = "activation"


class Gelu(Activation):
    """GELU with torch's fused backward."""

    def __init__(self, rule: Rule, direction: Direction, site: str, approximate: str) -> None:
        super().__init__(rule, direction, site, lambda x: F.gelu(x, approximate=approximate))
        self.approximate = approximate

    def gradient(self, message: Tensor) -> Messages:
        return (torch.ops.aten.gelu_backward(message, self.inputs[0], approximate=self.approximate),)


class Add(Operation):
    """Sum of two tensors, ``a + b`` (``a - b`` is the sum of a and -b).

    ``shared`` says which of them also entered a normalisation, as the residual stream does.
    """

    kind = "add"

    def __init__(self, rule: Rule, direction: Direction, site: str, shared: tuple[bool, bool]) -> None:
        super().__init__(rule, direction, site)
        self.shared = shared

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]

    def gradient(self, message: Tensor) -> Messages:
        return tuple(reduce_to(message, x) if need else None for x, need in zip(self.inputs, self.needs, strict=True))


class Scale(Operation):
    """Product of an activation with a constant (a number, or a tensor that the input does not reach)."""

    kind = "scale"

    def __init__(self, rule: Rule, direction: Direction, site: str, factor: Tensor | float) -> None:
        super().__init__(rule, direction, site)
        self.factor = factor

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * self.factor

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, saved = super().forward(*inputs)
        if self.is_lean and output.shape == inputs[0].shape:
            saved = ()  # attention scores are large, and neither meaning needs them
        return output, saved

    def bind(self, saved: tuple[Tensor, ...]) -> None:
        if saved:
            super().bind(saved)

    def gradient(self, message: Tensor) -> Messages:
        scaled = message * self.factor
        return (reduce_to(scaled, self.inputs[0]) if hasattr(self, "inputs") else scaled,)


class Gate(Operation):
    """Elementwise product of two activations, as in gated linear units."""

    kind = "gate"

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * inputs[1]

    def gradient(self, message: Tensor) -> Messages:
        a, b = self.inputs
        return (
            reduce_to(message * b, a) if self.needs[0] else None,
            reduce_to(message * a, b) if self.needs[1] else None,
        )


class Pooling(Given):
    """A linear map without parameters: mean, sum, average pooling, interpolation."""

    kind = "pooling"


class Contraction(Given):
    """A product of two activations that is linear in each, other than ``matmul`` (einsum)."""

    kind = "matmul"

    def pull(self, message: Tensor) -> Messages:
        return self.gradient(message)


def reduce_to(message: Tensor, x: Tensor) -> Tensor:
    """Sum a message over the dimensions along which x was broadcast."""
    return message if message.shape == x.shape else message.sum_to_size(x.shape)
