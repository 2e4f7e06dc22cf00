"""Functions that only move values about: autograd's own backward hands gradients and relevances down rightly.

A maximum is among them: it passes one of its values on, so all relevance goes to that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_METHODS = [
    "maximum",
    "minimum",
    "amax",
    "amin",
    "max",
    "min",
    "copy_",
    "chunk",
    "clone",
    "contiguous",
    "cpu",
    "cuda",
    "double",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "float",
    "gather",
    "half",
    "bfloat16",
    "index_select",
    "movedim",
    "moveaxis",
    "narrow",
    "permute",
    "repeat",
    "repeat_interleave",
    "reshape",
    "reshape_as",
    "roll",
    "select",
    "split",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "take_along_dim",
    "tensor_split",
    "tile",
    "to",
    "transpose",
    "type",
    "type_as",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "view",
    "view_as",
    "__getitem__",
    "masked_fill",
    "diagonal",
    "masked_select",
    "requires_grad_",
]
_FUNCTIONS = [
    "maximum",
    "minimum",
    "amax",
    "amin",
    "max",
    "min",
    "broadcast_to",
    "cat",
    "chunk",
    "clone",
    "concat",
    "concatenate",
    "flatten",
    "flip",
    "gather",
    "hstack",
    "index_select",
    "movedim",
    "moveaxis",
    "narrow",
    "permute",
    "repeat_interleave",
    "reshape",
    "roll",
    "select",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "swapdims",
    "t",
    "take_along_dim",
    "tensor_split",
    "tile",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "vstack",
    "where",
    "masked_fill",
    "broadcast_tensors",
    "constant_pad_nd",
    "pixel_shuffle",
    "pixel_unshuffle",
    "meshgrid",
    "diagonal",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]
_FUNCTIONALS = [
    "fold",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
]
_PROPERTIES = ["T", "mT", "H", "mH"]


def _collect() -> frozenset[Callable[..., Any]]:
    found: set[Callable[..., Any]] = set()
    for owner, names in ((Tensor, _METHODS), (torch, _FUNCTIONS), (F, _FUNCTIONALS)):
        found.update(getattr(owner, name) for name in names if hasattr(owner, name))
    found.update(getattr(Tensor, name).__get__ for name in _PROPERTIES)
    found.add(torch._C._nn.pad)
    return frozenset(found)


ROUTING = _collect()

METADATA = frozenset(
    [
        *(
            getattr(Tensor, x)
            for x in ("size", "dim", "numel", "stride", "is_contiguous", "is_floating_point", "__len__")
        ),
        *(getattr(Tensor, x).__get__ for x in ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad")),
    ]
)
"""Questions about a tensor that no value flows through."""
