"""Localisation: whether the relevance lies where a radiologist has marked the finding."""

from __future__ import annotations

from typing import Any

from .base import MetricSpec, Need

__all__ = ["SPECS"]

_MASK: frozenset[Need] = frozenset({"mask"})


def _relevance_mass_accuracy(**settings: Any) -> Any:
    import quantus

    return quantus.RelevanceMassAccuracy(**settings)


def _relevance_rank_accuracy(**settings: Any) -> Any:
    import quantus

    return quantus.RelevanceRankAccuracy(**settings)


def _pointing_game(**settings: Any) -> Any:
    import quantus

    return quantus.PointingGame(**settings)


SPECS = (
    MetricSpec(
        name="RelevanceMassAccuracy",
        summary="share of the positive relevance that lies inside the mask",
        category="localisation",
        higher_is_better=True,
        build=_relevance_mass_accuracy,
        needs=_MASK,
        positive_only=True,
    ),
    MetricSpec(
        name="RelevanceRankAccuracy",
        summary="share of the mask's area that the most relevant pixels cover",
        category="localisation",
        higher_is_better=True,
        build=_relevance_rank_accuracy,
        needs=_MASK,
    ),
    MetricSpec(
        name="PointingGame",
        summary="whether the most relevant pixel lies inside the mask",
        category="localisation",
        higher_is_better=True,
        build=_pointing_game,
        needs=_MASK,
    ),
)
