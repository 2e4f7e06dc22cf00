"""Complexity: how few pixels a map speaks of."""

from __future__ import annotations

from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, common_settings, of_quantus

__all__ = ["SPECS"]


def _of_magnitudes(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "abs": True}


SPECS = (
    MetricSpec(
        name="Sparseness",
        summary="Gini index of the absolute relevance; higher is sparser, which is not better by itself",
        category="complexity",
        higher_is_better=True,
        build=of_quantus("Sparseness"),
        settings=_of_magnitudes,
    ),
    MetricSpec(
        name="Complexity",
        summary="entropy of the shares of absolute relevance; lower is simpler, which is not better by itself",
        category="complexity",
        higher_is_better=False,
        build=of_quantus("Complexity"),
        settings=_of_magnitudes,
    ),
    MetricSpec(
        name="EffectiveComplexity",
        summary="number of values above a threshold of 1e-5; lower is simpler, which is not better by itself",
        category="complexity",
        higher_is_better=False,
        build=of_quantus("EffectiveComplexity"),
        settings=_of_magnitudes,
    ),
)
