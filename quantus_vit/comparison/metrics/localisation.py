"""Localisation: whether the relevance lies where a radiologist has marked the finding."""

from __future__ import annotations

from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, Need, common_settings, of_package, of_quantus, only_abs

__all__ = ["SPECS"]

_MASK: frozenset[Need] = frozenset({"mask"})


TOP_K = 1000
"""Pixels of TopKIntersection, the default of Quantus; at most a quarter of the image."""


SHARES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Parts of the image of which ``MaskIoU[share=Val]`` takes the best: from small lesions to both lungs."""


def _top_k(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "k": min(TOP_K, protocol.image_size[0] * protocol.image_size[1] // 4)}


SPECS = (
    MetricSpec(
        name="RelevanceMassAccuracy",
        summary="share of the positive relevance that lies inside the mask",
        category="localisation",
        higher_is_better=True,
        build=of_quantus("RelevanceMassAccuracy"),
        needs=_MASK,
        positive_only=True,
    ),
    MetricSpec(
        name="RelevanceRankAccuracy",
        summary="share of the mask's area that the most relevant pixels cover",
        category="localisation",
        higher_is_better=True,
        build=of_quantus("RelevanceRankAccuracy"),
        needs=_MASK,
    ),
    MetricSpec(
        name="PointingGame",
        summary="whether the most relevant pixel lies inside the mask",
        category="localisation",
        higher_is_better=True,
        build=of_quantus("PointingGame"),
        needs=_MASK,
    ),
    MetricSpec(
        name="TolerantPointingGame",
        summary="whether the most relevant pixel lies inside the mask or within 15 pixels of it (Zhang et al., 2018)",
        category="localisation",
        higher_is_better=True,
        build=of_package("TolerantPointingGame"),
        settings=only_abs,
        needs=_MASK,
    ),
    MetricSpec(
        name="MaskIoU",
        summary="overlap of the mask and the most relevant tenth of the pixels; [share=...] takes another part, "
        "[share=Val] for each mask the best on the Val split",
        category="localisation",
        higher_is_better=True,
        build=of_package("MaskIoU"),
        settings=only_abs,
        needs=_MASK,
        choices={"share": SHARES},
    ),
    MetricSpec(
        name="AUROC",
        summary="chance that a pixel inside the mask is more relevant than one outside; 0.5 for chance",
        category="localisation",
        higher_is_better=True,
        build=of_quantus("AUC"),
        needs=_MASK,
    ),
    MetricSpec(
        name="AUPRC",
        summary="area under precision and recall of the mask by thresholds of relevance; the mask's area for chance",
        category="localisation",
        higher_is_better=True,
        build=of_package("AveragePrecision"),
        settings=only_abs,
        needs=_MASK,
    ),
    MetricSpec(
        name="TopKIntersection",
        summary=f"share of the {TOP_K} most relevant pixels that lie inside the mask; its area for chance",
        category="localisation",
        higher_is_better=True,
        build=of_quantus("TopKIntersection"),
        settings=_top_k,
        needs=_MASK,
    ),
)
