"""Powers and absolute values, and the statistics that normalisations written by hand divide by."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.function import Activation, Pooling
from ..recorder import Recorder
from ..tensors import traced
from .table import handles

__all__ = ["power", "statistic", "unary"]


@handles((torch, "pow"), (Tensor, "pow __pow__"), in_place_names="pow")
def power(recorder: Recorder, func: Any, input: Any, exponent: Any) -> Any:
    """A fixed power, as in ``relu(x) ** 2``: an activation of x."""
    x, p = recorder.detach_parameters((input, exponent))
    if not traced(x, p):
        return func(x, p)
    if traced(p):
        raise recorder.unsupported(func, (x, p), "with an exponent that depends on the input has no relevance rule")
    output = recorder.apply(Activation(lambda y: y**p), x)
    if isinstance(p, (int, float)) and p < 0:
        recorder.statistics.add(output)
    return output


_UNARY = "square abs absolute sqrt"


@handles((torch, _UNARY), (Tensor, _UNARY + " __abs__"), in_place_names=_UNARY)
def unary(recorder: Recorder, func: Any, input: Tensor) -> Any:
    return recorder.apply(Activation(func), recorder.detach_parameters(input))


@handles((torch, "rsqrt reciprocal"), (Tensor, "rsqrt reciprocal"), in_place_names="rsqrt reciprocal")
def inverse(recorder: Recorder, func: Any, input: Tensor) -> Any:
    """An activation that scales others: times it, they are normalised."""
    output = recorder.apply(Activation(func), recorder.detach_parameters(input))
    recorder.statistics.add(output)
    return output


_NORMS = "norm std"


@handles((torch, _NORMS), (Tensor, _NORMS), (torch.linalg, "norm vector_norm"), (torch.functional, "norm"))
def statistic(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """A norm or deviation grows in proportion to its input, so input times gradient is all of it."""
    x = recorder.detach_parameters(input)
    if not traced(x):
        return recorder.run(func, x, *args, **kwargs)
    output = recorder.apply(Pooling(lambda y: func(y, *args, **kwargs)), x)
    recorder.statistics.add(output)
    return output


@handles((torch, "var"), (Tensor, "var"))
def variance(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The deviation's square."""
    x = recorder.detach_parameters(input)
    if not traced(x):
        return recorder.run(func, x, *args, **kwargs)
    return unary(recorder, torch.square, statistic(recorder, torch.std, x, *args, **kwargs))


@handles((torch, "var_mean"))
def variance_and_mean(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Both, each as it is alone."""
    x = recorder.detach_parameters(input)
    if not traced(x):
        return recorder.run(func, x, *args, **kwargs)
    mean = recorder.apply(Pooling(lambda y: func(y, *args, **kwargs)[1]), x)
    return variance(recorder, torch.var, x, *args, **kwargs), mean


_LOG = "log_softmax"


@handles((torch, _LOG), (Tensor, _LOG), (F, _LOG), always=True)
def log_softmax(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """At the end of a model it takes the logits' meaning away; elsewhere it has no rule."""
    x = recorder.detach_parameters(input)
    if traced(x):
        raise recorder.unsupported(
            func, (x,), "has no relevance rule (at the end of the model, remove it: logits are explained)"
        )
    return func(x, *args, **kwargs)
