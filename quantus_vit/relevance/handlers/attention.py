"""Softmax, and attention in one call, taken apart into the steps that have rules."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.normalisation import Softmax
from ..recorder import Recorder
from ..tensors import traced
from .affine import projection
from .arithmetic import add, pooling
from .arithmetic import scale as times
from .products import matmul
from .table import autocast, autocast_dtype, handles

__all__ = ["multi_head_attention", "same_values", "scaled_dot_product_attention", "softmax"]


@handles((torch, "softmax"), (F, "softmax"), (Tensor, "softmax"), always=True)
def softmax(
    recorder: Recorder, func: Any, input: Tensor, dim: Any = None, *unused: Any, dtype: Any = None, **kwargs: Any
) -> Tensor:
    if dtype is None and unused and isinstance(unused[-1], torch.dtype):
        dtype = unused[-1]
    return recorder.mark_weights(_softmax(recorder, input, -1 if dim is None else dim, dtype))


def _softmax(recorder: Recorder, scores: Tensor, dim: int = -1, dtype: torch.dtype | None = None) -> Tensor:
    x = recorder.detach_parameters(scores)
    if dtype is None and autocast_dtype(x) is not None:
        dtype = torch.float32
    x = x if dtype is None else x.to(dtype)
    recorder.mark_scores(x)
    return recorder.apply(Softmax(dim), x)


@handles((Tensor, "to type_as float half bfloat16 double contiguous clone"), (torch, "clone"), always=True)
def same_values(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Attention weights in another type (as half precision models cast them) are still attention weights."""
    return recorder.forward_mark(input, recorder.run(func, input, *args, **kwargs))


@handles((F, "scaled_dot_product_attention"), always=True)
def scaled_dot_product_attention(
    recorder: Recorder,
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
        raise recorder.unsupported(func, (query, key, value), "with grouped queries has no relevance rule")
    return _attend(recorder, query, key, value, attn_mask, is_causal, scale)[0]


def _attend(
    recorder: Recorder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The output, and the attention weights."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    query, key, value = (recorder.detach_parameters(x) for x in (query, key, value))
    # Where no rule sees the scaling, queries are scaled, fewer numbers than scores; in half precision that rounds more.
    if torch.finfo(query.dtype).bits > 16 and (recorder.is_plain or not traced(query, key)):
        scores: Tensor = torch.matmul(*autocast((query * factor, key.transpose(-2, -1))))
    else:
        scores = times(recorder, torch.mul, matmul(recorder, torch.matmul, query, key.transpose(-2, -1)), factor)
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = add(recorder, torch.add, scores, attn_mask)
    weights = recorder.mark_weights(_softmax(recorder, scores), meets_values=True)
    weights = recorder.forward_mark(weights, weights.to(value.dtype))
    return matmul(recorder, torch.matmul, weights, value), weights


@handles((F, "multi_head_attention_forward"), always=True)
def multi_head_attention(
    recorder: Recorder,
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
        raise recorder.unsupported(func, (query, key, value), "with padding masks, extra keys or no batch has no rule")
    if training and dropout_p:
        raise ValueError("attention dropout is active; call model.eval() before explaining it")
    tokens = {id(x): x for x in (query, key, value)}
    if use_separate_proj_weight:
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    elif len(tokens) == 1:
        weights = [in_proj_weight]
    else:
        weights = list(recorder.detach_parameters(in_proj_weight).chunk(3))
    biases: list[Any] = [None] * 3 if in_proj_bias is None else list(in_proj_bias.detach().chunk(3))
    if len(weights) == 1:
        q, k, v = projection(recorder, query, weights[0], in_proj_bias).chunk(3, -1)  # type: ignore[arg-type]
    else:
        q, k, v = (
            projection(recorder, x, w, b)  # type: ignore[arg-type]
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
    length, size, width = q.shape
    heads = [x.reshape(x.shape[0], size, num_heads, -1).permute(1, 2, 0, 3) for x in (q, k, v)]
    if recorder.positions is not None:
        recorder.positions.carry(value, heads[2], lambda places: places[..., 0].t()[:, None, :, None])
    if attn_mask is not None and attn_mask.dim() == 3:
        attn_mask = attn_mask.view(size, num_heads, *attn_mask.shape[1:])
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = ~attn_mask  # here True means "not allowed", there "allowed"
    tokens_in, (query, key, value) = query, heads
    output, weights_of_heads = _attend(recorder, query, key, value, attn_mask)
    output = output.permute(2, 0, 1, 3).reshape(length, size, width)
    if recorder.positions is not None:
        recorder.positions.carry(tokens_in, output, lambda places: places)
    output = projection(recorder, output, out_proj_weight, out_proj_bias)
    if not need_weights:
        return output, None
    return output, pooling(recorder, torch.mean, weights_of_heads, 1) if average_attn_weights else weights_of_heads
