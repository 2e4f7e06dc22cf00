"""Functions that only move values about: autograd's own backward hands gradients and relevances down rightly.

A maximum is among them: it passes one of its values on, so all relevance goes to that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["METADATA", "ROUTING"]

_BOTH = (  # a method of tensors and a function of torch
    "amax amin chunk clone diagonal flatten flip gather index_select masked_fill max maximum min minimum moveaxis "
    "movedim narrow permute repeat_interleave reshape roll select split squeeze swapaxes swapdims t take_along_dim "
    "tensor_split tile transpose unbind unflatten unsqueeze topk sort rot90 take tril triu "
    "scatter masked_scatter index_put index_copy index_fill select_scatter slice_scatter"
)
_IN_PLACE = "copy_ scatter_ masked_scatter_ index_put_ index_copy_ index_fill_"
_METHODS = (
    "__getitem__ bfloat16 contiguous cpu cuda double expand expand_as float half masked_select repeat "
    "requires_grad_ reshape_as to type type_as unfold view view_as"
)
_FUNCTIONS = (
    "broadcast_tensors broadcast_to cat concat concatenate constant_pad_nd hstack meshgrid stack vstack where "
    "max_pool1d max_pool2d max_pool3d pixel_shuffle pixel_unshuffle"
)
_FUNCTIONALS = (  # of torch.nn.functional
    "adaptive_max_pool1d adaptive_max_pool2d channel_shuffle fold max_pool1d max_pool2d max_pool3d pad pixel_shuffle "
    "pixel_unshuffle unfold"
)
_PROPERTIES = "T mT H mH"


def _collect() -> frozenset[Callable[..., Any]]:
    found: set[Callable[..., Any]] = set()
    for owner, names in (
        (Tensor, _BOTH),
        (torch, _BOTH),
        (Tensor, _METHODS),
        (Tensor, _IN_PLACE),
        (torch, _FUNCTIONS),
        (F, _FUNCTIONALS),
    ):
        found.update(getattr(owner, name) for name in names.split() if hasattr(owner, name))
    found.update(getattr(Tensor, name).__get__ for name in _PROPERTIES.split())
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
