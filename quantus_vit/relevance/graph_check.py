"""The check of the finished graph: everything between the start and the logits is an operation of ours, or routing.

The interception sees what a model calls in its own thread through torch's Python functions. Custom autograd
functions, scripted and traced modules, ``torch.func``, other threads and blocks that disable torch functions run past
it, and would hand down plain gradients in place of relevance. They leave their nodes in autograd's graph, where this
check finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedOperationError
from .composites import Composite
from .operations.node import Node
from .state import TraceState

__all__ = ["check_attention", "check_graph", "node_of"]

_OURS: Any = Node._backward_cls

# Nodes that only move values about, by name without "Backward" and overload number: autograd hands gradients and
# relevances down rightly. They are what the functions of ``routing`` leave in the graph.
_ROUTING_NAMES = """
    AccumulateGrad AdaptiveMaxPool2D AdaptiveMaxPool3D Alias Amax Amin AsStrided Cat ChannelShuffle Clone Col2Im
    ConstantPadNd CopySlices CopyBackwards Diagonal Expand Fill Flip Gather Im2Col Index IndexPut IndexSelect MaskedFill
    MaskedScatter MaskedSelect Max MaxPool2DWithIndices MaxPool3DWithIndices Maximum Min Minimum Permute PixelShuffle
    PixelUnshuffle ReflectionPad1D ReflectionPad2D ReflectionPad3D Repeat ReplicationPad1D ReplicationPad2D
    ReplicationPad3D ReshapeAlias Roll Rot90 Scatter Select SelectScatter Slice SliceScatter Sort Split SplitWithSizes
    Squeeze Stack T Take ToCopy Topk Transpose Tril Triu Unbind Unfold Unflatten UnsafeSplit UnsafeView Unsqueeze View
    Where Zero
"""
_ROUTING = frozenset(_ROUTING_NAMES.split())

# Nodes of torch's own that stand for a kind of operation. A composite of multipliers that has no rule for the kind
# passes the true gradient on, which is what these nodes do.
_NAMES_BY_KINDS = {
    ("add",): "Add Sub Rsub",
    ("scale",): "Neg Div",
    ("pooling",): """
        Mean Sum AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D UpsampleLinear1D UpsampleBilinear2D
        UpsampleBicubic2D UpsampleTrilinear3D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D
        UpsampleNearestExact1D UpsampleNearestExact2D UpsampleNearestExact3D UpsampleBilinear2DAa UpsampleBicubic2DAa
        GridSampler2D GridSampler3D LinalgVectorNorm Norm Std
    """,
    ("add", "pooling"): "ScatterAdd IndexAdd",
    ("linear", "projection"): "Addmm Linear",
    ("convolution",): "Convolution",
    ("normalisation",): "NativeLayerNorm NativeGroupNorm NativeBatchNorm CudnnBatchNorm",
    ("activation",): """
        Gelu Relu Silu Elu LeakyRelu Hardswish Hardsigmoid Hardtanh Mish Softplus Tanh Sigmoid LogSigmoid Clamp ClampMin
        ClampMax Pow Sqrt Rsqrt Reciprocal Abs
    """,
}
_KINDS = {name: kinds for kinds, names in _NAMES_BY_KINDS.items() for name in names.split()}

# Where the true gradient is all that is wanted, only attention that nobody saw does harm.
_ATTENTION = ("softmax", "attention", "attn", "graph")  # a DifferentiableGraph is a whole scripted module


def check_graph(
    output: Tensor, starts: Iterable[Tensor], composite: Composite, seen_softmax: Collection[Any], state: TraceState
) -> Mapping[Any, Sequence[Any]]:
    """Raise where something between the starts and the output is neither an operation of ours nor routing.

    Parameters
    ----------
    output : Tensor
        The logits of a traced forward.
    starts : iterable of Tensor
        Where backward passes end.
    composite : Composite
        The rules. Without any, every node's gradient is right, and only unseen attention is looked for.
    seen_softmax : collection of autograd nodes
        Softmax nodes of torch's own that the interception saw.
    state : TraceState
        The trace's own.

    Returns
    -------
    mapping of autograd nodes to sequence of autograd nodes
        All that the output depends on, each with those right below it; of a tensor of the graph, :func:`node_of` says
        which is its.

    Raises
    ------
    UnsupportedOperationError
        Naming the node, and the module as far as the operations around it tell.
    """
    root = output.grad_fn
    targets = {node_of(start) for start in starts}
    free = _kinds_without_rules(composite)
    waiting: list[Any] = [] if root is None else [root]
    known: dict[Any, list[Any]] = {}
    harmless: set[type] = set()  # classes of nodes that need no closer look; most are met many times
    while waiting:
        node = waiting.pop()
        if node in known:
            continue
        below = known[node] = [child for child, _ in node.next_functions if child is not None]
        waiting += below
        kind = type(node)
        if kind is _OURS:
            if node.operation.state is not state:
                raise _of_another_trace(node)
        elif kind not in harmless:
            if _is_harmless(_short_name(node), free):
                harmless.add(kind)
            elif not _is_known(node, below, free, seen_softmax) and (
                not _is_known(node, below, None, seen_softmax) or _leads_to(node, targets)
            ):
                raise _unseen(node, root)
    return known


def node_of(x: Tensor) -> Any:
    """The node of autograd's graph that a tensor with a gradient stands for; of a leaf the one that collects it."""
    if x.grad_fn is not None:
        return x.grad_fn
    with torch.enable_grad():  # older torch looks a leaf's node up by means of a view
        return torch.autograd.graph.get_gradient_edge(x).node


def check_attention(value: Tensor) -> None:
    """Raise where attention ran in a graph of which the interception saw nothing."""
    for node in _spread(value.grad_fn, _below):
        if not _is_known(node, [], None, ()):
            raise _unseen(node, value.grad_fn)


def _kinds_without_rules(composite: Composite) -> frozenset[str] | None:
    """Kinds whose true gradient is what the composite wants; None where that is so for all."""
    if composite.message_kind == "relevance":
        return frozenset()
    if not composite.rules and not composite.exceptions:
        return None
    named = {kind for kinds in _NAMES_BY_KINDS for kind in kinds} | {"gate", "matmul", "normaliser", "softmax"}
    return frozenset(named - set(composite.rules) - composite.kinds_by_name)


def _is_harmless(name: str, free: frozenset[str] | None) -> bool:
    """Whether every node of that name is right, wherever it stands."""
    return name in _ROUTING or (free is None and not any(word in name.lower() for word in _ATTENTION))


def _is_known(node: Any, below: list[Any], free: frozenset[str] | None, seen_softmax: Collection[Any]) -> bool:
    name = _short_name(node)
    if _is_harmless(name, free):
        return True
    if free is None:
        return node in seen_softmax
    if name == "Softmax":
        return "softmax" in free and node in seen_softmax
    kinds = _KINDS.get(name)
    if name == "Mul":
        kinds = ("gate", "normaliser") if len(below) > 1 else ("scale",)
    elif name == "Div" and len(below) > 1:
        kinds = ("normaliser",)
    elif name in ("Mm", "Bmm", "Mv", "Dot") and len(below) > 1:
        kinds = ("matmul",)  # unseen attention has its softmax below
    elif name == "Bmm":
        kinds = ("pooling",)
    elif name in ("Mm", "Mv", "Dot"):
        kinds = ("linear",)
    elif name in ("Addmm", "Linear", "Convolution") and len(below) > 1:
        return False  # by a traced value, which no kind is
    if kinds is None:
        return False
    return all(kind in free for kind in kinds)


def _short_name(node: Any) -> str:
    """``"Add"`` for torch's own AddBackward0; custom functions, whose names lack the number, keep their name."""
    name: str = type(node).__name__
    short = name.rstrip("0123456789")
    return short.removesuffix("Backward") if short != name else name


def _leads_to(node: Any, targets: Collection[Any]) -> bool:
    return any(found in targets for found in _spread(node, _below))


def _below(node: Any) -> list[Any]:
    return [child for child, _ in node.next_functions if child is not None]


def _spread(node: Any, neighbours: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """The node, its neighbours, theirs and so on, nearest first."""
    level, seen = [node], {node}
    while level:
        yield from level
        level = [found for found in dict.fromkeys(x for n in level for x in neighbours(n)) if found not in seen]
        seen.update(level)


def _unseen(node: Any, root: Any) -> UnsupportedOperationError:
    """The error for a node that ran past the interception."""
    above: dict[Any, list[Any]] = {}
    for upper in _spread(root, _below):
        for child in _below(upper):
            above.setdefault(child, []).append(upper)
    names = []
    for neighbours in (_below, lambda found: above.get(found, ())):
        names.append(next((name for name in map(_module_name, _spread(node, neighbours)) if name), ""))
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        what = f"the custom autograd function {type(node).__name__.removesuffix('Backward')}"
        remedy = "write it as ordinary torch operations, or use the module's plain variant, while it is explained"
    else:
        what = f"{type(node).__name__}, which ran where the trace could not see it,"
        remedy = (
            "scripted, traced or compiled modules, torch.func, threads and blocks that disable torch functions hide "
            "what they run; use the plain module there"
        )
    return UnsupportedOperationError(
        f"{what} has no relevance rule; it ran {_place(*names)}. Relevance is never passed on by a rule that nobody "
        f"chose: {remedy}"
    )


def _of_another_trace(node: Any) -> UnsupportedOperationError:
    place = f" (module '{name}')" if (name := _module_name(node)) else ""
    return UnsupportedOperationError(
        f"the model reads a value that it kept from an earlier explanation, with the graph of that{place}: relevance "
        "would go on into the earlier image; let the model keep .detach()ed values, or none"
    )


def _module_name(node: Any) -> str:
    """Of an operation of ours, where it is known."""
    return str(node.operation.module_name) if type(node) is _OURS else ""


def _place(before: str, after: str) -> str:
    """Where something ran that lies between two modules, as a phrase."""
    if not before and not after:
        return "in the model"
    if before == after:
        return f"in module '{before}' or beside it"
    if not before or not after:
        return f"after module '{before}'" if before else f"before module '{after}'"
    shared = []
    for one, other in zip(before.split("."), after.split("."), strict=False):
        if one != other:
            break
        shared.append(one)
    inside = f"in module '{'.'.join(shared)}', " if shared else ""
    return f"{inside}after module '{before}' and before module '{after}'"
