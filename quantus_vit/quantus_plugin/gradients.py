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
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from . import compat

DEFAULT_CHUNK_SIZE = 8


@dataclass(frozen=True)
class _Settings:
    chunk_size: int | None


_settings: ContextVar[_Settings | None] = ContextVar("quantus_vit_gradients", default=None)


class _CopyGraphTensorsDetached(TorchFunctionMode):
    """Let ``copy.deepcopy`` copy tensors that hang on a graph: their values, without the graph.

    PyTorch refuses ("Only Tensors created explicitly by the user support the deepcopy protocol"), yet a copied model
    needs no graph of its original.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


def _leaf_chunks(x: Any, chunk_size: int | None) -> Iterator[torch.Tensor]:
    """Yield parts of a batch (N, ...) as float32 tensors that require a gradient.

    With frozen parameters nothing in the model would require one otherwise. They are clones of a leaf, so that a model
    may still write into its input.
    """
    batch = x.detach().to(torch.float32) if isinstance(x, torch.Tensor) else torch.as_tensor(x, dtype=torch.float32)
    size = chunk_size or max(len(batch), 1)
    for start in range(0, max(len(batch), 1), size):
        yield batch[start : start + size].clone().requires_grad_().clone()


def _predict(predict: Callable[..., Any], settings: _Settings, x: Any, grad: bool = False, **kwargs: Any) -> Any:
    # 'grad' is taken off the caller, who may have said no.
    if not isinstance(x, (np.ndarray, torch.Tensor)):
        return predict(x, grad=True, **kwargs)  # A tokeniser's output; its leaves are the embeddings.
    return np.concatenate([predict(chunk, grad=True, **kwargs) for chunk in _leaf_chunks(x, settings.chunk_size)])


def _hidden_representations(
    settings: _Settings,
    self: Any,
    x: Any,
    layer_names: Sequence[str] | None = None,
    layer_indices: Sequence[int] | None = None,
) -> np.ndarray:
    """Do what Quantus' method does, which cannot be asked for gradients: its forward and its hooks forbid them."""
    model: nn.Module = self.model
    modules = list(model.named_modules())
    names = set(layer_names or ())
    indices = {index if index >= 0 else len(modules) + index for index in layer_indices or ()}
    # Quantus counts the indices among these, without the root and the containers.
    layers = [(name, layer) for name, layer in modules if not isinstance(layer, (type(model), nn.Sequential))]
    chosen = [
        layer
        for index, (name, layer) in enumerate(layers)
        if not (names or indices) or index in indices or name in names
    ]
    if not chosen:
        raise ValueError(f"No hidden representations were selected by {sorted(names)} and {sorted(indices)}.")
    device = self.device if self.device is not None else "cpu"
    rows = []
    for chunk in _leaf_chunks(x, settings.chunk_size):
        outputs: list[np.ndarray] = []
        handles = [layer.register_forward_hook(functools.partial(_record, outputs)) for layer in chosen]
        try:
            model(chunk.to(device))
        finally:
            for handle in handles:
                handle.remove()
        rows.append(np.hstack([output.reshape(len(chunk), -1) for output in outputs]))
    return np.vstack(rows)


def _record(outputs: list[np.ndarray], module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
    outputs.append(output.detach().cpu().numpy())


def _stepwise(generator: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Take the steps of a generator that copies a model, with graph tensors detached in the copy."""
    while True:
        try:
            with _CopyGraphTensorsDetached():
                item = next(generator)
        except StopIteration:
            return
        yield item


def _with_gradients(name: str, original: Any) -> Callable[..., Any]:
    """Return a method of ``PyTorchModel`` that behaves as ``original`` outside of :func:`gradients_enabled`."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = original.__get__(self, type(self))  # It may be a descriptor of a cache, not a function.
        settings = _settings.get()
        if settings is None:
            return bound(*args, **kwargs)
        if name == "predict":
            return _predict(bound, settings, *args, **kwargs)
        if name == "get_hidden_representations":
            return _hidden_representations(settings, self, *args, **kwargs)
        if name == "get_random_layer_generator":
            return _stepwise(bound(*args, **kwargs))
        with _CopyGraphTensorsDetached():
            return bound(*args, **kwargs)

    return method


class _Patches:
    """The replaced methods of ``PyTorchModel``, in place while somebody needs them."""

    names = (
        "predict",
        "get_hidden_representations",
        "get_random_layer_generator",
        "sample",
        "add_mean_shift_to_first_layer",
        "_get_model_with_linear_top",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._replaced: list[tuple[type, str, Any, Any]] = []

    def acquire(self) -> None:
        with self._lock:
            if self._users == 0:
                owner = compat.pytorch_model_class()
                for name in self.names:
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
        raise ValueError(f"chunk_size must be a positive int or None for no chunks, got {chunk_size!r}.")


@contextmanager
def gradients_enabled(chunk_size: int | None = DEFAULT_CHUNK_SIZE) -> Iterator[None]:
    """Let Quantus' metrics compute gradients in this block, whatever the caller's own grad mode.

    Inside, ``PyTorchModel`` predicts and reads hidden layers with gradients enabled and the input as a leaf, and copies
    models that hold tensors of a graph. Other threads are not affected. Blocks nest; the inner one's ``chunk_size``
    holds inside it. Quantus is as before after the last block, exceptions included.

    Parameters
    ----------
    chunk_size
        Images that go through the model at once. The graph of a chunk is held while it is predicted, so memory grows
        with this and not with the metric's ``batch_size``. None for the whole batch.

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
    metric
        A metric of Quantus, or any callable that is called like one.
    chunk_size
        As in :func:`gradients_enabled`.

    Examples
    --------
    >>> metric = GradientEnabled(quantus.FaithfulnessEstimate(features_in_step=64))
    >>> scores = metric(model=model, x_batch=x, y_batch=y, explain_func=my_hook_based_explainer)
    """

    def __init__(self, metric: Callable[..., Any], chunk_size: int | None = DEFAULT_CHUNK_SIZE) -> None:
        if isinstance(metric, type) or not callable(metric):
            raise TypeError(f"GradientEnabled wraps an instance of a metric, got {metric!r}.")
        _check_chunk_size(chunk_size)
        object.__setattr__(self, "_metric", metric)
        object.__setattr__(self, "_chunk_size", chunk_size)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as the metric does, with gradients."""
        model = kwargs.get("model", args[0] if args else None)
        with gradients_enabled(self._chunk_size), _modes_kept(model):
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


@contextmanager
def _modes_kept(model: Any) -> Iterator[None]:
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
