"""Which cases are worked on together. Knows the plan."""

from __future__ import annotations

import math

import torch

from .cases import Case
from .plan import Plan

__all__ = ["groups_of"]

_MAPS_CPU = 32
_MAPS = 512
_MOST_CASES = 32


def groups_of(plan: Plan) -> list[tuple[Case, ...]]:
    """Cases in groups of one size, but for the first, which is one case: what no case can do is told after it.

    A group is what an interrupt can lose of the metrics. It has as many cases as give a metric two full batches of
    maps. The groups depend on the plan and the kind of device alone, not on what has been scored already: a rerun and
    every process of several see the same.
    """
    most = _MAPS_CPU if torch.device(plan.device).type == "cpu" else _MAPS
    size = min(math.ceil(most / len(plan.methods)), _MOST_CASES)
    return [plan.cases[:1], *(plan.cases[start : start + size] for start in range(1, len(plan.cases), size))]
