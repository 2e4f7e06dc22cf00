"""Convolutions and pooling of maps: a part of the stem, or of one place each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..token_positions import MixedPlacesError, Positions, Record
from ..token_tracking import TokenTracking, handles
from .pooling import pool
from .products import operands

__all__: list[str] = []

_POOLS = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate upsample"
)


@handles((F, "conv1d conv2d conv3d"), (torch, "conv1d conv2d conv3d convolution"))
def convolution(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A convolution: of one place each (kernel 1), or a part of the stem, which makes a new grid."""
    x, weight = operands(args[:2], options, ("input", "weight"))
    result = _of_one_image(func, x, args, options) if _is_one_image(x) else func(*args, **options)
    sets, maps = mode.sets_of(x), set(range(2, x.dim()))
    pointwise = set(weight.shape[2:]) == {1} and result.shape[2:] == x.shape[2:]
    if pointwise and all(1 not in one.dims for one in sets):
        return mode.note(result, Record(sets))  # type: ignore[no-any-return]
    return mode.note(result, _new_grid(mode, sets, maps, result, "mixes tokens by a convolution"))  # type: ignore[no-any-return]


def _is_one_image(x: Tensor) -> bool:
    """Whether a batch is one image that was expanded, as where the sets of its patches are asked about."""
    return x.dim() > 2 and x.size(0) > 1 and x.stride(0) == 0


def _of_one_image(func: Any, x: Tensor, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """The convolution of a batch of equal images: of one of them, repeated."""
    if "input" in options:
        options = {**options, "input": x[:1]}
    made: Tensor = func(*(x[:1] if given is x else given for given in args), **options)
    return made.expand(x.size(0), *made.shape[1:]).clone(memory_format=torch.contiguous_format)


def _new_grid(mode: TokenTracking, sets: Sequence[Positions], maps: set[int], result: Tensor, reason: str) -> Record:
    if any(0 in one.dims for one in sets):
        raise MixedPlacesError("runs over parts of an image (as the frames of a video) side by side")
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
    if not mode.sets_of(x)[0].dims & set(range(2, x.dim())):
        return mode.note(func(*args, **options), mode.record_of(x))
    result = func(*args, **options)
    return mode.note(result, _new_grid(mode, mode.sets_of(x), set(range(2, x.dim())), result, "pools tokens in parts"))
