"""How many images are explained at once: few on a CPU, by memory elsewhere, and fewer where that was too many.

Knows torch and the model as a function; it knows no method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..batch_size import BatchSize, PeakMemory, available_bytes
from .inputs import along_batch, doubtful_part, split_batch

__all__ = ["forwards_at_once", "images_at_once", "in_parts"]

IMAGES_CPU = 3  # see benchmarks/README.md
IMAGES_UNASKED = 32  # so many are explained at once without a look at the memory
MOST_IMAGES = 128
FORWARDS_CPU = 16
MOST_FORWARDS = 256
KEPT = 20
"""What an attribution of one image keeps, in peaks of a plain forward: TransformerLRP 18.6, AttnLRP 17.1 and less."""

Model = Callable[..., Any]


def images_at_once(model: Model, inputs: Tensor, forward_args: tuple[Any, ...], given: int | None) -> int:
    """Images that are explained at once: what the caller says, or else by the device and its free memory.

    Parameters
    ----------
    model : callable
        Where the memory decides, it is called with the first image.
    inputs : Tensor
        (N, C, H, W) or (N, C, D, H, W).
    forward_args : tuple
        Further arguments of the model; tensors whose first dimension is N go along with the images.
    given : int or None
        The caller's ``internal_batch_size``.
    """
    if given is not None:
        return given
    if inputs.device.type == "cpu":
        return IMAGES_CPU
    if len(inputs) <= IMAGES_UNASKED:
        return IMAGES_UNASKED
    return _fitting(model, inputs, forward_args, KEPT, MOST_IMAGES, IMAGES_UNASKED)


def forwards_at_once(model: Model, inputs: Tensor, forward_args: tuple[Any, ...], given: int | None) -> int:
    """Plain forwards at once, for methods that ask the model for each image many times; as :func:`images_at_once`."""
    if given is not None:
        return given
    if inputs.device.type == "cpu":
        return FORWARDS_CPU
    return _fitting(model, inputs, forward_args, 1, MOST_FORWARDS, IMAGES_UNASKED)


def in_parts(explain: Callable[[slice], Tensor], inputs: Tensor, at_once: int, targets: Tensor | None = None) -> Tensor:
    """Attributions of parts of a batch, put together.

    Parameters
    ----------
    explain : callable
        ``explain(part)`` gives the attributions (n, ...) of ``inputs[part]``, a function of each image alone.
    inputs : Tensor
        (N, ...).
    at_once : int
        The largest part; halved for the rest of the batch each time memory runs out, and what did not fit is explained
        again.
    targets : Tensor or None
        (N,): the part whose target is doubtful goes first, so that it is told before hours of work.

    Raises
    ------
    ValueError
        ``at_once`` is no positive integer.
    MemoryError, RuntimeError
        A single image is too much.
    """
    parts, size = split_batch(inputs, at_once), BatchSize(at_once)
    first, found = doubtful_part(targets, parts), dict[int, Tensor]()
    for number in sorted(range(len(parts)), key=lambda i: i != first):
        found[number] = size.run(lambda most, part=parts[number]: _pieces(explain, part, most, len(inputs)))  # type: ignore[misc]
    return found[0] if len(found) == 1 else torch.cat([found[number] for number in range(len(parts))])


def _pieces(explain: Callable[[slice], Tensor], part: slice, most: int, count: int) -> Tensor:
    stop = min(part.stop, count)
    pieces = [explain(slice(start, min(start + most, stop))) for start in range(part.start, stop, most)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _fitting(
    model: Model, inputs: Tensor, forward_args: tuple[Any, ...], forwards: int, most: int, otherwise: int
) -> int:
    """Images that take three quarters of the free memory, each so many peaks of a plain forward, measured on one."""
    if isinstance(model, nn.Module) and any(module.training for module in model.modules()):
        return otherwise  # a forward would change what a batch normalisation holds
    try:
        with torch.no_grad(), PeakMemory() as memory:
            model(inputs[:1], *along_batch(forward_args, slice(0, 1), len(inputs)))
    except Exception:  # whatever is wrong with model or images, the method's own forward says it better
        return otherwise
    bytes_an_image = forwards * (memory.peak + inputs[0].numel() * inputs.element_size())
    return max(1, min(most, available_bytes(inputs.device) * 3 // 4 // int(bytes_an_image)))
