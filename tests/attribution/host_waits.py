"""Where a GPU's host would have to wait, counted on a CPU: values read back, and shapes that depend on values.

A tensor that is made of numbers alone, or of such tensors, lies on the host, as it would beside a GPU; images, weights
and what is computed of them lie on the "device", though all of it is the CPU here. Reading the latter, or sending the
former there as indices, is a wait; in a CUDA graph's capture it is an error. An operation on tensors of both places is
an error on a GPU at any time, but for copies, indices and single numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["HostWaitError", "counted_waits", "mixed_places"]

aten = torch.ops.aten
READS = {aten._local_scalar_dense, aten.equal, aten.is_nonzero}
SHAPES = {aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.bincount}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
MAKING = {torch.tensor, torch.as_tensor}
COPYING = {aten.copy_, aten._to_copy}
LEAVING = {Tensor.cpu, Tensor.tolist, Tensor.numpy, Tensor.item, Tensor.__array__}


class HostWaitError(RuntimeError):
    """What CUDA says of a wait during a capture."""


class _Places:
    """Which tensors lie on the host, and what was waited for."""

    def __init__(self, allowed: bool, follows_devices: bool = False) -> None:
        self.host = WeakIdKeyDictionary()
        self.follows_devices = follows_devices
        self.function: Any = None  # the one that Python called; None, or a walk, while autograd works by itself
        self.waits: list[str] = []
        self.mixed: list[str] = []
        self.allowed = allowed

    def on_host(self, *values: Any) -> bool:
        tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        return all(tensor in self.host for tensor in tensors)

    def look_for_mixtures(self, packet: Any, values: Any) -> None:
        """Keep the name of an operation that needs all its tensors in one place, and has them in two."""
        if packet not in COPYING | INDEXING:
            tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.dim()]
            if len({tensor in self.host for tensor in tensors}) > 1:
                self.mixed.append(packet.__name__)

    def move(self, result: Any, to_host: bool) -> None:
        """Note where a tensor lies after all."""
        if to_host:
            self.note(result)
        else:
            self.host.pop(result, None)

    def note(self, result: Any) -> None:
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.host[leaf] = True

    def wait(self, what: str) -> None:
        self.waits.append(what)
        if not self.allowed:
            raise HostWaitError(f"operation not permitted when stream is capturing: {what}")


class _Functions(TorchFunctionMode):
    """Sees what never reaches the dispatcher where everything is on the CPU already."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self._places = places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, places = kwargs or {}, self._places
        leaves = func in LEAVING and not places.on_host(args[0])
        if leaves and func is not Tensor.item:  # the dispatcher sees that one
            places.wait(func.__name__)
        if func is Tensor.new_tensor and not places.on_host(args[0]):
            places.wait("new_tensor copies numbers of the host")
        is_number = func is Tensor.to and isinstance(args[1], Tensor) and not args[0].dim()
        if is_number and places.on_host(args[0]) and not places.on_host(args[1]):
            places.wait("to copies a number of the host")
        before, places.function = places.function, func
        try:
            result = func(*args, **kwargs)
        finally:
            places.function = before
        if func is Tensor.cpu and leaves:
            result = result.detach().clone()
            places.note(result)
        if func in MAKING and "device" not in kwargs and not isinstance(args[0], Tensor):
            places.note(result)
        return self._moved(func, args, kwargs, result) if places.follows_devices else result

    def _moved(self, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """The result of a call that names a device, where it would lie."""
        places = self._places
        device = kwargs.get("device", next((arg for arg in args if isinstance(arg, torch.device)), None))
        if isinstance(result, Tensor) and isinstance(device, (torch.device, str)):
            # A literal "cpu" means the host; a device that was asked of a tensor is the one that this tensor is on.
            result = result.clone() if any(result is arg for arg in args) else result
            places.move(result, isinstance(device, str))
        elif func is Tensor.to and isinstance(args[1], Tensor):
            result = result.clone() if result is args[0] else result
            places.move(result, args[1] in places.host)
        return result


class _Operations(TorchDispatchMode):
    def __init__(self, places: _Places) -> None:
        super().__init__()
        self._places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, places = kwargs or {}, self._places
        host, packet = places.on_host(args, kwargs), func.overloadpacket
        places.look_for_mixtures(packet, (args, kwargs))
        if not host:
            if packet in READS or packet in SHAPES:
                places.wait(packet.__name__)
            if packet in INDEXING and any(x.dtype == torch.bool or x in places.host for x in tree_leaves(args[1])
                                          if isinstance(x, Tensor)):  # fmt: skip
                places.wait(f"{packet.__name__} by a mask, or by indices of the host")
        result = func(*args, **kwargs)
        # Zeros that autograd makes for a message that is not there lie where the others do.
        of_autograd = places.follows_devices and places.function in (None, torch.autograd.grad)
        if host and not (of_autograd and not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs)))):
            places.note(result)
        return result


@contextmanager
def counted_waits(allowed: bool = True) -> Iterator[list[str]]:
    """The waits of the block, by the operation that caused each; with ``allowed=False`` the first one is an error."""
    places = _Places(allowed)
    with _Functions(places), _Operations(places):
        yield places.waits


@contextmanager
def mixed_places() -> Iterator[list[str]]:
    """The operations of the block that a GPU would refuse, since some of their tensors lie on the host."""
    places = _Places(allowed=True, follows_devices=True)
    with _Functions(places), _Operations(places):
        yield places.mixed
