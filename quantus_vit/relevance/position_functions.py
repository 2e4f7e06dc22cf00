"""What functions do to the places of tensors' elements (:mod:`positions`): make new ones, move, join or mix them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .routing import ROUTING

__all__ = ["JOINS", "MAKES_MAP", "MIXES_LAST", "MOVES", "VIEWS", "WRITES"]


def _functions(*owners_and_names: tuple[Any, str]) -> frozenset[Callable[..., Any]]:
    return frozenset(getattr(owner, x) for owner, names in owners_and_names for x in names.split() if hasattr(owner, x))


_POOLS = " ".join(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3))
_MAPS = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d " + _POOLS
_CASTS = "to type type_as float half bfloat16 double cpu cuda contiguous clone requires_grad_"

MAKES_MAP = _functions((F, _MAPS + " interpolate"), (torch, _MAPS))
"""Functions whose result has a place of its own at every point."""
MIXES_LAST = _functions((F, "linear"), (torch._C._nn, "linear"), (torch, "matmul"), (Tensor, "matmul __matmul__"))
"""Linear maps of the last dimension."""
JOINS = _functions((torch, "cat concat concatenate"))
WRITES = _functions((Tensor, "copy_ __setitem__"))
MOVES = (ROUTING | WRITES) - MAKES_MAP - _functions((Tensor, _CASTS), (torch, "clone"))
VIEWS: dict[Any, Callable[..., Any]] = {
    Tensor.view: Tensor.reshape,
    Tensor.view_as: Tensor.reshape_as,
}  # labels may be expanded
