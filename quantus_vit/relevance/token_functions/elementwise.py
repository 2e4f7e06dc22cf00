"""Functions that work within each place, or only move values about."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..token_positions import MixedPlacesError, Record
from ..token_tracking import TokenTracking, handles

__all__ = ["elementwise_sum"]

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
    tracked: dict[tuple[Record, int], None] = {}
    for x in (*args, *options.values()):
        record = mode.record_of(x) if isinstance(x, Tensor) else None
        if record is not None and record.sets:
            tracked[record, x.dim()] = None
    return mode.note(result, mode.table.combined(list(tracked), result.dim()))


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


def _require_one_place(mode: TokenTracking, x: Tensor, dims: Sequence[int], reason: str) -> None:
    along_dims = {dim % x.dim() for dim in dims}
    if any(one.dims & along_dims for one in mode.sets_of(x)):
        raise MixedPlacesError(reason)


def _named(func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments by name, where the function is Python's and says them."""
    try:
        return dict(inspect.signature(func).bind(*args, **options).arguments)
    except (TypeError, ValueError):
        return dict(options)
