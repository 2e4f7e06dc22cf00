"""One call of an explainer by the conventions of ``quantus.explain``.

Knows how Quantus passes inputs, targets and options to its Captum methods and what it does with the result; does not
know where the call comes from, nor any particular explainer.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from . import compat
from .calls import call
from .model_state import device_of, precision, restored_modes
from .registry import MethodSpec

__all__ = ["explain"]

# What Quantus reads for all methods, and what it reads for one of them and ignores for the others.
_CONVENTIONS = frozenset(
    {"method", "xai_lib", "xai_lib_kwargs", "softmax", "channel_first", "reduce_axes", "keepdims", "device"}
)
_OF_OTHER_METHODS = frozenset(
    {
        "abs", "attributor", "attributor_kwargs", "baseline", "canonizer", "canonizer_kwargs", "composite",
        "composite_kwargs", "constant_value", "gc_layer", "img_size", "interpolate", "interpolate_mode", "n_steps",
        "neg_only", "noise", "normalise", "normalise_func", "num_samples", "nr_channels", "pos_only", "return_shape",
        "window",
    }
)  # fmt: skip


def explain(spec: MethodSpec, model: Any, inputs: Any, targets: Any, options: Mapping[str, Any]) -> np.ndarray:
    """Explain a batch.

    Parameters
    ----------
    spec : MethodSpec
        The method.
    model : nn.Module
        In evaluation mode while it is explained, afterwards in the mode in which it came; moved to
        ``options["device"]`` if given, as Quantus does.
    inputs : ndarray or Tensor
        (N, C, H, W), or (N, H, W, C) by ``options["channel_first"]`` or Quantus' inference; volumes (N, C, D, H, W),
        or (N, D, H, W, C) by ``channel_first=False`` alone, since Quantus infers nothing there. Taken in the model's
        precision.
    targets : int, sequence, ndarray, Tensor or None
        Class per image: one for all, or of shape (N,); None for the predicted class.
    options : mapping
        The keyword arguments of ``quantus.explain``. ``reduce_axes`` (default ``(1,)``) are summed over, with
        ``keepdims`` (default True); ``xai_lib_kwargs`` go to the explainer, and so does every other keyword that its
        signature names.

    Returns
    -------
    ndarray
        float32, with the default ``reduce_axes`` (N, 1, H, W), of volumes (N, 1, D, H, W).

    Raises
    ------
    TypeError, ValueError
        For a model, axes or options that cannot be.
    ImportError
        What the method needs is not installed.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{spec.name} explains a torch.nn.Module, not {type(model).__name__}")
    offered = {key: value for key, value in options.items() if key not in _CONVENTIONS}
    with torch.inference_mode(False), torch.enable_grad(), restored_modes(model):
        batch, channel_first = _as_batch(inputs, model, options)
        axes = _axes_to_sum(options, batch.ndim)
        explained = _with_softmax(model, options.get("softmax"), channel_first)
        explained.to(options.get("device")).eval()
        batch = batch.to(options.get("device") or device_of(explained))
        labels = None if targets is None else torch.as_tensor(targets).to(batch.device)
        wanted = options.get("xai_lib_kwargs") or {}
        relevance, used = call(spec.name, spec.load(), explained, batch, labels, wanted, offered)
    unknown = sorted(offered.keys() - used - _OF_OTHER_METHODS)
    if unknown:
        # This function, the dispatcher, quantus.explain, and who called that.
        warnings.warn(f"{spec.name} has no option {', '.join(unknown)}; ignored, as Quantus does", stacklevel=4)
    return _reduced(relevance, axes, bool(options.get("keepdims", True)))


def _as_batch(inputs: Any, model: nn.Module, options: Mapping[str, Any]) -> tuple[torch.Tensor, bool]:
    """The images or volumes, channels first, in the model's precision; and whether they came so."""
    if isinstance(inputs, torch.Tensor):
        # A copy of an inference tensor can take part in autograd, it itself cannot.
        batch = inputs.detach().clone() if inputs.is_inference() else inputs.detach()
    else:
        batch = torch.as_tensor(np.asarray(inputs)).to(precision(model))  # integers, too
    if batch.is_floating_point():
        batch = batch.to(precision(model))
    channel_first = options.get("channel_first")
    if channel_first is None:
        # Quantus looks at the shape alone, and at its last axes only.
        channel_first = batch.ndim != 4 or compat.helpers().infer_channel_first(np.broadcast_to(0.0, batch.shape))
    return (batch if channel_first else torch.movedim(batch, -1, 1)), bool(channel_first)


def _axes_to_sum(options: Mapping[str, Any], dimensions: int) -> tuple[int, ...]:
    given = options.get("reduce_axes", (1,))
    axes = tuple(given) if isinstance(given, Sequence) else (given,)
    if not all(isinstance(axis, (int, np.integer)) and -dimensions <= axis < dimensions for axis in axes):
        raise ValueError(f"reduce_axes must be axes of a batch with {dimensions} dimensions, not {given!r}")
    if any(axis % dimensions == 0 for axis in axes):
        raise ValueError(f"reduce_axes must not contain the batch axis 0, not {given!r}")
    return axes


def _with_softmax(model: nn.Module, softmax: Any, channel_first: bool) -> nn.Module:
    if softmax is None or not compat.removes_softmax():
        return model
    wrapped = compat.helpers().get_wrapped_model(model, softmax=softmax, channel_first=channel_first)
    adjusted: nn.Module = wrapped.get_softmax_arg_model()
    return adjusted


def _reduced(relevance: Any, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The map as Quantus returns it: an array, summed over the axes."""
    if isinstance(relevance, torch.Tensor):
        # NumPy has no bfloat16, and sums of float16 overflow.
        relevance = relevance.detach().cpu().to(torch.promote_types(relevance.dtype, torch.float32)).numpy()
    array = np.asarray(relevance)
    if axes and array.ndim >= 3:
        array = array.sum(axis=axes, keepdims=keepdims)
    return np.ascontiguousarray(array, dtype=np.float32)
