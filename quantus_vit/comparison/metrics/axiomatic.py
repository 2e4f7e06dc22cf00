"""Axioms: what a method claims of its maps by construction.

Not here: Quantus' ``Completeness`` asks two floating-point numbers to be equal to the last digit; its
``NonSensitivity`` removes value after value (150,528 forwards at 224 pixels) and cannot take steps; its
``InputInvariance`` changes the bias of the model's first module, which must be a convolution.
"""

from __future__ import annotations

from .base import MetricSpec, of_package, only_abs
from .exclusions import not_complete, not_of_the_model

__all__ = ["SPECS"]

SPECS = (
    MetricSpec(
        name="CompletenessError",
        summary="by how much the map's sum misses the fall of the logit from the image to zeros, relative to that; "
        "lower is better",
        category="axiomatic",
        higher_is_better=False,
        build=of_package("CompletenessError"),
        excludes=not_complete,
        settings=lambda protocol: {},
    ),
    MetricSpec(
        name="ShiftError",
        summary="largest change of the map, over its largest value, where image and model are shifted by a constant "
        "that cancels (Kindermans et al., 2019); lower is better",
        category="axiomatic",
        higher_is_better=False,
        build=of_package("ShiftError"),
        settings=only_abs,
        needs=frozenset({"explanations"}),
        excludes=not_of_the_model,
    ),
)
