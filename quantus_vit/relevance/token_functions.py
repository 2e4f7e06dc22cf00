"""What each torch function does to the places of its tensors, and where removed ones are left out.

Functions of the table get the mode, the function that the model called, and the call. Before attention has met the grid
convolutions and pooling make a new one (the stem of a hybrid); afterwards they are refused.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .token_contraction import contract, einsum_labels, matmul_labels
from .token_positions import NOWHERE, MixedPlacesError, Positions, Record
from .token_tracking import TokenTracking, handles

__all__: list[str] = []

_UNARY = (
    "abs absolute neg negative exp expm1 log log1p sqrt rsqrt square reciprocal sigmoid tanh relu erf sin cos sign "
    "clamp clamp_min clamp_max clip pow float_power nan_to_num round floor"
)
_SUMS = "add sub subtract rsub where lerp maximum minimum fmax fmin"
_FACTORS = "mul multiply div divide true_divide masked_fill eq ne lt le gt ge logical_not logical_and isnan isinf"
_OPERATORS = "__add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __pow__ __rpow__ __neg__"
_PRODUCTS = "__mul__ __rmul__ __imul__ __truediv__ __rtruediv__ __itruediv__ __eq__ __ne__ __lt__ __gt__ __invert__"
_CASTS = "to type type_as float half bfloat16 double cpu cuda contiguous clone detach requires_grad_ expand_as"
_IN_PLACE = "add_ sub_ mul_ div_ relu_ sigmoid_ tanh_ clamp_ masked_fill_ nan_to_num_ copy_"
_ACTIVATIONS = (
    "relu gelu silu elu selu celu leaky_relu hardswish hardsigmoid hardtanh relu6 mish softplus softsign tanh sigmoid "
    "logsigmoid dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
)
_ALONG = "layer_norm rms_norm normalize log_softmax glu"
_POOLS = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate upsample"
)
_MOVES = (
    "__getitem__ broadcast_to cat chunk concat concatenate constant_pad_nd diagonal expand flatten flip fold gather "
    "hstack index_select movedim moveaxis narrow permute pixel_shuffle pixel_unshuffle repeat repeat_interleave "
    "reshape reshape_as roll select split squeeze stack swapaxes swapdims t take_along_dim tensor_split tile "
    "transpose unbind unflatten unfold unsqueeze view view_as vstack broadcast_tensors pad"
)


@handles((torch, _UNARY + " " + _FACTORS), (Tensor, " ".join((_UNARY, _FACTORS, _PRODUCTS, _CASTS, _IN_PLACE))))
@handles((F, _ACTIVATIONS), (torch._C._nn, "gelu"), (torch, "dropout clone detach"))
def elementwise(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A value of the result from the values of the same place."""
    result = func(*args, **options)
    tracked = [(mode.record_of(x), x.dim()) for x in (*args, *options.values()) if isinstance(x, Tensor)]
    records = [(record, rank) for record, rank in dict.fromkeys(tracked) if record is not None and record.sets]
    return mode.note(result, mode.table.combined(records, result.dim()))


@handles((torch, "ones_like zeros_like full_like empty_like rand_like randn_like"))
@handles((Tensor, "new_ones new_zeros new_full new_empty new_tensor"))
def constant(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A tensor of a given one's shape or type only."""
    return mode.note(func(*args, **options), None)  # type: ignore[no-any-return]


@handles((torch, _SUMS), (Tensor, _SUMS + " " + _OPERATORS))
def elementwise_sum(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The same; attention weights get nothing added that was normalised over tokens that may be removed."""
    result = elementwise(mode, func, args, options)
    record = mode.record_of(result)
    if record is not None and record.weights:
        keys = {dim - result.dim() for one in record.sets for dim in one.dims}
        for x in args:
            if isinstance(x, Tensor) and not mode.record_of(x) and any(-d <= x.dim() and x.size(d) > 1 for d in keys):
                raise MixedPlacesError("adds constant attention, normalised over all tokens, to attention weights")
    return result


@handles((F, _ALONG), (torch, "layer_norm rms_norm log_softmax"), (Tensor, "log_softmax"))
def along(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A normalisation along dimensions that hold one place each."""
    x = args[0] if args else options["input"]
    if "_norm" in func.__name__:
        shape = options["normalized_shape"] if "normalized_shape" in options else args[1]
        dims = tuple(range(-len(shape), 0)) if isinstance(shape, Sequence) else (-1,)
    else:
        place = 2 if func is F.normalize else 1
        dims = (options.get("dim", args[place] if len(args) > place else 1 if func is F.normalize else -1),)
    _require_one_place(mode, x, dims, "normalises over the tokens")
    return mode.note(func(*args, **options), mode.record_of(x))


@handles((F, "batch_norm group_norm instance_norm"), (torch, "batch_norm group_norm"))
def map_normalisation(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A normalisation of maps: a part of the stem, or by running statistics."""
    x = args[0] if args else options["input"]
    by_statistics = func in (F.batch_norm, torch.batch_norm) and not _named(func, args, options).get("training")
    if not by_statistics and mode.used:
        raise MixedPlacesError("normalises over the tokens")
    return mode.note(func(*args, **options), mode.record_of(x))


def move(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A function that only moves values about."""
    return mode.note(func(*args, **options), mode.table.route(func, args, options, mode.record_of))


handles((torch, _MOVES), (Tensor, _MOVES), (F, "pad fold unfold pixel_shuffle pixel_unshuffle"))(move)
handles(*((getattr(Tensor, name), "__get__") for name in ("T", "mT", "H", "mH")), (torch._C._nn, "pad"))(move)


@handles((torch, "softmax"), (F, "softmax"), (Tensor, "softmax"))
def softmax(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Attention weights: removed keys get none. Where no key is left the weights are 0."""
    x = args[0] if args else options.pop("input")
    dim = options.pop("dim") if "dim" in options else args[1] if len(args) > 1 else -1
    dim = (-1 if dim is None else dim) % x.dim()
    record = mode.record_of(x)
    assert record is not None
    keys = [one for one in record.sets if dim in one.dims]
    if not keys:
        return mode.note(torch.softmax(x, dim, **_dtype(args[2:], options)), record)
    if keys[0].dims != {dim}:
        raise MixedPlacesError("attends over a part of the tokens at a time")
    result = torch.softmax(mode.dropped(keys[0], x, -math.inf), dim, **_dtype(args[2:], options))
    empty = _empty(mode, keys[0], dim, x)
    return mode.note(result if empty is None else result.masked_fill(empty, 0), record._replace(weights=True))


def _dtype(rest: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    given = options.get("dtype") or next((x for x in rest if isinstance(x, torch.dtype)), None)
    return {} if given is None else {"dtype": given}


def _empty(mode: TokenTracking, one: Positions, dim: int, x: Tensor) -> Tensor | None:
    """Where all along ``dim`` is removed, of size 1 there; None where there is no such image."""
    removed = mode.removed(one, x.device)
    if removed is None:
        return None
    empty = removed.all(dim, keepdim=True)
    return empty if bool(empty.any()) else None


@handles((F, "scaled_dot_product_attention"))
def attention(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """Attention in one call: the mask hides the removed keys."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    call = {**dict(zip(names, args, strict=False)), **options}
    query, key, value = call["query"], call["key"], call["value"]
    one = _keys_of(mode, key, value, key.dim() - 2)
    record = Record(_sets(mode, query)) if _sets(mode, query) else NOWHERE
    if one is None:
        return mode.note(func(*args, **options), record)  # type: ignore[no-any-return]
    removed, empty = mode.removed(one, key.device), _empty(mode, one, key.dim() - 2, key)
    if removed is not None:
        if call.get("is_causal"):
            raise MixedPlacesError("is causal attention")
        hidden, given = removed.mT, call.get("attn_mask")
        if given is None:
            call["attn_mask"] = ~hidden
        elif given.dtype == torch.bool:
            call["attn_mask"] = given & ~hidden
        else:
            call["attn_mask"] = _expanded(given, hidden).masked_fill(hidden, -math.inf)
    result = func(**call)
    return mode.note(result if empty is None else result.masked_fill(empty, 0), record)  # type: ignore[no-any-return]


def _expanded(given: Tensor, hidden: Tensor) -> Tensor:
    return given + given.new_zeros(hidden.shape)


def _sets(mode: TokenTracking, x: Tensor) -> tuple[Positions, ...]:
    record = mode.record_of(x)
    return () if record is None else record.sets


def _keys_of(mode: TokenTracking, key: Tensor, value: Tensor, dim: int) -> Positions | None:
    """The places that keys and values have along ``dim``."""
    if not _sets(mode, key) and not _sets(mode, value):
        return None
    if _sets(mode, key) != _sets(mode, value) or len(_sets(mode, key)) != 1:
        raise MixedPlacesError("attends with keys and values of different tokens")
    (one,) = _sets(mode, key)
    if one.dims != {dim}:
        raise MixedPlacesError("attends over a part of the tokens at a time")
    return one


_MHA = inspect.signature(F.multi_head_attention_forward)


@handles((F, "multi_head_attention_forward"))
def multi_head_attention(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """``nn.MultiheadAttention``, tensors (tokens, N, width): torch's own padding mask hides the removed keys."""
    call = _MHA.bind(*args, **options).arguments
    query, key = call["query"], call["key"]
    if query.dim() != 3 or call.get("is_causal"):
        raise MixedPlacesError("is causal attention, or has no batch")
    one = _keys_of(mode, key, call["value"], 0)
    record = Record(_sets(mode, query)) if _sets(mode, query) else NOWHERE
    removed = None if one is None else mode.removed(one, key.device)
    if one is None or removed is None:
        return mode.note(func(*args, **options), [record, NOWHERE])
    if call.get("static_k") is not None or call.get("static_v") is not None:
        raise MixedPlacesError("attends with keys given from outside")
    hidden, padding, mask = removed[..., 0].T, call.get("key_padding_mask"), call.get("attn_mask")
    if padding is not None and padding.dtype == torch.bool:
        hidden = hidden | padding
    given = [x for x in (padding, mask) if x is not None and x.dtype != torch.bool]
    if given:  # all masks in one type
        start = padding if padding is not None and padding.dtype != torch.bool else given[0].new_zeros(hidden.shape)
        hidden = start.masked_fill(hidden, -math.inf)
    call["key_padding_mask"] = hidden
    output, weights = func(**call)
    empty = _empty(mode, one, 0, key)
    if empty is not None:
        bias = call["out_proj_bias"]
        output = torch.where(empty, 0.0 if bias is None else bias.to(output), output)
    return mode.note((output, weights), [record, NOWHERE])


@handles((torch, "matmul bmm mm"), (Tensor, "matmul bmm mm __matmul__ __rmatmul__"))
def matmul(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A product of two matrices, or a linear map without bias."""
    a, b = _operands(args, options, ("input", "other", "mat2"))
    a, b = (b, a) if func is Tensor.__rmatmul__ else (a, b)
    if not _sets(mode, b) and b.dim() == 2 and a.dim() >= 2:
        return mode.note(torch.matmul(a, b), _after_linear(mode, a))  # type: ignore[no-any-return]
    record, summed = contract(mode.table, _pair(mode, a, b), matmul_labels(a.dim(), b.dim()))
    return mode.note(torch.matmul(a, b if summed is None else mode.dropped(summed, b)), record)  # type: ignore[no-any-return]


@handles((torch, "baddbmm addmm"), (Tensor, "baddbmm addmm"))
def added_matmul(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """``beta * input + alpha * (a @ b)``."""
    start, a, b = args
    if not _sets(mode, b) and b.dim() == 2:
        product = _after_linear(mode, a)
    else:
        product, summed = contract(mode.table, _pair(mode, a, b), matmul_labels(a.dim(), b.dim()))
        b = b if summed is None else mode.dropped(summed, b)
    result = func(start, a, b, **options)
    records = [(r, x) for r, x in ((product, result.dim()), (Record(_sets(mode, start)), start.dim())) if r.sets]
    return mode.note(result, mode.table.combined(records, result.dim()))  # type: ignore[no-any-return]


@handles((torch, "einsum"), (torch.functional, "einsum"))
def einsum(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A product of two tensors by an equation."""
    equation, operands = args[0], args[1:]
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    labels = einsum_labels(equation, operands)
    record, summed = contract(mode.table, _pair(mode, *operands), labels)
    a, b = operands
    return mode.note(func(equation, a, b if summed is None else mode.dropped(summed, b)), record)  # type: ignore[no-any-return]


def _pair(mode: TokenTracking, a: Tensor, b: Tensor) -> tuple[Record, Record]:
    return Record(_sets(mode, a)), Record(_sets(mode, b))


def _operands(args: tuple[Any, ...], options: dict[str, Any], names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    a, b = (*args, *(options[name] for name in names if name in options))
    return a, b


@handles((F, "linear"), (torch._C._nn, "linear"))
def linear(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A linear map over the last dimension."""
    x = args[0] if args else options["input"]
    if any(_sets(mode, w) for w in (*args[1:], *options.values()) if isinstance(w, Tensor) and w is not x):
        raise MixedPlacesError("has a weight that depends on the tokens")
    return mode.note(func(*args, **options), _after_linear(mode, x))  # type: ignore[no-any-return]


def _after_linear(mode: TokenTracking, x: Tensor) -> Record:
    sets, last = _sets(mode, x), x.dim() - 1
    mixed = [one for one in sets if last in one.dims]
    if not mixed:
        return Record(sets)
    if mode.used or len(sets) > 1:
        raise MixedPlacesError("mixes tokens by a linear map")
    found: Record = mode.table.remembered(("linear", mixed[0]), lambda: mode.table.mixed(mixed[0]))
    return found


@handles((F, "conv1d conv2d conv3d"), (torch, "conv1d conv2d conv3d convolution"))
def convolution(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A convolution: of one place each (kernel 1), or a part of the stem, which makes a new grid."""
    x, weight = _operands(args[:2], options, ("input", "weight"))
    result: Tensor = func(*args, **options)
    sets, maps = _sets(mode, x), set(range(2, x.dim()))
    pointwise = set(weight.shape[2:]) == {1} and result.shape[2:] == x.shape[2:]
    if pointwise and all(1 not in one.dims for one in sets):
        return mode.note(result, Record(sets))  # type: ignore[no-any-return]
    return mode.note(result, _new_grid(mode, sets, maps, result, "mixes tokens by a convolution"))  # type: ignore[no-any-return]


def _new_grid(mode: TokenTracking, sets: Sequence[Positions], maps: set[int], result: Tensor, reason: str) -> Record:
    if mode.used or len(sets) != 1 or not sets[0].dims <= maps:
        raise MixedPlacesError(reason)
    return mode.table.fresh(result.shape)


@handles((F, _POOLS), (torch, _POOLS))
def map_pooling(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Pooling of maps: to one value, over the tokens that are left; else a part of the stem."""
    x = args[0] if args else options["input"]
    size = args[1] if len(args) > 1 else options.get("output_size")
    name = func.__name__
    if name.startswith("adaptive_") and size in (1, (1,), (1, 1), [1], [1, 1], (1, 1, 1), [1, 1, 1]):
        dims = tuple(range(-int(name[-2]), 0))
        return pool(mode, torch.mean if "avg" in name else torch.amax, (x,), {"dim": dims, "keepdim": True})
    if not _sets(mode, x)[0].dims & set(range(2, x.dim())):
        return mode.note(func(*args, **options), mode.record_of(x))
    result = func(*args, **options)
    return mode.note(result, _new_grid(mode, _sets(mode, x), set(range(2, x.dim())), result, "pools tokens in parts"))


@handles((torch, "mean sum amax amin max min std var norm"), (Tensor, "mean sum amax amin max min std var norm"))
@handles((torch.linalg, "vector_norm norm"), (torch, "var_mean std_mean count_nonzero argmax argmin any all"))
def pool(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A reduction: over tokens it takes those that are left (of none it is 0); else it goes on within each place."""
    name = func.__name__
    if name in ("max", "min") and len(args) > 1 and isinstance(args[1], Tensor):
        return elementwise_sum(mode, func, args, options)
    x, dims, keepdim = _reduction(name, args, options)
    mixed = [one for one in _sets(mode, x) if one.dims & set(dims)]
    if not mixed:
        return mode.note(func(*args, **options), _reduced(mode, x, dims, keepdim))
    one = mixed[0]
    if not mode.used and len(one.dims) > 1:  # a map's statistics, as in squeeze and excitation, are the stem's
        return mode.note(func(*args, **options), NOWHERE)
    if len(mixed) > 1 or not one.dims <= set(dims) or name not in ("mean", "sum", "amax", "amin", "max", "min"):
        raise MixedPlacesError(f"takes the {name} over a part of the tokens, or one that removal does not know")
    record = mode.table.remembered(
        ("pooled", mode.record_of(x), dims, keepdim), lambda: _pooled(mode, x, dims, keepdim)
    )
    removed = mode.removed(one, x.device)
    if removed is None:
        return mode.note(func(*args, **options), record)
    if name in ("mean", "sum"):
        return mode.note(_mean_or_sum(name, x, removed, dims, keepdim, options.get("dtype")), record)
    fill = torch.finfo(x.dtype).min if "max" in name else torch.finfo(x.dtype).max
    result = func(x.masked_fill(removed, fill), *args[1:], **options)
    empty = removed.all(dim=dims[0], keepdim=keepdim) if len(dims) == 1 else None
    if empty is None or not bool(empty.any()):
        return mode.note(result, record)
    return mode.note(result.masked_fill(empty, 0) if isinstance(result, Tensor) else result, record)


def _mean_or_sum(
    name: str, x: Tensor, removed: Tensor, dims: tuple[int, ...], keepdim: bool, dtype: torch.dtype | None
) -> Tensor:
    total = x.masked_fill(removed, 0).sum(dims, keepdim, dtype=dtype)
    if name == "sum":
        return total
    shape = [x.size(d) if d in dims else removed.size(d) for d in range(x.dim())]
    count = (~removed).expand(shape).sum(dims, keepdim).clamp(min=1)
    return total / count.to(total.dtype)


def _reduction(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Tensor, tuple[int, ...], bool]:
    """Input, dimensions (0 and up) and ``keepdim`` of a reduction's call."""
    x = args[0] if args else options["input"]
    rest = list(args[2:] if "norm" in name else args[1:])
    dim = options.get("dim", options.get("axis", rest[0] if rest else None))
    if isinstance(dim, bool):
        raise MixedPlacesError(f"is a {name} over all dimensions with options")
    keepdim = options.get("keepdim", rest[-1] if len(rest) > 1 and isinstance(rest[-1], bool) else False)
    dims = range(x.dim()) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
    return x, tuple(d % x.dim() for d in dims), bool(keepdim)


def _reduced(mode: TokenTracking, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Record:
    """The record after a reduction within places."""
    record = mode.record_of(x)
    assert record is not None

    def compute() -> Record:
        sets = [one.values if keepdim else one.values.squeeze(dims) for one in record.sets]
        return mode.table.record(
            [mode.table.positions(values, one.grid) for values, one in zip(sets, record.sets, strict=True)]
        )

    found: Record = mode.table.remembered(("reduced", record, dims, keepdim), compute)
    return found


def _pooled(mode: TokenTracking, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Record:
    """The record after pooling over all tokens of each image; whoever pools a part of them is refused."""
    record = mode.record_of(x)
    assert record is not None
    rest = []
    for one in record.sets:
        if not one.dims & set(dims):
            rest.append(mode.table.positions(one.values if keepdim else one.values.squeeze(dims), one.grid))
    return mode.table.record(rest)


def _require_one_place(mode: TokenTracking, x: Tensor, dims: Sequence[int], reason: str) -> None:
    along_dims = {dim % x.dim() for dim in dims}
    if any(one.dims & along_dims for one in _sets(mode, x)):
        raise MixedPlacesError(reason)


def _named(func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments by name, where the function is Python's and says them."""
    try:
        return dict(inspect.signature(func).bind(*args, **options).arguments)
    except (TypeError, ValueError):
        return dict(options)
