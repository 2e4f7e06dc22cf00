"""How long a comparison will take, from its first case. Knows a model and the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

__all__ = ["Probe", "expectation", "probed"]


@dataclass
class Probe:
    """What a case cost: seconds, and images that went through the model (copies of it count, too)."""

    seconds: float = 0.0
    images: int = 0


@contextmanager
def probed(module: nn.Module) -> Iterator[Probe]:
    """Measure what happens inside; the model has a hook as long."""
    probe, started = Probe(), time.monotonic()

    def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            probe.images += len(inputs[0])

    handle = module.register_forward_pre_hook(count)
    try:
        yield probe
    finally:
        handle.remove()
        probe.seconds = time.monotonic() - started


def expectation(probe: Probe, cases: int, maps: int, cases_left: int) -> str:
    """A sentence on what is to come.

    Parameters
    ----------
    probe : Probe
        Of the first cases.
    cases : int
        How many these were.
    maps : int
        Maps a case.
    cases_left : int
    """
    share = cases_left / cases
    first = "the first case" if cases == 1 else f"the first {cases} cases"
    return (
        f"{first} took {_duration(probe.seconds)}: {maps * cases} maps, {probe.images} images through the model; to "
        f"come are {cases_left} cases, {maps * cases_left} maps, some {round(probe.images * share)} images through the "
        f"model: about {_duration(probe.seconds * share)}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
