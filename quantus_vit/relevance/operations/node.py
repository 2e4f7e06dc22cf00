"""The autograd function behind every recorded operation: what its forward keeps, whom its backward asks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from ...errors import UnsupportedOperationError
from ..state import Source
from .base import Operation
from .memory import Values, keep

__all__ = ["Node", "record"]


def record(operation: Operation, *inputs: Tensor) -> Tensor:
    """Run a bound operation and record it in autograd's graph.

    Parameters
    ----------
    operation : Operation
        One call, bound to its rule (:meth:`~.base.Operation.bind`).
    inputs : Tensor
        Its inputs, at least one of which requires a gradient.

    Returns
    -------
    Tensor
        The call's output.
    """
    if operation.is_constant:
        return operation.function(*[x.detach() for x in inputs])
    sources = operation.state.sources
    operation.shapes = tuple([x.shape for x in inputs])
    output = cast(Tensor, Node.apply(operation, [sources.of(x) for x in inputs], *inputs))
    if operation.recomputable and len(inputs) == 1 and not operation.state.recording.every_input:
        sources.add(output, Source(operation.function, inputs[0], inputs[0]._version))
    return output


class Node(torch.autograd.Function):
    """Keeps the operation, asks it for the messages."""

    @staticmethod
    def forward(ctx: Any, operation: Operation, sources: list[Source | None], *inputs: Tensor) -> Tensor:
        """Torch's own computation; what the passes will look at is saved."""
        output, extras = operation.forward(*inputs)
        operation.kept, tensors = keep(operation.keeps, inputs, output, sources)
        ctx.operation = operation
        ctx.save_for_backward(*tensors, *extras)
        return output

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> Any:
        """The messages of the operation's inputs, with its tensors at hand while it computes them."""
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("a trace's messages cannot be differentiated again")
        operation: Operation = ctx.operation
        operation.needs = ctx.needs_input_grad[2:]
        operation.values = Values(operation, operation.kept, _saved(ctx, operation))
        on_node = operation.state.current.on_node
        try:
            if on_node is not None:
                on_node(ctx, operation, message)
            return (None, None, *operation.propagate(message))
        finally:
            operation.values = None


def _saved(ctx: Any, operation: Operation) -> tuple[Tensor, ...]:
    """What the forward saved; torch notices where the model has written into it since."""
    try:
        return cast("tuple[Tensor, ...]", ctx.saved_tensors)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        where = f"module {operation.module_name!r}" if operation.module_name else "the model's own forward"
        raise UnsupportedOperationError(
            f"an input or the output of an operation ({operation.kind}) in {where} was changed in place afterwards, "
            "through a view; change a copy (x = x * 2 in place of x *= 2)"
        ) from error
