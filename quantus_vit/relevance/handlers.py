"""What the interception does with each torch function that has a rule: one handler a family of functions.

A handler gets the interception, the function the model called, and the call's arguments. It must compute what the
function computes. Traced values are those that require a gradient; a call that none of them enters runs as it is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from . import operations as ops
from .rules import Taylor

if TYPE_CHECKING:
    from .interception import Interception

Handler = Callable[..., Any]
HANDLERS: dict[Callable[..., Any], Handler] = {}


def handles(*owners_and_names: tuple[Any, str]) -> Callable[[Handler], Handler]:
    """Register a handler for functions given as (owner, names); names a torch version lacks are left out."""

    def register(handler: Handler) -> Handler:
        for owner, names in owners_and_names:
            for name in names.split():
                if hasattr(owner, name):
                    HANDLERS[getattr(owner, name)] = handler
        return handler

    return register


def traced(*values: Any) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)


# Affine maps ---------------------------------------------------------------------------------------------------------


@handles((F, "linear"), (torch._C._nn, "linear"))
def linear(mode: Interception, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return affine_map(mode, ops.Linear, input, weight, bias)


def affine_map(mode: Interception, cls: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X W^T + b for a traced x; a weight that is itself traced makes it a matrix product."""
    x, w, b = mode.constant((x, weight, bias))
    x, w, b = autocast((x, w, b))
    if traced(w, b):
        raise mode.unsupported(F.linear, (x, w), "with a weight that depends on the input has no relevance rule")
    operation = mode.operation(cls, w, b, owner=weight) if traced(x) else None
    return F.linear(x, w, b) if operation is None else operation(x)


@handles((torch, "addmm"))
def addmm(
    mode: Interception, func: Any, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    if beta != 1 or alpha != 1 or traced(mode.constant(input)) or traced(mode.constant(mat2)):
        return mode.run(func, input, mat1, mat2, beta=beta, alpha=alpha)
    return affine_map(mode, ops.Linear, mat1, mode.constant(mat2).t(), input)


@handles((F, "conv1d conv2d conv3d"), (torch, "conv1d conv2d conv3d"))
def convolution(
    mode: Interception,
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    x, w, b = autocast(mode.constant((input, weight, bias)))
    if not traced(x):
        return func(x, w, b, stride, padding, dilation, groups)  # type: ignore[no-any-return]
    rank = w.dim() - 2
    strides, dilations = _each(stride, rank), _each(dilation, rank)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilations, w.shape[2:], strict=True)]
        x = F.pad(x, [side for t in reversed(total) for side in (t // 2, t - t // 2)])
        padding = 0
    geometry = (strides, _each(padding, rank), dilations, False, [0] * rank, groups)
    operation = mode.operation(ops.Convolution, w, b, geometry, owner=weight)
    return torch.ops.aten.convolution(x, w, b, *geometry) if operation is None else operation(x)  # type: ignore[no-any-return]


def _each(value: Any, rank: int) -> list[int]:
    return [value] * rank if isinstance(value, int) else list(value) * (rank if len(value) == 1 else 1)


# Products of activations, attention ----------------------------------------------------------------------------------


@handles((torch, "matmul bmm mm"), (Tensor, "matmul bmm mm __matmul__"))
def matmul(mode: Interception, func: Any, input: Tensor, other: Tensor) -> Tensor:
    is_attention = mode.is_weights(input)
    a, b = autocast(mode.constant((input, other)))
    record = mode.attention(a) if is_attention else None
    if not traced(a, b):
        return torch.matmul(a, b)
    if traced(a) and not traced(b) and b.dim() == 2 and record is None:
        return affine_map(mode, ops.Linear, a, b.t(), None)
    kind = "matmul" if record is None else "attention"
    operation = mode.operation(ops.Product, kind=kind)
    if operation is None:
        if record is None:
            return torch.matmul(a, b)
        operation = ops.Product(Taylor(), mode.direction, record.site)
    if record is not None:
        operation.record = lambda op, message: record.receive(op.direction, message, op.inputs[0])
    return operation(a, b)  # type: ignore[no-any-return]


@handles((Tensor, "__rmatmul__"))
def rmatmul(mode: Interception, func: Any, self: Tensor, other: Tensor) -> Any:
    return matmul(mode, torch.matmul, other, self)


@handles((torch, "baddbmm"), (Tensor, "baddbmm"))
def baddbmm(
    mode: Interception, func: Any, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    product = scale(mode, torch.mul, matmul(mode, torch.bmm, batch1, batch2), alpha)
    return product if beta == 0 else add(mode, torch.add, scale(mode, torch.mul, input, beta), product)


@handles((torch, "einsum"), (torch.functional, "einsum"))
def einsum(mode: Interception, func: Any, equation: Any, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    operands = tuple(mode.constant(list(operands)))
    if not traced(*operands):
        return func(equation, *operands)
    if len(operands) != 2 or not isinstance(equation, str):
        return mode.run(func, equation, *operands)
    a, b = operands
    if traced(a) and traced(b):
        operation = mode.operation(ops.Contraction, lambda x, y: torch.einsum(equation, x, y))
        return func(equation, a, b) if operation is None else operation(a, b)
    active, function = (
        (a, lambda x: torch.einsum(equation, x, b)) if traced(a) else (b, lambda y: torch.einsum(equation, a, y))
    )
    operation = mode.operation(ops.Pooling, function)
    return func(equation, a, b) if operation is None else operation(active)


@handles((torch, "softmax"), (F, "softmax"), (Tensor, "softmax"))
def softmax(
    mode: Interception, func: Any, input: Tensor, dim: Any = None, *unused: Any, dtype: Any = None, **kwargs: Any
) -> Tensor:
    x = mode.constant(input)
    if dtype is None and unused and isinstance(unused[-1], torch.dtype):
        dtype = unused[-1]
    if dtype is None and _autocast_dtype(x) is not None:
        dtype = torch.float32
    x = x if dtype is None else x.to(dtype)
    dim = -1 if dim is None else dim
    operation = mode.operation(ops.Softmax, dim) if traced(x) else None
    output = torch.softmax(x, dim) if operation is None else operation(x)
    return mode.mark_weights(output) if output.dim() >= 3 else output


@handles((Tensor, "to type_as float half bfloat16 double contiguous clone"), (torch, "clone"))
def same_values(mode: Interception, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Attention weights in another type (as half precision models cast them) are still attention weights."""
    return mode.forward_mark(input, mode.run(func, input, *args, **kwargs))


@handles((F, "scaled_dot_product_attention"))
def scaled_dot_product_attention(
    mode: Interception,
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T scale + mask) v, in separate steps."""
    if dropout_p:
        raise ValueError("attention dropout is active; call model.eval() before explaining it")
    if enable_gqa:
        raise mode.unsupported(func, (query, key, value), "with grouped queries has no relevance rule")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    with mode:
        scores = (query @ key.transpose(-2, -1)) * factor
        if is_causal:
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~allowed, -math.inf)
        if attn_mask is not None:
            is_boolean = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if is_boolean else scores + attn_mask
        weights = scores.softmax(-1)
        return weights.to(value.dtype) @ value


@handles((F, "multi_head_attention_forward"))
def multi_head_attention(
    mode: Interception,
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """``nn.MultiheadAttention`` in separate steps; (L, N, E) tensors, as torch's function."""
    extras = (bias_k, bias_v, static_k, static_v, key_padding_mask)
    if any(extra is not None for extra in extras) or add_zero_attn or query.dim() != 3:
        raise mode.unsupported(func, (query, key, value), "with padding masks, extra keys or no batch has no rule")
    if training and dropout_p:
        raise ValueError("attention dropout is active; call model.eval() before explaining it")
    tokens = {id(x): x for x in (query, key, value)}
    if use_separate_proj_weight:
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    elif len(tokens) == 1:
        weights = [in_proj_weight]
    else:
        weights = list(in_proj_weight.chunk(3))  # type: ignore[union-attr]
    biases: list[Any] = [None] * 3 if in_proj_bias is None else list(in_proj_bias.detach().chunk(3))
    if len(weights) == 1:
        q, k, v = affine_map(mode, ops.Projection, query, weights[0], in_proj_bias).chunk(3, -1)  # type: ignore[arg-type]
    else:
        q, k, v = (
            affine_map(mode, ops.Projection, x, w, b)  # type: ignore[arg-type]
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
    length, size, width = q.shape
    heads = [x.reshape(x.shape[0], size, num_heads, -1).permute(1, 2, 0, 3) for x in (q, k, v)]
    if attn_mask is not None and attn_mask.dim() == 3:
        attn_mask = attn_mask.view(size, num_heads, *attn_mask.shape[1:])
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = ~attn_mask  # here True means "not allowed", there "allowed"
    output = scaled_dot_product_attention(mode, func, *heads, attn_mask=attn_mask)
    output = output.permute(2, 0, 1, 3).reshape(length, size, width)
    output = affine_map(mode, ops.Projection, output, out_proj_weight, out_proj_bias)
    return output, _shown_weights(mode, average_attn_weights) if need_weights else None


def _shown_weights(mode: Interception, average: bool) -> Tensor | None:
    """Attention weights as ``nn.MultiheadAttention`` returns them; untraced, since no model feeds them on."""
    weights = mode.attentions[-1].weights
    return None if weights is None else weights.mean(1) if average else weights


# Normalisation, activation -------------------------------------------------------------------------------------------


@handles((F, "layer_norm"), (torch, "layer_norm"))
def layer_norm(
    mode: Interception,
    func: Any,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *unused: Any,
    **kwargs: Any,
) -> Tensor:
    x, w, b = mode.constant((input, weight, bias))
    if _autocast_dtype(x) is not None:
        x = x.float()
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    operation = mode.operation(ops.LayerNorm, shape, w, b, eps, owner=weight) if traced(x) else None
    mode.mark_normalised(x)
    return torch.layer_norm(x, shape, w, b, eps) if operation is None else operation(x)


@handles((F, "rms_norm"), (torch, "rms_norm"))
def rms_norm(
    mode: Interception, func: Any, input: Tensor, normalized_shape: Any, weight: Any = None, eps: Any = None
) -> Any:
    x, w = mode.constant((input, weight))
    dims = tuple(range(-len(normalized_shape), 0))

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        epsilon = torch.finfo(at.dtype).eps if eps is None else eps
        scale = (at.pow(2).mean(dims, keepdim=True) + epsilon).rsqrt()
        return message * scale if w is None else message * scale * w

    return normalisation(mode, lambda y: func(y, normalized_shape, w, eps), frozen, x, weight)


@handles((F, "normalize"))
def normalize(
    mode: Interception, func: Any, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Any:
    def frozen(message: Tensor, at: Tensor) -> Any:
        return message / torch.linalg.vector_norm(at, p, dim, keepdim=True).clamp_min(eps)

    return normalisation(mode, lambda y: func(y, p, dim, eps), frozen, mode.constant(input), None)


@handles((F, "group_norm"), (torch, "group_norm"))
def group_norm(
    mode: Interception,
    func: Any,
    input: Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *unused: Any,
) -> Any:
    x, w, b = mode.constant((input, weight, bias))

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        grouped = at.reshape(at.shape[0], num_groups, -1)
        rstd = (grouped.var(-1, unbiased=False, keepdim=True) + eps).rsqrt()
        scaled = message if w is None else message * w.view(1, -1, *[1] * (message.dim() - 2))
        parts = scaled.reshape(grouped.shape) * rstd
        return (parts - parts.mean(-1, keepdim=True)).reshape(at.shape)

    return normalisation(mode, lambda y: F.group_norm(y, num_groups, w, b, eps), frozen, x, weight)


@handles((F, "batch_norm"))
def batch_norm(
    mode: Interception,
    func: Any,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    x, w, b = mode.constant((input, weight, bias))
    if not traced(x):
        return func(x, running_mean, running_var, w, b, training, momentum, eps)
    if training or running_var is None:
        raise ValueError("batch normalisation is in training mode; call model.eval() before explaining it")

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        scale = (running_var + eps).rsqrt() if w is None else w * (running_var + eps).rsqrt()
        return message * scale.view(1, -1, *[1] * (message.dim() - 2))

    return normalisation(
        mode, lambda y: func(y, running_mean, running_var, w, b, False, momentum, eps), frozen, x, weight
    )


def normalisation(mode: Interception, function: Any, frozen: Any, x: Tensor, owner: Any) -> Any:
    operation = mode.operation(ops.Normalisation, function, frozen, owner=owner) if traced(x) else None
    mode.mark_normalised(x)
    return function(x) if operation is None else operation(x)


@handles((F, "gelu"), (torch._C._nn, "gelu"))
def gelu(mode: Interception, func: Any, input: Tensor, *, approximate: str = "none") -> Tensor:
    input = mode.constant(input)
    operation = mode.operation(ops.Gelu, approximate) if traced(input) else None
    return func(input, approximate=approximate) if operation is None else operation(input)  # type: ignore[no-any-return]


_UNARY = "relu silu elu selu celu leaky_relu hardswish hardsigmoid hardtanh relu6 mish softplus tanh sigmoid logsigmoid"
_BOUNDS = "clamp clamp_min clamp_max clip"  # guards against overflow, and activations such as relu6, written by hand


@handles((F, _UNARY), (torch, "relu tanh sigmoid " + _BOUNDS), (Tensor, "relu tanh sigmoid " + _BOUNDS))
def activation(mode: Interception, func: Any, input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
    input = mode.constant(input)
    if not traced(input):
        return mode.run(func, input, *args, **({"inplace": True} if inplace else {}), **kwargs)
    if inplace:
        mode.mark_stale(input)
    function: Any = lambda x: func(x, *args, **kwargs)  # noqa: E731 - never in place: the graph keeps its input
    operation = mode.operation(ops.Activation, function)
    return function(input) if operation is None else operation(input)


@handles((F, "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"), (torch, "dropout"))
def dropout(
    mode: Interception, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if training and p:
        raise ValueError("dropout is active; call model.eval() before explaining it")
    return input


# Sums, scaling, pooling ----------------------------------------------------------------------------------------------


@handles((torch, "add"), (Tensor, "add __add__ __radd__"))
def add(mode: Interception, func: Any, input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    a, b = mode.constant((input, other))
    if not traced(a, b):
        return func(a, b, alpha=alpha) if alpha != 1 else func(a, b)
    if alpha != 1:
        b = scale(mode, torch.mul, b, alpha)
    a, b = (x if isinstance(x, Tensor) else torch.as_tensor(x).to(y) for x, y in ((a, b), (b, a)))
    operation = mode.operation(ops.Add, (mode.is_normalised(a), mode.is_normalised(b)))
    return a + b if operation is None else operation(a, b)


@handles((torch, "sub subtract"), (Tensor, "sub subtract __sub__"))
def subtract(mode: Interception, func: Any, input: Any, other: Any, *, alpha: Any = 1) -> Any:
    if not traced(*mode.constant((input, other))):
        return mode.run(func, input, other, **({"alpha": alpha} if alpha != 1 else {}))
    return add(mode, torch.add, input, scale(mode, torch.mul, other, -1), alpha=alpha)


@handles((torch, "rsub"), (Tensor, "__rsub__"))
def reversed_subtract(mode: Interception, func: Any, input: Any, other: Any) -> Any:
    if not traced(mode.constant(input)):
        return mode.run(func, input, other)
    return add(mode, torch.add, scale(mode, torch.mul, input, -1), other)


@handles((torch, "mul multiply"), (Tensor, "mul multiply __mul__ __rmul__"))
def scale(mode: Interception, func: Any, input: Any, other: Any) -> Any:
    a, b = mode.constant((input, other))
    if not traced(a, b):
        return a * b
    if traced(a) and traced(b):
        operation = mode.operation(ops.Gate)
        return a * b if operation is None else operation(a, b)
    active, factor = (a, b) if traced(a) else (b, a)
    operation = mode.operation(ops.Scale, factor)
    return active * factor if operation is None else operation(active)


@handles((torch, "neg negative"), (Tensor, "neg negative __neg__"))
def negate(mode: Interception, func: Any, input: Tensor) -> Any:
    return scale(mode, torch.mul, input, -1)


@handles((torch, "div divide true_divide"), (Tensor, "div divide true_divide __truediv__"))
def divide(mode: Interception, func: Any, input: Any, other: Any, *, rounding_mode: Any = None) -> Any:
    a, b = mode.constant((input, other))
    if not traced(a, b):
        return func(a, b) if rounding_mode is None else func(a, b, rounding_mode=rounding_mode)
    if traced(b) or rounding_mode is not None:
        return mode.run(func, a, b)
    factor = b.reciprocal() if isinstance(b, Tensor) else 1 / b
    operation = mode.operation(ops.Scale, factor)
    return a / b if operation is None else operation(a)


_POOLS = "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate"


@handles((torch, "mean sum avg_pool1d adaptive_avg_pool1d"), (Tensor, "mean sum"), (F, _POOLS))
def pooling(mode: Interception, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    if not traced(mode.constant(input)):
        return mode.run(func, input, *args, **kwargs)
    function: Any = lambda x: func(x, *args, **kwargs)  # noqa: E731
    operation = mode.operation(ops.Pooling, function)
    return function(input) if operation is None else operation(input)


# In place ------------------------------------------------------------------------------------------------------------


def in_place(handler: Handler, name: str) -> Handler:
    """A handler for the method ``name_``, as which ``x += y`` arrives too.

    What a backward pass needs must not be overwritten. So a new tensor takes the place of the old one, and Python binds
    it to the name in ``x += y``; reading the old one again is refused. Only copies that nothing needed yet, and views,
    are written into.
    """

    def handle(mode: Interception, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not traced(*mode.constant((input, *args))):
            return mode.run(func, input, *args, **kwargs)
        result = handler(mode, getattr(Tensor, name), input.clone(), *args, **kwargs)
        is_copy = not input.requires_grad or type(input.grad_fn).__name__ in ("CloneBackward0", "CopyBackwards")
        if is_copy or (input._is_view() and not input.is_leaf):
            return input.copy_(result)
        mode.mark_stale(input)
        return result

    return handle


for _handler, _names in (
    (add, "add"),
    (subtract, "sub subtract"),
    (scale, "mul multiply"),
    (divide, "div divide true_divide"),
    (activation, "relu sigmoid tanh clamp clamp_min clamp_max clip"),
):
    for _name in _names.split():
        HANDLERS[getattr(Tensor, _name + "_")] = in_place(_handler, _name)


# Hooks ---------------------------------------------------------------------------------------------------------------


@handles((Tensor, "register_hook"))
def register_hook(mode: Interception, func: Any, self: Tensor, hook: Any) -> RemovableHandle:
    """Hooks that the model's forward puts on tensors are left out: messages here are not the gradients they expect."""
    return RemovableHandle(OrderedDict())


@handles((Tensor, "retain_grad"))
def retain_grad(mode: Interception, func: Any, self: Tensor) -> None:
    """Left out, as hooks are."""


# Autocast ------------------------------------------------------------------------------------------------------------


def _autocast_dtype(x: Any) -> torch.dtype | None:
    """The type to which autocast brings x in matrix products; None where autocast is off."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def autocast(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values as autocast would give them to a matrix product; its own cast must not hide inside an operation."""
    dtype = _autocast_dtype(values[0])
    if dtype is None:
        return values
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in values)
