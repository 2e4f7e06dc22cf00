"""Linear layers and convolutions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.affine import Convolution, Linear, Projection
from ..recorder import Recorder
from ..tensors import traced
from .table import autocast, handles

__all__ = ["addmm", "affine_map", "convolution", "projection", "transposed_convolution"]


def projection(recorder: Recorder, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """In- or out-projection of ``multi_head_attention_forward``."""
    output = affine_map(recorder, Projection, x, weight, bias)
    if recorder.positions is not None and recorder.positions.active:
        recorder.positions.follow(F.linear, (x,), None, output)
    return output


def affine_map(recorder: Recorder, form: type[Linear], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The map x W^T + b; a weight that depends on the input has no rule."""
    x, w, b = recorder.detach_parameters((x, weight, bias))
    x, w, b = autocast((x, w, b))
    if traced(w, b):
        raise recorder.unsupported(F.linear, (x, w), "with a weight that depends on the input has no relevance rule")
    return recorder.apply(form(w, b), x, owner=weight)


@handles((torch, "addmm"))
def addmm(
    recorder: Recorder, func: Any, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    bias, weight = recorder.detach_parameters((input, mat2))
    if beta != 1 or alpha != 1 or traced(bias, weight):
        return recorder.run(func, input, mat1, mat2, beta=beta, alpha=alpha)
    return affine_map(recorder, Linear, mat1, weight.t(), input)


@handles((F, "conv1d conv2d conv3d"), (torch, "conv1d conv2d conv3d"))
def convolution(
    recorder: Recorder,
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    x, w, b = autocast(recorder.detach_parameters((input, weight, bias)))
    if not traced(x, w, b):
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
    _check_constant(recorder, func, w, b)
    return recorder.apply(Convolution(w, b, geometry), x, owner=weight)


_TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"


@handles((F, _TRANSPOSED), (torch, _TRANSPOSED))
def transposed_convolution(
    recorder: Recorder,
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    x, w, b = autocast(recorder.detach_parameters((input, weight, bias)))
    rank = w.dim() - 2
    strides, dilations, added = _each(stride, rank), _each(dilation, rank), _each(output_padding, rank)
    geometry = (strides, _each(padding, rank), dilations, True, added, groups)
    _check_constant(recorder, func, w, b)
    return recorder.apply(Convolution(w, b, geometry), x, owner=weight)


def _check_constant(recorder: Recorder, func: Any, weight: Tensor, bias: Tensor | None) -> None:
    if traced(weight, bias):
        raise recorder.unsupported(func, (weight,), "with a weight that depends on the input has no relevance rule")


def _each(value: Any, rank: int) -> list[int]:
    return [value] * rank if isinstance(value, int) else list(value) * (rank if len(value) == 1 else 1)
