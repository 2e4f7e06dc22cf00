"""What the operations of one trace share: its settings, the pass that runs, the sources of tensors, attention layers.

Three lifetimes, three objects: :class:`Recording` is settled before the forward, :class:`PassState` lives for one pass
(of one seed, in one meaning of messages), and :class:`TraceState` for the trace. Knows numerics and interfaces only.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.weak import TensorWeakRef

from .conditions import gathered
from .interfaces import RuledOperation
from .numerics import MessageKind, Messages

__all__ = ["Attention", "Folding", "Keeps", "PassState", "Recording", "Source", "Sources", "TraceState"]


class Folding(NamedTuple):
    """Images and heads in one dimension: image after image with its heads, or head after head with its images."""

    heads: int
    images_first: bool

    def unfold(self, x: Tensor) -> Tensor:
        """(N * heads, ...) -> (N, heads, ...)."""
        size, rest = len(x) // self.heads, x.shape[1:]
        if self.images_first:
            return x.reshape(size, self.heads, *rest)
        return x.reshape(self.heads, size, *rest).transpose(0, 1)


@dataclass
class Attention:
    """One attention layer of the traced forward.

    ``weights``, ``gradient`` (of the target's logit) and ``relevance`` are (N, heads, queries, keys), or None where the
    trace was not asked for them or the pass has not run; so is ``shape``, also where the model folds images and heads
    into one dimension (``folding``). ``in_line``: it follows the layers before it, as far as the graph goes
    (:mod:`.attention_order`); ``reads_positions``: so it does the position embeddings that the trace was asked for.
    ``traced_weights`` refers to the weights in the graph, as the model has them, for as long as the graph holds them.
    """

    index: int
    module_name: str
    shape: tuple[int, ...]
    weights: Tensor | None = None
    gradient: Tensor | None = None
    relevance: Tensor | None = None
    folding: Folding | None = None
    in_line: bool = True
    reads_positions: bool = True
    traced_weights: TensorWeakRef | None = None

    def unfold(self, x: Tensor) -> Tensor:
        """A tensor of the layer, as the model has it, with images and heads apart."""
        return x if self.folding is None else self.folding.unfold(x)


@dataclass(frozen=True)
class Recording:
    """What is settled before the forward.

    Attributes
    ----------
    message_kind : {"relevance", "multiplier"}
        What the messages of relevance passes are.
    every_input : bool
        Keep every operation's inputs and output, as a conservation report needs them.
    gradients : bool
        Gradient passes may run.
    """

    message_kind: MessageKind
    every_input: bool = False
    gradients: bool = True


@dataclass
class PassState:
    """One pass down the graph, of one seed.

    Attributes
    ----------
    relevance : bool
        Messages follow the rules; otherwise they are true gradients.
    keep : bool
        Other passes will follow: what depends on the forward alone is kept for them.
    sparse : bool
        Few tokens may carry a message so far, as above the last attention.
    on_operation : callable, optional
        Told each operation, its message and what it hands down.
    on_attention : callable, optional
        Told each attention layer as soon as it has its relevance.
    on_node : callable, optional
        Told autograd's node, its operation and the message from above, of each operation before it hands it down.
    """

    relevance: bool = False
    keep: bool = False
    sparse: bool = True
    on_operation: Callable[[RuledOperation, Tensor, Messages], None] | None = None
    on_attention: Callable[[Attention], None] | None = None
    on_node: Callable[[Any, RuledOperation, Tensor], None] | None = None

    def reach(self, attention: Attention, message: Tensor) -> None:
        """The pass reaches an attention layer with the weights' gradient or relevance."""
        if not self.relevance:
            attention.gradient = attention.unfold(message)
            return
        attention.relevance = attention.unfold(message)
        if self.on_attention is not None:
            self.on_attention(attention)


class Source(NamedTuple):
    """How a tensor can be computed again: a function, its input, and the version of it that was read."""

    function: Callable[..., Tensor]
    x: Tensor
    version: int


class Sources:
    """The sources of tensors that are still alive; as fast as a dictionary of tensors by identity can be."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], int, Source]] = {}

    def add(self, x: Tensor, source: Source) -> None:
        """Note where ``x`` comes from."""
        key = id(x)
        self._entries[key] = (weakref.ref(x, lambda _: self._entries.pop(key, None)), x._version, source)

    def of(self, x: Tensor) -> Source | None:
        """The tensor's source; None where it has none, or where either was changed in place since."""
        entry = self._entries.get(id(x))
        if entry is None:
            return None
        reference, version, source = entry
        unchanged = x._version == version and source.x._version == source.version
        return source if reference() is x and unchanged else None

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()


class Keeps(NamedTuple):
    """Which of a call's tensors its passes look at."""

    inputs: bool
    output: bool


@dataclass
class TraceState:
    """What all operations of one trace share.

    Attributes
    ----------
    recording : Recording
        The settings.
    current : PassState
        The pass that runs.
    sources : Sources
        Of recomputable tensors, during the forward.
    keeps : dict
        What is kept, by class of operation and identity of its rule.
    conditions : list of Tensor or None
        Where questions go that the host would have to wait for, see :mod:`.conditions`.
    """

    recording: Recording
    current: PassState = field(default_factory=PassState)
    sources: Sources = field(default_factory=Sources)
    keeps: dict[tuple[type, int], Keeps] = field(default_factory=dict)
    conditions: list[Tensor] | None = field(default_factory=gathered)

    def __post_init__(self) -> None:
        self.carries_relevance = self.recording.message_kind == "relevance"
