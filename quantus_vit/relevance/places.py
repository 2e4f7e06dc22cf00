"""Where the tokens of every tensor lie in the image, in models that hold them in windows, units or several grids.

The labels of :mod:`.positions` are followed through the whole forward, past attention: what attention gives a query
lies where the query lies; a value that is computed from several places lies at the last of them, or at the first along
its channels. It costs a call of each routing function more, so it is asked for only where a model's tokens are not
simply rows of one grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .operations.node import Node
from .place_numbers import first_place, grid_sizes
from .position_functions import MAKES_MAP
from .positions import Labels, Positions

__all__ = ["Placement", "Places", "UnplacedError"]

_OURS: Any = Node._backward_cls
PADDING = -1
_PADS = frozenset({F.pad, torch._C._nn.pad})
_FOLDS = frozenset({F.fold})
_EINSUM = frozenset({torch.einsum, torch.functional.einsum})


class UnplacedError(ValueError):
    """Tokens whose places in the image are not known."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The places of a tensor's tokens, without its channels.

    Attributes
    ----------
    shape : tuple of int
        Of the tensor, without its channels.
    grid : tuple of int
        The sizes of the grid that the tokens make up.
    tokens : Tensor
        (M,) int64, the tokens that have a place, by their number in a tensor of that shape.
    cells : Tensor
        (M,) int64, for each the image and the place, as index into (N, *grid).
    padding : Tensor
        (P, 2) int64: tokens that were padded, and the image that they stand in.
    """

    shape: tuple[int, ...]
    grid: tuple[int, ...]
    tokens: Tensor
    cells: Tensor
    padding: Tensor

    def scatter(self, rows: Tensor, images: int) -> Tensor:
        """Values of tokens, summed at their places: (N, *grid)."""
        found = rows.new_zeros(images * torch.Size(self.grid).numel())
        found.index_add_(0, self.cells.to(rows.device), rows.flatten()[self.tokens.to(rows.device)])
        return found.view(images, *self.grid)

    def padded(self, rows: Tensor, images: int) -> Tensor:
        """Values of tokens that were padded, summed over each image, (N,)."""
        tokens, image = self.padding.to(rows.device).unbind(1)
        return rows.new_zeros(images).index_add_(0, image, rows.flatten()[tokens])


class Places(Positions):
    """Labels of all tensors of one forward that are still alive, and of the results of recorded operations."""

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[Any, Labels] = {}

    def of_tensor(self, x: Tensor, channels: int) -> Placement:
        """The places of a tensor's tokens.

        Raises
        ------
        UnplacedError
            They are not known, or no grid.
        """
        labels = self._labels.get(x)
        if labels is None:
            raise UnplacedError("the places of a block's tokens in the image could not be followed; use AttnLRP")
        found = self._placement(labels.places, labels, channels % x.dim())
        if found is None:
            raise UnplacedError("the tokens of a block are no grid of places in the image; use AttnLRP")
        return found

    def channels_of(self, x: Tensor) -> int | None:
        """The dimension of a tensor's channels, last or second: all of a token's lie at one place. None: not known."""
        labels = self._labels.get(x)
        if labels is None:
            return None
        for channels in (x.dim() - 1, 1):
            places = labels.places
            if places.shape[channels] > 1 and bool((places == places.narrow(channels, 0, 1)).all()):
                return channels
        return None

    def of_rows(self, node: Any, rows: Tensor) -> Placement | None:
        """The places of an operation's tokens, of which ``rows`` are the values; None where they have none."""
        labels = self._nodes.get(node)
        if labels is None:
            return None
        shape, places = tuple(rows.shape), labels.places
        for channels in (places.dim() - 1, 1):
            if tuple(places.shape[:channels]) + tuple(places.shape[channels + 1 :]) == shape:
                first = places.narrow(channels, 0, 1)
                if channels == places.dim() - 1 or bool((places == first).all()):
                    return self._placement(places, labels, channels)
        return None

    def _placement(self, places: Tensor, labels: Labels, channels: int) -> Placement | None:
        by_token = first_place(places.movedim(channels, -1))[..., 0]
        flat = by_token.flatten()
        tokens = (flat > 0).nonzero()[:, 0]
        if not len(tokens):
            return None
        cells, index = torch.unique(labels.in_image(flat[tokens]), return_inverse=True)
        grid = grid_sizes(cells.tolist(), labels.sizes)
        if grid is None:
            return None
        image = (flat[tokens].long() - 1) // labels.count
        padding = (flat == PADDING).nonzero()[:, 0]
        per_row = max(1, len(flat) // len(by_token))
        of_rows = (by_token.reshape(len(by_token), -1).amax(1).long() - 1).clamp(min=0) // labels.count
        padded = torch.stack([padding, of_rows[padding // per_row]], 1)
        return Placement(tuple(by_token.shape), grid, tokens, image * len(cells) + index, padded)

    # What each function does -----------------------------------------------------------------------------------------

    def follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, result: Any
    ) -> None:
        """As :meth:`Positions.follow`, and for every recorded operation."""
        first = self._first(args, kwargs)
        if first is not None:
            if func in _EINSUM and isinstance(result, Tensor):
                self._contract(args, first, result)
            elif func in MAKES_MAP and isinstance(result, Tensor) and result.dim() > 2:
                self._labels[result] = self._map_of(first, result)
            elif func in _FOLDS and isinstance(result, Tensor):
                self._labels[result] = Labels(result.shape, tuple(result.shape[2:]))
            elif func is F.multi_head_attention_forward:
                self.follow(F.linear, (first,), None, result[0])
            else:
                super().follow(func, args, kwargs, result)
        if isinstance(result, Tensor) and type(result.grad_fn) is _OURS and result in self._labels:
            self._nodes[result.grad_fn] = self._labels[result]

    def arrive(self, values: Tensor) -> None:
        """The first attention gives the grid; tensors are followed further."""
        if self.grid is None:
            labels = self._labels.items()
            super().arrive(values)
            for x, found in labels:
                self._labels[x] = found
            self.active = True

    def _map_of(self, source: Tensor, result: Tensor) -> Labels:
        """Labels of a convolution's or pooling's result: a new map of a whole one, else the places it is made of."""
        labels = self._labels[source]
        places = labels.places
        if result.shape[2:] == source.shape[2:] and len(result) == len(source):
            return Labels(result.shape, labels.sizes, places[:, :1].expand(result.shape))
        count = labels.count
        own = (places[:, 0].flatten(1).amax(1).long() - 1) // count  # the image of each row
        numbers = torch.arange(1, count + 1, dtype=places.dtype)
        whole = source.shape[2:].numel() == count and bool(
            (places[:, 0].flatten(1) == own[:, None] * count + numbers).all()
        )
        sizes = tuple(result.shape[2:])
        if whole:
            inside = result.shape[2:].numel()
            new = own[:, None] * inside + torch.arange(1, inside + 1)
            return Labels(result.shape, sizes, new.to(places.dtype).view(-1, 1, *sizes).expand(result.shape))
        near = F.interpolate(places[:, :1].contiguous(), size=sizes, mode="nearest")
        return Labels(result.shape, labels.sizes, near.expand(result.shape))

    def _contract(self, args: tuple[Any, ...], first: Tensor, result: Tensor) -> None:
        """An einsum's result lies where its first factor with places does, at the first place along what is summed."""
        equation, *factors = args
        if len(factors) == 1 and isinstance(factors[0], (tuple, list)):
            factors = list(factors[0])
        if "->" not in equation or "." in equation:
            return
        left, out = equation.replace(" ", "").split("->")
        own = next(names for names, x in zip(left.split(","), factors, strict=True) if x is first)
        labels = self._labels[first]
        places = labels.places
        for dim in reversed([i for i, name in enumerate(own) if name not in out]):
            places = first_place(places.movedim(dim, -1))[..., 0]
        kept = [name for name in own if name in out]
        places = places.permute([kept.index(name) for name in out if name in kept])
        for dim, name in enumerate(out):
            if name not in kept:
                places = places.unsqueeze(dim)
        self._labels[result] = Labels(result.shape, labels.sizes, places.expand(result.shape))

    def _label_options(self, func: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Constant padding is marked, since its tokens belong to their image, other than a class token."""
        constant = func in _PADS and kwargs.get("mode", "constant") == "constant"
        return {**kwargs, "value": float(PADDING)} if constant else kwargs
