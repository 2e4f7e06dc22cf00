"""The backward passes through the graph of one forward: gradient and relevance.

A :class:`Trace` comes from :func:`~.forward.trace`; its passes give the attention maps' gradients and relevances, or
the input's relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

from .conservation import ConservationReport
from .flow import Flow
from .interfaces import RuledOperation
from .places import Places
from .positions import Embedding, PatchGrid
from .residual import Block
from .segments import cuts
from .state import Attention, PassState, TraceState
from .tail import Tail, Tape

__all__ = ["Trace", "backward_modes"]

SEGMENTS = 4  # of a walk; more would free memory sooner, but each costs a call of autograd a pass


class Trace:
    """One forward pass of a model, ready for backward passes.

    Attributes
    ----------
    logits : Tensor
        (N, classes), detached; the same numbers as the model gives without us.
    attentions : list of Attention
        In the order of the forward pass.
    grid : PatchGrid or None
        The grid of patches that the first attention runs over, where it was asked for and could be followed.
    embeddings : list of Embedding
        The position embeddings, where they were asked for; passes give their messages after the input's.
    forward_args : tuple
        What the model got beside the images.
    blocks : list of Block
        The attention blocks of the residual stream, where the trace was asked for them.
    places : Places or None
        Where the tokens of all tensors lie, where the trace was asked for it.
    """

    def __init__(
        self,
        output: Tensor,
        attentions: list[Attention],
        leaves: list[Tensor],
        sums: list[TensorWeakRef],
        state: TraceState,
        grid: PatchGrid | None = None,
        embeddings: Sequence[Embedding] = (),
        forward_args: tuple[Any, ...] = (),
        blocks: Sequence[Block] = (),
        tape: Tape | None = None,
        places: Places | None = None,
    ) -> None:
        self.logits = output.detach()
        self.grid = grid
        self.embeddings = list(embeddings)
        self.attentions = attentions
        self._output = output
        self._leaves = leaves
        self._sums = sums
        self._state = state
        self._released = False
        self.forward_args = forward_args
        self.blocks = list(blocks)
        self._tape = tape
        self.places = places

    @property
    def output(self) -> Tensor:
        """The logits as part of the graph: the upper end of every pass."""
        return self._output

    @property
    def starts(self) -> list[Tensor]:
        """Where passes end: the input, or attention maps, or the input and then all attention maps."""
        return self._leaves

    def tail(self) -> Tail:
        """What the model does to its last block's output; the trace must have been asked for it.

        Raises
        ------
        ValueError
            There is no such block.
        """
        if self._tape is None or not self.blocks or self.blocks[-1].output is None:
            raise ValueError("the model has no residual attention block whose output its logits are read from")
        return self._tape.tail(self.blocks[-1].output, self._output)

    def between(
        self,
        upper: Tensor,
        end: Tensor,
        message: Tensor,
        keep: bool = False,
        relevance: bool = True,
        on_node: Callable[[Any, RuledOperation, Tensor], None] | None = None,
    ) -> Tensor | None:
        """Relevance or gradient pass from one tensor of the graph down to another.

        Parameters
        ----------
        upper : Tensor
            :attr:`output`, or a tensor of :attr:`blocks`.
        end : Tensor
            A tensor of :attr:`blocks`, or one of :attr:`starts`.
        message : Tensor
            Shape of ``upper``.
        keep : bool
            Keep this part of the graph for another pass.
        relevance : bool
            By the composite's rules; otherwise the gradient.
        on_node : callable, optional
            Told autograd's node, the operation and the message from above, of every operation on the way.

        Returns
        -------
        Tensor or None
            The end's message; None where ``upper`` does not depend on it.
        """
        current = PassState(relevance, on_node=on_node)
        with backward_modes(upper.device.type):
            return self._pass(current, upper, [end], [message.to(upper)], keep)[0]

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
        list of Tensor or None
            Gradients of the start: the input, or the first attention maps; None where the logits do not depend on it.

        Raises
        ------
        RuntimeError
            An earlier pass released the graph, or the trace keeps nothing for gradients.
        """
        return self._backward(seed, keep, PassState())

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
        list of Tensor or None
            Messages at the start: the input, or the first attention maps.

        Raises
        ------
        RuntimeError
            An earlier pass released the graph, or a rule failed.
        """
        note = None if report is None else report.record
        return self._backward(seed, keep, PassState(True, on_operation=note, on_attention=on_attention))

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
        list of list of Tensor or None
            For each seed the relevance messages at the start; none with ``on_attention``, which has got what it wants.

        Raises
        ------
        RuntimeError
            As :meth:`gradient` and :meth:`relevance`.
        """
        self._check(gradients)
        self._released = True
        if not self._reaches_start:
            return [[None for _ in self._leaves] for _ in seeds]
        upper, self._output = self._output, self._output.detach()
        flows = [Flow(number, seed.to(upper), gradients, on_attention) for number, seed in enumerate(seeds)]
        places = self._cuts(upper) if gradients or len(seeds) > 1 else []  # one pass frees the graph as it goes
        with backward_modes(upper.device.type):
            while places:  # what lies above the next one is freed
                end = places.pop()
                self._descend(flows, upper, [end])
                upper = end
            self._descend(flows, upper, self._leaves)
        return [[] if on_attention is not None else flow.relevance for flow in flows]

    def _descend(self, flows: list[Flow], upper: Tensor, ends: list[Tensor]) -> None:
        """All passes of all seeds through one segment; the last of them frees it."""
        for flow in flows:
            if flow.gradient_pass is not None:
                flow.gradient = self._pass(flow.gradient_pass, upper, ends, flow.gradient, keep=True)
            keep = flow is not flows[-1]
            flow.relevance = self._pass(flow.relevance_pass, upper, ends, flow.relevance, keep)
            if ends is self._leaves and flow.relevance_pass.on_attention is not None:
                flow.gradient = flow.relevance = []

    @property
    def _reaches_start(self) -> bool:
        """Whether the logits depend on a start at all; there is none where its place was guessed wrong."""
        return bool(self._leaves) and self._output.requires_grad

    def _cuts(self, upper: Tensor) -> list[Tensor]:
        """Where a walk is cut, from the bottom up."""
        places = cuts(upper, [x for x in (reference() for reference in self._sums) if x is not None])
        return places[:: -(-len(places) // SEGMENTS) or 1][::-1]

    def _backward(self, seed: Tensor, keep: bool, current: PassState) -> list[Tensor | None]:
        self._check(gradients=not current.relevance)
        self._released = not keep
        if not self._reaches_start:
            return [None for _ in self._leaves]
        with backward_modes(self._output.device.type):
            return self._pass(current, self._output, self._leaves, [seed.to(self._output)], keep)

    def _check(self, gradients: bool) -> None:
        if self._released:
            raise RuntimeError("this trace's graph was released by an earlier pass; give that pass keep=True")
        if gradients and not self._state.recording.gradients:
            raise RuntimeError("this trace keeps nothing for gradients; make it with TraceOptions(gradients=True)")

    def _pass(
        self, current: PassState, upper: Tensor, ends: list[Tensor], messages: list[Tensor | None], keep: bool
    ) -> list[Tensor | None]:
        """Messages of ``upper`` -> messages of ``ends``."""
        (message,) = messages
        if message is None:
            return [None for _ in ends]
        current.keep, self._state.current = keep, current
        try:
            return list(torch.autograd.grad(upper, ends, message, retain_graph=keep, allow_unused=True))
        finally:
            self._state.current = PassState()


@contextmanager
def backward_modes(device: str) -> Iterator[None]:
    """Whatever the caller's: gradients, no inference mode, no autocast."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield
