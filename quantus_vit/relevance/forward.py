"""The forward pass: :func:`trace` runs the user's own model once and returns a :class:`~.passes.Trace`.

Nothing is left on the model: no hook, gradient or attribute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from .composites import Composite
from .interception import Interception
from .location import ModuleLocator
from .passes import PassState, Trace

Start = Literal["input", "attention", "last attention"]


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
    gradients: bool = True,
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
    gradients : bool
        Whether :meth:`Trace.gradient` will be asked for. Without, less is kept: only what the rules look at.

    Raises
    ------
    UnsupportedOperationError
        An operation between start and logits has no rule.
    ValueError
        The model's output is not (N, classes), or not finite.
    """
    model = original(model)
    state = PassState(composite.message_kind if composite is not None else "relevance")
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(composite is not None))
        stack.enter_context(_STANCE.eager())
        x = inputs.detach()
        if x.is_inference() or start != "input":  # a model may change its input in place
            x = x.clone()
        leaves: list[Tensor] = []
        if composite is not None and start == "input":
            leaves.append(x.requires_grad_())  # x is a detached alias: the caller's tensor stays as it is
        mode = Interception(ModuleLocator(model), composite, state, leaves)
        mode.attend_from = start_layer if start == "attention" and composite is not None else None
        mode.attend_last = start == "last attention"
        state.keep_inputs, state.gradients = locate, gradients
        mode.locate = locate or (composite is not None and bool(composite.exceptions))
        mode.keep_weights, mode.reduce_weights = keep_weights, reduce_weights
        with mode:
            try:
                output = logits_of(model(x, *arguments))
            except TypeError:
                if mode.refusal is not None:
                    raise mode.refusal from None
                raise
    state.sources.clear()
    if output.dim() != 2 or output.shape[0] != inputs.shape[0]:
        raise ValueError(
            f"the model's output has shape {tuple(output.shape)}; relevance needs logits of shape "
            f"(N, classes) with N = {inputs.shape[0]}"
        )
    if not bool(output.detach().isfinite().all()):
        raise ValueError("the model's logits are not all finite; there is nothing to explain")
    return Trace(output.detach(), mode.attentions, output, leaves, state, mode.sums)


class _Stance:
    """Compiled parts of models run as they were written while any trace runs.

    The stance of ``torch.compiler`` belongs to the process: of several threads the first sets it, the last restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._set: Any = None

    @contextmanager
    def eager(self) -> Iterator[None]:
        with self._lock:
            if not self._users and hasattr(torch.compiler, "set_stance"):
                self._set = torch.compiler.set_stance("force_eager")
                self._set.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users and self._set is not None:
                    self._set.__exit__(None, None, None)
                    self._set = None


_STANCE = _Stance()


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
