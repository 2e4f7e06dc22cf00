"""The interception: during one forward, torch's operations are swapped for recorded ones.

A :class:`torch.overrides.TorchFunctionMode` sees every torch function that the model calls. Functions that only move
values about (reshape, cat, indexing ...) run as they are, since autograd's own backward is right for gradients and
relevance alike. Functions with a rule go to their handler, which records an
:class:`~quantus_vit.relevance.operations.base.Operation`. Everything else raises, if a traced value would go through
it. Parameters are detached on the way: no gradient of theirs is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import functional
from .handlers import HANDLERS
from .recorder import Recorder
from .routing import METADATA
from .tail import Call
from .tensors import is_traced

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
        result = self._answer(func, args, kwargs)
        if self.recorder.tape is not None:
            self.recorder.tape.calls.append(Call(func, args, kwargs or {}, result))
        return result

    def _answer(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Any:
        recorder = self.recorder
        if functional.are_active():
            functional.refuse_traced(recorder, func, (args, kwargs))
        if recorder.below_start.active and getattr(func, "__name__", "") not in ("__get__", "__set__"):
            return recorder.below_start.run(self._run, func, args, kwargs or {})
        result = self._run(func, args, kwargs)
        has_rule = func in HANDLERS
        untraced = not has_rule and isinstance(result, Tensor) and not result.requires_grad
        if untraced or recorder.cuts.awake or not torch.is_grad_enabled():
            recorder.cuts.follow(func, args, kwargs, result, has_rule)
        return result

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Any:
        recorder = self.recorder
        if recorder.cuts.awake and args and _writes(func) and recorder.cuts.is_alias(args[0]):
            raise recorder.unsupported(func, args, "changes a traced value through its detached name")
        if recorder.overwritten:
            if recorder.overwritten.stale((args, kwargs)):
                reason = "reads a view of a tensor after that was changed in place"
                raise recorder.unsupported(func, (args, kwargs), reason)
            args, kwargs = recorder.overwritten.current(args), recorder.overwritten.current(kwargs)
        if kwargs and kwargs.get("out") is not None:
            if is_traced(recorder.detach_parameters((args, {**kwargs, "out": None}))):
                raise recorder.unsupported(func, args, "writes a traced value into a tensor given as out=")
            return func(*args, **kwargs)
        handler = HANDLERS.get(func)
        if handler is not None:
            result = handler(recorder, func, *args, **(kwargs or {}))
        else:
            result = recorder.run(func, *args, **(kwargs or {}))
        recorder.weights.follow(func, args, result)
        if recorder.positions is not None and recorder.positions.active:
            recorder.positions.follow(func, args, kwargs, result)
        return result


def _writes(func: Callable[..., Any]) -> bool:
    """Whether a function changes its first argument: ``add_``, ``__iadd__``, ``__setitem__``."""
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name == "__setitem__" or name in _AUGMENTED
    return name.endswith("_") and name not in ("detach_", "requires_grad_")


_AUGMENTED = frozenset(
    f"__i{name}__"
    for name in ["add", "sub", "mul", "div", "truediv", "floordiv", "pow", "matmul", "mod", "and", "or", "xor"]
)
