"""The passes: one forward, then gradient and relevance backwards through the same graph.

:func:`trace` runs the user's own model once and returns a :class:`Trace`; its backward passes give the attention maps'
gradients and relevances, or the input's relevance. Nothing is left on the model: no hook, gradient or attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from .composites import Composite, Currency
from .conservation import ConservationReport
from .location import Locator

Start = Literal["input", "attention", "last attention"]


@dataclass
class Direction:
    """What a backward pass through the graph means right now; shared by all operations of one trace."""

    currency: Currency
    relevance: bool = False
    keep: bool = False
    sparse: bool = True
    keep_inputs: bool = False
    report: ConservationReport | None = None
    consume: Callable[[Attention], None] | None = None


@dataclass
class Attention:
    """One attention layer of the traced forward.

    ``weights``, ``gradient`` (of the target's logit) and ``relevance`` are (N, heads, queries, keys), or None where the
    trace was not asked for them or the pass has not run.
    """

    index: int
    site: str
    shape: tuple[int, ...]
    weights: Tensor | None = None
    gradient: Tensor | None = None
    relevance: Tensor | None = None

    def receive(self, direction: Direction, message: Tensor, weights: Tensor) -> None:
        """Take the message that a backward pass hands down to the attention weights."""
        if not direction.relevance:
            self.gradient = message
        else:
            self.relevance = message if direction.currency == "relevance" else message * weights
            if direction.consume is not None:
                direction.consume(self)


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
    _direction: Direction
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
        return self._backward(seed, keep)

    def relevance(
        self,
        seed: Tensor,
        keep: bool = False,
        report: ConservationReport | None = None,
        consume: Callable[[Attention], None] | None = None,
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
        consume : callable, optional
            Called with each attention layer as soon as it has its relevance, from the top layer down.

        Returns
        -------
        list of Tensor
            Messages at the start: the input, or the first attention maps.
        """
        direction = self._direction
        direction.relevance, direction.report, direction.consume, direction.keep = True, report, consume, keep
        try:
            return self._backward(seed, keep)
        finally:
            direction.relevance, direction.report, direction.consume = False, None, None

    def _backward(self, seed: Tensor, keep: bool) -> list[Tensor | None]:
        if self._released:
            raise RuntimeError("this trace's graph was released by an earlier pass; give that pass keep=True")
        self._released = not keep
        self._direction.sparse = True
        if not self._output.requires_grad:
            return [None for _ in self._leaves]
        device = self._output.device.type
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
            seed = seed.to(self._output)
            found = torch.autograd.grad(self._output, self._leaves, seed, retain_graph=keep, allow_unused=True)
        return list(found)


def trace(
    model: nn.Module,
    inputs: Tensor,
    composite: Composite | None,
    start: Start = "input",
    start_layer: int = 0,
    keep_weights: bool = False,
    arguments: Sequence[Any] = (),
    reduce_weights: Callable[[Tensor], Tensor] | None = None,
    locate: bool = False,
) -> Trace:
    """Run the model once and record what the backward passes need.

    Parameters
    ----------
    model : nn.Module
        Any model whose operations have rules; it is not changed.
    inputs : Tensor
        (N, C, H, W).
    composite : Composite or None
        The rules; None records attention weights only, no graph.
    start : {"input", "attention", "last attention"}
        Where backward passes end: at the input, or at the attention maps of layer ``start_layer``, with no graph below.
        ``"last attention"`` counts the model's attention modules to find the last layer; it may miss (then no layer has
        a gradient) where modules are never run.
    start_layer : int
        Index of the first attention layer of interest.
    keep_weights : bool
        Keep each layer's attention weights in ``Attention.weights``.
    arguments : sequence
        Further positional arguments of the model's forward.
    reduce_weights : callable, optional
        Applied to kept attention weights at once, e.g. a mean over heads.
    locate : bool
        Note the module of every operation, and keep all that a conservation report needs.

    Raises
    ------
    UnsupportedOperationError
        An operation between start and logits has no rule.
    ValueError
        The model's output is not (N, classes), or not finite.
    """
    from .interception import Interception

    model = original(model)
    direction = Direction(composite.currency if composite is not None else "relevance")
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(composite is not None))
        if hasattr(torch.compiler, "set_stance"):  # compiled submodules run as they were written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        x = inputs.detach()
        if x.is_inference():
            x = x.clone()
        leaves: list[Tensor] = []
        if composite is not None and start == "input":
            leaves.append(x.requires_grad_())  # x is a detached alias: the caller's tensor stays as it is
        mode = Interception(Locator(model), composite, direction, leaves)
        mode.attend_from = start_layer if start == "attention" and composite is not None else None
        mode.attend_last = start == "last attention"
        direction.keep_inputs = locate
        mode.locate = locate or (composite is not None and bool(composite.exceptions))
        mode.keep_weights, mode.reduce_weights = keep_weights, reduce_weights
        with mode:
            try:
                output = logits_of(model(x, *arguments))
            except TypeError:
                if mode.refusal is not None:
                    raise mode.refusal from None
                raise
    if output.dim() != 2 or output.shape[0] != inputs.shape[0]:
        raise ValueError(
            f"the model's output has shape {tuple(output.shape)}; relevance needs logits of shape "
            f"(N, classes) with N = {inputs.shape[0]}"
        )
    if not bool(output.detach().isfinite().all()):
        raise ValueError("the model's logits are not all finite; there is nothing to explain")
    return Trace(output.detach(), mode.attentions, output, leaves, direction)


def original(model: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` or ``DataParallel`` wrapped."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = cast(nn.Module, model._orig_mod)
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def logits_of(output: Any) -> Tensor:
    """The logits of what a model returned: a tensor, an output with ``logits``, or a sequence's first tensor."""
    logits = getattr(output, "logits", output)
    if isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model returned {type(output).__name__}; it must return logits, or an output with .logits")
    return logits
