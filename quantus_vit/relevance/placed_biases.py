"""The relevance of biases in models whose tokens' places were followed: a bias counts at the places of its tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .biases import BiasSums
from .interfaces import RuledOperation
from .places import Places, UnplacedError

__all__ = ["PlacedBiases"]


class PlacedBiases(BiasSums):
    """As :class:`~.biases.BiasTerms`, on grids of places; what belongs to no place is shared among the places read.

    Parameters
    ----------
    places : Places
        Of the traced forward.
    images : int
        N.
    """

    def __init__(self, places: Places, images: int) -> None:
        super().__init__()
        self._places, self._images = places, images
        self._end: tuple[Tensor, int] | None = None

    def at(self, end: Tensor, channels: int) -> PlacedBiases:
        """The same, on the way to a tensor of the residual stream with this dimension of channels."""
        self._end = end, channels
        return self

    def read_out(self, message: Tensor) -> None:
        """Take the message that arrived at the place of :meth:`at`: where it is not 0, the logits are read from."""
        if self._readout is None and self._end is not None:
            end, channels = self._end
            used = (message != 0).any(channels).to(message.dtype)
            total = used.flatten(1).sum(1).clamp(min=1)
            weights = used / total.view(-1, *[1] * (used.dim() - 1))
            self._readout = self._places.of_tensor(end, channels).scatter(weights, self._images)

    def __call__(self, node: Any, operation: RuledOperation, message: Tensor) -> None:
        """Take the relevance of one operation's bias."""
        rows = operation.bias_relevance(message)
        if rows is None:
            return
        placement = self._places.of_rows(node, rows)
        if placement is not None:
            self._add_at(placement.grid, placement.scatter(rows, self._images))
            if len(placement.padding):
                self._add_whole(placement.padded(rows, self._images))
        elif rows.shape[0] == self._images:
            self._add_whole(rows)
        else:
            raise UnplacedError(
                f"the bias of '{operation.module_name}' cannot be placed: where its tokens lie in the image could not "
                'be followed; choose an aggregation without biases, such as "plus"'
            )
