"""What is suspended while a model is traced: compiled code, checkpointing, and backward hooks of modules.

Each would put code of its own between the forward and the backward passes. Compiled parts run as they were written,
checkpointed functions simply run, and hooks that modules' users registered for true gradients are not attached to the
graph. Torch keeps all three in places that belong to the process, so that what replaces them while any trace runs asks
in which thread it was called: other threads get torch's own. When the last trace is done everything is as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint as checkpoint
from torch import nn

from ..errors import UnsupportedOperationError

__all__ = ["SUSPENSION"]


class _PlainCall:
    """Stands in for the autograd function of re-entrant checkpointing: calls what it is given to checkpoint."""

    def __init__(self, own: Any, here: Callable[[], bool]) -> None:
        self._own, self._here = own, here

    def apply(self, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        if self._here():
            return function(*args)
        return self._own.apply(function, preserve, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def _plain_generator(own: Callable[..., Iterator[None]], here: Callable[[], bool]) -> Callable[..., Iterator[None]]:
    """Stands in for the frame of checkpointing that is not re-entrant: adds nothing before and after the call."""

    def generate(*args: Any, **kwargs: Any) -> Iterator[None]:
        if here():
            yield
        else:
            yield from own(*args, **kwargs)

    return generate


class _NoHooks:
    """Stands in for what a module makes of its backward hooks in one call: hands values on as they are."""

    def setup_input_hook(self, args: Any) -> Any:
        """What the module is called with."""
        return args

    def setup_output_hook(self, args: Any) -> Any:
        """What it gave."""
        return args

    def __call__(self, *args: Any) -> None:
        """As a hook: changes nothing."""


def _hooks(own: Callable[..., Any], here: Callable[[], bool]) -> Callable[..., Any]:
    """Stands in for the classes that a module's call wraps its backward hooks in."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _NoHooks() if here() else own(*args, **kwargs)

    return wrapped


class _Suspension:
    """Counts the traces that run; the first replaces, the last puts back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._thread = threading.local()
        self._stance: Any = None
        self._replaced: list[tuple[Any, str, Any]] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """While the block runs, in this thread alone.

        Raises
        ------
        UnsupportedOperationError
            It runs there already: the model's forward explains something.
        """
        if self._here():
            raise UnsupportedOperationError(
                "the model's own forward computes an explanation, whose operations cannot be told from the model's; "
                "let the model take the maps as a further argument (additional_forward_args)"
            )
        with self._lock:
            if not self._users:
                self._replace()
            self._users += 1
        self._thread.depth = getattr(self._thread, "depth", 0) + 1
        try:
            yield
        finally:
            self._thread.depth -= 1
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._put_back()

    def _here(self) -> bool:
        return getattr(self._thread, "depth", 0) > 0

    def _replace(self) -> None:
        here = self._here
        for name in ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl"):
            if hasattr(checkpoint, name):
                self._set(checkpoint, name, _plain_generator(getattr(checkpoint, name), here))
        self._set(checkpoint, "CheckpointFunction", _PlainCall(checkpoint.CheckpointFunction, here))
        # Methods would do, but a changed class slows all calls. Torch 2.4 looks BackwardHook up where it is made.
        calling = nn.modules.module
        for owner, name in (
            (calling if hasattr(calling, "BackwardHook") else torch.utils.hooks, "BackwardHook"),
            (calling, "_WrappedHook"),
        ):
            self._set(owner, name, _hooks(getattr(owner, name), here))
        if hasattr(torch.compiler, "set_stance"):
            self._stance = torch.compiler.set_stance("force_eager")
            self._stance.__enter__()

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _put_back(self) -> None:
        while self._replaced:
            owner, name, value = self._replaced.pop()
            setattr(owner, name, value)
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None


SUSPENSION = _Suspension()
"""The process' one."""
