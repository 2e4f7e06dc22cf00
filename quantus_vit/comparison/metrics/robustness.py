"""Robustness: whether a map stays what it is when the image hardly changes."""

from __future__ import annotations

from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, common_settings, of_quantus

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
    ),
)
