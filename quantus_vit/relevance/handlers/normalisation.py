"""Normalisations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.base import Operation
from ..operations.normalisation import LayerNorm, Normalisation
from ..recorder import Recorder
from ..tensors import traced
from .table import autocast_dtype, handles

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "normalise", "normalize", "rms_norm"]


@handles((F, "layer_norm"), (torch, "layer_norm"))
def layer_norm(
    recorder: Recorder,
    func: Any,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *unused: Any,
    **kwargs: Any,
) -> Tensor:
    x, w, b = recorder.detach_parameters((input, weight, bias))
    if autocast_dtype(x) is not None:
        x = x.float()
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    return normalise(recorder, LayerNorm(shape, w, b, eps), x, weight)


@handles((F, "rms_norm"), (torch, "rms_norm"))
def rms_norm(
    recorder: Recorder, func: Any, input: Tensor, normalized_shape: Any, weight: Any = None, eps: Any = None
) -> Any:
    x, w = recorder.detach_parameters((input, weight))
    dims = tuple(range(-len(normalized_shape), 0))

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        epsilon = torch.finfo(at.dtype).eps if eps is None else eps
        scale = (at.pow(2).mean(dims, keepdim=True) + epsilon).rsqrt()
        return message * scale if w is None else message * scale * w

    return normalise(recorder, Normalisation(lambda y: func(y, normalized_shape, w, eps), frozen), x, weight)


@handles((F, "normalize"))
def normalize(
    recorder: Recorder, func: Any, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Any:
    def frozen(message: Tensor, at: Tensor) -> Any:
        return message / torch.linalg.vector_norm(at, p, dim, keepdim=True).clamp_min(eps)

    x = recorder.detach_parameters(input)
    return normalise(recorder, Normalisation(lambda y: func(y, p, dim, eps), frozen), x, None)


@handles((F, "group_norm"), (torch, "group_norm"))
def group_norm(
    recorder: Recorder,
    func: Any,
    input: Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *unused: Any,
) -> Any:
    x, w, b = recorder.detach_parameters((input, weight, bias))
    return _by_groups(recorder, lambda y: F.group_norm(y, num_groups, w, b, eps), x, num_groups, w, b, eps, weight)


@handles((F, "instance_norm"), (torch, "instance_norm"))
def instance_norm(
    recorder: Recorder,
    func: Any,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *unused: Any,
) -> Any:
    if not use_input_stats:
        return batch_norm(recorder, F.batch_norm, input, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is not None:  # would be updated
        raise ValueError("instance normalisation is in training mode; call model.eval() before explaining it")
    x, w, b = recorder.detach_parameters((input, weight, bias))
    function = lambda y: F.instance_norm(y, None, None, w, b, True, momentum, eps)  # noqa: E731
    return _by_groups(recorder, function, x, x.shape[1], w, b, eps, weight)


def _by_groups(
    recorder: Recorder,
    function: Any,
    x: Tensor,
    groups: int,
    w: Tensor | None,
    b: Tensor | None,
    eps: float,
    owner: Any,
) -> Any:
    """Normalise groups of channels, each image by itself."""

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        grouped = at.reshape(at.shape[0], groups, -1)
        rstd = (grouped.var(-1, unbiased=False, keepdim=True) + eps).rsqrt()
        scaled = message if w is None else message * w.view(1, -1, *[1] * (message.dim() - 2))
        parts = scaled.reshape(grouped.shape) * rstd
        return (parts - parts.mean(-1, keepdim=True)).reshape(at.shape)

    return normalise(recorder, Normalisation(function, frozen, b), x, owner)


@handles((F, "batch_norm"), always=True)
def batch_norm(
    recorder: Recorder,
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
    x, w, b = recorder.detach_parameters((input, weight, bias))
    counts = training and running_mean is not None  # standardised weights have no running statistics
    if not traced(x) and not counts:
        return func(x, running_mean, running_var, w, b, training, momentum, eps)
    if training or running_var is None:
        raise ValueError("batch normalisation is in training mode; call model.eval() before explaining it")

    scale = (running_var + eps).rsqrt() if w is None else w * (running_var + eps).rsqrt()
    shift = scale * -running_mean if b is None else b - scale * running_mean  # type: ignore[operator]

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        return message * scale.view(1, -1, *[1] * (message.dim() - 2))

    function = lambda y: func(y, running_mean, running_var, w, b, False, momentum, eps)  # noqa: E731
    return normalise(recorder, Normalisation(function, frozen, shift), x, weight)


def normalise(recorder: Recorder, operation: Operation, x: Tensor, owner: Any) -> Tensor:
    """Run a normalisation, and note that x entered one."""
    if recorder.composite is not None:
        recorder.normalised.add(x, operation)
    return recorder.apply(operation, x, owner=owner)
