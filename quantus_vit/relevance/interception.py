"""The interception: during one forward, torch's operations are swapped for recorded ones.

A :class:`torch.overrides.TorchFunctionMode` sees every torch function that the model calls. Functions that only move
values about (reshape, cat, indexing ...) run as they are, since autograd's own backward is right for gradients and
relevance alike. Functions with a rule go to their handler, which records an
:class:`~quantus_vit.relevance.operations.base.Operation`. Everything else raises, if a traced value would go through
it. Parameters are detached on the way: no gradient of theirs is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import functional
from .handlers import ALWAYS, HANDLERS
from .recorder import Recorder
from .routing import METADATA
from .tail import Call
from .tensors import is_traced, tensors_in
from .training_mode import DROPOUTS
from .weights import KEEPS

__all__ = ["Interception"]


class Interception(TorchFunctionMode):
    """Active during one forward; hands every call to its handler or to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in METADATA:
            return func(*args, **(kwargs or {}))
        if func in DROPOUTS:  # in evaluation they give back what they get
            return HANDLERS[func](self.recorder, func, *args, **(kwargs or {}))
        result = self._answer(func, args, kwargs)
        if self.recorder.tape is not None:
            self.recorder.tape.calls.append(Call(func, args, kwargs or {}, result))
        return result

    def _answer(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Any:
        recorder = self.recorder
        if functional.are_active():
            functional.refuse_traced(recorder, func, (args, kwargs))
        below = recorder.below_start
        if below.active and (name := getattr(func, "__name__", "")) not in _UNMARKED:
            if _attends(name) and func not in _ATTENTION and self._mixes_tokens(args, kwargs):
                reason = "may be attention, which no rollout can see in this form; use torch.softmax and matmul"
                raise recorder.unsupported(func, (args, kwargs), reason)
            if func in ALWAYS:
                return below.run(self._run, func, args, kwargs or {})
            result = below.run_plain(func, args, kwargs)
            self._follow(func, args, kwargs, result)
            return result
        result = self._run(func, args, kwargs)
        untraced = isinstance(result, Tensor) and not result.requires_grad
        if untraced or recorder.cuts.awake or not torch.is_grad_enabled():
            has_rule = func in HANDLERS
            if recorder.cuts.awake or not has_rule or not torch.is_grad_enabled():
                recorder.cuts.follow(func, args, kwargs, result, has_rule)
        return result

    def _mixes_tokens(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> bool:
        """Whether maps of tokens are wanted, and a call reads values that may be scores (..., queries, keys)."""
        given = tensors_in((args, kwargs))
        return self.recorder.options.of_attention and any(x.requires_grad and x.dim() >= 3 for x in given)

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Any:
        recorder = self.recorder
        if recorder.cuts.awake and args and _writes(func) and recorder.cuts.is_alias(args[0]):
            raise recorder.unsupported(func, args, "changes a traced value through its detached name")
        if recorder.overwritten.awake:
            if recorder.overwritten.stale((args, kwargs)):
                reason = "reads a view of a tensor after that was changed in place"
                raise recorder.unsupported(func, (args, kwargs), reason)
            args, kwargs = recorder.overwritten.current(args), recorder.overwritten.current(kwargs)
        if kwargs and kwargs.get("out") is not None:
            if is_traced(recorder.detach_parameters((args, {**kwargs, "out": None}))):
                raise recorder.unsupported(func, args, "writes a traced value into a tensor given as out=")
            return func(*args, **kwargs)
        handler = HANDLERS.get(func)
        if handler is not None and not (recorder.is_plain and _may_be_plain(func, args, kwargs)):
            result = handler(recorder, func, *args, **(kwargs or {}))
        else:
            result = recorder.run(func, *args, **(kwargs or {}))
        self._follow(func, args, kwargs, result)
        return result

    def _follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, result: Any
    ) -> None:
        """Carry what is known of the arguments on to the result."""
        recorder = self.recorder
        if func in KEEPS and recorder.weights.awake:
            recorder.weights.follow(args, result)
        positions = recorder.positions
        if positions is not None:
            if positions.active:
                positions.follow(func, args, kwargs, result)
            elif not positions.images.isdisjoint(map(id, args)) and func not in _ASKS_SHAPE:
                positions.read_again = True


def _may_be_plain(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> bool:
    """Whether a call whose true gradient serves may run without its handler; activations in place may not."""
    in_place = (args and args[-1] is True) or (kwargs and kwargs.get("inplace"))
    return func not in ALWAYS and not in_place


_ATTENTION = frozenset(
    [torch.softmax, F.softmax, Tensor.softmax, F.scaled_dot_product_attention, F.multi_head_attention_forward]
)
"""Functions whose handlers take attention apart."""


@cache
def _attends(name: str) -> bool:
    """Whether a function may hide an attention layer, by its name."""
    return any(word in name for word in ("softm", "attention", "transformer"))


def _writes(func: Callable[..., Any]) -> bool:
    """Whether a function changes its first argument: ``add_``, ``__iadd__``, ``__setitem__``."""
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name == "__setitem__" or name in _AUGMENTED
    return name.endswith("_") and name not in ("detach_", "requires_grad_")


_UNMARKED = frozenset(["__get__", "__set__", "_set_grad_enabled"])
"""Names of functions that marks of values below the start are none of the business of."""

_ASKS_SHAPE = {getattr(torch, f"{name}_like") for name in ["zeros", "ones", "full", "empty", "rand", "randn"]} | {
    getattr(Tensor, f"new_{name}") for name in ["zeros", "ones", "full", "empty", "tensor"]
}
"""Functions that make a tensor of a given one's shape, type or device; no value is read."""

_AUGMENTED = frozenset(
    f"__i{name}__"
    for name in ["add", "sub", "mul", "div", "truediv", "floordiv", "pow", "matmul", "mod", "and", "or", "xor"]
)
