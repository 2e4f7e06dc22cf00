"""Gradients inside Quantus' metrics, for models whose forward needs them.

A model that calls ``tensor.register_hook`` in its forward, or keeps its attention for a later backward pass, fails in
Quantus: ``PyTorchModel`` predicts under ``no_grad``, and copies models that may hold tensors of a graph, which cannot
be copied. Here those methods get a second behaviour, chosen by a context variable, so that only the calls inside
:func:`gradients_enabled` see it, in the thread that entered it. The methods are replaced while at least one such block
is open and put back after the last one. Knows ``PyTorchModel`` and the calling convention of metrics; knows no
metric and no explainer. What it costs is measured in ``benchmarks/gradient_wrapper.py``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

from . import compat
from .model_methods import WITH_GRADIENTS
from .model_state import restored_modes

__all__ = ["DEFAULT_CHUNK_SIZE", "GradientEnabled", "gradients_enabled"]

DEFAULT_CHUNK_SIZE = 8


@dataclass(frozen=True)
class _Settings:
    chunk_size: int | None


_settings: ContextVar[_Settings | None] = ContextVar("quantus_vit_gradients", default=None)


def _with_gradients(name: str, original: Any) -> Callable[..., Any]:
    """Return a method of ``PyTorchModel`` that behaves as ``original`` outside of :func:`gradients_enabled`."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = original.__get__(self, type(self))  # It may be a descriptor of a cache, not a function.
        settings = _settings.get()
        if settings is None:
            return bound(*args, **kwargs)
        return WITH_GRADIENTS[name](bound, settings.chunk_size, self, *args, **kwargs)

    return method


class _Patches:
    """The replaced methods of ``PyTorchModel``, in place while somebody needs them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._replaced: list[tuple[type, str, Any, Any]] = []

    def acquire(self) -> None:
        with self._lock:
            if self._users == 0:
                owner = compat.pytorch_model_class()
                for name in WITH_GRADIENTS:
                    original = vars(owner).get(name)  # Older versions lack some.
                    if original is not None:
                        replacement = _with_gradients(name, original)
                        setattr(owner, name, replacement)
                        self._replaced.append((owner, name, original, replacement))
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            while self._replaced:
                owner, name, original, replacement = self._replaced.pop()
                if vars(owner).get(name) is replacement:
                    setattr(owner, name, original)


_patches = _Patches()


def _check_chunk_size(chunk_size: Any) -> None:
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise ValueError(f"chunk_size must be a positive int or None for no chunks, not {chunk_size!r}")


@contextmanager
def gradients_enabled(chunk_size: int | None = DEFAULT_CHUNK_SIZE) -> Iterator[None]:
    """Let Quantus' metrics compute gradients in this block, whatever the caller's own grad mode.

    Inside, ``PyTorchModel`` predicts and reads hidden layers with gradients enabled and the input as a leaf, and copies
    models that hold tensors of a graph. A model of another precision than float32 gets its inputs in its own, and
    ``InputInvariance`` finds the first convolution of a ViT wherever it is. Other threads are not affected. Blocks
    nest; the inner one's ``chunk_size`` holds inside it. Quantus is as before after the last block, exceptions
    included.

    Parameters
    ----------
    chunk_size : int or None
        Images that go through the model at once. The graph of a chunk is held while it is predicted, so memory grows
        with this and not with the metric's ``batch_size``. None for the whole batch.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        ``chunk_size`` is not a positive number.
    """
    _check_chunk_size(chunk_size)
    _patches.acquire()
    token = _settings.set(_Settings(chunk_size))
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _settings.reset(token)
        _patches.release()


class GradientEnabled:
    """A metric of Quantus whose calls run in :func:`gradients_enabled`.

    All else (attributes, ``plot``, ``get_params``, ``isinstance``) is the metric's own, so it can be passed
    wherever the metric can, to ``quantus.evaluate`` for instance. After a call the model is in the training or
    evaluation mode in which it came.

    Parameters
    ----------
    metric : callable
        A metric of Quantus, or any callable that is called like one.
    chunk_size : int or None
        As in :func:`gradients_enabled`.

    Examples
    --------
    >>> metric = GradientEnabled(quantus.FaithfulnessEstimate(features_in_step=64))
    >>> scores = metric(model=model, x_batch=x, y_batch=y, explain_func=my_hook_based_explainer)
    """

    def __init__(self, metric: Callable[..., Any], chunk_size: int | None = DEFAULT_CHUNK_SIZE) -> None:
        if isinstance(metric, type) or not callable(metric):
            raise TypeError(f"GradientEnabled wraps an instance of a metric, not {metric!r}")
        _check_chunk_size(chunk_size)
        object.__setattr__(self, "_metric", metric)
        object.__setattr__(self, "_chunk_size", chunk_size)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as the metric does, with gradients."""
        model = kwargs.get("model", args[0] if args else None)
        with gradients_enabled(self._chunk_size), restored_modes(model):
            return self._metric(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Called for what this class lacks. Unpickling asks before there is a metric.
        if name in ("_metric", "_chunk_size"):
            raise AttributeError(name)
        return getattr(self._metric, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._metric, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._metric, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._metric)

    def __dir__(self) -> list[str]:
        return dir(self._metric)

    def __repr__(self) -> str:
        return f"GradientEnabled({self._metric!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return GradientEnabled, (self._metric, self._chunk_size)
