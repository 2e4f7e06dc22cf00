"""Faithfulness: whether the model's score falls when what a map calls relevant is replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from operator import attrgetter
from statistics import fmean
from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, by_baseline, common_settings, metric_of_quantus, of_package, of_quantus, only_abs
from .one_by_one import OneByOne, only_value

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


def _without_checks(name: str) -> Callable[..., Any]:
    """Builder of a metric of Quantus that replaces values by a baseline; of a release other than 0.6 as it is."""

    def build(**settings: Any) -> Any:
        metric = metric_of_quantus(name)
        if not version("quantus").startswith("0.6."):
            return metric(**settings)
        from ..unchecked import Unchecked

        return Unchecked(metric, settings)

    return build


def _removal_curve(**settings: Any) -> Any:
    from ...metrics import RemovalCurve

    if settings.get("removal") == "tokens":  # then the patches are the model's own
        del settings["patch_size"]
    return RemovalCurve(**settings)


def _regions(protocol: Protocol) -> dict[str, Any]:
    from ...metrics.patches import fitting_patch_size

    side = fitting_patch_size(protocol.image_size)
    patches = protocol.image_size[0] // side * (protocol.image_size[1] // side)
    return {**common_settings(protocol), "patch_size": side, "regions_evaluation": patches}


def _road(**settings: Any) -> Any:
    reason = "takes the values of a colour image for its pixels (IndexError)"
    return OneByOne(metric_of_quantus("ROAD", {"0.6.": reason}), settings)


def _irof(**settings: Any) -> Any:
    single = "removes each segment alone, not one after the other, so that their order hardly counts"
    colour = "cannot lay its segments over a colour image (AssertionError on the mask's shape)"
    broken = {"0.2.": single, "0.3.0": single, "0.6.": colour}
    return OneByOne(metric_of_quantus("IROF", broken), settings, softmax=True)


def _percentages(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "percentages": list(range(10, 100, 10))}


def mean_of_shares(found: Mapping[Any, float]) -> float:
    """Mean over the removed shares."""
    return fmean(found.values())


def mean_of(found: Sequence[float]) -> float:
    """Mean over the steps, the area over the curve of Samek et al. (2017)."""
    return fmean(map(float, found))


def area_under_curve(curve: Sequence[float]) -> float:
    """Area under a curve with steps of 1, as Quantus defines it, whose own option needs a numpy before 2.4."""
    return float(sum((left + right) / 2 for left, right in pairwise(curve)))


SPECS = (
    MetricSpec(
        name="FaithfulnessEstimate",
        summary="the paper's: correlation of a step's relevance with the drop of the score without it",
        category="faithfulness",
        higher_is_better=True,
        build=_without_checks("FaithfulnessEstimate"),
        settings=_in_steps,
        variants=by_baseline,
        needs=frozenset({"order"}),
    ),
    MetricSpec(
        name="PixelFlipping",
        summary="area under the score's curve while pixels are replaced in order of relevance; lower is better",
        category="faithfulness",
        higher_is_better=False,
        build=_without_checks("PixelFlipping"),
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
        build=of_package("SaCo"),
        settings=only_abs,
    ),
    MetricSpec(
        name="RegionPerturbation",
        summary="mean drop of the score while patches are replaced in order of relevance (Samek et al., 2017)",
        category="faithfulness",
        higher_is_better=True,
        build=of_quantus("RegionPerturbation"),
        settings=_regions,
        variants=by_baseline,
        summarise=mean_of,
    ),
    MetricSpec(
        name="IROF",
        summary="area over the probability's curve while superpixels (slic) become the image's mean (Rieger and "
        "Hansen, 2020); with Quantus 0.3.5 to 0.5",
        category="faithfulness",
        higher_is_better=True,
        build=_irof,
        summarise=only_value,
    ),
    MetricSpec(
        name="ROAD",
        summary="share of steps at which the prediction is still the target while pixels are imputed in order of "
        "relevance (Rong et al., 2022); lower is better; not with Quantus 0.6",
        category="faithfulness",
        higher_is_better=False,
        build=_road,
        settings=_percentages,
        summarise=mean_of_shares,
    ),
)
