"""Models that end in softmax or a sigmoid: what they give are probabilities, and methods explain logits."""

from __future__ import annotations

import warnings

from torch import Tensor

__all__ = ["Probabilities"]


class Probabilities:
    """The last probabilities over classes, (N, classes), that a forward computed."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, str] | None = None

    def add(self, x: Tensor, by: str) -> None:
        """Note the result of ``by``, which may turn out as the model's output."""
        if x.dim() == 2:
            self._last = x, by

    def carry(self, source: Tensor, target: Tensor) -> None:
        """Probabilities that were cast or copied stay probabilities."""
        if self._last is not None and self._last[0] is source:
            self._last = target, self._last[1]

    def check(self, output: Tensor, reached: bool) -> None:
        """Tell where the model's output is such a result.

        Parameters
        ----------
        output : Tensor
            (N, classes).
        reached : bool
            Whether it depends on the start of the passes.

        Raises
        ------
        ValueError
            It does not, since the rules stop at softmax.

        Warns
        -----
        UserWarning
            It does.
        """
        if self._last is None or self._last[0].data_ptr() != output.data_ptr():
            return
        by = self._last[1]
        if not reached:
            raise ValueError(
                f"the model ends in {by}, whose probabilities have no relevance of their own under these rules: remove "
                f"the {by}, so that the model returns logits"
            )
        warnings.warn(
            f"the model ends in {by}: what is explained is a probability, not a logit, so that maps fade where the "
            f"model is sure, and mix in the other classes of a softmax; remove the {by}, so that the model "
            "returns logits",
            UserWarning,
            stacklevel=2,
        )
