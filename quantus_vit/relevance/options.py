"""What a trace is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from .composites import Composite

__all__ = ["Start", "TraceOptions"]

Start = Literal["input", "attention", "last attention", "each attention"]


@dataclass(frozen=True)
class TraceOptions:
    """What :func:`~.forward.trace` records.

    Parameters
    ----------
    composite : Composite or None
        The rules; None records attention weights only, no graph.
    start : {"input", "attention", "last attention", "each attention"}
        Where backward passes end: at the input, or at the attention maps of layer ``start_layer``, with no graph below.
        ``"last attention"`` counts the model's attention modules to find the last layer; it may miss (then no layer has
        a gradient) where modules are never run. ``"each attention"``: at the input, and at every layer's attention
        maps, which are constants to all that lies below them.
    start_layer : int
        Index of the first attention layer of interest.
    arguments : tuple
        Further positional arguments of the model's forward.
    keep_weights : bool
        Keep each layer's attention weights in ``Attention.weights``.
    reduce_weights : callable, optional
        Applied to kept attention weights at once, e.g. a mean over heads.
    locate : bool
        Note the module of every operation, and keep all that a conservation report needs.
    gradients : bool
        Whether :meth:`~.backward.Trace.gradient` will be asked for. Without, less is kept: only what the rules look at.
    grid : bool
        Follow the places of the image to the first attention, for :attr:`~.backward.Trace.grid`.
    places : bool
        With ``grid``: follow them to the logits, for :attr:`~.backward.Trace.places`.
    embeddings : bool
        With ``grid``: passes end at position embeddings, too (:attr:`~.backward.Trace.embeddings`).
    blocks : bool
        Find the attention blocks of the residual stream, :attr:`~.backward.Trace.blocks`; needs a start at the input.
    tail : bool
        Find them, and record what the model does behind the last: :meth:`~.backward.Trace.tail`.
    of_class : bool
        Passes begin at a class's output, so it is told where that is a probability.

    Raises
    ------
    ValueError, TypeError
        Another start, a negative layer, or a composite that is none.
    """

    composite: Composite | None = None
    start: Start = "input"
    start_layer: int = 0
    arguments: tuple[Any, ...] = ()
    keep_weights: bool = False
    reduce_weights: Callable[[Tensor], Tensor] | None = None
    locate: bool = False
    gradients: bool = True
    grid: bool = False
    places: bool = False
    embeddings: bool = False
    blocks: bool = False
    tail: bool = False
    of_class: bool = True

    def __post_init__(self) -> None:
        if self.composite is not None and not isinstance(self.composite, Composite):
            raise TypeError(f"composite must be a Composite or None, not {self.composite!r}")
        if self.start not in get_args(Start):
            raise ValueError(f"start must be one of {', '.join(map(repr, get_args(Start)))}, not {self.start!r}")
        if self.start_layer < 0:
            raise ValueError(f"start_layer must be 0 or more, not {self.start_layer}")
        if (self.blocks or self.tail) and (self.composite is None or not self.from_input):
            raise ValueError(f"blocks and tail need a composite and a start at the input, not start={self.start!r}")

    @property
    def of_attention(self) -> bool:
        """Whether maps of tokens are to be made of attention maps, rather than of the residual stream alone."""
        return self.grid and (self.keep_weights or not self.blocks)

    @property
    def is_plain(self) -> bool:
        """Whether no operation is to be recorded: there is no graph, or its true gradient is all that is wanted."""
        if self.composite is None:
            return True
        has_rules = bool(self.composite.rules or self.composite.exceptions)
        kept = self.blocks or self.tail or self.embeddings or self.locate
        return self.composite.message_kind == "multiplier" and not has_rules and not kept

    @property
    def from_input(self) -> bool:
        """Whether the input is a start."""
        return self.start in ("input", "each attention")
