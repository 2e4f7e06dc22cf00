"""The backward passes through the graph of one forward: gradient and relevance.

A :class:`Trace` comes from :func:`~.forward.trace`; its passes give the attention maps' gradients and relevances, or
the input's relevance.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from .conservation import ConservationReport
from .operations import Sources
from .rules import MessageKind
from .segments import cuts

SEGMENTS = 4  # of a walk; more would free memory sooner, but each costs a call of autograd a pass


@dataclass
class PassState:
    """What a backward pass through the graph means right now; shared by all operations of one trace."""

    message_kind: MessageKind
    relevance: bool = False
    keep: bool = False
    sparse: bool = True
    keep_inputs: bool = False
    gradients: bool = True
    report: ConservationReport | None = None
    on_attention: Callable[[Attention], None] | None = None
    sources: Sources = field(default_factory=Sources)  # of recomputable tensors, during the forward
    reads: dict[tuple[type, int], frozenset[str]] = field(default_factory=dict)  # by class and rule


@dataclass
class Attention:
    """One attention layer of the traced forward.

    ``weights``, ``gradient`` (of the target's logit) and ``relevance`` are (N, heads, queries, keys), or None where the
    trace was not asked for them or the pass has not run.
    """

    index: int
    module_name: str
    shape: tuple[int, ...]
    weights: Tensor | None = None
    gradient: Tensor | None = None
    relevance: Tensor | None = None

    def receive(self, state: PassState, message: Tensor, weights: Tensor) -> None:
        """Take the message that a backward pass hands down to the attention weights."""
        if not state.relevance:
            self.gradient = message
        else:
            self.relevance = message if state.message_kind == "relevance" else message * weights
            if state.on_attention is not None:
                state.on_attention(self)


@dataclass
class Trace:
    """One forward pass of a model, ready for backward passes.

    Attributes
    ----------
    logits : Tensor
        (N, classes), detached; the same numbers as the model gives without us.
    attentions : list of Attention
        In the order of the forward pass.
    """

    logits: Tensor
    attentions: list[Attention]
    _output: Tensor
    _leaves: list[Tensor]
    _direction: PassState
    _sums: list[weakref.ref[Tensor]]
    _released: bool = field(default=False)

    def gradient(self, seed: Tensor, keep: bool = True) -> list[Tensor | None]:
        """Backward with true gradients; fills ``Attention.gradient``.

        Parameters
        ----------
        seed : Tensor
            (N, classes), gradient of the objective with respect to the logits.
        keep : bool
            Keep the graph for another pass.

        Returns
        -------
        list of Tensor
            Gradients of the start: the input, or the first attention maps.
        """
        return self._backward(seed, keep, False)

    def relevance(
        self,
        seed: Tensor,
        keep: bool = False,
        report: ConservationReport | None = None,
        on_attention: Callable[[Attention], None] | None = None,
    ) -> list[Tensor | None]:
        """Backward with the composite's rules; fills ``Attention.relevance``.

        Parameters
        ----------
        seed : Tensor
            (N, classes), message at the logits.
        keep : bool
            Keep the graph (and what the rules computed from the forward alone) for another pass.
        report : ConservationReport, optional
            Gets what enters and leaves every operation.
        on_attention : callable, optional
            Called with each attention layer as soon as it has its relevance, from the top layer down.

        Returns
        -------
        list of Tensor
            Messages at the start: the input, or the first attention maps.
        """
        return self._backward(seed, keep, True, report, on_attention)

    def walk(
        self,
        seeds: Sequence[Tensor],
        on_attention: Callable[[int, Attention], None] | None = None,
        gradients: bool = False,
    ) -> list[list[Tensor | None]]:
        """Relevance passes of several seeds (and gradient passes before each) in one walk down the graph.

        All passes go through one segment of the graph before any goes through the next (:func:`segments.cuts`), and the
        graph is released on the way. The messages are those of :meth:`gradient` and :meth:`relevance`; less memory is
        held, and what the rules compute from the forward alone is computed once for all seeds.

        Parameters
        ----------
        seeds : sequence of Tensor
            (N, classes) each; gradient and message at the logits.
        on_attention : callable, optional
            Called with the seed's number and each attention layer as soon as it has its relevance, from the top down.
        gradients : bool
            Fill ``Attention.gradient``, too.

        Returns
        -------
        list of list of Tensor
            For each seed the relevance messages at the start; none with ``on_attention``, which has got what it wants.
        """
        self._check(gradients)
        self._released = True
        if not self._output.requires_grad:
            return [[None for _ in self._leaves] for _ in seeds]
        flows = [_Flow(seed.to(self._output)) for seed in seeds]
        upper, self._output = self._output, self._output.detach()
        streams = self._cuts(upper) if gradients or len(seeds) > 1 else []  # one pass frees the graph as it goes
        self._direction.report = None
        with backward_modes(upper.device.type):
            while True:
                ends = [streams.pop()] if streams else self._leaves
                for number, flow in enumerate(flows):
                    more = number < len(flows) - 1
                    if gradients:
                        flow.gradient = self._pass(upper, ends, flow.gradient, flow.sparse, keep=True)
                    self._direction.on_attention = None if on_attention is None else partial(on_attention, number)
                    flow.relevance = self._pass(upper, ends, flow.relevance, flow.sparse, keep=more, relevance=True)
                    if ends is self._leaves and on_attention is not None:
                        flow.gradient = flow.relevance = []
                if ends is self._leaves:
                    return [flow.relevance for flow in flows]
                (upper,) = ends

    def _cuts(self, upper: Tensor) -> list[Tensor]:
        """Where the walk is cut, from the bottom up."""
        found = cuts(upper, [x for x in (reference() for reference in self._sums) if x is not None])
        return found[:: -(-len(found) // SEGMENTS) or 1][::-1]

    def _backward(
        self,
        seed: Tensor,
        keep: bool,
        relevance: bool,
        report: ConservationReport | None = None,
        on_attention: Callable[[Attention], None] | None = None,
    ) -> list[Tensor | None]:
        self._check(gradients=not relevance)
        self._released = not keep
        if not self._output.requires_grad:
            return [None for _ in self._leaves]
        self._direction.report, self._direction.on_attention = report, on_attention
        with backward_modes(self._output.device.type):
            return self._pass(self._output, self._leaves, [seed.to(self._output)], {}, keep, relevance)

    def _check(self, gradients: bool) -> None:
        if self._released:
            raise RuntimeError("this trace's graph was released by an earlier pass; give that pass keep=True")
        if gradients and not self._direction.gradients:
            raise RuntimeError("this trace keeps nothing for gradients; make it with gradients=True")

    def _pass(
        self,
        upper: Tensor,
        ends: list[Tensor],
        messages: list[Tensor | None],
        sparse: dict[bool, bool],
        keep: bool,
        relevance: bool = False,
    ) -> list[Tensor | None]:
        """Messages of ``upper`` -> messages of ``ends``; ``sparse`` remembers whether few tokens carry any."""
        (message,) = messages
        if message is None:
            return [None for _ in ends]
        state = self._direction
        state.relevance, state.keep = relevance, keep
        state.sparse = sparse.get(relevance, True)
        try:
            found = torch.autograd.grad(upper, ends, message, retain_graph=keep, allow_unused=True)
        finally:
            sparse[relevance] = state.sparse
            state.relevance = state.keep = False
        return list(found)


@contextmanager
def backward_modes(device: str) -> Iterator[None]:
    """Whatever the caller's: gradients, no inference mode, no autocast."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


class _Flow:
    """The messages of one seed on their way down."""

    def __init__(self, seed: Tensor) -> None:
        self.gradient: list[Tensor | None] = [seed]
        self.relevance: list[Tensor | None] = [seed]
        self.sparse: dict[bool, bool] = {}
