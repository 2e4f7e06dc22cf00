"""Attention: removed keys get no weight."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..token_positions import NOWHERE, MixedPlacesError, Positions, Record
from ..token_tracking import TokenTracking, handles

__all__: list[str] = []

_MHA = inspect.signature(F.multi_head_attention_forward)


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
    mode.attended = True
    result = torch.softmax(mode.dropped(keys[0], x, -math.inf), dim, **_dtype(args[2:], options))
    empty = mode.emptied(keys[0], dim, x.device)
    return mode.note(result if empty is None else result.masked_fill(empty, 0), record._replace(weights=True))


def _dtype(rest: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    given = options.get("dtype") or next((x for x in rest if isinstance(x, torch.dtype)), None)
    return {} if given is None else {"dtype": given}


@handles((F, "scaled_dot_product_attention"))
def attention(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """Attention in one call: the mask hides the removed keys."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    call = {**dict(zip(names, args, strict=False)), **options}
    query, key, value = call["query"], call["key"], call["value"]
    one = _keys_of(mode, key, value, key.dim() - 2)
    record = Record(mode.sets_of(query)) if mode.sets_of(query) else NOWHERE
    if one is None:
        return mode.note(func(*args, **options), record)  # type: ignore[no-any-return]
    removed, empty = mode.removed(one, key.device), mode.emptied(one, key.dim() - 2, key.device)
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


def _keys_of(mode: TokenTracking, key: Tensor, value: Tensor, dim: int) -> Positions | None:
    """The places that keys and values have along ``dim``, which attention meets here."""
    if not mode.sets_of(key) and not mode.sets_of(value):
        return None
    mode.attended = True
    if mode.sets_of(key) != mode.sets_of(value) or len(mode.sets_of(key)) != 1:
        raise MixedPlacesError("attends with keys and values of different tokens")
    (one,) = mode.sets_of(key)
    if one.dims != {dim}:
        raise MixedPlacesError("attends over a part of the tokens at a time")
    return one


@handles((F, "multi_head_attention_forward"))
def multi_head_attention(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """``nn.MultiheadAttention``, tensors (tokens, N, width): torch's own padding mask hides the removed keys."""
    call = _MHA.bind(*args, **options).arguments
    query, key = call["query"], call["key"]
    if query.dim() != 3 or call.get("is_causal"):
        raise MixedPlacesError("is causal attention, or has no batch")
    one = _keys_of(mode, key, call["value"], 0)
    record = Record(mode.sets_of(query)) if mode.sets_of(query) else NOWHERE
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
    empty = mode.emptied(one, 0, key.device)
    if empty is not None:
        bias = call["out_proj_bias"]
        output = torch.where(empty, 0.0 if bias is None else bias.to(output), output)
    return mode.note((output, weights), [record, NOWHERE])
