"""Robustness: whether a map stays what it is when the image hardly changes."""

from __future__ import annotations

from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, common_settings

__all__ = ["SPECS"]

SAMPLES = 5
RADIUS = 0.2


def _max_sensitivity(**settings: Any) -> Any:
    import quantus

    return quantus.MaxSensitivity(**settings)


def _perturbed(protocol: Protocol) -> dict[str, Any]:
    return {**common_settings(protocol), "nr_samples": SAMPLES, "lower_bound": RADIUS}


SPECS = (
    MetricSpec(
        name="MaxSensitivity",
        summary=f"largest change of the map under {SAMPLES} small perturbations of the image; lower is better; costs "
        f"{SAMPLES} more maps, so many times the run's time with LimeCXR",
        category="robustness",
        higher_is_better=False,
        build=_max_sensitivity,
        settings=_perturbed,
        needs=frozenset({"explanations"}),
    ),
)
