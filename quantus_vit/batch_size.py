"""How many images fit into one forward, and fewer where that was too many. Knows torch only."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["BatchSize", "PeakMemory", "available_bytes", "choose_batch_size", "fitting_batch", "is_out_of_memory"]

Result = TypeVar("Result")

LARGEST_BATCH_CPU = 32  # larger ones fall out of the caches and gain nothing
LARGEST_BATCH = 256  # beyond it the launches are amortised
FALLBACK_BYTES = 2 * 2**30  # systems that do not tell
# What torch's allocators say; the CPU's raises a plain RuntimeError.
_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Most bytes that tensors made within the block held at one time, on any device.

    Scratch memory within an operation is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage(), before)
        return result

    def _count(self, storage: torch.UntypedStorage, before: set[int]) -> None:
        key = storage._cdata
        if key in self._known or key in before:  # a view or an operation in place
            return
        size = storage.nbytes()
        self._known.add(key)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size


def available_bytes(device: torch.device) -> int:
    """Free memory of ``device``; a cautious guess where the system does not tell."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    if device.type == "cpu":
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):  # not Linux
            return FALLBACK_BYTES
    return FALLBACK_BYTES


def choose_batch_size(model: Callable[[Tensor], Any], image: Tensor) -> int:
    """Images a forward such that the forward takes at most half of the free memory.

    Parameters
    ----------
    model : callable
        Is called once, on one image, under ``torch.inference_mode``.
    image : Tensor
        Shape (C, H, W), on the model's device.
    """
    with torch.inference_mode(), PeakMemory() as memory:
        model(image[None])
    # the perturbed image and its mask
    bytes_an_image = memory.peak + 2 * image.numel() * image.element_size()
    largest = LARGEST_BATCH_CPU if image.device.type == "cpu" else LARGEST_BATCH
    return fitting_batch(bytes_an_image, available_bytes(image.device), largest)


def fitting_batch(bytes_an_image: int, available: int, largest: int) -> int:
    """Images that take at most half of the memory, each with as much again for what happens inside operations.

    Parameters
    ----------
    bytes_an_image, available : int
        What tensors of one image take, and what is free.
    largest : int
        More are never taken.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(largest, available // 2 // (2 * bytes_an_image)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, of the device or of the machine."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY)


class BatchSize:
    """How many images a device takes at once; halved, for good, each time that was too many.

    Parameters
    ----------
    size : int
        To begin with, such as :func:`choose_batch_size` says.

    Examples
    --------
    >>> size = BatchSize(64)
    >>> scores = size.run(lambda images: metric(..., batch_size=images))  # doctest: +SKIP
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, call: Callable[[int], Result]) -> Result:
        """What ``call(size)`` returns; where memory runs out it is called again with half the size.

        Parameters
        ----------
        call : callable
            From the number of images at once to a result that does not depend on it.

        Raises
        ------
        MemoryError, RuntimeError
            A single image is too much.
        """
        while True:
            try:
                return call(self.size)
            except Exception as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            # Not within the handler: there the error's traceback still holds the tensors that did not fit.
            self.size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
