"""The forward pass: :func:`trace` runs the user's own model once and returns a :class:`~.backward.Trace`.

Nothing is left on the model: no hook, gradient or attribute.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from .backward import Trace
from .interception import Interception
from .options import TraceOptions
from .recorder import Recorder

__all__ = ["logits_of", "original", "trace"]


def trace(model: nn.Module, inputs: Tensor, options: TraceOptions) -> Trace:
    """Run the model once and record what the backward passes need.

    Parameters
    ----------
    model : nn.Module
        Any model whose operations have rules; it is not changed.
    inputs : Tensor
        (N, C, H, W).
    options : TraceOptions
        The rules, where passes end, and what is kept.

    Returns
    -------
    Trace
        With ``logits`` (N, classes).

    Raises
    ------
    UnsupportedOperationError
        An operation between start and logits has no rule.
    ValueError
        The model's output is not (N, classes), or not finite; or an exception of the composite names modules that have
        no operation of its kinds.

    Warns
    -----
    UserWarning
        A rule that was chosen for a kind or for modules did nothing.

    Examples
    --------
    >>> traced = trace(model, images, TraceOptions(transformer_lrp()))
    >>> (relevance,) = traced.relevance(seed)  # (N, classes) -> (N, C, H, W)
    """
    model = original(model)
    recorder = Recorder(model, options)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(options.composite is not None))
        stack.enter_context(_STANCE.eager())
        x = recorder.begin(inputs)
        with Interception(recorder):
            try:
                output = logits_of(model(x, *options.arguments))
            except TypeError:
                if recorder.refusal is not None:
                    raise recorder.refusal from None
                raise
    recorder.finish()
    check_output(output, len(inputs))
    grid = None if recorder.positions is None else recorder.positions.grid
    return Trace(output, recorder.attentions, recorder.leaves, recorder.sums, recorder.state, grid)


def check_output(output: Tensor, size: int) -> None:
    """Raise ``ValueError`` where the model's output is not (size, classes), or not finite."""
    if output.dim() != 2 or output.shape[0] != size:
        raise ValueError(
            f"the model's output has shape {tuple(output.shape)}; relevance needs logits of shape "
            f"(N, classes) with N = {size}"
        )
    if not bool(output.detach().isfinite().all()):
        raise ValueError("the model's logits are not all finite; there is nothing to explain")


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
