"""Robustness: whether a map stays what it is when the image hardly changes."""

from __future__ import annotations

from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, common_settings, of_package, of_quantus, only_abs
from .exclusions import made_of_another, not_of_the_model

__all__ = ["SPECS"]

SAMPLES = 5
RADIUS = 0.2


def _perturbed(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "nr_samples": SAMPLES, "lower_bound": RADIUS}


def _noisy(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "nr_samples": SAMPLES}


SPECS = (
    MetricSpec(
        name="MaxSensitivity",
        summary=f"largest change of the map under {SAMPLES} small perturbations of the image; lower is better; costs "
        f"{SAMPLES} more maps, so many times the run's time with LimeCXR",
        category="robustness",
        higher_is_better=False,
        build=of_quantus("MaxSensitivity"),
        settings=_perturbed,
        needs=frozenset({"explanations"}),
        excludes=made_of_another,
    ),
    MetricSpec(
        name="LocalLipschitzEstimate",
        summary=f"largest change of the map per change of the image, over {SAMPLES} noisy images; lower is better; "
        f"costs {SAMPLES} more maps",
        category="robustness",
        higher_is_better=False,
        build=of_quantus("LocalLipschitzEstimate"),
        settings=_noisy,
        needs=frozenset({"explanations"}),
        excludes=made_of_another,
    ),
    MetricSpec(
        name="NoiseRetest",
        summary=f"rank correlation with the maps of {SAMPLES} images that have the image's own noise once more; costs "
        f"{SAMPLES} more maps",
        category="robustness",
        higher_is_better=True,
        build=of_package("NoiseRetest"),
        settings=only_abs,
        needs=frozenset({"explanations"}),
        excludes=made_of_another,
    ),
    MetricSpec(
        name="PrecisionError",
        summary="largest difference from the map in double precision, over the map's largest value; lower is better",
        category="robustness",
        higher_is_better=False,
        build=of_package("PrecisionError"),
        settings=only_abs,
        needs=frozenset({"explanations"}),
        excludes=not_of_the_model,
    ),
)
