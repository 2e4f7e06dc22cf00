"""What methods of ``PyTorchModel`` do inside :func:`.gradients.gradients_enabled`.

Knows Quantus' wrapper of torch models; does not know when its methods are replaced.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .model_state import device_of, precision

__all__ = ["WITH_GRADIENTS"]


class _CopyGraphTensorsDetached(TorchFunctionMode):
    """Let ``copy.deepcopy`` copy tensors that hang on a graph: their values, without the graph.

    PyTorch refuses ("Only Tensors created explicitly by the user support the deepcopy protocol"), yet a copied model
    needs no graph of its original.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            # Not torch's copy of a detached tensor: it notes the address of a storage, which soon is another's.
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
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


@contextmanager
def _float32_outside(*models: nn.Module) -> Iterator[None]:
    """Models of another precision take and give float32, which is all that Quantus can."""
    handles = []

    def cast_inputs(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        dtype = precision(module)
        return tuple(x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in args)

    def cast_output(module: nn.Module, args: Any, output: Any) -> Any:
        return output.to(torch.float32) if isinstance(output, torch.Tensor) else output

    for model in models:
        handles += [model.register_forward_pre_hook(cast_inputs), model.register_forward_hook(cast_output)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _predict(
    original: Callable[..., Any], chunk_size: int | None, self: Any, x: Any, grad: bool = False, **kwargs: Any
) -> Any:
    # 'grad' is taken off the caller, who may have said no.
    if not isinstance(x, (np.ndarray, torch.Tensor)):
        return original(x, grad=True, **kwargs)  # A tokeniser's output; its leaves are the embeddings.
    called: tuple[nn.Module, ...] = ()
    if precision(self.model) != torch.float32:
        # Either may be what is called: the copy without a softmax, or the model, be it inside of a new container.
        called = (self.model, *([self.get_softmax_arg_model()] if hasattr(self, "get_softmax_arg_model") else []))
    with _float32_outside(*called):
        return np.concatenate([original(chunk, grad=True, **kwargs) for chunk in _leaf_chunks(x, chunk_size)])


def _hidden_representations(
    original: Callable[..., Any],
    chunk_size: int | None,
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
        raise ValueError(f"no hidden representations were selected by {sorted(names)} and {sorted(indices)}")
    device = self.device if self.device is not None else "cpu"
    rows = []
    for chunk in _leaf_chunks(x, chunk_size):
        outputs: list[np.ndarray] = []
        handles = [layer.register_forward_hook(functools.partial(_record, outputs)) for layer in chosen]
        try:
            with _float32_outside(*([model] if precision(model) != torch.float32 else [])):
                model(chunk.to(device))
        finally:
            for handle in handles:
                handle.remove()
        rows.append(np.hstack([output.reshape(len(chunk), -1) for output in outputs]))
    return np.vstack(rows)


def _record(outputs: list[np.ndarray], module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
    outputs.append(output.detach().float().cpu().numpy())


def _random_layers(
    original: Callable[..., Generator[Any, None, None]], chunk_size: int | None, self: Any, *args: Any, **kwargs: Any
) -> Generator[Any, None, None]:
    """Take the steps of a generator that copies a model, with graph tensors detached in the copy."""
    generator = original(*args, **kwargs)
    while True:
        try:
            with _CopyGraphTensorsDetached():
                item = next(generator)
        except StopIteration:
            return
        yield item


def _shifted_first_layer(
    original: Callable[..., Any], chunk_size: int | None, self: Any, input_shift: float, shape: tuple[int, ...]
) -> Any:
    """Quantus' method, which takes the second module for a convolution; in most ViTs that is a block around one."""
    modules = list(self.model.modules())
    if precision(self.model) == torch.float32 and len(modules) > 1 and hasattr(modules[1], "out_channels"):
        return _copy(original, chunk_size, self, input_shift, shape)
    name = _first_convolution(self.model, shape)
    with _CopyGraphTensorsDetached(), torch.no_grad():
        shifted = copy.deepcopy(self.model)
        layer = shifted.get_submodule(name)
        layer.bias -= input_shift * layer.weight.flatten(1).sum(1)
    return shifted


def _first_convolution(model: nn.Module, shape: tuple[int, ...]) -> str:
    """The name of the convolution that sees the images as they are, and has a bias to shift."""
    images = torch.rand(shape, dtype=precision(model), device=device_of(model)).requires_grad_()
    entered: list[str] = []

    def note(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and args[0].shape == images.shape and torch.equal(args[0], images):
            entered.append(name)

    convolutions = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and module.bias is not None
    }
    handles = [module.register_forward_pre_hook(functools.partial(note, name)) for name, module in convolutions.items()]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    if len(entered) != 1:
        raise ValueError(
            f"InputInvariance shifts the bias of one convolution that sees the images themselves; "
            f"{type(model).__name__} has {len(entered)} of them, so that the metric is not defined for it"
        )
    return entered[0]


def _copy(original: Callable[..., Any], chunk_size: int | None, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Quantus' method, with graph tensors detached in the copy that it makes."""
    with _CopyGraphTensorsDetached():
        return original(*args, **kwargs)


WITH_GRADIENTS: dict[str, Callable[..., Any]] = {
    "predict": _predict,
    "get_hidden_representations": _hidden_representations,
    "get_random_layer_generator": _random_layers,
    "sample": _copy,
    "add_mean_shift_to_first_layer": _shifted_first_layer,
    "_get_model_with_linear_top": _copy,
}
"""By name of the method: called with the bound original, the chunk size, the ``PyTorchModel`` and the arguments."""
