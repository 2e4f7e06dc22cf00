"""What goes into an attribution: checks of images and targets, batches and what goes along with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..relevance.conditions import gathered, holds
from ..relevance.tensors import map_tensors

__all__ = [
    "Target",
    "along_batch",
    "as_forward_args",
    "check_inputs",
    "doubtful_part",
    "map_batched",
    "one_hot",
    "parse_target",
    "resolve_target",
    "split_batch",
]

Target = int | Sequence[int] | Tensor | None


def as_forward_args(additional_forward_args: Any) -> tuple[Any, ...]:
    """Captum's ``additional_forward_args`` (None, one value or a tuple) as positional arguments."""
    if additional_forward_args is None:
        return ()
    return additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)


def check_inputs(inputs: Any, no_volumes: str = "") -> Tensor:
    """The inputs, if they are one floating-point batch of images (N, C, H, W) or volumes (N, C, D, H, W) with N > 0.

    Parameters
    ----------
    inputs : Any
        What ``attribute`` was given; a tuple of one tensor counts as that tensor.
    no_volumes : str
        Why the method takes no volumes, for the message; empty where it does.

    Raises
    ------
    TypeError, ValueError
        Otherwise, with what was given and what is wanted.
    """
    if isinstance(inputs, (tuple, list)):
        if len(inputs) != 1:
            raise TypeError(f"inputs must be one tensor (N, C, H, W), not a tuple of {len(inputs)}")
        inputs = inputs[0]
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs must be a torch.Tensor (N, C, H, W), not {type(inputs).__name__}")
    if inputs.dim() not in ((4,) if no_volumes else (4, 5)) or inputs.shape[0] == 0:
        hint = "; add a batch dimension with x[None]" if inputs.dim() == 3 else ""
        hint = f"; {no_volumes}" if inputs.dim() == 5 else hint
        raise ValueError(f"inputs must have shape (N, C, H, W) with N > 0, not {tuple(inputs.shape)}{hint}")
    if not inputs.is_floating_point():
        raise TypeError(f"inputs must be floating point, not {inputs.dtype}; convert and normalise them as in training")
    if inputs.is_meta:
        raise ValueError("inputs are on the meta device, where tensors have no values; there is nothing to explain")
    has_own_storage = type(inputs).__torch_dispatch__ is Tensor.__torch_dispatch__
    return inputs.as_subclass(Tensor) if has_own_storage else inputs  # calls on a subclass may run unseen


def split_batch(inputs: Tensor, internal_batch_size: int) -> list[slice]:
    """The batch in pieces of at most so many images.

    Raises
    ------
    ValueError
        The number is not a positive integer.
    """
    whole = hasattr(internal_batch_size, "__index__") and not isinstance(internal_batch_size, bool)
    if not whole or internal_batch_size < 1:
        raise ValueError(f"internal_batch_size must be a positive integer or None, not {internal_batch_size!r}")
    return [slice(i, i + internal_batch_size) for i in range(0, len(inputs), internal_batch_size)]


def along_batch(value: Any, part: slice, size: int) -> Any:
    """A further argument of the model as it goes along with some of ``size`` images (:func:`map_batched`)."""
    return map_batched(value, size, lambda x: x[part])


def map_batched(value: Any, size: int, function: Callable[[Tensor], Tensor]) -> Any:
    """The same value with every tensor changed that has one entry an image.

    Parameters
    ----------
    value : Any
        A further argument of the model; tensors are also found inside lists, tuples and dicts.
    size : int
        Number of images: the first dimension of the tensors meant.
    function : callable
        What becomes of such a tensor.
    """
    return map_tensors(value, lambda x: function(x) if x.dim() > 0 and len(x) == size else x)


def parse_target(target: Target, size: int) -> Tensor | None:
    """Class index per image, (size,) int64; None where the predicted class is meant.

    Parameters
    ----------
    target : int, sequence of int, Tensor or None
        Captum's meaning: one class for all images, or one per image; None is the predicted class.
    size : int
        Number of images.

    Raises
    ------
    TypeError, ValueError
        The target is of another type or has another length.
    """
    if target is None:
        return None
    try:
        if type(target) is int:
            return torch.full((size,), target)
        indices = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"target must be an int, a list of ints, a tensor (N,) or None, not {target!r}") from error
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise TypeError(f"target must hold integers, not {indices.dtype}")
    indices = indices.long()
    if indices.dim() == 2 and indices.shape[1] == 1:
        indices = indices[:, 0]
    if indices.numel() == 1 and indices.dim() < 2:
        indices = indices.reshape(1).expand(size)
    if indices.shape != (size,):
        raise ValueError(f"target must be one class or {size} (one per image), not of shape {tuple(indices.shape)}")
    return indices


def doubtful_part(targets: Tensor | None, parts: Sequence[slice]) -> int:
    """The number of the part to begin with: the one whose target is out of range if any is, so that it is told first.

    Parameters
    ----------
    targets : Tensor or None
        (N,) int64, one class an image.
    parts : sequence of slice
        Parts of the batch.

    Returns
    -------
    int
        The part with the most negative target, or else with the largest.
    """
    if targets is None or len(parts) == 1:
        return 0
    image = int(targets.argmin() if bool((targets < 0).any()) else targets.argmax())
    return next(number for number, part in enumerate(parts) if part.start <= image < part.stop)


def resolve_target(target: Tensor | None, logits: Tensor) -> Tensor:
    """The target, or the predicted class in place of None, (N,) int64 on the logits' device.

    Raises
    ------
    ValueError
        A target lies outside [0, classes).
    """
    if target is None:
        return logits.argmax(1)
    classes, conditions = logits.shape[1], gathered()
    if conditions is not None:
        holds((target >= 0) & (target < classes), conditions)
        return target.clamp(0, classes - 1).to(logits.device)
    for index in target.tolist():
        if not 0 <= index < classes:
            raise ValueError(f"target {index} is out of range: the model has {classes} classes, 0 to {classes - 1}")
    return target.to(logits.device)


def one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """(N, classes): 1 at each image's target class."""
    return torch.zeros_like(logits).scatter_(1, target[:, None], 1)
