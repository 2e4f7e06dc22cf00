"""The relevance of biases: collected on the way down, at the tokens where they were added.

Layers that see tokens in another order (in windows, sequence first) are followed down their own routing, by autograd's
own nodes, to where the tokens lie in rows of the model's grid.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .interfaces import RuledOperation
from .places import UnplacedError

__all__ = ["BiasSums", "BiasTerms", "way_down"]

ROUTING_NODES = frozenset(
    f"{name}Backward{version}"
    for name in (
        "Alias",
        "Clone",
        "ConstantPadNd",
        "Permute",
        "ReshapeAlias",
        "Roll",
        "Slice",
        "Squeeze",
        "T",
        "ToCopy",
        "Transpose",
        "UnsafeView",
        "Unsqueeze",
        "View",
    )
    for version in range(3)
)
PARTING_NODES = frozenset(f"{name}Backward0" for name in ("Split", "SplitWithSizes", "Unbind"))
MIXING_KINDS = ("attention", "matmul")


class BiasSums:
    """Relevance of biases, summed by the layout of the tokens that they count at."""

    def __init__(self) -> None:
        self._readout: Tensor | None = None  # where the logits are read from: there counts what belongs to no token
        self._whole: Tensor | None = None
        self._by_layout: dict[tuple[int, ...], Tensor] = {}

    def _add_at(self, layout: tuple[int, ...], rows: Tensor) -> None:
        """Add the relevance of biases at tokens, (N, *layout)."""
        known = self._by_layout.get(layout)
        self._by_layout[layout] = rows if known is None else known + rows

    def _add_whole(self, rows: Tensor) -> None:
        """Add the relevance of biases that belong to no token, (N, ...)."""
        rows = rows.flatten(1).sum(1) if rows.dim() > 1 else rows
        self._whole = rows if self._whole is None else self._whole + rows

    def placed(self) -> dict[tuple[int, ...], Tensor]:
        """Layout of tokens -> (N, *layout), relevance of the biases so far."""
        found = dict(self._by_layout)
        if self._whole is not None and self._readout is not None:
            layout = tuple(self._readout.shape[1:])
            whole = self._whole.reshape(-1, *[1] * len(layout)) * self._readout
            found[layout] = found[layout] + whole if layout in found else whole
        return found


class BiasTerms(BiasSums):
    """Relevance of all biases met on one way down; an ``on_node`` of :meth:`~.backward.Trace.between`.

    Biases that belong to no token (the head's, and those of pooled tokens) count in equal parts at the tokens that the
    logits are read from: those which a message reaches at the first place asked for.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self._size, self._image = len(inputs), inputs.shape[-2:]
        self._layout: tuple[int, ...] = ()
        self._channels = -1
        self._end: Any = None
        self._waiting: dict[torch.Size, tuple[str, Tensor]] = {}  # attention's out-projections, until qkv is met

    def at(self, end: Tensor, channels: int) -> BiasTerms:
        """The same, on the way to a tensor of the residual stream with this dimension of channels."""
        self._layout, self._channels = _without(end.shape, channels), channels
        self._end = end.grad_fn
        return self

    def read_out(self, message: Tensor) -> None:
        """Take the message that arrived at the place of :meth:`at`."""
        if self._readout is None:
            self._pool_waiting()
            used = (message != 0).any(self._channels).flatten(1)
            used[:, 0] |= ~used.any(1)
            weights = used.to(message.dtype) / used.sum(1, keepdim=True)
            self._readout = weights.reshape(message.shape[0], *self._layout)

    def _pool_waiting(self) -> None:
        """Biases of a pooling that sees its tokens first and the images second belong to no token."""
        for shape, (_, rows) in list(self._waiting.items()):
            if shape[0] == self._size or (len(shape) == 2 and shape[1] == self._size):
                del self._waiting[shape]
                self._add(rows.flatten(1).sum(1) if shape[0] == self._size else rows.sum(0))

    def placed(self) -> dict[tuple[int, ...], Tensor]:
        """Layout of tokens -> (N, T) or (N, h, w), relevance of the biases so far.

        Raises
        ------
        UnplacedError
            A bias could not be placed.
        """
        for shape, (module_name, rows) in list(self._waiting.items()):
            if not self._fits(rows):
                raise UnplacedError(
                    f"the bias of '{module_name}' cannot be placed: the model sees its tokens there in an order that "
                    'is not that of the image; choose an aggregation without biases, such as "plus"'
                )
            del self._waiting[shape]
            self._add(rows)
        return super().placed()

    def __call__(self, node: Any, operation: RuledOperation, message: Tensor) -> None:
        """Take the relevance of one operation's bias."""
        rows = operation.bias_relevance(message)
        if rows is None:
            return
        layout = tuple(rows.shape[1:])
        here = rows.shape[0] == self._size and operation.kind != "projection"  # that one may see its tokens first
        pooled = self._readout is None or math.prod(layout) < math.prod(self._layout)
        if here and (layout == self._layout or (pooled and self._fits(rows))):
            self._add(rows)
        else:
            self._follow(node, operation, rows)

    def _fits(self, rows: Tensor) -> bool:
        """Whether rows (N, ...) may be the tokens of whole images: of this stage, of a coarser one, or pooled."""
        layout = tuple(rows.shape[1:])
        height, width = self._image
        if rows.shape[0] != self._size or len(layout) > 2 or math.prod(layout) > math.prod(self._layout):
            return self._readout is None and rows.shape[0] == self._size
        return len(layout) < 2 or layout == self._layout or layout[0] * width == layout[1] * height

    def _add(self, rows: Tensor) -> None:
        layout = tuple(rows.shape[1:])
        above = self._readout is None  # the last block: what has other tokens there is pooled
        if rows[0].numel() == 1 or (above and math.prod(layout) != math.prod(self._layout)):
            self._add_whole(rows)
        else:
            self._add_at(layout, rows)

    def _follow(self, node: Any, operation: RuledOperation, rows: Tensor) -> None:
        if operation.shapes[0][:-1] != rows.shape:  # a convolution
            self._wait(operation, rows)
            return
        routing, end = way_down(node, self._end)
        if getattr(getattr(end, "operation", None), "kind", None) in MIXING_KINDS:
            self._wait(operation, rows)
            return
        _, waiting = self._waiting.pop(rows.shape, ("", None))
        if waiting is not None:
            rows = rows + waiting
        values = rows.new_zeros(operation.shapes[0])
        values[..., 0] = rows
        for step in routing:
            values = step(values)
        if values.dim() > self._channels and _without(values.shape, self._channels) == self._layout:
            found = values.sum(self._channels)
            if any(type(step).__name__.startswith("ConstantPad") for step in routing):  # the padding's biases
                self._add(rows.reshape(self._size, -1).sum(1) - found.flatten(1).sum(1))
            self._add(found)
        elif self._fits(rows):
            self._add(rows)
        else:
            self._wait(operation, rows)

    def _wait(self, operation: RuledOperation, rows: Tensor) -> None:
        _, waiting = self._waiting.get(rows.shape, ("", None))
        self._waiting[rows.shape] = (operation.module_name, rows if waiting is None else rows + waiting)


def way_down(node: Any, end: Any = None) -> tuple[list[Any], Any]:
    """The nodes that only move values between an operation's input and what made them, and the node of the latter.

    Nothing is looked for below ``end``, where the pass ends.
    """
    routing: list[Any] = []
    below, part = node.next_functions[0]
    while below is not end:
        if type(below).__name__ in ROUTING_NODES:
            routing.append(below)
        elif _parts(below):
            routing.append(_OnePart(below, part))
        else:
            break
        below, part = below.next_functions[0]
    return routing, below


def _parts(node: Any) -> bool:
    """Whether a node parts a tensor and tells the shapes of the parts; torch 2.4's do not."""
    return type(node).__name__ in PARTING_NODES and hasattr(node, "_input_metadata")


class _OnePart:
    """The node that parts a tensor (queries, keys and values), for what comes from one of the parts alone."""

    def __init__(self, node: Any, part: int) -> None:
        self._node, self._part = node, part

    def __call__(self, values: Tensor) -> Tensor:
        shapes = [part.shape for part in self._node._input_metadata]
        parts = [values if i == self._part else values.new_zeros(shape) for i, shape in enumerate(shapes)]
        found: Tensor = self._node(*parts)
        return found


def _without(shape: torch.Size, channels: int) -> tuple[int, ...]:
    """The layout of tokens in a shape: without batch and channels."""
    return tuple(shape[1:channels]) + tuple(shape[channels + 1 :])
