"""The forward pass: :func:`trace` runs the user's own model once and returns a :class:`~.backward.Trace`.

Nothing is left on the model: no hook, gradient or attribute.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from .backward import Trace
from .conditions import holds
from .interception import Interception
from .model_errors import clearer_errors
from .options import TraceOptions
from .places import Places
from .recorder import Recorder
from .suspension import SUSPENSION

__all__ = ["check_output", "logits_of", "original", "trace"]


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
        stack.enter_context(SUSPENSION.active())
        stack.enter_context(clearer_errors(model, inputs))
        x = recorder.begin(inputs)
        try:
            with Interception(recorder):
                output = recorder.overwritten.current(logits_of(model(x, *options.arguments)))
        except TypeError:
            if recorder.refusal is not None:
                raise recorder.refusal from None
            raise
        finally:
            recorder.below_start.end()
        check_output(output, len(inputs), recorder.state.conditions)
        recorder.finish(output)
    grid = None if recorder.positions is None else recorder.positions.grid
    blocks = [] if recorder.stream is None else recorder.stream.blocks(output, recorder.leaves[0])
    return Trace(
        output,
        recorder.attentions,
        recorder.leaves,
        recorder.sums,
        recorder.state,
        grid,
        recorder.embeddings,
        options.arguments,
        blocks,
        recorder.tape,
        recorder.positions if isinstance(recorder.positions, Places) else None,
    )


def check_output(output: Tensor, size: int, conditions: list[Tensor] | None) -> None:
    """Raise ``ValueError`` where the model's output is not (size, classes), or not finite."""
    if output.dim() != 2 or output.shape[0] != size:
        raise ValueError(
            f"the model's output has shape {tuple(output.shape)}; relevance needs logits of shape "
            f"(N, classes) with N = {size}"
        )
    if not holds(output.detach().isfinite(), conditions):
        raise ValueError("the model's logits are not all finite; there is nothing to explain")


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
