"""One attribution for one shape of images, captured as a CUDA graph and replayed.

At small sizes a GPU waits for Python and for launches of kernels; a graph launches all of them at once. Knows a method
as a function from images and targets to maps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import GraphWarning
from ..relevance.conditions import gathering
from .inputs import check_inputs, parse_target

__all__ = ["Capture", "Graphed", "cuda_graph"]

Explain: TypeAlias = "Callable[[Tensor, Tensor | None], Tensor]"
Capture: TypeAlias = "Callable[[Callable[[], tuple[Tensor, Tensor]]], tuple[tuple[Tensor, Tensor], Callable[[], None]]]"
"""Runs a function once or more; returns its last results, and what computes them anew in the same memory."""

_WARM_UPS = 3  # cuBLAS, cuDNN and the allocator take what they need before the capture


def cuda_graph(function: Callable[[], tuple[Tensor, Tensor]]) -> tuple[tuple[Tensor, Tensor], Callable[[], None]]:
    """Capture what a function launches, on a stream of its own."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()
    return results, graph.replay


@dataclass(frozen=True)
class _Recording:
    """A captured attribution: where its images and targets go, where its maps lie, and what it was captured for."""

    inputs: Tensor
    target: Tensor | None
    maps: Tensor
    valid: Tensor
    replay: Callable[[], None]
    fingerprint: tuple[Any, ...]


class Graphed:
    """A method for images of one shape; see :meth:`~.base.AttributionMethod.graphed`, which makes it.

    Parameters
    ----------
    model : nn.Module
        Whose weights and modes are watched.
    explain : callable or None
        ``explain(inputs, target)``, all images at once; None where the method has no such function.
    attribute : callable
        The method's own ``attribute(inputs, target)``, for what the graph does not serve.
    example : Tensor
        (N, C, H, W); its values do not matter.
    modes : callable
        The context in which ``explain`` runs.
    capture : callable
        :func:`cuda_graph`.
    """

    def __init__(
        self,
        model: nn.Module,
        explain: Explain | None,
        attribute: Callable[[Tensor, Any], Tensor],
        example: Tensor,
        modes: Callable[[], AbstractContextManager[None]],
        capture: Capture | None = None,
    ) -> None:
        self._model, self._explain, self._attribute, self._modes = model, explain, attribute, modes
        self._example = torch.empty_like(example)
        self._capture = cuda_graph if capture is None else capture
        self._recordings: dict[bool, _Recording] = {}
        self.reason: str | None = None
        if explain is None:
            self._give_up("the method asks the model as often as its samples need, in batches of its own")
        elif capture is None and example.device.type != "cuda":
            self._give_up(f"CUDA graphs need images on a CUDA device, and these are on {example.device}")

    def __call__(self, inputs: Tensor, target: Any = None) -> Tensor:
        """Attribution of the images, as the method's ``attribute`` gives it.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W) of the example's shape, type and device; others are explained without the graph.
        target : int, sequence of int, Tensor or None
            As in ``attribute``; None has a graph of its own.

        Returns
        -------
        Tensor
            The maps, in memory of their own.

        Raises
        ------
        ValueError, TypeError, UnsupportedOperationError
            As ``attribute``.

        Warns
        -----
        GraphWarning
            Once, where there is no graph: the maps are the same, computed without one. :attr:`reason` says why.
        """
        targets = self._targets(inputs, target)
        recording = self._recording(target is not None) if self._fits(inputs) and self.reason is None else None
        if recording is None:
            return self._attribute(inputs, target)
        recording.inputs.copy_(inputs.detach())
        if recording.target is not None and targets is not None:
            recording.target.copy_(targets)
        recording.replay()
        if not bool(recording.valid):  # of what went without saying something does not hold: it says so, or copes
            return self._attribute(inputs, target)
        return recording.maps.clone()

    def _targets(self, inputs: Tensor, target: Any) -> Tensor | None:
        return parse_target(target, len(check_inputs(inputs)))

    def _fits(self, inputs: Tensor) -> bool:
        example = self._example
        if (inputs.shape, inputs.dtype, inputs.device) == (example.shape, example.dtype, example.device):
            return True
        self._warn(
            f"the graph is for images {tuple(example.shape)} of {example.dtype} on {example.device}, and these are "
            f"{tuple(inputs.shape)} of {inputs.dtype} on {inputs.device}"
        )
        return False

    def _recording(self, targeted: bool) -> _Recording | None:
        """The graph for the model as it is, captured now where there is none yet; None where that fails."""
        fingerprint = self._fingerprint()
        known = self._recordings.get(targeted)
        if known is not None and known.fingerprint == fingerprint:
            return known
        self._recordings.pop(targeted, None)  # its memory is free for the next
        try:
            self._recordings[targeted] = self._record(targeted, fingerprint)
        except Exception as error:  # whatever CUDA, or an operation that asks the host, raises in a capture
            self._give_up(" ".join(f"{type(error).__name__}: {error}".split())[:300])
            return None
        return self._recordings[targeted]

    def _record(self, targeted: bool, fingerprint: tuple[Any, ...]) -> _Recording:
        inputs = torch.zeros_like(self._example)
        target = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device) if targeted else None
        explain = self._explain
        assert explain is not None

        def explained() -> tuple[Tensor, Tensor]:
            with self._modes(), gathering() as conditions:
                maps = explain(inputs, target)
                valid = torch.stack(conditions).all() if conditions else torch.ones((), device=inputs.device).bool()
                return maps, valid

        (maps, valid), replay = self._capture(explained)
        return _Recording(inputs, target, maps, valid, replay, fingerprint)

    def _fingerprint(self) -> tuple[Any, ...]:
        """What a graph was captured for: weights by place and version, and the modes that choose kernels."""
        tensors = (*self._model.parameters(), *self._model.buffers())
        device = self._example.device.type
        return (
            tuple((x.data_ptr(), x._version, x.dtype) for x in tensors),
            tuple(module.training for module in self._model.modules()),
            torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        )

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self._recordings.clear()
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        warnings.warn(f"explained without a CUDA graph, maps are the same: {reason}", GraphWarning, stacklevel=4)
