"""Where the tokens of the first attention come from: the grid of patches, followed through the forward.

Every tensor that comes from the image has labels: for each element the place that it holds, counted row by row from 1,
and 0 where there is none (class token, registers, padding). Convolutions and pooling make a new map of places;
functions that only move values move the labels, too, by running on them; the first attention ends it. So a patch
embedding may be a convolution, a convolutional stem or a linear map of rearranged pixels, and nothing depends on a
module's attributes. Knows torch and the routing functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .place_numbers import first_place, grid_sizes, without_constant_dims
from .position_functions import JOINS, MAKES_MAP, MIXES_LAST, MOVES, VIEWS, WRITES
from .state import Folding
from .tensors import TensorMap, map_tensors, tensors_in

__all__ = ["Embedding", "Labels", "PatchGrid", "Positions"]


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """The grid that an image's patch tokens make up.

    Attributes
    ----------
    sizes : tuple of int
        Rows and columns; in volumes depth, rows and columns.
    tokens : Tensor or None
        (number of patches,) int64: the token of each patch, patches counted row by row; None where the first attention
        does not run over all patches at once (windows), or they are no grid of the image's dimensions.
    sequences : list of Labels
        The places in the sequences (N, T, channels), or (N, parts, T, channels), that the model held up to there.
    """

    sizes: tuple[int, ...]
    tokens: Tensor | None
    sequences: list[Labels]

    @cached_property
    def in_order(self) -> bool:
        """Whether all sequences that hold every place of their map hold them row by row."""
        for labels in self.sequences:
            patches = labels.by_token()
            if patches is not None:
                patches = patches[patches >= 0]
                if len(patches) == labels.count and bool((patches.diff() < 0).any()):
                    return False
        return True


@dataclass(frozen=True, eq=False)
class Embedding:
    """A constant that is added to the patch tokens below the first attention: a position embedding.

    Attributes
    ----------
    values : Tensor
        (N, T, channels), repeated for every image; passes end there, as at the input.
    patches : Tensor
        (T,) int64: the patch of each token, patches counted row by row; -1 where it has none (a class token).
    """

    values: Tensor
    patches: Tensor


EXACT_IN_SINGLE = 2**24  # integers below are floats of single precision


class Labels:
    """Places of a tensor's elements, and the sizes of the map that they count in.

    Places count on from image to image. Without ``places`` the tensor is such a map itself, (N, C, ...), with a place
    of its own at every point.
    """

    def __init__(self, shape: torch.Size, sizes: tuple[int, ...], places: Tensor | None = None) -> None:
        self._shape, self.sizes = shape, sizes
        if places is not None:
            self.places = places

    @cached_property
    def places(self) -> Tensor:
        """The places as floats, in the tensor's shape, constant dimensions expanded where possible."""
        count = self._shape[0] * self.count
        dtype = torch.float32 if count < EXACT_IN_SINGLE else torch.float64
        numbers = torch.arange(1, count + 1, dtype=dtype, device="cpu")
        return numbers.view(-1, 1, *self.sizes).expand(self._shape)

    @property
    def count(self) -> int:
        """Number of places of one image."""
        return torch.Size(self.sizes).numel()

    def in_image(self, places: Tensor) -> Tensor:
        """Places counted within their images, from 1; 0 stays 0."""
        if int(places.max()) <= self.count:  # all of the first image
            return places.clamp(min=0)
        return torch.where(places > 0, (places - 1) % self.count + 1, 0)

    def by_token(self) -> Tensor | None:
        """The patch of each token of a tensor (N, ..., channels), as in :class:`Embedding`; None where it has none."""
        of_image = self.places[0]  # of the first image, which alone counts from 1
        places = of_image[..., 0].flatten()
        patches = torch.unique(places[places > 0])
        constant = of_image.stride(-1) == 0 or torch.equal(of_image, of_image[..., :1].expand_as(of_image))
        if len(patches) < 2 or not constant:
            return None
        return torch.where(places > 0, torch.searchsorted(patches, places.contiguous()), -1)


class Positions:
    """The labels of all tensors of one forward that are still alive, up to its first attention.

    Attributes
    ----------
    grid : PatchGrid or None
        What the first attention runs over; None before it, or where that could not be followed.
    active : bool
        The first attention is still to come.
    images : frozenset of int
        Since then: the identities of tensors of the image's own size, as the image itself.
    read_again : bool
        Since then one of them was read: attention does not carry all that the model sees.
    """

    def __init__(self) -> None:
        self.images: frozenset[int] = frozenset()
        self.read_again = False
        self._kept: list[Tensor] = []  # lest identities change hands
        self.grid: PatchGrid | None = None
        self.active = True
        self._dimensions = 2
        self._images = 0
        self._folded: Folding | None = None
        self._labels: TensorMap[Labels] = TensorMap()

    def begin(self, images: Tensor) -> None:
        """Take ``images`` (N, C, ...) as what the forward begins with."""
        self._labels[images] = _new_map(images)
        self._dimensions, self._images, self._sizes = images.dim() - 2, len(images), tuple(images.shape[2:])

    def follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, result: Any
    ) -> None:
        """Note the labels of what a function that the model called made of its arguments."""
        first = self._first(args, kwargs)
        if first is None:
            return
        labels = self._labels[first]
        if func in MOVES:
            self._move(func, args, dict(kwargs or {}), result, labels.sizes)
        elif not isinstance(result, Tensor):
            return
        elif func in MAKES_MAP and result.dim() > 2:
            self._labels[result] = _new_map(result)
        elif result.shape == first.shape and func not in MIXES_LAST:
            self._labels[result] = labels
        elif func in MIXES_LAST and result.shape[:-1] == first.shape[:-1]:
            self._labels[result] = Labels(result.shape, labels.sizes, first_place(labels.places).expand(result.shape))

    def _first(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Tensor | None:
        """The first tensor among a call's arguments that has labels."""
        for value in (*args, *kwargs.values()) if kwargs else args:
            for x in (value,) if isinstance(value, Tensor) else tensors_in(value):
                if x in self._labels:
                    return x
        return None

    def carry(self, source: Tensor, target: Tensor, function: Callable[[Tensor], Tensor]) -> None:
        """Give ``target`` the labels that ``function`` makes of those of ``source``, expanded to its shape."""
        if source in self._labels:
            labels = self._labels[source]
            self._labels[target] = Labels(target.shape, labels.sizes, function(labels.places).expand(target.shape))

    def tokens_of(self, x: Tensor) -> Tensor | None:
        """The patch of each token of ``x`` (N, ..., channels), as in :class:`Embedding`; None where x has no tokens."""
        labels = self._labels.get(x)
        return None if not self.active or labels is None or x.dim() < 3 else labels.by_token()

    def arrive(self, values: Tensor) -> None:
        """The first attention is met, over the tokens of ``values`` (..., T, channels)."""
        self.active = False
        known = self._labels.items()
        self._kept = [x for x, found in known if x.shape[2:] == found.sizes == self._sizes]
        held = (found for x, found in known if x.dim() == 3 or (x.dim() == 4 and len(x) == self._images))
        sequences = {id(found): found for found in held}  # shared by many tensors
        labels = self._labels.get(values)
        self._labels.clear()
        if labels is None:
            return
        every = without_constant_dims(labels.places[..., 0])
        self._folded = self._folding(labels)
        rows = labels.in_image(every.flatten(0, -2))
        first: list[float] = rows[0].tolist()
        tokens = sorted((token for token, place in enumerate(first) if place), key=first.__getitem__)
        alike = len(rows) == 1 or bool((rows == rows[:1]).all())
        places = sorted(set(first) - {0}) if alike else [place for place in torch.unique(rows).tolist() if place]
        sizes = grid_sizes(places, labels.sizes)
        if sizes is not None:
            whole = len(sizes) == self._dimensions and [first[token] for token in tokens] == places
            self.grid = PatchGrid(sizes, torch.tensor(tokens) if whole else None, list(sequences.values()))
            if sizes != self._sizes:
                self.images = frozenset(map(id, self._kept))

    def folding(self, rows: int) -> Folding | None:
        """How images and heads lie in the first of three dimensions of attention, after :meth:`arrive`; else None.

        One matrix an image is attention with one head.
        """
        if rows == self._images:
            return Folding(1, True)
        return self._folded if self._folded is not None and rows == self._images * self._folded.heads else None

    def _folding(self, labels: Labels) -> Folding | None:
        """The same, where every row of values (N * heads, T, channels) holds the same tokens of one image each."""
        if len(labels.places.shape) != 3 or len(labels.places) % self._images:
            return None
        places = labels.places[..., 0]
        in_image = labels.in_image(places)
        if not bool((in_image == in_image[:1]).all()):
            return None
        images, heads = (places.amax(1) - 1) // labels.count, len(places) // self._images
        counted = torch.arange(self._images, dtype=images.dtype)
        if torch.equal(images, counted.repeat_interleave(heads)):
            return Folding(heads, True)
        return Folding(heads, False) if torch.equal(images, counted.repeat(heads)) else None

    def _move(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        sizes: tuple[int, ...],
    ) -> None:
        """Run a function that only moves values on the labels."""
        kwargs = self._label_options(func, kwargs)
        stand_ins = [map_tensors(value, lambda x: self._stand_in(x, sizes)) for value in (args, kwargs)]
        if func in WRITES:
            stand_ins[0] = (stand_ins[0][0].clone(memory_format=torch.contiguous_format), *stand_ins[0][1:])
        try:
            if func in JOINS:
                moved = _joined(func, *stand_ins[0], **stand_ins[1])
            else:
                moved = VIEWS.get(func, func)(*stand_ins[0], **stand_ins[1])
        except (RuntimeError, TypeError, ValueError, IndexError):  # not for labels: they end here
            return
        pairs = (
            [(args[0], stand_ins[0][0])] if func in WRITES else zip(tensors_in(result), tensors_in(moved), strict=False)
        )
        for target, places in pairs:
            if places.shape == target.shape:
                self._labels[target] = Labels(target.shape, sizes, places)

    def _label_options(self, func: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A call's options as it runs on labels."""
        return kwargs

    def _stand_in(self, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
        """What takes a tensor's place: its labels, no places for other values, indices as they are."""
        labels = self._labels.get(x)
        if labels is not None and labels.sizes == sizes:
            return labels.places
        return torch.zeros((), dtype=torch.float32, device="cpu").expand(x.shape) if x.is_floating_point() else x.cpu()


def _joined(func: Callable[..., Tensor], tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Labels of tensors put behind one another; those that are expanded along the last dimension stay so."""
    if dim in (-1, tensors[0].dim() - 1) or any(x.stride(-1) for x in tensors):
        return func(tensors, dim)
    return func([x[..., :1] for x in tensors], dim).expand(*[-1] * (tensors[0].dim() - 1), tensors[0].shape[-1])


def _new_map(x: Tensor) -> Labels:
    """Labels of a map (N, C, ...) whose points are places of their own."""
    return Labels(x.shape, tuple(x.shape[2:]))
