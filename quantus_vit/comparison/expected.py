"""How long a comparison will take, said before it begins: from a timed probe of its first case.

Knows how a map and a score are made, the model and the clock; writes no score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from ..batch_size import BatchSize
from .group_scoring import GroupScorer
from .images import Image
from .ledger import Ledger
from .mapping import MapMaker
from .plan import Plan

__all__ = ["Probe", "expectation", "probed"]

Array = npt.NDArray[Any]


@dataclass
class Probe:
    """What something cost: seconds, and images that went through the model (copies of it count, too)."""

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


def expectation(plan: Plan, ledger: Ledger, image: Image, size: BatchSize, cases: int) -> str:
    """Make the missing maps of one case, score one of them by each metric, and say what all cases will cost.

    Maps that the run would make one by one are kept for it; scores are not. What fails is left out of the estimate: the
    run comes to it and says why.

    Parameters
    ----------
    plan : Plan
    ledger : Ledger
    image : Image
        Of the first case.
    size : BatchSize
        Maps that a metric takes at once.
    cases : int
        How many are to come, this one among them.

    Returns
    -------
    str
        One sentence: cases, maps, images through the model, time.
    """
    maker = MapMaker(plan, ledger)
    scoring = GroupScorer(plan, ledger, maker, size)
    maps: dict[str, Array] = {}
    costs: dict[str, Probe] = {}
    lacking = {call.label: maker.lacking(image, call) for call in plan.methods}
    for call in plan.methods:
        if lacking[call.label]:
            relevance, costs[call.label] = _tried(plan, partial(maker.rehearse, image, call))
            if relevance is not None:
                maps[call.label] = relevance
    seconds = sum(cost.seconds for cost in costs.values())
    images = float(sum(cost.images for cost in costs.values()))
    for scorer in plan.scorers:
        calls = [call for call in plan.methods if call.label in maps and scorer in lacking[call.label]]
        if not calls:
            continue
        first = calls[0]
        _, cost = _tried(plan, partial(scoring.rehearse, image, first, maps[first.label], scorer))
        # A metric that makes maps anew costs by the method, any other the same for each.
        explains = "explanations" in scorer.spec.needs
        unit = max(costs[first.label].seconds, 1e-6)
        seconds += cost.seconds * sum(costs[call.label].seconds / unit if explains else 1.0 for call in calls)
        unit = max(costs[first.label].images, 1)
        images += cost.images * sum(costs[call.label].images / unit if explains else 1.0 for call in calls)
    return (
        f"to come: {cases} cases, {len(maps) * cases} maps, some {round(images * cases)} images through the model; "
        f"about {_duration(seconds * cases)}, timed on the first case"
    )


def _tried(plan: Plan, work: Callable[[], Array]) -> tuple[Array | None, Probe]:
    """What some work gives, None where it fails, and what it cost."""
    result = None
    with probed(plan.classifier.module) as probe, suppress(Exception):
        result = work()
    return result, probe


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
