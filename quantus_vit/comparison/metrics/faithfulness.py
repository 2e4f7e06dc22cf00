"""Faithfulness: whether the model's score falls when what a map calls relevant is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, by_baseline, common_settings

__all__ = ["SPECS", "area_under_curve"]


def _faithfulness_estimate(**settings: Any) -> Any:
    import quantus

    return quantus.FaithfulnessEstimate(**settings)


def _pixel_flipping(**settings: Any) -> Any:
    import quantus

    return quantus.PixelFlipping(**settings)


def _in_steps(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "features_in_step": protocol.features_in_step}


def area_under_curve(curve: Sequence[float]) -> float:
    """Area under a curve with steps of 1, as Quantus defines it, whose own option needs a numpy before 2.4."""
    return float(sum((left + right) / 2 for left, right in pairwise(curve)))


SPECS = (
    MetricSpec(
        name="FaithfulnessEstimate",
        summary="the paper's: correlation of a step's relevance with the drop of the score without it",
        category="faithfulness",
        higher_is_better=True,
        build=_faithfulness_estimate,
        settings=_in_steps,
        variants=by_baseline,
        needs=frozenset({"order"}),
    ),
    MetricSpec(
        name="PixelFlipping",
        summary="area under the score's curve while pixels are replaced in order of relevance; lower is better",
        category="faithfulness",
        higher_is_better=False,
        build=_pixel_flipping,
        settings=_in_steps,
        variants=by_baseline,
        needs=frozenset({"order"}),
        summarise=area_under_curve,
    ),
)
