"""Complexity: how few pixels a map speaks of."""

from __future__ import annotations

from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, common_settings

__all__ = ["SPECS"]


def _sparseness(**settings: Any) -> Any:
    import quantus

    return quantus.Sparseness(**settings)


def _of_magnitudes(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "abs": True}


SPECS = (
    MetricSpec(
        name="Sparseness",
        summary="Gini index of the absolute relevance; higher is sparser, which is not better by itself",
        category="complexity",
        higher_is_better=True,
        build=_sparseness,
        settings=_of_magnitudes,
    ),
)
