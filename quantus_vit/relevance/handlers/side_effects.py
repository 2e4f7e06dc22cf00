"""What a forward does to a tensor beside computing: handing out its data, hooks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor
from torch.overrides import resolve_name
from torch.utils.hooks import RemovableHandle

from ..recorder import Recorder
from ..tensors import traced
from .table import handles

__all__ = [
    "array",
    "data",
    "deep_copy",
    "detach",
    "grad_fn",
    "gradient",
    "memory",
    "number",
    "register_hook",
    "retain_grad",
    "set_data",
]


@handles((Tensor.data, "__get__"), always=True)
def data(recorder: Recorder, func: Any, self: Tensor) -> Any:
    """What is written through ``.data`` goes unseen by autograd, so traced values do not hand it out."""
    if traced(recorder.detach_parameters(self)):
        raise recorder.unsupported(func, (self,), "of a traced value can be changed unseen; .detach() cannot")
    return func(self)


@handles((Tensor.data, "__set__"), always=True)
def set_data(recorder: Recorder, func: Any, self: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Other data in the same tensor: the graph would go on with the old."""
    if traced(*recorder.detach_parameters((self, *args))):
        raise recorder.unsupported(func, (self, *args), "puts other data into a tensor behind autograd's back")
    return func(self, *args, **kwargs)


@handles((Tensor, "__deepcopy__"), always=True)
def deep_copy(recorder: Recorder, func: Any, self: Tensor, memo: dict[int, Any]) -> Any:
    """A traced value is cloned; torch's own copy is cut from the graph."""
    if not traced(recorder.detach_parameters(self)):
        return func(self, memo)
    memo[id(self)] = recorder.run(torch.clone, self)
    return memo[id(self)]


@handles((Tensor, "detach detach_"), (torch, "detach detach_"), always=True)
def detach(recorder: Recorder, func: Any, self: Tensor) -> Any:
    """What is computed from the result counts as a constant; the watch tells where that matters."""
    x = recorder.detach_parameters(self)
    followed = recorder.cuts.follows(x)
    result = func(x)
    if followed is not None:
        recorder.cuts.mark(result, followed)
    return result


@handles((Tensor, "item tolist __float__ __int__"), always=True)
def number(recorder: Recorder, func: Any, self: Tensor) -> Any:
    """A Python number, which nothing can be told of."""
    result = func(self)
    recorder.cuts.taken(recorder.detach_parameters(self), [result] if isinstance(result, float) else [])
    return result


@handles((Tensor, "numpy __array__ __dlpack__"), always=True)
def array(recorder: Recorder, func: Any, self: Tensor, *args: Any, **kwargs: Any) -> Any:
    """An array, where relevance cannot follow."""
    x = recorder.detach_parameters(self)
    if traced(x):
        raise recorder.unsupported(func, (x,), "takes a traced value out of torch, where relevance cannot follow")
    _hand_out(recorder, func, x)
    recorder.cuts.taken(x, [])
    return func(x, *args, **kwargs)


@handles((Tensor, "untyped_storage storage data_ptr"), always=True)
def memory(recorder: Recorder, func: Any, self: Tensor) -> Any:
    """Where a value lies; whether somebody wrote there is looked at after the forward."""
    _hand_out(recorder, func, self)
    return func(self)


@handles((torch.autograd, "grad"), (Tensor, "backward"), always=True)
def gradient(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Gradients inside a forward would go through the operations recorded so far."""
    raise recorder.unsupported(func, args, "takes gradients inside the model's forward, through the traced graph")


class _Node:
    """A node of the graph, as far as a model may ask it: its hooks are left out."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def __eq__(self, other: object) -> bool:
        return self._node is (other._node if isinstance(other, _Node) else other)

    def __hash__(self) -> int:
        return hash(self._node)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Left out, as hooks of tensors are."""
        return RemovableHandle(OrderedDict())

    register_prehook = register_hook


@handles((Tensor.grad_fn, "__get__"), always=True)
def grad_fn(recorder: Recorder, func: Any, self: Tensor) -> Any:
    """The node without its hooks."""
    node = func(self)
    return None if node is None else _Node(node)


@handles((Tensor, "register_hook register_post_accumulate_grad_hook"), always=True)
def register_hook(recorder: Recorder, func: Any, self: Tensor, hook: Any) -> RemovableHandle:
    """Hooks that the model's forward puts on tensors are left out: messages here are not the gradients they expect."""
    return RemovableHandle(OrderedDict())


@handles((Tensor, "retain_grad"), always=True)
def retain_grad(recorder: Recorder, func: Any, self: Tensor) -> None:
    """Left out, as hooks are."""


def _hand_out(recorder: Recorder, func: Any, x: Tensor) -> None:
    """Note that the model takes the memory of a value, if it is one that relevance flows through."""
    if traced(x) or recorder.cuts.is_alias(x):
        name = resolve_name(func) or getattr(func, "__name__", str(func))
        recorder.handed_out.add(x, f"{name} gave it to {recorder.locator.describe()}")
