"""Faithfulness: whether the model's score falls when what a map calls relevant is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, by_baseline, common_settings, of_quantus

__all__ = ["SPECS", "area_under_curve"]

SUBSETS = 100
"""Random subsets of FaithfulnessCorrelation, the default of Quantus and of its paper."""


def _in_steps(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "features_in_step": protocol.features_in_step}


def _in_subsets(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "subset_size": protocol.features_in_step, "nr_runs": SUBSETS}


def _patches(protocol: Protocol) -> dict[str, Any]:
    """Ties are broken over patches by the metric itself; a map is taken as it is, for only its order counts."""
    from ...metrics.patches import fitting_patch_size

    return {
        "patch_size": fitting_patch_size(protocol.image_size),
        "output": "probability" if protocol.softmax else "logit",
        "tie_breaks": protocol.tie_breaks,
        "seed": protocol.tie_seed,
        "abs": protocol.abs,
    }


def _groups(protocol: Protocol) -> dict[str, Any]:
    return {"abs": protocol.abs}


def _removal_curve(**settings: Any) -> Any:
    from ...metrics import RemovalCurve

    if settings.get("removal") == "tokens":  # then the patches are the model's own
        del settings["patch_size"]
    return RemovalCurve(**settings)


def _saco(**settings: Any) -> Any:
    from ...metrics import SaCo

    return SaCo(**settings)


def area_under_curve(curve: Sequence[float]) -> float:
    """Area under a curve with steps of 1, as Quantus defines it, whose own option needs a numpy before 2.4."""
    return float(sum((left + right) / 2 for left, right in pairwise(curve)))


SPECS = (
    MetricSpec(
        name="FaithfulnessEstimate",
        summary="the paper's: correlation of a step's relevance with the drop of the score without it",
        category="faithfulness",
        higher_is_better=True,
        build=of_quantus("FaithfulnessEstimate"),
        settings=_in_steps,
        variants=by_baseline,
        needs=frozenset({"order"}),
    ),
    MetricSpec(
        name="PixelFlipping",
        summary="area under the score's curve while pixels are replaced in order of relevance; lower is better",
        category="faithfulness",
        higher_is_better=False,
        build=of_quantus("PixelFlipping"),
        settings=_in_steps,
        variants=by_baseline,
        needs=frozenset({"order"}),
        summarise=area_under_curve,
    ),
    MetricSpec(
        name="FaithfulnessCorrelation",
        summary=f"correlation of the relevance of {SUBSETS} random subsets with the drop of the score without them",
        category="faithfulness",
        higher_is_better=True,
        build=of_quantus("FaithfulnessCorrelation"),
        settings=_in_subsets,
        variants=by_baseline,
    ),
    MetricSpec(
        name="RemovalCurve",
        summary="area between the curves of removing least and most relevant patches first (Bluecher et al., 2024); "
        "[removal=tokens] shows the model no replacement, [normalised=True] has 0 for chance and 1 for an oracle",
        category="faithfulness",
        higher_is_better=True,
        build=_removal_curve,
        settings=_patches,
        curves=attrgetter("curves"),
    ),
    MetricSpec(
        name="SaCo",
        summary="whether more salient groups of pixels matter more to the probability (Wu et al., CVPR 2024), -1 to 1",
        category="faithfulness",
        higher_is_better=True,
        build=_saco,
        settings=_groups,
    ),
)
